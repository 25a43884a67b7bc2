//! `imgkit trust lookup`: what a collection says of one name, without comparing it with anything.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::TrustOptions;
use super::verify::{describe_evidence, look_up, signed};
use crate::cli::{Context, Report};
use crate::failure::Failure;

/// Looks a name up.
#[derive(Debug, Args)]
pub(super) struct Lookup {
    /// The name as it was signed
    name: String,
}

impl Lookup {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let place = options.place(context)?;
        let target = look_up(&place, &self.name, options.now(context)?)?;
        let digests: Vec<_> = target.digests().collect();
        let mut text = format!("{}\n", target.name());
        for digest in &digests {
            let _ = writeln!(text, "  digest      {digest}");
        }
        let _ = writeln!(text, "  length      {}", target.length());
        if let Some(custom) = target.custom() {
            let _ = writeln!(text, "  custom      {custom}");
        }
        describe_evidence(&mut text, &place.name, target.evidence());
        let json = json!({
            "name": target.name(), "collection": place.name, "signed": signed(&target), "evidence": target.evidence(),
        });
        Ok(Report::new(text, json))
    }
}
