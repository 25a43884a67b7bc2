//! `imgkit policy schema`: the grammar as JSON Schema.

use super::super::Report;
use crate::policy::schema;

/// Prints the schema.
pub(super) fn run() -> Report {
    let schema = schema();
    Report::new(format!("{schema:#}\n"), schema)
}
