//! CycloneDX 1.6 in JSON (ECMA-424): the image's components, each with its packages.

use serde_json::{Map, Value, json};

use super::{ImageParts, Part, identity, license, purl};
use crate::digest::Digest;
use crate::oci::Package;

/// Makes the document.
pub(super) fn document(image: &ImageParts<'_>) -> Value {
    let tools = image.components.iter().flat_map(|part| &part.tools);
    let mut tools: Vec<&Package> = tools.collect();
    tools.sort();
    tools.dedup();
    let tools = tools.into_iter().map(|package| debian("tool", package));
    let imgkit = json!({ "type": "application", "name": "imgkit" });
    let components = (1..)
        .zip(&image.components)
        .map(|(number, part)| component(number, part));
    let mut document = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "timestamp": image.evaluated_at,
            "tools": { "components": std::iter::once(imgkit).chain(tools).collect::<Vec<_>>() },
            "component": {
                "type": "operating-system", "bom-ref": "image", "name": image.name, "version": format!("epoch {}", image.epoch),
            },
        },
        "components": components.collect::<Vec<_>>(),
    });
    let serial = serial(&identity(&document));
    if let Some(members) = document.as_object_mut() {
        members.insert("serialNumber".to_owned(), serial.into());
    }
    document
}

fn component(number: usize, part: &Part<'_>) -> Value {
    let id = format!("component-{number}");
    let mut component = named(
        "container",
        &id,
        part.name(),
        &part.version(),
        &part.document,
        &purl::image(part),
    );
    if !part.packages.is_empty() {
        let packages = part.packages.iter().map(|package| debian(&id, package));
        component.insert("components".to_owned(), packages.collect());
    }
    component.into()
}

fn debian(inside: &str, package: &Package) -> Value {
    let purl = purl::debian(package);
    let id = format!("{inside}/{purl}");
    let mut component = named("library", &id, &package.name, &package.version, &package.sha256, &purl);
    component.insert("supplier".to_owned(), json!({ "name": "Debian" }));
    if !package.licenses.is_empty() {
        let licenses = package.licenses.iter().map(|name| match license::spdx_id(name) {
            Some(id) => json!({ "license": { "id": id } }),
            None => json!({ "license": { "name": name } }),
        });
        component.insert("licenses".to_owned(), licenses.collect());
    }
    component.into()
}

fn named(kind: &str, id: &str, name: &str, version: &str, digest: &Digest, purl: &str) -> Map<String, Value> {
    let algorithm = match digest {
        Digest::Sha256(_) => "SHA-256",
        Digest::Sha512(_) => "SHA-512",
    };
    let component = [
        ("type", json!(kind)),
        ("bom-ref", json!(id)),
        ("name", json!(name)),
        ("version", json!(version)),
        ("hashes", json!([{ "alg": algorithm, "content": digest.hex() }])),
        ("purl", json!(purl)),
    ];
    component
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Makes a UUID of an identity of 64 hexadecimal digits (RFC 9562, version 8: what it is made of is the maker's own).
fn serial(identity: &str) -> String {
    let part = |from: usize, to: usize| identity.get(from..to).unwrap_or_default();
    format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(18, 30)
    )
}
