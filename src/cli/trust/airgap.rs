//! `imgkit trust export` and `imgkit trust import`: what a look-up needs, in one file, over an air gap.

mod import;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::collections::Place;
use super::sign::resolver;
use crate::cli::store::StoreOptions;
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::limit;
use crate::oci::Document;
use crate::reference::Reference;
use crate::store::Source as Images;
use crate::store::file::NewFile;
use crate::store::layout::Layout;
use crate::store::parcel::Parcel;
use crate::time::{DAY, Time};
use crate::trust::edit::lifetime;
use crate::trust::{Bundle, Chain, Client, Source, Target, TrustError, file_name};

pub(super) use import::Import;

/// Tags under which cosign keeps what it signed and attested of a digest: `sha256-HEX.sig`.
const COSIGN: [&str; 3] = [".sig", ".att", ".sbom"];

/// Writes what look-ups need into one file: metadata, roots, images' documents and signatures.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file to write
    file: PathBuf,
    /// The images, or names of signed files
    #[arg(value_name = "REF", required_unless_present = "all")]
    names: Vec<String>,
    /// Everything that the collection signs
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Also the images' layers
    #[arg(long)]
    with_images: bool,
    /// Refuse if any of it would expire within so many days
    #[arg(long, value_name = "DAYS")]
    expires_days: Option<u16>,
    #[command(flatten)]
    store: StoreOptions,
}

impl Export {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let (place, now) = (options.place(context)?, options.now(context)?);
        let mut client = place.client(now)?;
        let about = |error: TrustError| error.about(&place.subject());
        let mut metadata = older_roots(&place)?;
        let names = match self.all {
            true => {
                client.fetch_roles().map_err(about)?;
                for (_, signed) in client.chain().roles() {
                    metadata.add(signed.name(), signed.bytes());
                }
                all_names(&client)
            }
            false => self.names.iter().cloned().collect(),
        };
        let mut expires = client.evidence().expires();
        // Names alone: each target carries the metadata of its look-up.
        let mut targets = Vec::new();
        let mut left_out = Vec::new();
        for name in names {
            let target = match find(&mut client, &name) {
                // What a role says of names that it may not sign nobody finds.
                Err(TrustError::Absent { .. }) if self.all => {
                    left_out.push(name);
                    continue;
                }
                found => found.map_err(|error| error.about(&name))?,
            };
            expires = expires.min(target.evidence().expires());
            metadata.add_all(target.bundle());
            targets.push(target.name().to_owned());
        }
        metadata.add_all(client.bundle());
        if self.all {
            let roles = client.chain().roles();
            expires = roles.fold(expires, |first, (_, signed)| first.min(signed.body().header.expires));
        }
        self.check_expiry(&place, expires, now)?;

        let names = targets.iter().cloned().collect();
        let mut parcel = Parcel::new(&metadata, &names, self.all)?;
        let images = resolver(context, &self.store)?;
        let mut packed = 0;
        for name in &targets {
            let target = client.target(name).map_err(|error| error.about(name))?;
            packed += usize::from(self.image(&target, &images, &self.store.open(context)?, &mut parcel)?);
        }
        let mut file = NewFile::beside(&self.file)?;
        parcel.write(&self.file, &images, &mut file)?;
        file.finish(&self.file)?;
        let text = format!(
            "wrote {}: {} names and {packed} images of {}, good until {expires}\n",
            self.file.display(),
            targets.len(),
            place.subject()
        );
        let left = left_out
            .iter()
            .map(|name| format!("left out, as no role that may sign it does: {}\n", name.escape_debug()));
        let text = text + &left.collect::<String>();
        let json = json!({
            "leftOut": left_out, "file": self.file, "collection": place.name, "targets": names, "images": packed, "expires": expires,
            "withImages": self.with_images,
        });
        Ok(Report::new(text, json))
    }

    fn check_expiry(&self, place: &Place, expires: Time, now: Time) -> Result<(), Failure> {
        let Some(days) = self.expires_days else { return Ok(()) };
        let wanted = now.plus(i64::from(days) * DAY);
        if expires >= wanted {
            return Ok(());
        }
        let expected = format!("metadata that are good until {wanted}, {days} days from now");
        let advice = match i64::from(days) * DAY < lifetime("timestamp") {
            true => "run `imgkit trust renew`, with a larger --margin, or carry the file more often",
            false => "ask for fewer days, and carry the file more often: a timestamp is never good for longer",
        };
        let found = format!("the first of them expires at {expires}");
        Err(Refusal::new(Code::Expired, place.subject(), expected, found, advice).into())
    }

    /// Packs the image that a target names, if it names one; tells whether it does.
    fn image(
        &self,
        target: &Target,
        images: &dyn Images,
        layout: &Layout,
        parcel: &mut Parcel,
    ) -> Result<bool, Failure> {
        let named: Option<Reference> = target.name().parse().ok();
        let named = named.filter(|reference| reference.target_name().as_deref() == Some(target.name()));
        let (Some(reference), Ok(signed)) = (named, target.image()) else {
            return Ok(false);
        };
        let pinned = reference
            .pin(signed.document)
            .map_err(|other| Failure::malformed(&reference, other))?;
        let mut digests = BTreeSet::from([signed.document]);
        let mut document = None;
        for platform in &signed.platforms {
            let wanted = platform.platform.parse();
            let wanted = wanted.map_err(|error| Failure::malformed(target.name(), error))?;
            let image = images.image(pinned.reference(), &wanted)?;
            digests.insert(*image.manifest_digest());
            let put = |parcel: &mut Parcel, digest: &Digest, bytes: &[u8]| {
                let parsed = Document::parse(target.name(), bytes, None)?;
                Ok::<_, Failure>(parcel.document(digest, parsed.media_type(), bytes))
            };
            let manifest = put(parcel, image.manifest_digest(), image.manifest())?;
            document = Some(match image.index() {
                Some(index) => put(parcel, image.digest(), index)?,
                None => manifest,
            });
            let parsed = Document::parse(target.name(), image.manifest(), None)?;
            // The config comes first.
            let count = if self.with_images { usize::MAX } else { 1 };
            parsed.children().take(count).for_each(|blob| parcel.blob(blob));
        }
        if let Some(document) = document {
            parcel.name(target.name(), &document);
        }
        for (name, _) in layout.list()? {
            if name.repository() == reference.repository() && is_about(&name, &digests) {
                pack_whole(layout, &name, parcel)?;
            }
        }
        Ok(true)
    }
}

/// Reads the roots before the pinned one, for those who pinned an older one.
fn older_roots(place: &Place) -> Result<Bundle, Failure> {
    let pinned = Chain::pinned(&place.pin, Time::EPOCH).map_err(|error| error.about(&place.subject()))?;
    let mut roots = Bundle::default();
    for version in 1..pinned.version() {
        let name = file_name("root", Some(version));
        if let Some(bytes) = (&place.at).file(&name, limit::ROOT_BYTES)? {
            roots.add(name, bytes);
        }
    }
    Ok(roots)
}

/// Finds a target by its name as it is signed, or by an image's name as people write it.
fn find<S: Source>(client: &mut Client<S>, name: &str) -> Result<Target, TrustError> {
    let normal = name
        .parse::<Reference>()
        .ok()
        .and_then(|reference| reference.target_name());
    match (client.target(name), normal) {
        (Err(TrustError::Absent { .. }), Some(normal)) => client.target(&normal),
        (found, _) => found,
    }
}

fn all_names<S: Source>(client: &Client<S>) -> BTreeSet<String> {
    let chain = client.chain();
    let roles = chain.roles().map(|(_, signed)| signed.body());
    let all = std::iter::once(chain.targets().body()).chain(roles);
    all.flat_map(|targets| targets.targets.keys().cloned()).collect()
}

/// Tells whether a name is one of cosign's tags for one of these digests, and nothing more.
fn is_about(name: &Reference, digests: &BTreeSet<Digest>) -> bool {
    if name.digest().is_some() {
        return false;
    }
    let tag = name.tag().unwrap_or_default();
    let stem = COSIGN.iter().find_map(|suffix| tag.strip_suffix(suffix));
    let digest = stem.and_then(|stem| stem.replacen('-', ":", 1).parse().ok());
    digest.is_some_and(|digest| digests.contains(&digest))
}

/// Packs what cosign keeps under a tag.
fn pack_whole(layout: &Layout, name: &Reference, parcel: &mut Parcel) -> Result<(), Failure> {
    let Some((document, bytes)) = layout.document(name)? else {
        return Ok(());
    };
    let parsed = Document::parse(&name.to_string(), &bytes, Some(&document.media_type))?;
    parsed.children().for_each(|blob| parcel.blob(blob));
    parcel.document(&document.digest, &document.media_type, &bytes);
    parcel.name(&name.to_string(), &document);
    Ok(())
}
