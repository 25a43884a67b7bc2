//! `imgkit sigstore verify`: an image's signatures and attestations, by key or by an identity.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::place::Place;
use super::trusted::Trusted;
use super::verifier::VerifierOptions;
use crate::attest::PredicateType;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::sigstore::attachment::{Evidence, Wanted, judge};

/// Verifies an image; exit 0 where one good signature, or attestation, is found.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The image: HOST/REPOSITORY:TAG, …@DIGEST, oci:DIR[:NAME] or oci-archive:FILE[:NAME]
    image: Place,
    /// Ask for an attestation of this type instead of a signature: slsaprovenance1, spdxjson, cyclonedx, vsa, tree or a URI
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<PredicateType>,
    #[command(flatten)]
    verifier: VerifierOptions,
}

impl Verify {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let verifier = self.verifier.read(context)?;
        let wanted = match &self.kind {
            Some(kind) => Wanted::Attestation(kind.uri()),
            None => Wanted::Signature,
        };
        let image = self.image.locate(context)?;
        let pieces = image.pieces(wanted)?;
        let judged = judge(&pieces, &image.document.digest, verifier.by(context.now()?), wanted);
        let rejected: Vec<Value> = judged
            .rejected
            .iter()
            .map(
                |piece| json!({ "form": piece.form, "layer": piece.layer, "code": piece.code, "reason": piece.reason }),
            )
            .collect();
        let good = judged.verdict(&self.image.to_string(), wanted)?;
        let digest = image.document.digest;
        let mut text = format!("VERIFIED {}\n  digest     {digest}\n", self.image);
        for evidence in &good {
            describe(&mut text, evidence);
        }
        let trusted = verifier.trusted();
        if let Some(trusted) = trusted {
            let _ = writeln!(text, "  trusted    {}", trusted.describe());
        }
        if !rejected.is_empty() {
            let _ = writeln!(text, "  {} more beside it did not count", rejected.len());
        }
        let json = json!({
            "reference": image.reference, "digest": digest, "type": self.kind.as_ref().map(PredicateType::uri),
            "signatures": good.iter().map(Evidence::to_json).collect::<Vec<_>>(), "rejected": rejected,
            "trustedRoot": trusted.map(|trusted| trusted.root().digest()), "trustedRootFrom": trusted.map(Trusted::to_value),
        });
        Ok(Report::new(text, json))
    }
}

/// Describes one good signature for people.
fn describe(text: &mut String, evidence: &Evidence) {
    let what = match evidence.statement() {
        Some(statement) => PredicateType::short(statement.predicate_type())
            .escape_debug()
            .to_string(),
        None => "signature".to_owned(),
    };
    let _ = writeln!(text, "  {what}, {} {}", evidence.form.name(), evidence.layer.short());
    let _ = writeln!(text, "    by       {}", evidence.author);
    for name in evidence.names() {
        let _ = writeln!(text, "    named    {}", name.escape_debug());
    }
    if let Some(time) = evidence.time() {
        let _ = writeln!(text, "    signed   {time} (the signer's own word)");
    }
}
