//! `imgkit trust verify`: compares an image, or a file, with what a collection says of it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::sign::{describe, resolver, target_name};
use super::{TrustOptions, collections::Place};
use crate::cli::store::{StoreOptions, host_platform};
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::limit;
use crate::oci::Platform;
use crate::reference::Reference;
use crate::store::file::read_limited;
use crate::time::Time;
use crate::trust::{Evidence, Target};

/// Checks an image or a file.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The image's name with its tag; with --file, the name under which the file is signed
    name: String,
    /// The platform whose manifest and tree are compared [default: linux on this machine's architecture]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// A file to compare instead of an image
    #[arg(long, value_name = "PATH", conflicts_with = "platform")]
    file: Option<PathBuf>,
    #[command(flatten)]
    store: StoreOptions,
}

impl Verify {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let now = options.now(context)?;
        match &self.file {
            Some(path) => {
                let target = look_up(&place, &self.name, now)?;
                let bytes = read_limited(path, limit::SIGNED_FILE_BYTES)?;
                target
                    .check(&bytes)
                    .map_err(|error| error.about(&path.display().to_string()))?;
                Ok(report(&place, &target, json!({ "file": path })))
            }
            None => self.image(context, &place, now),
        }
    }

    fn image(&self, context: &Context, place: &Place, now: Time) -> Result<Report, Failure> {
        let reference: Reference = self
            .name
            .parse()
            .map_err(|error| Failure::malformed("the image", error))?;
        let name = target_name(&reference)?;
        let about = |error: crate::trust::TrustError| error.about(&name);
        let target = look_up(place, &name, now)?;
        let signed = target.image().map_err(about)?;
        // The collection says what the tag stands for; what the store or registry has under it is compared with that.
        let platform = self.platform.clone().unwrap_or_else(host_platform);
        let found = describe(&resolver(context, &self.store)?, &reference, &[platform])?;
        for platform in &found.platforms {
            signed.check(&name, &found.document, platform).map_err(about)?;
        }
        Ok(report(place, &target, json!({ "image": found })))
    }
}

pub(super) fn look_up(place: &Place, name: &str, now: Time) -> Result<Target, Failure> {
    let target = place.client(now)?.target(name);
    target.map_err(|error| error.about(name))
}

fn report(place: &Place, target: &Target, found: Value) -> Report {
    let evidence = target.evidence();
    let digests: Vec<_> = target.digests().collect();
    let mut text = format!("verified {}\n", target.name());
    for digest in &digests {
        let _ = writeln!(text, "  digest      {digest}");
    }
    describe_evidence(&mut text, &place.name, evidence);
    let json = json!({
        "name": target.name(), "collection": place.name, "signed": signed(target), "found": found, "evidence": evidence,
    });
    Report::new(text, json)
}

/// Says what the collection's role signed of a name.
pub(super) fn signed(target: &Target) -> Value {
    json!({ "digests": target.digests().collect::<Vec<_>>(), "length": target.length(), "custom": target.custom() })
}

pub(super) fn describe_evidence(text: &mut String, collection: &str, evidence: &Evidence) {
    let keys: Vec<_> = evidence.keys.iter().map(|key| key.short()).collect();
    let _ = writeln!(text, "  collection  {collection}");
    let _ = writeln!(
        text,
        "  signed by   {} ({} of its keys needed: {})",
        evidence.role,
        evidence.threshold,
        keys.join(", ")
    );
    let _ = writeln!(
        text,
        "  metadata    root {}, timestamp {}, snapshot {}, {} {}",
        evidence.root.version,
        evidence.timestamp.version,
        evidence.snapshot.version,
        evidence.role,
        evidence.role_mark().version
    );
    let _ = writeln!(
        text,
        "  judged at   {}; good until {}",
        evidence.judged_at,
        evidence.expires()
    );
}
