//! Made-up finished images: built and verified as real ones are, in a scratch directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::attached::WithAttached;
use super::image::MadeUp;
use super::{Given, Trial, target_name};
use crate::build::{Format, Judge, Request, build, sign};
use crate::config::spec::Spec;
use crate::disk::ReadAt;
use crate::failure::Failure;
use crate::key::SigningKey;
use crate::policy::{Decision, Policy, SpecRequirement};
use crate::reference::Reference;
use crate::seal::Sealed;
use crate::seal::statement::SubjectDigest;
use crate::store::derived::Derived;
use crate::store::file::FileAt;
use crate::store::layout::Layout;
use crate::time::Time;
use crate::trust::{Lineage, plain_file};
use crate::verify::files::files;
use crate::verify::{Memory, Pins, Question};

/// How messages call the made-up specification.
const SPEC_NAME: &str = "node.yml";

/// A finished image without a seal, in memory, and how it would be verified.
pub(super) struct Finished<'t> {
    trial: &'t Trial<'t>,
    sealed: Sealed,
    members: BTreeMap<String, Arc<dyn ReadAt>>,
    pins: Pins,
    /// What it is built of is in files of this directory.
    _dir: tempfile::TempDir,
}

/// By whom a made-up image is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealedBy {
    Nobody,
    Stranger,
    /// As many keys of the role as the policy asks for.
    Role,
    /// One fewer.
    TooFew,
}

impl<'t> Finished<'t> {
    /// Builds an image of components that are named `reference` and well signed; everything is judged at `at`.
    ///
    /// # Errors
    /// Why it cannot be built: then nothing about its seal can be shown.
    pub(super) fn build(
        trial: &'t Trial<'t>,
        reference: &Reference,
        at: Time,
        epoch: u64,
        scratch: &Path,
    ) -> Result<Self, Failure> {
        let policy = trial.policy;
        let format = format(policy)?;
        let given = well_signed(trial, reference)?;
        let made = MadeUp::new(&trial.platform, at, given.version.as_deref())?;
        let mut spec = match format {
            Format::Tar => format!("init: [{reference}]\n"),
            _ => format!("kernel: {{image: '{reference}', tar: none}}\ninit: ['{reference}']\n"),
        };
        if let Some(profile) = &policy.image().profile {
            spec.push_str(&format!("profile: '{profile}'\n"));
        }
        let name = policy.image().name.as_deref().unwrap_or("node");
        let targets = BTreeMap::from([
            (target_name(reference, &made), made.target(None)),
            (
                format!("spec/{SPEC_NAME}"),
                plain_file("spec/node.yml", spec.as_bytes()).map_err(|error| error.about(SPEC_NAME))?,
            ),
        ]);
        let (anchors, pins) = trial.anchors(&targets, &given)?;
        let dir = tempfile::tempdir_in(scratch).map_err(|error| Failure::unavailable(scratch.display(), error))?;
        let store = Layout::open_or_create(dir.path().join("store"))?;
        made.put(&store.writer()?, reference)?;
        let source = WithAttached {
            store: &store,
            attached: trial.attached(reference, &made, &given)?,
        };
        let derived = Derived::new(dir.path().join("derived"), dir.path());
        let parsed = Spec::parse(SPEC_NAME, spec.as_bytes())?;
        let request = Request {
            spec_name: SPEC_NAME,
            spec_bytes: spec.as_bytes(),
            spec: &parsed,
            name,
            epoch,
            at,
            platform: &trial.platform,
            judge: Judge::Policy {
                policy,
                anchors: &anchors,
            },
            seal_key: None,
            formats: &[format],
            level: 1,
            out: dir.path(),
            base: dir.path(),
            pins: &pins,
            now: at,
            progress: &(),
        };
        let built = build(&request, &source, &derived, None)?;
        let sealed = built.seals.into_iter().next();
        let sealed = sealed.ok_or_else(|| Failure::malformed(name, "the build made no statement"))?;
        let mut members: BTreeMap<String, Arc<dyn ReadAt>> = BTreeMap::new();
        for subject in built.subjects {
            if matches!(subject.digest, SubjectDigest::File(_)) {
                let file = FileAt::open(&dir.path().join(&subject.name))?;
                members.insert(subject.name, Arc::new(file));
            }
        }
        Ok(Self {
            trial,
            sealed,
            members,
            pins,
            _dir: dir,
        })
    }

    /// Verifies it as it is sealed by `by`, at `now`, by one who saw `seen` as its highest epoch.
    pub(super) fn verdict(&self, by: SealedBy, now: Time, seen: Option<u64>) -> Result<(), Failure> {
        let policy = self.trial.policy;
        let mut sealed = self.sealed.clone();
        for key in self.keys(by) {
            let signature = sign(key, &sealed.envelope);
            let signature = signature.map_err(|error| Failure::unavailable("a throw-away key", error))?;
            sealed.envelope.attach(signature);
        }
        let seen = Seen(seen);
        let question = Question {
            subject: "a made-up image",
            policy,
            pins: &self.pins,
            now,
            files: true,
            fresh: None,
            memory: Some(&seen),
        };
        files(&question, &sealed, &self.members).map(drop)
    }

    fn keys(&self, by: SealedBy) -> Vec<&SigningKey> {
        let Some(demand) = &self.trial.policy.image().sealed else {
            return Vec::new();
        };
        let keys = self.trial.keys.of_role(&demand.root, &demand.role);
        let threshold = demand.threshold as usize;
        match by {
            SealedBy::Nobody => Vec::new(),
            SealedBy::Stranger => vec![self.trial.keys.stranger()],
            SealedBy::Role => keys.into_iter().take(threshold).collect(),
            SealedBy::TooFew => keys.into_iter().take(threshold.saturating_sub(1)).collect(),
        }
    }
}

/// One who remembers an epoch.
#[derive(Debug)]
struct Seen(Option<u64>);

impl Memory for Seen {
    fn epoch(&self, _: &Lineage, _: &str) -> Result<Option<u64>, Failure> {
        Ok(self.0)
    }
}

/// Chooses the form of files that the policy admits; disks are sealed alike.
fn format(policy: &Policy) -> Result<Format, Failure> {
    let allowed = policy.image().formats.as_deref();
    let is_good = |format: &Format| allowed.is_none_or(|allowed| allowed.iter().any(|form| form == format.form()));
    let found = [Format::Tar, Format::KernelInitrd].into_iter().find(is_good);
    found.ok_or_else(|| {
        Failure::unavailable(
            "a made-up image",
            "the policy admits disks alone, and those need a real boot loader; `imgkit verify` on one shows the same",
        )
    })
}

/// Signs the component as its rule asks, and the specification as the policy does.
fn well_signed(trial: &Trial<'_>, reference: &Reference) -> Result<Given, Failure> {
    let policy = trial.policy;
    let cannot = |problem: &str| Failure::unavailable("a made-up image", problem);
    let rule = policy.rule_for(reference);
    let mut given = match rule.map(|rule| &rule.decision) {
        Some(Decision::Required(requirement)) => trial.well_signed(requirement),
        _ => Given::default(),
    };
    match policy.spec() {
        None => {}
        Some(SpecRequirement::Signed(by)) => {
            given.signed.push(trial.with_all_keys(by));
        }
        Some(SpecRequirement::Digests(_)) => {
            return Err(cannot(
                "the policy lists specifications by digest, and a made-up one is none of them",
            ));
        }
    }
    Ok(given)
}
