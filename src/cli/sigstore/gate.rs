//! The gate's word about what lies beside an image, where it lies.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::place::Located;
use crate::build::FromStore;
use crate::cli::Context;
use crate::cli::judge::EnvironmentOption;
use crate::cli::store::{StoreOptions, host_platform};
use crate::cli::trust::resolver;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::oci::{Descriptor, Image, Kind, Platform, digest_mismatch, walk};
use crate::policy::Rule;
use crate::reference::Reference;
use crate::sigstore::attachment::Attachment;
use crate::store::Source;
use crate::store::attached::{Ask, Attached};
use crate::store::derived::Derived;
use crate::time::Time;
use crate::tree::Tree;
use crate::verify::{Anchors, Gate, Stand, Supply, Weighed, Weight};

/// The policy that is asked.
#[derive(Clone, Debug, Args)]
pub(super) struct PolicyOptions {
    /// Say of each signature and attestation whether this policy takes it for the image, for what, and why not
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "key", "certificate_identity", "certificate_identity_regexp", "certificate_oidc_issuer", "certificate_oidc_issuer_regexp",
        "trusted_root",
    ])]
    policy: Option<PathBuf>,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// The image's architecture, as OCI names it, where the policy is asked [default: this machine's]
    #[arg(long, requires = "policy")]
    arch: Option<String>,
    #[command(flatten)]
    store: StoreOptions,
}

impl PolicyOptions {
    /// Asks the policy, if one is named, what it makes of everything beside an image.
    pub(super) fn weigh(
        &self,
        context: &Context,
        image: &Located,
        found: &[Attached],
        pieces: &[Attachment],
        at: Time,
    ) -> Result<Option<Weighed>, Failure> {
        let Some(path) = &self.policy else { return Ok(None) };
        let (policy, pins) = self.environment.read(path)?;
        let platform = match &self.arch {
            Some(arch) => Platform::new("linux", &**arch),
            None => host_platform(),
        };
        let gate = Gate {
            policy: &policy,
            // What collections sign does not lie beside images.
            anchors: &Anchors::new(Default::default(), &pins),
            at,
            platform: &platform,
        };
        let supply = Here {
            context,
            store: &self.store,
            platform: &platform,
            image,
            found,
            pieces,
        };
        gate.weigh(&image.reference, &supply, pieces).map(Some)
    }
}

/// An image where it lies, with what was found beside it.
struct Here<'a> {
    context: &'a Context,
    store: &'a StoreOptions,
    platform: &'a Platform,
    image: &'a Located,
    found: &'a [Attached],
    pieces: &'a [Attachment],
}

impl Supply for Here<'_> {
    fn document(&self, _reference: &Reference) -> Result<Digest, Failure> {
        Ok(self.image.document.digest)
    }

    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure> {
        let Located {
            source,
            document,
            bytes,
            ..
        } = self.image;
        let repository = reference.repository();
        let mut fetch = |child: &Descriptor| match child.kind() {
            Some(Kind::Index | Kind::Manifest) => source.document_bytes(repository, child),
            _ => source.small_blob(repository, child),
        };
        walk(
            &reference.to_string(),
            bytes.clone(),
            &document.digest,
            platform,
            &mut fetch,
        )
    }

    fn tree(&self, subject: &str, image: &Image, signed: Option<&Digest>) -> Result<Tree, Failure> {
        let store = self.store.open(self.context)?;
        let derived = Derived::new(store.dir().join("derived"), self.context.scratch_dir());
        if let Some(layout) = &self.image.layout {
            return FromStore::new(layout, &derived, None).tree(subject, image, signed);
        }
        // What a tag means to builds is not changed here.
        let resolver = resolver(self.context, self.store)?.asking_first();
        let is_known = signed.is_some_and(|digest| derived.tree_list(digest).is_some());
        if !is_known {
            let document = self.image.document.digest;
            let pinned = self.image.reference.pin(document);
            let pinned = pinned.map_err(|named| digest_mismatch(subject, named, document))?;
            resolver.image(pinned.reference(), self.platform)?;
        }
        FromStore::new(&resolver, &derived, None).tree(subject, image, signed)
    }

    /// Gives what was found already, of the tags and referrers in which what is wanted can be.
    fn attached(&self, ask: &Ask<'_>) -> Result<Vec<Attachment>, Failure> {
        let there = self.found.iter().filter(|manifest| manifest.can_hold(ask.wanted));
        let there: BTreeSet<Digest> = there.map(|manifest| manifest.listed.descriptor.digest).collect();
        let pieces = self.pieces.iter().filter(|piece| there.contains(&piece.manifest));
        Ok(pieces.cloned().collect())
    }
}

/// Says why nobody knows whether the policy takes a piece, where nobody does.
pub(super) fn problem(weights: &[Weight]) -> Option<Failure> {
    let problem = |weight: &Weight| match &weight.stand {
        Stand::Unknown(failure) => Some(failure.clone()),
        Stand::Refused { .. } | Stand::Taken => None,
    };
    weights.iter().find_map(problem).filter(|_| word(weights) == "unknown")
}

/// What the policy makes of one piece, in one word.
fn word(weights: &[Weight]) -> &'static str {
    let is = |wanted: fn(&Stand) -> bool| weights.iter().any(|weight| wanted(&weight.stand));
    match (
        is(|stand| matches!(stand, Stand::Taken)),
        is(|stand| matches!(stand, Stand::Unknown(_))),
    ) {
        (true, _) => "taken",
        (false, true) => "unknown",
        (false, false) if weights.is_empty() => "notAsked",
        (false, false) => "refused",
    }
}

/// Says which rule decides.
pub(super) fn rule_text(weighed: &Weighed) -> String {
    match &weighed.rule {
        Ok(rule) => format!("  rule {} ({}): {rule}\n", rule.pattern, rule.place),
        Err(refusals) => {
            let one = |refusal: &crate::failure::Refusal| {
                let by = refusal.demanded.as_ref();
                let by = by
                    .map(|by| format!(", by {} ({})", by.rule, by.place))
                    .unwrap_or_default();
                format!("  no rule takes anything: {}, {}{by}\n", refusal.code, refusal.found)
            };
            refusals.iter().map(one).collect()
        }
    }
}

/// Says what each requirement makes of a piece, a line for each.
pub(super) fn weights_text(weights: &[Weight]) -> String {
    if weights.is_empty() {
        return "      not asked for\n".to_owned();
    }
    let one = |weight: &Weight| {
        let Weight { requirement, place, .. } = weight;
        match &weight.stand {
            Stand::Refused { code, found } => {
                format!("      not taken, {code}: {found}\n        for {requirement} ({place})\n")
            }
            Stand::Taken => format!("      taken\n        for {requirement} ({place})\n"),
            Stand::Unknown(failure) => format!("      {failure}\n        for {requirement} ({place})\n"),
        }
    };
    weights.iter().map(one).collect()
}

/// Says the same of a piece for machines.
pub(super) fn weights_json(weights: &[Weight]) -> Value {
    let one = |weight: &Weight| {
        let (code, found) = match &weight.stand {
            Stand::Refused { code, found } => (Some(*code), Some(found.clone())),
            Stand::Taken => (None, None),
            Stand::Unknown(failure) => (None, Some(failure.to_string())),
        };
        json!({
            "requirement": weight.requirement, "place": weight.place, "signer": weight.signer,
            "verdict": word(std::slice::from_ref(weight)), "code": code, "found": found,
        })
    };
    json!({ "verdict": word(weights), "requirements": weights.iter().map(one).collect::<Vec<_>>() })
}

/// Says which rule decides, for machines.
pub(super) fn rule_json(weighed: &Weighed) -> Value {
    let rule = weighed.rule.as_ref();
    json!({
        "rule": rule.ok().map(|rule| rule.pattern.to_string()), "place": rule.ok().map(|rule| &rule.place),
        "demands": rule.ok().map(Rule::to_string), "refusals": rule.err(),
    })
}
