//! SPDX 2.3 in JSON (ISO/IEC 5962, spdx.github.io/spdx-spec/v2.3): the image contains components, which contain packages.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ImageParts, identity, license, purl};
use crate::oci::Package;

const IMAGE: &str = "SPDXRef-image";

/// Makes the document.
pub(super) fn document(image: &ImageParts<'_>) -> Value {
    let mut parts = Parts::default();
    parts.packages.push(json!({
        "SPDXID": IMAGE, "name": image.name, "versionInfo": format!("epoch {}", image.epoch),
        "primaryPackagePurpose": "OPERATING_SYSTEM",
        "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
    }));
    parts.relate("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE);
    for (number, part) in (1..).zip(&image.components) {
        let id = format!("SPDXRef-component-{number}");
        parts.packages.push(json!({
            "SPDXID": id, "name": part.name(), "versionInfo": part.version(),
            "primaryPackagePurpose": "CONTAINER",
            "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
            "checksums": checksum(&part.document),
            "externalRefs": reference(&purl::image(part)),
            "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
        }));
        parts.relate(IMAGE, "CONTAINS", &id);
        for (number, package) in (1..).zip(&part.packages) {
            let package_id = format!("{id}-package-{number}");
            parts.debian(&package_id, package);
            parts.relate(&id, "CONTAINS", &package_id);
        }
        for (number, package) in (1..).zip(&part.tools) {
            let tool_id = format!("{id}-tool-{number}");
            parts.debian(&tool_id, package);
            parts.relate(&tool_id, "BUILD_TOOL_OF", &id);
        }
    }
    let licenses: Vec<Value> = parts
        .licenses
        .into_iter()
        .map(|(id, name)| extracted(&id, &name))
        .collect();
    let mut document = json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": image.name,
        "creationInfo": { "created": image.evaluated_at, "creators": ["Tool: imgkit"] },
        "packages": parts.packages,
        "relationships": parts.relationships,
    });
    if let (Some(members), false) = (document.as_object_mut(), licenses.is_empty()) {
        members.insert("hasExtractedLicensingInfos".to_owned(), licenses.into());
    }
    let namespace = format!("urn:imgkit:spdx:sha256:{}", identity(&document));
    if let Some(members) = document.as_object_mut() {
        members.insert("documentNamespace".to_owned(), namespace.into());
    }
    document
}

#[derive(Default)]
struct Parts {
    packages: Vec<Value>,
    relationships: Vec<Value>,
    /// Licences that are not in SPDX's list: Debian's names by identifier.
    licenses: BTreeMap<String, String>,
}

impl Parts {
    fn relate(&mut self, from: &str, how: &str, to: &str) {
        self.relationships.push(json!({
            "spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to,
        }));
    }

    fn debian(&mut self, id: &str, package: &Package) {
        let declared = self.declared(package);
        self.packages.push(json!({
            "SPDXID": id, "name": package.name, "versionInfo": package.version,
            "supplier": "Organization: Debian",
            "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
            "checksums": checksum(&package.sha256),
            "externalRefs": reference(&purl::debian(package)),
            "licenseConcluded": "NOASSERTION", "licenseDeclared": declared, "copyrightText": "NOASSERTION",
        }));
    }

    /// Returns a licence expression: parts of the package are under each of the licences.
    fn declared(&mut self, package: &Package) -> String {
        let id = |name: &String| match license::spdx_id(name) {
            Some(id) => id.to_owned(),
            None => {
                let id = license::reference(name);
                self.licenses.insert(id.clone(), name.clone());
                id
            }
        };
        let ids: Vec<String> = package.licenses.iter().map(id).collect();
        match ids.is_empty() {
            true => "NOASSERTION".to_owned(),
            false => ids.join(" AND "),
        }
    }
}

fn extracted(id: &str, name: &str) -> Value {
    let text = format!("The text that usr/share/doc/PACKAGE/copyright has under `License: {name}`.");
    json!({ "licenseId": id, "name": name, "extractedText": text })
}

fn checksum(digest: &crate::digest::Digest) -> Value {
    json!([{ "algorithm": digest.algorithm().to_ascii_uppercase(), "checksumValue": digest.hex() }])
}

fn reference(purl: &str) -> Value {
    json!([{ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl }])
}
