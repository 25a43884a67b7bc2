//! The local store under a hostile disk: changed layers, killed writers, other users, a full disk, two at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::images::{self, noise, reference};
use common::line::{Fault, Line};
use common::registry::DockerRegistry;
use common::users::{make_read_only, make_writable, stranger};
use common::{imgkit, in_home, in_mounts_of_its_own, run, store_in, succeed};
use imgkit::digest::Digest;
use imgkit::failure::{Code, Failure};
use imgkit::format::compress::Compression;
use imgkit::store::layout::Layout;
use imgkit::store::registry::{Credentials, Registry};
use imgkit::store::spool::Spool;
use imgkit::store::{Resolver, Source, image_tree};
use imgkit::tree::Tree;
use imgkit::tree::contents::{Contents, HashOnly};
use tempfile::TempDir;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn layout() -> (TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(dir.path().join("store")).unwrap();
    (dir, layout)
}

fn tree(layout: &Layout, name: &str) -> Result<Tree, Failure> {
    let image = layout.image(&reference(name), &"linux/amd64".parse().unwrap())?;
    image_tree(layout, name, &image, &mut HashOnly)
}

fn code(failure: Failure) -> Code {
    match failure {
        Failure::Refused(refusals) => refusals[0].code,
        other => panic!("{other}"),
    }
}

#[test]
fn an_images_contents_come_back_from_the_spool() {
    let (dir, layout) = layout();
    let content = noise(1, 100_000);
    images::put(&layout, "r.example/a:1", &[("bin/x", &content), ("bin/y", &content)]);
    let image = layout
        .image(&reference("r.example/a:1"), &"linux/amd64".parse().unwrap())
        .unwrap();
    let mut spool = Spool::within(dir.path()).unwrap();
    let tree = image_tree(&layout, "it", &image, &mut spool).unwrap();
    assert_eq!(tree.content_bytes(), 200_000);
    assert_eq!(spool.len(), 100_000);
    let mut back = Vec::new();
    spool
        .open(&Digest::sha256(&content))
        .unwrap()
        .read_to_end(&mut back)
        .unwrap();
    assert_eq!(back, content);
}

#[test]
fn a_layer_with_any_other_byte_gives_no_tree() {
    for compression in [Compression::Gzip, Compression::None, Compression::Zstd] {
        let (_dir, layout) = layout();
        let writer = layout.writer().unwrap();
        let manifest = images::put_files(&writer, "amd64", compression, &[("bin/x", &noise(2, 3000))]);
        let name = format!("r.example/a@{}", manifest.digest);
        let image = layout
            .image(&reference(&name), &"linux/amd64".parse().unwrap())
            .unwrap();
        let path = layout
            .dir()
            .join("blobs/sha256")
            .join(image.layers()[0].descriptor.digest.hex());
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(41) {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, flipped).unwrap();
            assert_eq!(
                code(tree(&layout, &name).unwrap_err()),
                Code::DigestMismatch,
                "{compression:?}, byte {at}"
            );
            fs::write(&path, &good[..at]).unwrap();
            assert_eq!(
                code(tree(&layout, &name).unwrap_err()),
                Code::DigestMismatch,
                "{compression:?}, cut at {at}"
            );
        }
        fs::write(&path, &good).unwrap();
        tree(&layout, &name).unwrap();
    }
}

#[test]
fn a_layer_that_unpacks_to_something_else_than_the_config_says_is_refused() {
    let (_dir, layout) = layout();
    let archive = images::tar(&[("x", b"x")]);
    let (media_type, blob) = images::pack(Compression::Gzip, &archive);
    let writer = layout.writer().unwrap();
    let name = |blob: (&str, &[u8]), diff_id| {
        let manifest = images::put_layer(&writer, "amd64", blob, diff_id);
        format!("r.example/a@{}", manifest.digest)
    };
    let diff_id = Digest::sha256(&archive);
    tree(&layout, &name((media_type, &blob), diff_id)).unwrap();
    let other = name((media_type, &blob), Digest::sha256(b"other"));
    assert_eq!(code(tree(&layout, &other).unwrap_err()), Code::DigestMismatch);
    // All digests are right, and the content is none of what the media type promises.
    let long = [&blob[..], b"more"].concat();
    for (media_type, blob, diff_id) in [
        (GZIP, &b"no gzip"[..], Digest::sha256(b"no gzip")),
        (GZIP, &long, diff_id),
        (
            "application/vnd.oci.image.layer.v1.tar",
            &[7; 2048],
            Digest::sha256(&[7; 2048]),
        ),
    ] {
        let wrong = name((media_type, blob), diff_id);
        assert_eq!(
            code(tree(&layout, &wrong).unwrap_err()),
            Code::Malformed,
            "{media_type}"
        );
    }
}

#[test]
fn a_layer_that_is_not_here_is_not_known_rather_than_wrong() {
    let (_dir, layout) = layout();
    images::put(&layout, "r.example/a:1", &[("x", b"x")]);
    let image = layout
        .image(&reference("r.example/a:1"), &"linux/amd64".parse().unwrap())
        .unwrap();
    assert!(layout.holds(&image));
    let layer = image.layers()[0].descriptor.digest;
    fs::remove_file(layout.dir().join("blobs/sha256").join(layer.hex())).unwrap();
    assert!(!layout.holds(&image));
    assert!(matches!(
        tree(&layout, "r.example/a:1"),
        Err(Failure::Unavailable { .. })
    ));
}

/// A registry that holds `a:1` to `a:N`, all different.
fn registry_with(images: u64, size: usize) -> DockerRegistry {
    let docker = DockerRegistry::start();
    let (_dir, layout) = layout();
    let registry = Registry::new(Credentials::default()).unwrap();
    for n in 1..=images {
        let name = format!("{}/a:{n}", docker.host());
        images::put(&layout, &name, &[("bin/x", &noise(n, size))]);
        registry
            .push(&layout, &reference(&name), &reference(&name), &())
            .unwrap();
    }
    docker
}

#[test]
fn two_processes_at_once_on_one_store_lose_nothing() {
    let docker = registry_with(6, 200_000);
    let home = tempfile::tempdir().unwrap();
    let pull = |numbers: [u64; 3]| {
        let names = numbers.map(|n| format!("{}/a:{n}", docker.host()));
        imgkit(home.path())
            .args(["cache", "pull"])
            .args(names)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children = [pull([1, 2, 3]), pull([4, 5, 6]), pull([3, 4, 5])];
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = Layout::open(store_in(home.path())).unwrap();
    assert_eq!(store.list().unwrap().len(), 6);
    assert!(store.check().unwrap().is_good());
}

#[test]
fn a_pull_that_is_killed_leaves_the_store_whole() {
    let docker = registry_with(2, 300_000);
    let line = Line::to(docker.host(), Fault::Slow(Duration::from_millis(10)));
    let home = tempfile::tempdir().unwrap();
    let pull = |host: &str, n: u64| {
        let mut command = imgkit(home.path());
        command
            .args(["cache", "pull", &format!("{host}/a:{n}")])
            .stdout(Stdio::null());
        command
    };
    succeed(&mut pull(docker.host(), 1));
    let blobs = store_in(home.path()).join("blobs/sha256");
    let partial = || {
        fs::read_dir(&blobs)
            .unwrap()
            .filter(|entry| is_partial(&entry.as_ref().unwrap().path()))
            .count()
    };
    let mut seen_partial = false;
    for pause in (5..150).step_by(12) {
        let mut child = pull(line.host(), 2).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(
            ended.signal(),
            Some(9),
            "the pull was done after {pause} ms; make the line slower"
        );
        seen_partial |= partial() > 0;
        let store = Layout::open(store_in(home.path())).unwrap();
        assert_eq!(store.list().unwrap().len(), 1);
        assert!(store.check().unwrap().is_good(), "killed after {pause} ms");
    }
    assert!(seen_partial, "no pull was killed while it wrote");
    succeed(&mut pull(docker.host(), 2));
    assert_eq!(partial(), 0, "what killed processes left behind is gone");
    assert!(Layout::open(store_in(home.path())).unwrap().check().unwrap().is_good());
}

fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "partial")
}

#[test]
fn a_store_of_another_user_is_read_and_not_written() {
    let home = tempfile::tempdir().unwrap();
    let store = Layout::open_or_create(home.path().join("store")).unwrap();
    images::put(&store, "r.example/a:1", &[("x", b"x")]);
    let docker = registry_with(1, 1000);
    make_read_only(store.dir());
    let program = stranger(Path::new(env!("CARGO_BIN_EXE_imgkit")), home.path());
    let imgkit = |args: &[&str]| {
        let mut command = in_home(Path::new(program.get_program()), home.path());
        command
            .args(program.get_args())
            .args(args)
            .env("IMGKIT_STORE", store.dir());
        run(&mut command)
    };
    let (code, text) = imgkit(&["cache", "ls"]);
    assert!(code == 0 && text.contains("r.example/a:1"), "{text}");
    assert_eq!(imgkit(&["cache", "verify"]).0, 0);
    for write in [
        vec!["cache", "rm", "r.example/a:1"],
        vec!["cache", "pull", &format!("{}/a:1", docker.host())],
    ] {
        let (code, text) = imgkit(&write);
        assert!(
            code == 3 && text.contains("ermission denied"),
            "{write:?}: {code} {text}"
        );
    }
    make_writable(store.dir());
    assert!(store.check().unwrap().is_good());
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn what_a_read_only_store_lacks_is_pulled_beside_it() {
    let home = tempfile::tempdir().unwrap();
    let store = Layout::open_or_create(home.path().join("store")).unwrap();
    images::put(&store, "r.example/a:1", &[("x", b"x")]);
    let docker = registry_with(1, 1000);
    make_read_only(store.dir());
    // A process can only become another user as a whole, so this test runs itself again, as that user.
    let program = stranger(&std::env::current_exe().unwrap(), home.path());
    let mut command = in_home(Path::new(program.get_program()), home.path());
    command
        .args(program.get_args())
        .args(["--exact", "resolves_beside_a_read_only_store", "--ignored"]);
    command
        .env("IMGKIT_TEST_STORE", store.dir())
        .env("IMGKIT_TEST_HOST", docker.host());
    let text = succeed(&mut command);
    assert!(text.contains("1 passed"), "{text}");
    make_writable(store.dir());
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
#[ignore = "run by what_a_read_only_store_lacks_is_pulled_beside_it, as another user"]
fn resolves_beside_a_read_only_store() {
    let store = Layout::open(std::env::var_os("IMGKIT_TEST_STORE").unwrap()).unwrap();
    let host = std::env::var("IMGKIT_TEST_HOST").unwrap();
    assert!(store.writer().is_err());
    let registry = Registry::new(Credentials::default()).unwrap();
    let resolver = Resolver::online(store, registry, &std::env::temp_dir(), Box::new(())).unwrap();
    let platform = "linux/amd64".parse().unwrap();
    for name in ["r.example/a:1", &format!("{host}/a:1")] {
        let image = resolver.image(&reference(name), &platform).unwrap();
        image_tree(&resolver, name, &image, &mut HashOnly).unwrap();
    }
}

#[test]
fn the_local_store_is_asked_first_and_alone_when_offline() {
    let docker = registry_with(1, 1000);
    let (dir, store) = layout();
    let platform = "linux/amd64".parse().unwrap();
    let local = images::put(&store, "127.0.0.1:1/unreachable:1", &[("x", b"x")]);
    let registry = Registry::new(Credentials::default()).unwrap();
    let online = Resolver::online(store.clone(), registry, dir.path(), Box::new(())).unwrap();
    let image = online
        .image(&reference("127.0.0.1:1/unreachable:1"), &platform)
        .unwrap();
    assert_eq!(image.digest(), &local.digest);
    let name = reference(&format!("{}/a:1", docker.host()));
    let offline = Resolver::offline(store.clone());
    assert!(matches!(
        offline.image(&name, &platform),
        Err(Failure::Unavailable { .. })
    ));
    let image = online.image(&name, &platform).unwrap();
    assert_eq!(offline.image(&name, &platform).unwrap(), image);
    // What was pulled and then lost in part is completed.
    let layer = image.layers()[0].descriptor.digest;
    fs::remove_file(store.dir().join("blobs/sha256").join(layer.hex())).unwrap();
    assert!(matches!(
        offline.image(&name, &platform),
        Err(Failure::Unavailable { .. })
    ));
    online.image(&name, &platform).unwrap();
    assert!(store.check().unwrap().is_good());
}

#[test]
fn a_full_disk_leaves_the_store_whole() {
    let docker = registry_with(1, 4_000_000);
    let home = tempfile::tempdir().unwrap();
    let mount = home.path().join("small");
    fs::create_dir(&mount).unwrap();
    let script = r#"set -u
        mount -t tmpfs -o size=2m tmpfs "$MOUNT" || exit 99
        "$IMGKIT" cache pull "$IMAGE"; echo "pull: $?"
        "$IMGKIT" cache verify; echo "verify: $?"
        "$IMGKIT" cache ls; find "$MOUNT" -name '*.partial'"#;
    let mut command = in_mounts_of_its_own(home.path());
    command.args(["sh", "-c", script]);
    command
        .env("IMGKIT", env!("CARGO_BIN_EXE_imgkit"))
        .env("IMAGE", format!("{}/a:1", docker.host()));
    command.env("MOUNT", &mount).env("IMGKIT_STORE", mount.join("store"));
    let text = succeed(&mut command);
    assert!(text.contains("pull: 3") && text.contains("No space left"), "{text}");
    assert!(text.contains("verify: 0") && !text.contains(".partial"), "{text}");
}

#[test]
fn what_another_tool_names_is_read_by_its_full_name() {
    let (_dir, store) = layout();
    images::put(&store, "r.example/a:1", &[("x", b"x")]);
    let copy = tempfile::tempdir().unwrap();
    let from = format!("oci:{}:r.example/a:1", store.dir().display());
    let to = format!("oci:{}:r.example/b:2", copy.path().join("oci").display());
    succeed(Command::new("skopeo").args(["--insecure-policy", "copy", "-q", &from, &to]));
    let copied = Layout::open(copy.path().join("oci")).unwrap();
    assert_eq!(copied.list().unwrap()[0].0, reference("r.example/b:2"));
    assert_eq!(
        tree(&copied, "r.example/b:2").unwrap(),
        tree(&store, "r.example/a:1").unwrap()
    );
}

#[test]
fn a_changed_blob_is_a_verdict_of_cache_verify() {
    let home = tempfile::tempdir().unwrap();
    let store = Layout::open_or_create(store_in(home.path())).unwrap();
    images::put(&store, "r.example/a:1", &[("x", b"x")]);
    let image = store
        .image(&reference("r.example/a:1"), &"linux/amd64".parse().unwrap())
        .unwrap();
    let layer = image.layers()[0].descriptor.digest;
    let path = store.dir().join("blobs/sha256").join(layer.hex());
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 4;
    fs::write(&path, bytes).unwrap();
    let (code, text) = run(imgkit(home.path()).args(["--output", "json", "cache", "verify"]));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, report["verdict"].as_str()), (1, Some("refused")));
    let refusal = &report["result"]["refusals"][0];
    assert_eq!(refusal["code"], "DIGEST_MISMATCH");
    assert!(refusal["expected"].as_str().unwrap().contains(&layer.hex()));
}
