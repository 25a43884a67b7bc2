//! Which tags come into a store, and by whose word.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::oci::MANIFEST;
use crate::store::registry::Credentials;

/// A store with one image, `127.0.0.1:1/a:v1`; the registry of that name answers nobody.
struct Case {
    dir: TempDir,
    store: Layout,
    image: Descriptor,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Layout::open_or_create(dir.path().join("store")).unwrap();
        let case = Self {
            image: put(&store, "amd64"),
            dir,
            store,
        };
        case.tag("v1", &case.image);
        case
    }

    fn tag(&self, tag: &str, document: &Descriptor) {
        self.store.writer().unwrap().tag(&name(tag), document).unwrap();
    }

    fn online(&self) -> Resolver {
        let registry = Registry::new(Credentials::default()).unwrap();
        Resolver::online(self.store.clone(), registry, self.dir.path(), Box::new(())).unwrap()
    }

    fn pair(&self, tag: &str) -> Reference {
        name(&format!("{tag}@{}", self.image.digest))
    }

    /// Finds the image by a tag and its digest, and returns what the tag stands for in the store then.
    fn after(&self, resolver: &Resolver, tag: &str) -> Option<Digest> {
        let found = resolver
            .image(&self.pair(tag), &Platform::new("linux", "amd64"))
            .unwrap();
        assert_eq!(found.digest(), &self.image.digest);
        self.store.named(&name(tag)).unwrap()
    }
}

fn name(tag: &str) -> Reference {
    format!("127.0.0.1:1/a:{tag}").parse().unwrap()
}

fn put(store: &Layout, architecture: &str) -> Descriptor {
    let writer = store.writer().unwrap();
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [] },
    });
    let config = writer.put(
        "application/vnd.oci.image.config.v1+json",
        &mut config.to_string().as_bytes(),
    );
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config.unwrap(), "layers": [],
    });
    writer.put(MANIFEST, &mut manifest.to_string().as_bytes()).unwrap()
}

#[test]
fn a_tag_that_only_the_reference_says_is_not_taken_into_the_store() {
    let case = Case::new();
    assert_eq!(case.after(&case.online(), "v2"), None);
}

#[test]
fn a_tag_that_its_registry_said_is_taken_into_the_store() {
    let case = Case::new();
    let resolver = case.online();
    resolver.hear(&name("v2"), case.image.digest);
    assert_eq!(case.after(&resolver, "v2"), Some(case.image.digest));
}

#[test]
fn what_a_registry_says_moves_no_tag_of_the_store() {
    let case = Case::new();
    let other = put(&case.store, "arm64");
    case.tag("v2", &other);
    let resolver = case.online();
    resolver.hear(&name("v2"), case.image.digest);
    assert_eq!(case.after(&resolver, "v2"), Some(other.digest));
}

#[test]
fn who_only_asks_names_nothing() {
    let case = Case::new();
    let resolver = case.online().asking_first();
    resolver.hear(&name("v2"), case.image.digest);
    assert_eq!(case.after(&resolver, "v2"), None);
}

#[test]
fn a_lock_files_word_moves_a_tag() {
    let case = Case::new();
    case.tag("v2", &put(&case.store, "arm64"));
    let locked = BTreeMap::from([(name("v2"), case.image.digest)]);
    assert_eq!(
        case.after(&case.online().locked(&locked), "v2"),
        Some(case.image.digest)
    );
}

#[test]
fn what_a_tag_stands_for_is_known_though_its_document_is_damaged() {
    let case = Case::new();
    let path = case.store.dir().join("blobs/sha256").join(case.image.digest.hex());
    let whole = std::fs::read(&path).unwrap();
    let platform = Platform::new("linux", "amd64");
    let offline = Resolver::offline(case.store.clone());
    for bytes in [None, Some(&b"changed"[..])] {
        std::fs::remove_file(&path).unwrap();
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let online = case.online();
        assert_eq!(online.digest(&name("v1")), Ok(case.image.digest));
        assert_eq!(online.check_tag(&case.pair("v1")), Ok(()));
        // The registry does not answer, so what is wrong with the store is said.
        assert_eq!(
            online.image(&name("v1"), &platform),
            offline.image(&name("v1"), &platform)
        );
        std::fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_tag_of_the_store_is_compared_with_the_digest_beside_it() {
    let case = Case::new();
    let offline = Resolver::offline(case.store.clone());
    assert_eq!(offline.check_tag(&case.pair("v1")), Ok(()));
    case.tag("v1", &put(&case.store, "arm64"));
    assert!(matches!(offline.check_tag(&case.pair("v1")), Err(Failure::Refused(_))));
    // The registry may say otherwise, and cannot be asked.
    let unknown = case.online().check_tag(&case.pair("v1"));
    assert!(matches!(unknown, Err(Failure::Unavailable { .. })), "{unknown:?}");
    assert!(matches!(
        offline.check_tag(&case.pair("v2")),
        Err(Failure::Unavailable { .. })
    ));
}
