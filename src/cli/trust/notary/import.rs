//! `imgkit trust import notary`: a way off Notary: verifies collections and signs what they say anew, as a TUF collection.
//!
//! - What is imported was verified as any client would, every delegated role included; what cannot be trusted stays behind.
//! - A tag becomes the target `REGISTRY/REPOSITORY:TAG`, with the tree digest of its image where the image is to be had and is
//!   the one that was signed; any other name becomes `REGISTRY/REPOSITORY/NAME`, a plain file.
//! - Who signed it stands in the target's `custom`, under `notary`. The new collection's own keys sign all of it: nobody's
//!   private keys are asked for, and delegations are told of, not remade.

use std::fmt::Write as _;

use clap::{Args, Parser};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::ServerOptions;
use super::session::Session;
use crate::cli::place::CollectionName;
use crate::cli::store::{StoreOptions, host_platform};
use crate::cli::trust::TrustOptions;
use crate::cli::trust::init::Init;
use crate::cli::trust::sign::{describe, resolver};
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::oci::Platform;
use crate::reference::Reference;
use crate::store::Resolver;
use crate::store::docker_trust::DockerTrust;
use crate::time::Time;
use crate::trust::metadata::TargetFile;
use crate::trust::notary::{History, Listed, NotaryClient, NotaryKnown, NotaryPin, NotaryTarget};
use crate::trust::{Hashes, Source, check_target_name};

/// Signs what collections on a Notary server say anew, as a TUF collection.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The Notary collections: HOST/PATH
    #[arg(required = true)]
    guns: Vec<String>,
    /// The TUF collection: its name, or its place: dir:PATH; it is made if it is not there
    #[arg(long, value_name = "NAME|PLACE")]
    into: CollectionName,
    /// The role of the TUF collection that signs
    #[arg(long, default_value = "targets")]
    role: String,
    /// The platforms whose trees are signed [default: linux on this machine's architecture]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<Platform>,
    /// Do not look for the images: their targets get no tree digests until `imgkit trust sign` adds them
    #[arg(long)]
    without_images: bool,
    #[command(flatten)]
    store: StoreOptions,
}

/// What came of one collection.
#[derive(Debug, Serialize)]
struct Imported {
    gun: String,
    targets: Vec<ImportedTarget>,
    /// Names that did not come over, each with the reason.
    left: Vec<Left>,
    roles: Vec<Role>,
    history: History,
    #[serde(skip)]
    files: Vec<(String, TargetFile)>,
}

#[derive(Debug, Serialize)]
struct ImportedTarget {
    name: String,
    notary: String,
    digest: Digest,
    length: u64,
    signed_by: Value,
    /// Why the image's trees are not signed with it, where they are not.
    plain: Option<String>,
}

#[derive(Debug, Serialize)]
struct Left {
    name: String,
    reason: String,
}

/// A role of the Notary collection.
#[derive(Debug, Serialize)]
struct Role {
    role: String,
    version: u64,
    expires: Time,
    threshold: u32,
    keys: Vec<String>,
    /// Beginnings of names that a delegated role is trusted with.
    paths: Vec<String>,
}

/// What `imgkit trust init` is told when the collection has to be made first.
#[derive(Debug, Parser)]
struct NewCollection {
    #[command(flatten)]
    init: Init,
}

impl Import {
    pub(super) fn run(
        &self,
        context: &Context,
        options: &TrustOptions,
        server: &ServerOptions,
    ) -> Result<Report, Failure> {
        let resolver = match self.without_images {
            true => None,
            false => Some(resolver(context, &self.store)?),
        };
        let mut all = Vec::new();
        for gun in &self.guns {
            all.push(match server.server {
                Some(_) => {
                    let session = Session::open(context, options, server)?;
                    self.read(context, gun, session.client(gun)?, resolver.as_ref())?
                }
                None => self.read(context, gun, from_directory(options, context, gun)?, resolver.as_ref())?,
            });
        }
        // Time, pin and directory that were named are the Notary collection's.
        let own = options.of_collection(&self.into);
        let (place, _) = own.place_of(context, &self.into)?;
        let is_new = !place.is_published()?;
        if is_new {
            let words = ["init".to_owned(), "--".to_owned(), self.into.to_string()];
            let made = NewCollection::try_parse_from(words);
            let made = made.map_err(|error| Failure::malformed("--into", error.to_string()))?;
            made.init.run(context, &own)?;
        }
        let files: Vec<_> = all.iter().flat_map(|imported| &imported.files).collect();
        own.change(context, |collection, now| {
            for (name, file) in &files {
                collection.put_target(&self.role, name, file.clone(), now)?;
            }
            Ok(())
        })?;
        let mut text = String::new();
        all.iter().for_each(|imported| imported.write(&self.into, &mut text));
        Ok(Report::new(
            text,
            json!({ "into": self.into.to_string(), "made": is_new, "collections": all }),
        ))
    }

    /// Verifies a whole collection, and makes targets of what it says.
    fn read<S: Source>(
        &self,
        context: &Context,
        gun: &str,
        mut client: NotaryClient<S>,
        resolver: Option<&Resolver>,
    ) -> Result<Imported, Failure> {
        let about = |error: crate::trust::TrustError| error.about(gun);
        let mut left = Vec::new();
        for (role, error) in client.fetch_roles().map_err(about)? {
            context.warn(&format!(
                "the role {role} cannot be trusted, and what it signs stays behind: {error}"
            ));
            left.push(Left {
                name: role,
                reason: error.to_string(),
            });
        }
        for role in client.chain().unlisted().map_err(about)? {
            left.push(Left {
                name: role,
                reason: "nobody has signed it".to_owned(),
            });
        }
        let mut imported = Imported {
            gun: gun.to_owned(),
            targets: Vec::new(),
            left,
            roles: roles(&client),
            history: History::default(),
            files: Vec::new(),
        };
        let mut images = resolver.ok_or_else(|| "--without-images".to_owned());
        let listed = client.chain().list().map_err(about)?;
        let listed: Result<Vec<_>, _> = listed.iter().map(Listed::target).collect();
        for target in listed.map_err(about)? {
            // A name is trusted only if a look-up of it ends there: a role that covers it and fails comes first.
            match client.target(target.name()) {
                Ok(found) => self.target(gun, &found, &mut images, &mut imported),
                Err(error) => imported.leave(&target, error.to_string()),
            }
        }
        imported.history = client.history().map_err(about)?;
        Ok(imported)
    }

    fn target(
        &self,
        gun: &str,
        target: &NotaryTarget,
        images: &mut Result<&Resolver, String>,
        imported: &mut Imported,
    ) {
        let sha256 = target
            .digests()
            .iter()
            .find(|digest| matches!(digest, Digest::Sha256(_)));
        let Some(digest) = sha256.copied() else {
            return imported.leave(target, "it has no sha256 digest".to_owned());
        };
        let tag = format!("{gun}:{}", target.name());
        let tag = tag
            .parse::<Reference>()
            .ok()
            .and_then(|reference| reference.target_name());
        let name = tag.clone().unwrap_or_else(|| format!("{gun}/{}", target.name()));
        if let Err(error) = check_target_name(&name) {
            return imported.leave(target, error.to_string());
        }
        let mut file = TargetFile {
            length: target.length(),
            hashes: Hashes::from(digest),
            custom: None,
            extra: Map::new(),
        };
        let image = match tag {
            Some(_) => self.image(gun, target, digest, images),
            None => Err("its name is no tag: it is signed as a plain file".to_owned()),
        };
        let plain = match image {
            Ok(image) => {
                file = image;
                None
            }
            Err(reason) => Some(reason),
        };
        let evidence = target.evidence();
        let signed_by = json!({
            "role": evidence.role, "keys": evidence.keys, "threshold": evidence.threshold,
            "version": evidence.role_mark().version,
        });
        let mut custom = match file.custom.take() {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        let mut origin = json!({ "gun": gun, "name": target.name(), "signed_by": signed_by });
        if let (Some(origin), Some(custom)) = (origin.as_object_mut(), target.custom()) {
            origin.insert("custom".to_owned(), custom.clone());
        }
        custom.insert("notary".to_owned(), origin);
        file.custom = Some(Value::Object(custom));
        imported.targets.push(ImportedTarget {
            name: name.clone(),
            notary: target.name().to_owned(),
            digest,
            length: target.length(),
            signed_by,
            plain,
        });
        imported.files.push((name, file));
    }

    /// Describes a tag's image, if it is to be had and is what was signed.
    fn image(
        &self,
        gun: &str,
        target: &NotaryTarget,
        digest: Digest,
        images: &mut Result<&Resolver, String>,
    ) -> Result<TargetFile, String> {
        let resolver = images.clone()?;
        let reference: Reference = format!("{gun}@{digest}").parse().map_err(|error| format!("{error}"))?;
        let platforms = match self.platform.is_empty() {
            true => vec![host_platform()],
            false => self.platform.clone(),
        };
        let image = describe(resolver, &reference, &platforms).map_err(|failure| {
            let reason = format!("its image is not to be had: {failure}");
            if matches!(failure, Failure::Unavailable { .. }) {
                // Whoever does not answer now is not asked for every other tag.
                *images = Err(reason.clone());
            }
            reason
        })?;
        match image.document == digest && image.length == target.length() {
            true => Ok(image.to_file()),
            false => Err(format!("its image is {} bytes long, not what was signed", image.length)),
        }
    }
}

impl Imported {
    fn leave(&mut self, target: &NotaryTarget, reason: String) {
        self.left.push(Left {
            name: target.name().to_owned(),
            reason,
        });
    }

    fn write(&self, into: &CollectionName, text: &mut String) {
        let _ = writeln!(text, "{} into {into}: {} names came over", self.gun, self.targets.len());
        for target in &self.targets {
            let role = target.signed_by.get("role").and_then(Value::as_str).unwrap_or_default();
            let _ = writeln!(
                text,
                "  {} {} signed by {role}",
                target.digest,
                target.name.escape_debug()
            );
            if let Some(reason) = &target.plain {
                let _ = writeln!(text, "    without tree digests: {}", reason.escape_debug());
            }
        }
        for left in &self.left {
            let _ = writeln!(
                text,
                "  left behind: {}: {}",
                left.name.escape_debug(),
                left.reason.escape_debug()
            );
        }
        for role in self.roles.iter().filter(|role| role.role != "targets") {
            let _ = writeln!(
                text,
                "  delegated role {}, keys {}: its names are signed by the new collection's own keys now; \
                 trust its people anew with `imgkit trust delegate add`",
                role.role,
                role.keys.join(" ")
            );
        }
        let (editions, unreadable) = (&self.history.editions, &self.history.unreadable);
        let _ = writeln!(
            text,
            "  history: {} versions read, {} not readable",
            editions.len(),
            unreadable.len()
        );
    }
}

fn roles<S: Source>(client: &NotaryClient<S>) -> Vec<Role> {
    let chain = client.chain();
    let top = std::iter::once(("targets", chain.targets()));
    let all: Vec<_> = top.chain(chain.roles()).collect();
    let delegations = |name: &str| {
        let mut delegations = all.iter().flat_map(|(_, signed)| &signed.body().delegations.roles);
        delegations.find(|delegation| delegation.name == name)
    };
    let describe = |(name, signed): &(&str, &crate::trust::notary::Signed<crate::trust::notary::Targets>)| Role {
        role: (*name).to_owned(),
        version: signed.version(),
        expires: signed.header().expires,
        threshold: signed.threshold(),
        keys: signed.signers().iter().map(ToString::to_string).collect(),
        paths: delegations(name)
            .map(|delegation| delegation.paths.clone())
            .unwrap_or_default(),
    };
    all.iter().map(describe).collect()
}

/// What a trust directory kept of a collection, as a source.
struct Kept(NotaryKnown);

impl Source for Kept {
    fn file(&mut self, name: &str, _max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let role = name.strip_suffix(".json").unwrap_or(name);
        let role = match role.rsplit_once('.') {
            Some((role, hash)) if hash.len() == 64 => role,
            _ => role,
        };
        Ok(match role {
            "root" => self.0.root.clone(),
            "timestamp" => self.0.timestamp.clone(),
            "snapshot" => self.0.snapshot.clone(),
            role => self.0.targets.get(role).map(|bytes| bytes.to_vec()),
        })
    }
}

/// Reads a collection from what docker or notary trusted of it, without a server.
fn from_directory(options: &TrustOptions, context: &Context, gun: &str) -> Result<NotaryClient<Kept>, Failure> {
    let Some(dir) = options.given_trust_dir() else {
        let problem = "name the server with --server, or docker's directory (~/.docker/trust) with --trust-dir";
        return Err(Failure::malformed("trust import notary", problem));
    };
    let known = DockerTrust::at(dir).known(gun)?;
    let pin = match options.given_pin() {
        Some(pin) => super::session::read_pin(pin)?,
        // The owner's own directory is what is trusted, as for docker and notary.
        None => NotaryPin::UnsafeFirstUse,
    };
    if known.root.is_none() {
        let problem = format!(
            "{} does not know this collection; fetch it from its server with --server",
            dir.display()
        );
        return Err(Failure::unavailable(gun, problem));
    }
    let client = NotaryClient::refresh(gun, &pin, NotaryKnown::default(), Kept(known), options.now(context)?);
    client.map_err(|error| error.about(gun))
}
