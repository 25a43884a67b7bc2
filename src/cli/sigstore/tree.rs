//! `imgkit sigstore tree`: everything that is attached to an image.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::gate::{PolicyOptions, problem, rule_json, rule_text, weights_json, weights_text};
use super::place::Place;
use super::verifier::{Verifier, VerifierOptions};
use crate::attest::PredicateType;
use crate::cli::{Context, Report};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::oci::Document;
use crate::sigstore::attachment::{Attachment, Author, By, Claim, Evidence, Wanted, judge};
use crate::sigstore::manifest::CREATED;
use crate::sigstore::signature::fingerprint;
use crate::store::attached::{Attached, attached, attachments};
use crate::verify::Weight;

/// Lists what is attached to an image, and to the manifests that it lists; judges by the keys, the identity or the policy that are
/// given. The exit code says whether it could be found out, not what the policy says.
#[derive(Debug, Args)]
pub(super) struct Tree {
    /// The image: HOST/REPOSITORY:TAG, …@DIGEST, oci:DIR[:NAME] or oci-archive:FILE[:NAME]
    image: Place,
    #[command(flatten)]
    verifier: VerifierOptions,
    #[command(flatten)]
    policy: PolicyOptions,
}

impl Tree {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let verifier = self.verifier.read_if_any(context)?;
        let now = context.now()?;
        let nobody = verifier.as_ref().map(|verifier| match verifier {
            Verifier::Keys(_) => "none of the given keys",
            Verifier::Identity(..) => "nobody of that identity",
        });
        let by = verifier.as_ref().map_or(By::Keys(&[]), |verifier| verifier.by(now));
        let image = self.image.locate(context)?;
        let mut documents = vec![(image.document.digest, None)];
        if let Document::Index(index) = Document::parse(&self.image.to_string(), &image.bytes, None)? {
            let listed = index.manifests().iter();
            documents.extend(listed.map(|entry| (entry.digest, entry.platform.as_ref().map(ToString::to_string))));
        }
        let mut text = format!("{} {}\n", self.image, image.document.digest);
        let mut all = Vec::new();
        let (mut by_policy, mut unknown) = (None, None);
        for (digest, platform) in &documents {
            let repository = image.reference.repository();
            let found = attached(&*image.source, repository, digest)?;
            let attachments = attachments(&*image.source, repository, &found);
            let mut pieces: Vec<Piece> = attachments
                .iter()
                .map(|piece| describe(piece, &found, digest, by))
                .collect();
            if *digest == image.document.digest {
                // The gate judges what the name stands for, by what is attached to that.
                if let Some(weighed) = self.policy.weigh(context, &image, &found, &attachments, now)? {
                    text.push_str(&rule_text(&weighed));
                    by_policy = Some(rule_json(&weighed));
                    for (piece, weights) in pieces.iter_mut().zip(weighed.pieces) {
                        piece.take(weights);
                    }
                }
            } else {
                let _ = writeln!(text, "  {} {digest}", platform.as_deref().unwrap_or("manifest"));
                if by_policy.is_some() {
                    pieces.iter_mut().for_each(|piece| piece.take(Vec::new()));
                }
            }
            for piece in &pieces {
                piece.describe(&mut text, nobody);
                unknown = unknown.or_else(|| piece.weights.as_deref().and_then(problem));
            }
            let pieces: Vec<Value> = pieces.iter().map(Piece::to_json).collect();
            all.push(json!({ "digest": digest, "platform": platform, "attached": pieces }));
        }
        let json = json!({
            "reference": image.reference, "digest": image.document.digest, "policy": by_policy, "documents": all,
        });
        Ok(Report {
            unknown,
            ..Report::new(text, json)
        })
    }
}

/// One piece, as it is listed.
struct Piece {
    claim: Claim,
    form: &'static str,
    manifest: Digest,
    layer: Digest,
    media_type: String,
    time: Option<String>,
    /// What was signed and by whom, where that is whom was asked for.
    evidence: Option<Evidence>,
    problem: Option<String>,
    /// What a policy makes of it, where one is asked.
    weights: Option<Vec<Weight>>,
}

fn describe(piece: &Attachment, found: &[Attached], image: &Digest, by: By<'_>) -> Piece {
    let claim = piece.claim();
    let manifest = found
        .iter()
        .find(|manifest| manifest.listed.descriptor.digest == piece.manifest);
    let artifact = manifest.and_then(|manifest| manifest.manifest.as_ref().ok());
    let created = artifact.and_then(|(_, artifact)| artifact.annotations.get(CREATED).cloned());
    let wanted = match &claim {
        Claim::Attestation(kind) => Wanted::Attestation(kind),
        _ => Wanted::Signature,
    };
    let judged = judge(std::slice::from_ref(piece), image, by, wanted);
    let problem = match &piece.bytes {
        Err(failure) => Some(failure.to_string()),
        Ok(_) => None,
    };
    let is_sbom = manifest.is_some_and(|manifest| manifest.suffix == Some(".sbom"));
    Piece {
        form: piece.form.name(),
        manifest: piece.manifest,
        layer: piece.layer.descriptor.digest,
        media_type: piece.layer.descriptor.media_type.clone(),
        time: piece.time().map(|time| time.to_string()).or(created),
        evidence: judged.good.into_iter().next(),
        problem,
        weights: None,
        claim: match claim {
            Claim::Other if is_sbom => Claim::Sbom,
            claim => claim,
        },
    }
}

impl Piece {
    /// Takes what a policy makes of it.
    fn take(&mut self, weights: Vec<Weight>) {
        self.evidence = weights.iter().find_map(|weight| weight.evidence.clone());
        self.weights = Some(weights);
    }

    fn describe(&self, text: &mut String, nobody: Option<&str>) {
        let (kind, more) = self.claim.words();
        let what = match more {
            Some(uri) => PredicateType::short(uri).escape_debug().to_string(),
            None if matches!(self.claim, Claim::Other | Claim::Sbom) => self.media_type.escape_debug().to_string(),
            None => String::new(),
        };
        let time = self.time.as_deref().unwrap_or("-").escape_debug().to_string();
        let signer = match (self.evidence.as_ref().map(|evidence| &evidence.author), nobody) {
            (Some(Author::Key(key)), _) => format!("  by {}", fingerprint(key).short()),
            (Some(identity), _) => format!("  by {identity}"),
            (None, Some(nobody)) if !matches!(self.claim, Claim::Other | Claim::Sbom) => format!("  by {nobody}"),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "    {kind:<12} {:<8} {}  {time:<20} {what}{signer}",
            self.form,
            self.layer.short()
        );
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "      {problem}");
        }
        if let Some(weights) = &self.weights {
            text.push_str(&weights_text(weights));
        }
    }

    fn to_json(&self) -> Value {
        let (kind, predicate_type) = self.claim.words();
        let (signer, certificate) = match self.evidence.as_ref().map(|evidence| &evidence.author) {
            Some(Author::Key(key)) => (Some(fingerprint(key)), None),
            Some(Author::Identity(evidence)) => (None, Some(evidence.to_json())),
            None => (None, None),
        };
        json!({
            "kind": kind, "form": self.form, "manifest": self.manifest, "layer": self.layer, "mediaType": self.media_type,
            "claimed": { "predicateType": predicate_type, "time": self.time },
            "signed": self.evidence.as_ref().map(Evidence::signed), "signer": signer, "certificate": certificate, "problem": self.problem,
            "policy": self.weights.as_deref().map(weights_json),
        })
    }
}
