//! A store with its blobs changed, cut, removed, and written by many at once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use std::fs;

use super::*;
use crate::failure::Code;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn named(name: &str) -> Reference {
    name.parse().unwrap()
}

fn code(failure: Failure) -> Code {
    match failure {
        Failure::Refused(refusals) => refusals[0].code,
        other => panic!("{other}"),
    }
}

/// Puts a small image whose layer is `content` and tags it.
fn put(layout: &Layout, name: &str, content: &[u8]) -> (Descriptor, Descriptor) {
    let writer = layout.writer().unwrap();
    let layer = writer.put(LAYER, &mut &*content).unwrap();
    let config = writer.put(CONFIG, &mut &b"{}"[..]).unwrap();
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let manifest = writer.put(MANIFEST, &mut manifest.to_string().as_bytes()).unwrap();
    writer.tag(&named(name), &manifest).unwrap();
    (manifest, layer)
}

fn layout() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(dir.path().join("store")).unwrap();
    (dir, layout)
}

#[test]
fn finds_documents_by_tag_and_by_digest() {
    let (_dir, layout) = layout();
    let (manifest, _) = put(&layout, "r.example/a:1", b"one");
    let (found, bytes) = layout.document(&named("r.example/a:1")).unwrap().unwrap();
    assert_eq!(found.digest, manifest.digest);
    assert_eq!(Digest::sha256(&bytes), manifest.digest);
    let pinned = named(&format!("r.example/a:1@{}", manifest.digest));
    assert_eq!(layout.document(&pinned).unwrap().unwrap().0, found);
    assert!(layout.document(&named("r.example/a:2")).unwrap().is_none());
    let other = named(&format!("r.example/a:1@{}", Digest::sha256(b"other")));
    assert!(layout.document(&other).unwrap().is_none());
    assert_eq!(layout.list().unwrap().len(), 1);
}

#[test]
fn every_changed_bit_and_every_cut_is_noticed_on_reading() {
    let (_dir, layout) = layout();
    let (_, layer) = put(&layout, "r.example/a:1", b"0123456789");
    let path = layout.blob_path(&layer.digest);
    let good = fs::read(&path).unwrap();
    let mut wrong: Vec<Vec<u8>> = (0..good.len()).map(|n| good[..n].to_vec()).collect();
    wrong.push([&good[..], b"x"].concat());
    wrong.extend((0..good.len() * 8).map(|bit| {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    }));
    for bytes in wrong {
        fs::write(&path, &bytes).unwrap();
        assert!(!layout.is_intact(&layer));
        let refused = layout.blob_bytes(&layer, 100).unwrap_err();
        assert_eq!(code(refused), Code::DigestMismatch, "{bytes:?}");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(layout.blob_bytes(&layer, 100).unwrap(), good);
}

#[test]
fn a_swapped_blob_of_the_same_size_is_noticed() {
    let (_dir, layout) = layout();
    let (one, _) = put(&layout, "r.example/a:1", b"one");
    let (two, _) = put(&layout, "r.example/a:2", b"two");
    fs::copy(layout.blob_path(&one.digest), layout.blob_path(&two.digest)).unwrap();
    let refused = layout.document(&named("r.example/a:2")).unwrap_err();
    assert_eq!(code(refused), Code::DigestMismatch);
    let check = layout.check().unwrap();
    assert_eq!(check.refusals.len(), 2, "the blob, and the image that it is");
}

#[test]
fn an_absent_blob_is_not_known_rather_than_wrong() {
    let (_dir, layout) = layout();
    let (_, layer) = put(&layout, "r.example/a:1", b"one");
    fs::remove_file(layout.blob_path(&layer.digest)).unwrap();
    assert!(matches!(
        layout.blob_bytes(&layer, 100),
        Err(Failure::Unavailable { .. })
    ));
    let check = layout.check().unwrap();
    assert_eq!((check.refusals.len(), check.missing.len()), (0, 1));
}

#[test]
fn takes_only_the_bytes_that_were_named() {
    let (_dir, layout) = layout();
    let writer = layout.writer().unwrap();
    let wanted = Descriptor::of(LAYER, b"wanted");
    for content in [&b"want"[..], b"wanteD", b"wanted more"] {
        let refused = writer.put_exactly(&wanted, &mut &*content).unwrap_err();
        assert_eq!(code(refused), Code::DigestMismatch);
        assert!(!layout.is_intact(&wanted));
    }
    writer.put_exactly(&wanted, &mut &b"wanted"[..]).unwrap();
    assert!(layout.is_intact(&wanted));
    assert_eq!(fs::read_dir(layout.blobs_dir("sha256")).unwrap().count(), 1);
}

#[test]
fn removing_an_image_keeps_what_others_need() {
    let (_dir, layout) = layout();
    let (_, one) = put(&layout, "r.example/a:1", b"one");
    let (_, two) = put(&layout, "r.example/a:2", b"two");
    let removed = layout.remove(&[named("r.example/a:1")]).unwrap();
    assert_eq!((removed.names, removed.blobs, removed.busy), (1, 2, false));
    assert!(!layout.is_intact(&one));
    assert!(layout.is_intact(&two));
    assert!(layout.check().unwrap().is_good());
    let other = named(&format!("r.example/a:2@{}", one.digest));
    assert!(matches!(layout.remove(&[other]), Err(Failure::Unavailable { .. })));
    let again = layout.remove(&[named("r.example/a:1")]);
    assert!(matches!(again, Err(Failure::Unavailable { .. })));
}

#[test]
fn nothing_is_collected_while_another_writes() {
    let (_dir, layout) = layout();
    put(&layout, "r.example/a:1", b"one");
    let writer = layout.writer().unwrap();
    let fresh = writer.put(LAYER, &mut &b"not tagged yet"[..]).unwrap();
    let removed = layout.remove(&[named("r.example/a:1")]).unwrap();
    assert!(removed.busy);
    assert!(layout.is_intact(&fresh));
    drop(writer);
    let removed = layout.remove(&[]).unwrap();
    assert_eq!((removed.blobs, removed.busy), (4, false));
}

#[test]
fn no_blob_goes_while_a_named_document_is_broken() {
    let (_dir, layout) = layout();
    let (one, layer) = put(&layout, "r.example/a:1", b"one");
    put(&layout, "r.example/a:2", b"two");
    fs::write(layout.blob_path(&one.digest), b"{}").unwrap();
    let refused = layout.remove(&[named("r.example/a:2")]).unwrap_err();
    assert_eq!(code(refused), Code::DigestMismatch);
    assert!(layout.is_intact(&layer));
}

#[test]
fn many_writers_lose_nothing() {
    let (dir, layout) = layout();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let dir = dir.path().join("store");
            scope.spawn(move || {
                let layout = Layout::open_or_create(dir).unwrap();
                for n in 0..5 {
                    put(
                        &layout,
                        &format!("r.example/t{thread}:{n}"),
                        format!("{thread} {n}").as_bytes(),
                    );
                }
            });
        }
    });
    assert_eq!(layout.list().unwrap().len(), 20);
    assert!(layout.check().unwrap().is_good());
}

#[test]
fn keeps_entries_of_other_tools_and_the_blobs_they_need() {
    let (_dir, layout) = layout();
    let (manifest, layer) = put(&layout, "r.example/a:1", b"one");
    let path = layout.dir().join(INDEX);
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["manifests"][0]["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
    index["annotations"] = json!({ "by": "another" });
    fs::write(&path, index.to_string()).unwrap();
    assert!(layout.list().unwrap().is_empty());
    put(&layout, "r.example/a:2", b"two");
    layout.remove(&[named("r.example/a:2")]).unwrap();
    assert!(layout.is_intact(&manifest) && layout.is_intact(&layer));
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(kept["annotations"]["by"], "another");
    assert_eq!(kept["manifests"].as_array().unwrap().len(), 1);
}

#[test]
fn is_made_anew_after_a_creation_that_was_killed_but_not_among_other_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("blobs")).unwrap();
    fs::write(dir.path().join(".imgkit-x.partial"), "{").unwrap();
    Layout::open_or_create(dir.path()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    assert!(matches!(
        Layout::open_or_create(dir.path()),
        Err(Failure::Malformed { .. })
    ));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn refuses_what_is_no_layout() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Layout::open(dir.path()), Err(Failure::Unavailable { .. })));
    fs::write(dir.path().join(MARKER), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(Layout::open(dir.path()), Err(Failure::Malformed { .. })));
    fs::write(dir.path().join(MARKER), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(dir.path().join(INDEX), "[]").unwrap();
    let layout = Layout::open(dir.path()).unwrap();
    assert!(matches!(layout.list(), Err(Failure::Malformed { .. })));
}
