//! `imgkit trust import`: a file that came over an air gap, checked and taken over.
//!
//! - The collection decides what its names stand for. What lies beside an image is nobody's word until somebody verifies it: it is taken
//!   over beside images of the file alone, and takes nothing away from the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::TrustOptions;
use super::super::collections::Place;
use super::is_about;
use crate::cli::place::remember;
use crate::cli::store::StoreOptions;
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::oci::Descriptor;
use crate::reference::{Reference, Repository};
use crate::store::layout::Joined;
use crate::store::parcel::Opened;
use crate::store::{TrustDir, TrustPlace};
use crate::time::Time;
use crate::trust::{Bundle, Client, Known, TrustError};

/// Checks what a file brings against the pin, and takes it over into the collection's directory and the store.
#[derive(Debug, Args)]
pub(in crate::cli::trust) struct Import {
    /// The file that `imgkit trust export` wrote
    file: PathBuf,
    #[command(flatten)]
    store: StoreOptions,
}

impl Import {
    pub(in crate::cli::trust) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let (place, now) = (options.place(context)?, options.now(context)?);
        let TrustPlace::Directory(dir) = &place.at else {
            let problem = "a file is imported into a directory; name the collection, or dir:PATH, with --collection";
            return Err(Failure::malformed(&place.name, problem));
        };
        let subject = self.file.display().to_string();
        let opened = Opened::read(&self.file)?;
        let trusted = options.trusted(context)?;
        let checked = Checked::check(&opened, &subject, &place.pin, &trusted.known(&place.pin)?, now)?;
        // Nothing has a name yet. Who publishes or imports at once waits.
        let publisher = dir.publisher()?;
        if dir.is_published() {
            let known = present(dir, &place)?;
            let again = Client::refresh(&place.pin, &known, &opened, now);
            again.map_err(|error| error.about(&subject))?;
        }
        let layout = self.store.open(context)?;
        let writer = layout.writer()?;
        for blob in checked.blobs.values().filter(|blob| !layout.is_intact(blob)) {
            writer.put_exactly(blob, &mut opened.reader(blob)?)?;
        }
        publisher.take_over(&checked.files)?;
        drop(publisher);
        remember(context, &trusted, &place.pin, dir, now);
        let (mut lacking, mut joined, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for image in &checked.images {
            let name = image.name.to_string();
            match image.signed {
                true => writer.tag(&image.name, &image.document)?,
                // Nobody vouches for what lies beside an image: it takes nothing away.
                false => match writer.join(&image.name, &image.document)? {
                    Joined::Taken | Joined::Present => {}
                    Joined::Both => joined.push(name.clone()),
                    Joined::Kept(why) => kept.push((name.clone(), why)),
                },
            }
            lacking.extend((!image.whole).then_some(name));
        }
        let mut text = format!(
            "imported {}: {} names and {} images, good until {}\n",
            place.subject(),
            opened.targets().len(),
            checked.images.len(),
            checked.expires
        );
        for name in &lacking {
            let _ = writeln!(text, "  without its layers: {name}");
        }
        for name in &joined {
            let _ = writeln!(text, "  added to what the store has: {name}");
        }
        for (name, why) in &kept {
            let _ = writeln!(text, "  NOT taken over, the store keeps its own: {name}: {why}");
        }
        let images: Vec<_> = checked.images.iter().map(|image| &image.name).collect();
        let kept: Vec<_> = kept
            .iter()
            .map(|(name, why)| json!({ "name": name, "problem": why }))
            .collect();
        let json = json!({
            "collection": place.name, "place": place.at.to_string(), "targets": opened.targets(), "images": images,
            "withoutLayers": lacking, "joined": joined, "notTaken": kept, "expires": checked.expires, "judgedAt": now,
        });
        Ok(Report::new(text, json))
    }
}

/// What of a file proved itself.
struct Checked {
    files: Bundle,
    images: Vec<CheckedImage>,
    /// What these consist of, as far as it is there.
    blobs: BTreeMap<Digest, Descriptor>,
    expires: Time,
}

/// A document with a name that it may have.
struct CheckedImage {
    name: Reference,
    document: Descriptor,
    /// Whether the collection signs it; else it is about one that is signed.
    signed: bool,
    /// Whether all its blobs are there.
    whole: bool,
}

impl Checked {
    fn check(opened: &Opened, subject: &str, pin: &[u8], known: &Known, now: Time) -> Result<Self, Failure> {
        let about = |error: TrustError| error.about(subject);
        let mut client = Client::refresh(pin, known, opened, now).map_err(about)?;
        let mut files = client.bundle().clone();
        let mut expires = client.evidence().expires();
        let mut digests: BTreeMap<Repository, BTreeSet<Digest>> = BTreeMap::new();
        let mut documents = BTreeSet::new();
        for name in opened.targets() {
            let target = client.target(name).map_err(|error| error.about(name))?;
            expires = expires.min(target.evidence().expires());
            files.add_all(target.bundle());
            if let Ok(image) = target.image() {
                if let Ok(named) = name.parse::<Reference>() {
                    let beside = digests.entry(named.repository().clone()).or_default();
                    beside.insert(image.document);
                    beside.extend(image.platforms.iter().map(|platform| platform.manifest));
                }
                documents.insert((name.clone(), image.document));
            }
        }
        if opened.is_whole() {
            client.fetch_roles().map_err(about)?;
            for (_, signed) in client.chain().roles() {
                files.add(signed.name(), signed.bytes());
            }
        }
        let (mut images, mut blobs) = (Vec::new(), BTreeMap::new());
        let mut seen = BTreeSet::new();
        for (name, document) in opened.images() {
            // Two images with one digest share what lies beside them.
            if !seen.insert((name, document.digest)) {
                continue;
            }
            let signed = name
                .target_name()
                .is_some_and(|name| documents.contains(&(name, document.digest)));
            let about = digests
                .get(name.repository())
                .is_some_and(|digests| is_about(name, digests));
            if !signed && !about {
                let expected = "images whose digests the collection signs, and signatures of these beside them";
                let advice = "have the file written and carried again; if it stays so, somebody changed it on the way";
                let found = format!("{name} with the digest {}", document.digest);
                return Err(Refusal::new(Code::Unsigned, subject, expected, found, advice).into());
            }
            let (found, whole) = opened.image_blobs(name, document)?;
            blobs.extend(found.into_iter().map(|blob| (blob.digest, blob)));
            images.push(CheckedImage {
                name: name.clone(),
                document: document.clone(),
                signed,
                whole,
            });
        }
        Ok(Self {
            files,
            images,
            blobs,
            expires,
        })
    }
}

/// Returns what a client remembers that saw the collection as it is in a directory.
fn present(dir: &TrustDir, place: &Place) -> Result<Known, Failure> {
    let client = Client::refresh(&place.pin, &Known::default(), dir, Time::EPOCH);
    let client = client.map_err(|error| error.about(&place.subject()))?;
    let roots = client.bundle().roots();
    let chain = client.chain();
    Ok(Known {
        roots: roots.skip(1).map(<[u8]>::to_vec).collect(),
        timestamp: Some(chain.timestamp().bytes().to_vec()),
        snapshot: Some(chain.snapshot().bytes().to_vec()),
    })
}
