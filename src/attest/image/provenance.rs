//! SLSA provenance v1 (slsa.dev/spec/v1.0/provenance): how an image was made.

use serde_json::{Map, Value, json};

use super::{ImageParts, Input, purl};
use crate::attest::digests;

/// How imgkit makes an image (docs/attestations.md): from these parameters and dependencies alone.
const BUILD_TYPE: &str = "urn:imgkit:build:v1";

/// Who made it: whoever ran imgkit, and sealed the image; the seal says who that was.
const BUILDER: &str = "urn:imgkit:builder:local";

/// Makes the predicate.
pub(super) fn predicate(image: &ImageParts<'_>) -> Value {
    let mut parameters = Map::new();
    parameters.insert("name".to_owned(), json!(image.name));
    parameters.insert("arch".to_owned(), json!(image.arch));
    parameters.insert("epoch".to_owned(), json!(image.epoch));
    parameters.insert("spec".to_owned(), file(&image.spec));
    if let Some(policy) = &image.policy {
        parameters.insert("policy".to_owned(), json!({ "digest": digests(policy) }));
    }
    let components = image.components.iter().map(|part| {
        json!({
            "uri": purl::image(part),
            "name": part.reference,
            "digest": digests(&part.document),
            "annotations": { "manifest": part.manifest, "tree": part.tree },
        })
    });
    let inputs = std::iter::once(&image.spec).chain(&image.sources).map(file);
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": parameters,
            "internalParameters": { "evaluatedAt": image.evaluated_at },
            "resolvedDependencies": inputs.chain(components).collect::<Vec<_>>(),
        },
        "runDetails": { "builder": { "id": BUILDER } },
    })
}

fn file(input: &Input<'_>) -> Value {
    json!({ "name": input.name, "digest": digests(&input.digest) })
}
