//! `imgkit build` and `imgkit lock`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::judge::{EnvironmentOption, TrustDirOption};
use super::passphrase::PassphraseOptions;
use super::seal::{Requests, write_requests};
use super::seal_key::SealKey;
use super::store::{Bar, StoreOptions, host_platform, registry};
use super::{Context, Report};
use crate::build::{self, Built, Format, Judge, Lock, Request};
use crate::config::spec::Spec;
use crate::failure::Failure;
use crate::format::segment;
use crate::limit;
use crate::oci::Platform;
use crate::policy::Policy;
use crate::store::derived::Derived;
use crate::store::file::{NewFile, make_dir, read_limited};
use crate::store::{Resolver, Source};
use crate::time::Time;
use crate::verify::Anchors;

/// How far the evaluation time of a release may be from the clock, in seconds.
const RELEASE_TOLERANCE: i64 = 3600;

/// Builds an image.
#[derive(Debug, Args)]
pub(super) struct Build {
    /// The specification, in LinuxKit's YAML
    #[arg(value_name = "NODE.YML")]
    node: PathBuf,
    /// The policy that every component has to satisfy
    #[arg(long, value_name = "FILE", env = "IMGKIT_POLICY")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// What to make; may be given several times
    #[arg(long, value_name = "FORMAT", default_value = "qcow2-bios")]
    format: Vec<Format>,
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// The image's name [default: the specification's, without its ending]
    #[arg(long)]
    name: Option<String>,
    /// The image's epoch [default: the specification's, else 0]
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    /// The image's architecture, as OCI names it [default: this machine's]
    #[arg(long)]
    arch: Option<String>,
    /// The time at which everything is judged [default: SOURCE_DATE_EPOCH, else the lock file's, else now]
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
    /// zstd's level for the initrd's segments
    #[arg(long, value_name = "N", default_value_t = segment::LEVEL, value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Use the digests and the time of this lock file [default with no value: the specification's name, ending in .lock]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    locked: Option<Option<PathBuf>>,
    /// Seal with this private key: FILE, pkcs11:URI or plugin:COMMAND:KEYNAME
    #[arg(long, value_name = "KEY", conflicts_with = "seal_request")]
    seal_key: Option<SealKey>,
    /// Write what has to be sealed to this file, for `imgkit seal sign` on another machine
    #[arg(long, value_name = "FILE")]
    seal_request: Option<PathBuf>,
    /// As a release pipeline: refuses unsafe switches, and demands policy, lock and seal
    #[arg(long)]
    release: bool,
    /// For experiments: let in components that nobody signed; every policy refuses the image. A policy says who may seal it
    #[arg(long, conflicts_with = "release")]
    unsafe_accept_unsigned: bool,
    /// Ask no registry
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    trust: TrustDirOption,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    passphrase: PassphraseOptions,
}

impl Build {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let now = context.now()?;
        let (spec_bytes, spec) = read_spec(&self.node)?;
        let lock = self.lock()?;
        let at = match (self.at, context.source_date_epoch()?, &lock) {
            (Some(at), ..) => at,
            (None, Some(at), _) => at,
            (None, None, Some(lock)) => lock.evaluated_at,
            (None, None, None) => now,
        };
        let policy = self.policy.as_deref();
        let policy = policy.map(|path| self.environment.read(path)).transpose()?;
        if self.release {
            self.check_release(policy.as_ref().map(|(policy, _)| policy), lock.is_some(), at, now)?;
        }
        let pins = policy.as_ref().map(|(_, pins)| pins.clone()).unwrap_or_default();
        let anchors = self.trust.anchors(context, &pins)?;
        let judge = self.judge(policy.as_ref().map(|(policy, _)| policy), &anchors)?;
        let seal_key = self.seal_key.as_ref();
        let seal_key = seal_key.map(|key| key.open(context, &self.passphrase)).transpose()?;
        if seal_key.is_none() && self.seal_request.is_none() {
            context.say("note: without --seal-key or --seal-request the image has no seal, and nothing verifies it");
        }
        if self.unsafe_accept_unsigned {
            context.warn(
                "UNSAFE: components are let in that nobody signed; the image is marked, and every policy refuses it",
            );
        }
        make_dir(&self.out)?;
        let platform = self.platform();
        let name = self.name()?;
        let file_name = self
            .node
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let bar = Bar::on_terminal("packing");
        let request = Request {
            spec_name: &file_name,
            spec_bytes: &spec_bytes,
            spec: &spec,
            name: &name,
            epoch: self.epoch.or(spec.epoch).unwrap_or(0),
            at,
            platform: &platform,
            judge,
            seal_key: seal_key.as_deref(),
            formats: &self.format,
            level: self.level,
            out: &self.out,
            base: self.node.parent().unwrap_or(Path::new("")),
            pins: &pins,
            now,
            progress: &bar,
        };
        let layout = self.store.open(context)?;
        let derived = Derived::new(layout.dir().join("derived"), context.scratch_dir());
        let source = resolver(context, &self.store, self.offline)?;
        let source = match &lock {
            Some(lock) => source.locked(&lock.images),
            None => source,
        };
        let built = build::build(&request, &source, &derived, lock.as_ref())?;
        drop(bar);
        self.trust.remember(context, &anchors, at)?;
        if let Some(path) = &self.seal_request {
            write_requests(path, &Requests::of(&name, &built.seals))?;
        }
        Ok(report(&built))
    }

    fn judge<'a>(&self, policy: Option<&'a Policy>, anchors: &'a Anchors) -> Result<Judge<'a>, Failure> {
        match policy {
            _ if self.unsafe_accept_unsigned => Ok(Judge::UnsafeAcceptUnsigned {
                sealed: policy.map(|policy| (policy, anchors)),
            }),
            Some(policy) => Ok(Judge::Policy { policy, anchors }),
            None => {
                let problem = "no policy, no build: name one with --policy; policy/release.yml is one to start from";
                Err(Failure::malformed("build", problem))
            }
        }
    }

    fn check_release(&self, policy: Option<&Policy>, locked: bool, at: Time, now: Time) -> Result<(), Failure> {
        let needs = |problem: &str| Err(Failure::malformed("build --release", problem));
        let Some(policy) = policy else {
            return needs("it needs a policy: --policy FILE");
        };
        if let Some(rule) = policy.unsigned_rules().next() {
            return needs(&format!(
                "the policy admits unsigned components ({}); have it changed by its owner",
                rule.place
            ));
        }
        if policy.spec().is_none() {
            return needs("the policy has no `spec:`; a release's specification has to be signed or listed there");
        }
        if policy.image().sealed.is_none() {
            return needs("the policy has no `image: sealed:`; nobody could verify the release by it");
        }
        if !locked {
            return needs("it needs a lock file: `imgkit lock NODE.YML`, then --locked");
        }
        if self.seal_key.is_none() && self.seal_request.is_none() {
            return needs("it needs a seal: --seal-key KEY or --seal-request FILE");
        }
        if (at.unix() - now.unix()).abs() > RELEASE_TOLERANCE {
            return needs(&format!(
                "the evaluation time {at} is more than an hour from the clock, {now}; make a new lock file"
            ));
        }
        Ok(())
    }

    fn lock(&self) -> Result<Option<Lock>, Failure> {
        let Some(path) = &self.locked else { return Ok(None) };
        let path = path.clone().unwrap_or_else(|| lock_path(&self.node));
        let bytes = read_limited(&path, limit::LOCK_BYTES)?;
        Lock::parse(&path.display().to_string(), &bytes).map(Some)
    }

    fn platform(&self) -> Platform {
        match &self.arch {
            Some(arch) => Platform::new("linux", &**arch),
            None => host_platform(),
        }
    }

    /// Returns the image's name; it is part of file names, so it is plain.
    fn name(&self) -> Result<String, Failure> {
        let stem = self.node.file_stem().and_then(|stem| stem.to_str());
        let name = self.name.as_deref().or(stem).unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match !name.is_empty() && !name.starts_with('.') && name.len() <= 128 && name.chars().all(plain) {
            true => Ok(name.to_owned()),
            false => Err(Failure::malformed(
                name,
                "an image's name is letters, digits, `.`, `_` and `-`; choose one with --name",
            )),
        }
    }
}

/// Writes a lock file.
#[derive(Debug, Args)]
pub(super) struct LockCommand {
    /// The specification, in LinuxKit's YAML
    #[arg(value_name = "NODE.YML")]
    node: PathBuf,
    /// The lock file [default: the specification's name, ending in .lock]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The evaluation time to write [default: SOURCE_DATE_EPOCH, else now]
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
    /// The image's architecture, as OCI names it [default: this machine's]
    #[arg(long)]
    arch: Option<String>,
    #[command(flatten)]
    store: StoreOptions,
}

impl LockCommand {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let (_, spec) = read_spec(&self.node)?;
        let at = match (self.at, context.source_date_epoch()?) {
            (Some(at), _) | (None, Some(at)) => at,
            (None, None) => context.now()?,
        };
        let platform = match &self.arch {
            Some(arch) => Platform::new("linux", &**arch),
            None => host_platform(),
        };
        let source = resolver(context, &self.store, false)?;
        let mut images = BTreeMap::new();
        for (_, name) in spec.images() {
            if !images.contains_key(&name.reference) {
                source.check_tag(&name.reference)?;
                let image = source.image(&name.reference, &platform)?;
                images.insert(name.reference.clone(), *image.digest());
            }
        }
        let path = self.out.clone().unwrap_or_else(|| lock_path(&self.node));
        let lock = Lock::new(at, images);
        let mut file = NewFile::beside(&path)?;
        let written = file.write_all(&lock.encode());
        written.map_err(|error| Failure::unavailable(path.display(), error))?;
        file.finish(&path)?;
        let mut text = format!("{}: {} images, evaluated at {at}\n", path.display(), lock.images.len());
        for (reference, digest) in &lock.images {
            let _ = writeln!(text, "  {reference} {digest}");
        }
        Ok(Report::new(
            text,
            json!({ "path": path, "evaluatedAt": at, "images": lock.images }),
        ))
    }
}

fn lock_path(node: &Path) -> PathBuf {
    node.with_extension("lock")
}

fn read_spec(path: &Path) -> Result<(Vec<u8>, Spec), Failure> {
    let bytes = read_limited(path, limit::SPEC_BYTES)?;
    let spec = Spec::parse(&path.display().to_string(), &bytes)?;
    Ok((bytes, spec))
}

pub(super) fn resolver(context: &Context, store: &StoreOptions, offline: bool) -> Result<Resolver, Failure> {
    let layout = store.open(context)?;
    match offline {
        true => Ok(Resolver::offline(layout)),
        false => {
            let bar = Box::new(Bar::on_terminal("pulling"));
            Resolver::online(layout, registry(context)?, &context.scratch_dir(), bar)
        }
    }
}

fn report(built: &Built) -> Report {
    let mut text = String::new();
    for record in &built.components {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} {} {}",
            record.reference,
            record.document.short(),
            record.admitted
        );
    }
    for replaced in &built.overrides {
        let _ = writeln!(text, "OVERRIDE {} of {} by {}", replaced.path, replaced.of, replaced.by);
    }
    for input in &built.inputs {
        let _ = writeln!(text, "{input}");
    }
    for output in &built.outputs {
        let _ = writeln!(text, "{} {} bytes {}", output.path.display(), output.size, output.image);
    }
    let _ = writeln!(
        text,
        "judged at {}, the evaluation time; the image's age and today's metadata are for `imgkit verify` to judge",
        built.evaluated_at
    );
    Report::new(text, json!(built))
}
