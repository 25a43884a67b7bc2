//! Changes to what the seal says and holds.

use super::common::forge::Forge;
use super::{Case, OF_GENERATED, OF_SEAL, SVC};
use imgkit::digest::Digest;
use imgkit::seal::statement::{Layout, Statement};
use imgkit::tree::{Entry, TreePath, list};

/// Changes to what the seal says and holds.
pub(crate) const OF_STATEMENTS: &[Case] = &[
    ("another command line", OF_SEAL, |forge| {
        forge.predicate().cmdline.push_str(" quiet")
    }),
    ("a record twice", "record of local.test/boot:v1 in seal of @", |forge| {
        let first = forge.predicate().components[0].clone();
        forge.predicate().components.insert(1, first.clone());
    }),
    (
        "a record too many",
        "record of local.test/more:v1 in seal of @",
        |forge| {
            let mut last = forge.predicate().components.last().unwrap().clone();
            last.reference = "local.test/more:v1".parse().unwrap();
            forge.predicate().components.push(last);
        },
    ),
    ("a record less", "local.test/svc:v1", |forge| {
        drop(forge.predicate().components.pop())
    }),
    (
        "a record of another tree",
        "record of local.test/svc:v1 in seal of @",
        |forge| {
            forge.predicate().components[3].tree = Digest::sha256(b"");
        },
    ),
    (
        "a record of another manifest",
        "record of local.test/svc:v1 in seal of @",
        |forge| {
            forge.predicate().components[3].manifest = Digest::sha256(b"");
        },
    ),
    (
        "a record of another component's document",
        "local.test/svc:v1",
        |forge| {
            let predicate = forge.predicate();
            predicate.components[3].document = predicate.components[0].document;
        },
    ),
    ("a tree list that nobody signed", "local.test/svc:v1", |forge| {
        with_unsigned_tree(forge, false)
    }),
    (
        "a tree list that nobody signed, recorded",
        "local.test/svc:v1",
        |forge| with_unsigned_tree(forge, true),
    ),
    ("no tree list", "local.test/svc:v1", |forge| {
        let tree = format!("tree/{}", forge.predicate().components[3].tree);
        forge.documents.remove(&tree).unwrap();
    }),
    ("another image configuration", "local.test/svc:v1 (", |forge| {
        let manifest = format!("oci/{}", forge.predicate().components[3].manifest);
        let manifest: serde_json::Value = serde_json::from_slice(&forge.documents[&manifest]).unwrap();
        let config = format!("oci/{}", manifest["config"]["digest"].as_str().unwrap());
        let config = forge.documents.get_mut(&config).unwrap();
        *config = String::from_utf8_lossy(config).replace("/bin/x", "/bin/y").into_bytes();
    }),
    ("records in another order", OF_SEAL, |forge| {
        forge.predicate().components.swap(0, 1)
    }),
    ("another specification", OF_GENERATED, |forge| {
        let text = String::from_utf8(forge.documents["spec"].clone()).unwrap();
        let text = text.replace("contents: node", "contents: edon").into_bytes();
        let (old, new) = (forge.predicate().spec.digest, Digest::sha256(&text));
        forge.predicate().spec.digest = new;
        forge.documents.insert("spec".into(), text);
        replace(forge, "attest/provenance", &old.hex(), &new.hex());
    }),
    ("a specification that is not recorded", OF_SEAL, |forge| {
        forge.documents.get_mut("spec").unwrap().push(b'\n');
    }),
    ("an input that nothing names", OF_SEAL, |forge| {
        let mut input = forge.predicate().spec.clone();
        input.name = "hidden".into();
        forge.predicate().sources.push(input);
    }),
    ("no timestamp among the trust metadata", OF_SEAL, |forge| {
        let there = forge.documents.remove("trust/platform/timestamp.json");
        assert!(there.is_some());
    }),
    ("no trust metadata", OF_SEAL, |forge| {
        forge.documents.retain(|name, _| !name.starts_with("trust/"))
    }),
    ("a document that nothing asks for", OF_SEAL, |forge| {
        forge.documents.insert("junk".into(), b"x".to_vec());
    }),
    ("a bill of materials under a name of its own", OF_SEAL, |forge| {
        let document = forge.documents["attest/cdx"].clone();
        forge.documents.insert("attest/cdy".into(), document);
    }),
    ("the list of a tree that is in no component", OF_SEAL, |forge| {
        let text = list::write(&imgkit::tree::Tree::default()).into_bytes();
        forge.documents.insert(format!("tree/{}", Digest::sha256(&text)), text);
    }),
    ("another provenance", "provenance document in seal of @", |forge| {
        replace(forge, "attest/provenance", "local.test/svc", "local.test/svd");
    }),
    ("another bill of materials", "spdx document in seal of @", |forge| {
        replace(forge, "attest/spdx", "\"svc\"", "\"svd\"");
    }),
    ("no bill of materials", "cdx document in seal of @", |forge| {
        forge.documents.remove("attest/cdx").unwrap();
    }),
    ("a second subject", OF_SEAL, |forge| {
        let first = forge.statement.subject[0].clone();
        forge.statement.subject.push(first);
    }),
    ("another name", OF_SEAL, |forge| forge.predicate().name = "other".into()),
    ("a mark that it is unsafe", OF_SEAL, |forge| {
        forge.predicate().unsafe_accept_unsigned = true
    }),
    ("another length", "length of @", |forge| {
        forge.lie = Some(|statement| layout(statement, |length, _| *length += 512))
    }),
    ("another place of the seal", "seal locator of @", |forge| {
        forge.lie = Some(|statement| layout(statement, |_, offset| *offset += 4096));
    }),
];

fn replace(forge: &mut Forge, document: &str, from: &str, to: &str) {
    let document = forge.documents.get_mut(document).unwrap();
    let text = String::from_utf8(document.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    *document = text.replace(from, to).into_bytes();
}

fn layout(statement: &mut Statement, change: impl Fn(&mut u64, &mut u64)) {
    match &mut statement.predicate.layout {
        Layout::Bios {
            length, seal_offset, ..
        } => change(length, seal_offset),
        Layout::Files { .. } => panic!("a disk's statement"),
    }
}

/// Puts a program into a component: in its segment, in its tree list, and with `recorded` in the statement.
fn with_unsigned_tree(forge: &mut Forge, recorded: bool) {
    forge.repack(SVC, |segment| segment.write("bin/app", b"other"));
    let record = &mut forge.statement.predicate.components[3];
    let name = format!("tree/{}", record.tree);
    let mut tree = list::parse(&forge.documents[&name]).unwrap();
    let program = TreePath::parse("bin/app").unwrap();
    tree.entry_mut(&program).unwrap().node = Entry::file(0, b"other").node;
    let text = list::write(&tree).into_bytes();
    if recorded {
        record.tree = list::digest(&tree);
        forge.documents.remove(&name);
        forge.documents.insert(format!("tree/{}", record.tree), text);
    } else {
        forge.documents.insert(name, text);
    }
}
