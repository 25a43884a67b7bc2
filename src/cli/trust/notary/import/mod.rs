//! `imgkit trust import notary`: a way off Notary: verifies collections and signs what they say anew, as a TUF collection.
//!
//! - What is imported was verified as any client would, every delegated role included; what cannot be trusted stays behind.
//! - A tag becomes the target `REGISTRY/REPOSITORY:TAG`, with the tree digest of its image where the image is to be had and is
//!   the one that was signed; any other name becomes `REGISTRY/REPOSITORY/NAME`, a plain file, unless that reads as an image.
//! - What another source signs in the TUF collection stays as it is.
//! - Who signed it stands in the target's `custom`, under `notary`.
//! - Delegated roles come over as roles that are asked in the same order, with the same names and thresholds, and with keys
//!   that the owner gives, or new ones of the owner's.

mod gun;
mod kept;
mod put;
mod report;
mod roles;

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Parser};
use serde_json::{Map, Value, json};

use super::ServerOptions;
use super::session::Session;
use crate::cli::place::CollectionName;
use crate::cli::store::{StoreOptions, host_platform};
use crate::cli::trust::TrustOptions;
use crate::cli::trust::chosen::RoleKeySpecs;
use crate::cli::trust::init::Init;
use crate::cli::trust::sign::{describe, resolver};
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::oci::Platform;
use crate::reference::Reference;
use crate::store::Resolver;
use crate::trust::metadata::TargetFile;
use crate::trust::notary::{Listed, NotaryClient, NotaryTarget};
use crate::trust::{Hashes, Source, TrustError, check_target_name};
use gun::Gun;
use report::{Imported, ImportedTarget, Left, Signed};
use roles::Names;

/// Signs what collections on a Notary server say anew, as a TUF collection.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The Notary collections: HOST/PATH
    #[arg(required = true)]
    guns: Vec<String>,
    /// The TUF collection: its name, or its place: dir:PATH; it is made if it is not there
    #[arg(long, value_name = "NAME|PLACE")]
    into: CollectionName,
    /// The role of the TUF collection that signs what Notary's top level signed [default: targets; where Notary asks
    /// targets/releases before the top level, a role `owner` that is asked after `releases`]
    #[arg(long)]
    role: Option<String>,
    /// Keys that a delegated role gets: FILE.pem (a private key, which is copied into the key directory; or a public key, whose
    /// owner signs elsewhere from now on), generate:ALGORITHM, pkcs11:URI or plugin:COMMAND:KEYNAME. Where fewer of them can
    /// sign here than must, new keys of yours are added, which sign [default: new keys]
    #[arg(long, value_name = "ROLE=KEY[,KEY…]")]
    key: Vec<RoleKeySpecs>,
    /// The platforms whose trees are signed [default: linux on this machine's architecture]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<Platform>,
    /// Do not look for the images: their targets get no tree digests until `imgkit trust sign` adds them
    #[arg(long)]
    without_images: bool,
    #[command(flatten)]
    store: StoreOptions,
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
                    self.read(gun, session.client(gun)?, resolver.as_ref())?
                }
                None => {
                    let place = kept::in_directory(options, gun)?;
                    self.read(gun, kept::read(options, context, gun, &place)?, resolver.as_ref())?
                }
            });
        }
        // Time, pin and directory that were named are the Notary collection's.
        let own = options.of_collection(&self.into);
        let secrets = own.secrets(context);
        let keys = roles::open_keys(&self.key, &all, &secrets)?;
        let (place, keys_name) = own.place_of(context, &self.into)?;
        let is_new = !place.is_published()?;
        let mut text = String::new();
        let mut new = Value::Null;
        if is_new {
            let words = ["init".to_owned(), "--".to_owned(), self.into.to_string()];
            let made = NewCollection::try_parse_from(words);
            let made = made.map_err(|error| Failure::malformed("--into", error.to_string()))?;
            // Root keys are made here: what `trust init` says of the pin, and of keeping them, is said here too.
            let report = made.init.run(context, &own)?;
            text = report.text + "\n";
            new = report.json;
        }
        let place = own.place(context)?;
        let about = |error: crate::trust::edit::EditError| error.about(&place.subject());
        let mut names = Names::of(place.load()?);
        for imported in &mut all {
            names.choose(imported, self.role.as_deref()).map_err(about)?;
        }
        drop(names);
        let store = own.keys(context)?;
        for role in all.iter_mut().flat_map(|imported| &mut imported.remade) {
            role.make_keys(context, &store, &keys_name, &keys, &secrets)?;
        }
        own.change(context, |collection, now| {
            all.iter_mut().try_for_each(|imported| imported.put(collection, now))
        })?;
        all.iter_mut().for_each(Imported::leave_taken);
        all.iter().for_each(|imported| imported.write(&self.into, &mut text));
        Ok(Report {
            // What cannot be trusted is an error for what it covers, though the rest came over.
            yes: all.iter().all(|imported| imported.distrusted == 0),
            ..Report::new(
                text,
                json!({ "into": self.into.to_string(), "made": is_new, "new": new, "collections": all }),
            )
        })
    }

    /// Verifies a whole collection, and makes targets of what it says.
    fn read<S: Source>(
        &self,
        gun: &str,
        mut client: NotaryClient<S>,
        resolver: Option<&Resolver>,
    ) -> Result<Imported, Failure> {
        let about = |error: TrustError| error.about(gun);
        let bad = client.fetch_roles().map_err(about)?;
        let left = bad.iter().map(|(role, error)| Left {
            name: role.clone(),
            reason: format!("the role cannot be trusted: {error}"),
        });
        let asked = client.chain().asked().map_err(about)?;
        let bad_roles: BTreeSet<_> = bad.iter().map(|(role, _)| role.as_str()).collect();
        let listed = client.chain().statements().map_err(about)?;
        let depth = listed.iter().map(|listed| listed.name().split('/').count()).max();
        let names = Gun::new(gun, depth.unwrap_or_default());
        let mut imported = Imported {
            remade: roles::remade(&names, &asked, &bad_roles),
            gun: names,
            top: "targets".to_owned(),
            targets: Vec::new(),
            left: left.collect(),
            distrusted: bad.len(),
            roles: asked.iter().filter_map(report::Role::of).collect(),
            history: Default::default(),
            files: Vec::new(),
            taken: BTreeMap::new(),
        };
        let mut images = resolver.ok_or_else(|| "--without-images".to_owned());
        let statements: Result<Vec<_>, _> = listed.iter().map(Listed::target).collect();
        let mut by_name: BTreeMap<String, Vec<NotaryTarget>> = BTreeMap::new();
        for target in statements.map_err(about)? {
            by_name.entry(target.name().to_owned()).or_default().push(target);
        }
        for (name, all) in by_name {
            // A name is trusted only if a look-up of it ends there: a role that covers it and fails comes first.
            match client.target(&name) {
                Ok(found) => {
                    let same = imported.same_of(&found, &all);
                    self.target(&found, same, &mut images, &mut imported);
                }
                Err(error) => imported.leave(&name, error.to_string()),
            }
        }
        imported.history = client.history().map_err(about)?;
        Ok(imported)
    }

    fn target(
        &self,
        target: &NotaryTarget,
        also: Vec<Signed>,
        images: &mut Result<&Resolver, String>,
        imported: &mut Imported,
    ) {
        let sha256 = target
            .digests()
            .iter()
            .find(|digest| matches!(digest, Digest::Sha256(_)));
        let Some(digest) = sha256.copied() else {
            return imported.leave(target.name(), "it has no sha256 digest".to_owned());
        };
        let tag = imported.gun.tag(target.name());
        let name = tag.clone().map_or_else(|| imported.gun.file(target.name()), Ok);
        let name = name.and_then(|name| match check_target_name(&name) {
            Ok(()) => Ok(name),
            Err(error) => Err(error.to_string()),
        });
        let name = match name {
            Ok(name) => name,
            Err(reason) => return imported.leave(target.name(), reason),
        };
        let mut file = TargetFile {
            length: target.length(),
            hashes: Hashes::from(digest),
            custom: None,
            extra: Map::new(),
        };
        let image = match tag {
            Some(_) => self.image(imported.gun.name(), target, digest, images),
            None => Err("its name is no tag: it is signed as a plain file".to_owned()),
        };
        let plain = match image {
            Ok(image) => {
                file = image;
                None
            }
            Err(reason) => Some(reason),
        };
        let signed_by = Signed::of(target);
        let mut custom = match file.custom.take() {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        let mut origin = json!({ "gun": imported.gun, "name": target.name(), "signed_by": signed_by });
        if let Some(origin) = origin.as_object_mut() {
            origin.extend(target.custom().map(|custom| ("custom".to_owned(), custom.clone())));
            origin.extend((!also.is_empty()).then(|| ("also_signed_by".to_owned(), json!(also))));
        }
        custom.insert("notary".to_owned(), origin);
        file.custom = Some(Value::Object(custom));
        let role = signed_by.role.clone();
        imported.targets.push(ImportedTarget {
            name: name.clone(),
            notary: target.name().to_owned(),
            digest,
            length: target.length(),
            signed_by,
            also_signed_by: also,
            plain,
        });
        imported.files.push((role, name, file));
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
