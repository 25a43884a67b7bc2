//! What a build says of its image for others to read: checked by the validators of those who made the formats.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::images::{CONFIG, MANIFEST, reference};
use common::node::{NOW, Node};
use common::python;
use imgkit::digest::Digest;
use imgkit::oci::PACKAGES;
use imgkit::store::layout::Layout;
use serde_json::{Value, json};

/// Gives the component `svc` the label of packages, and has it signed again.
fn name_packages(node: &Node) {
    let packages = json!([
        { "name": "libstdc++6", "version": "12.2.0-14+deb12u1", "architecture": "amd64", "sha256": Digest::sha256(b"a"),
          "licenses": ["Expat", "GPL-3+ with GCC-exception", "public-domain"] },
        { "name": "openssh-server", "version": "1:9.2p1-2~deb12", "architecture": "amd64", "sha256": Digest::sha256(b"b") },
    ]);
    let layout = Layout::open_or_create(node.path("store")).unwrap();
    let name = reference("local.test/svc:v1");
    let (_, manifest) = layout.document(&name).unwrap().unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let digest = manifest["config"]["digest"].as_str().unwrap().replace(':', "/");
    let config = fs::read(node.path("store").join("blobs").join(digest)).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["config"]["Labels"] = json!({ PACKAGES: packages.to_string() });
    let writer = layout.writer().unwrap();
    manifest["config"] = json!(writer.put(CONFIG, &mut config.to_string().as_bytes()).unwrap());
    let manifest = writer.put(MANIFEST, &mut manifest.to_string().as_bytes()).unwrap();
    writer.tag(&name, &manifest).unwrap();
    node.good(&["trust", "sign", "--at", NOW, "local.test/svc:v1"]);
}

/// A node with packages, built into `out`.
fn built() -> Node {
    let node = Node::new();
    name_packages(&node);
    let build = Node::build_args("out", &["--format", "qcow2-bios"]);
    node.good(&build);
    node
}

fn read(node: &Node, name: &str) -> Value {
    serde_json::from_slice(&fs::read(node.path("out").join(name)).unwrap()).unwrap()
}

#[test]
fn provenance_is_about_the_files_and_bills_are_those_in_the_seal() {
    let node = built();
    let statement = read(&node, "node.provenance.json");
    let disk = fs::read(node.path("out/node.qcow2")).unwrap();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], Digest::sha256(&disk).hex());
    let shown = |name: &str| {
        let text = node.text(&["show", "out/node.qcow2", "--document", name]);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(shown("provenance"), statement["predicate"]);
    assert_eq!(shown("spdx"), read(&node, "node.spdx.json"));
    assert_eq!(shown("cdx"), read(&node, "node.cdx.json"));
    let locators = read(&node, "node.cdx.json")["components"].to_string();
    assert!(
        locators.contains("pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64"),
        "{locators}"
    );
}

#[test]
fn the_validators_of_spdx_and_cyclonedx_find_no_fault_and_find_one_that_was_made() {
    let node = built();
    let python = python(
        "sbom-validators",
        &["spdx-tools==0.8.3", "cyclonedx-python-lib[json-validation]==11.5.0"],
    );
    let validates = |script: &str, path: PathBuf| {
        let output = Command::new(&python).args(["-c", script]).arg(path).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let spdx = "\
import sys
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
faults = validate_full_spdx_document(parse_file(sys.argv[1]))
sys.exit('\\n'.join(fault.validation_message for fault in faults) or 0)";
    let cyclonedx = "\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))";
    for (script, name, from, to) in [
        (spdx, "node.spdx.json", "pkg:deb", "deb"),
        (cyclonedx, "node.cdx.json", "\"library\"", "\"libary\""),
    ] {
        let path = node.path("out").join(name);
        let (good, said) = validates(script, path.clone());
        assert!(good, "{name}: {said}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        let broken = node.path(name);
        fs::write(&broken, text.replace(from, to)).unwrap();
        assert!(!validates(script, broken).0, "{name}");
    }
}
