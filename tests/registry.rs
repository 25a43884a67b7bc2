//! Registries: a real one and outside judges, a line that breaks, and registries that lie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::images::{self, noise, reference};
use common::line::{Fault, Line};
use common::notary::{PASSWORD, USER};
use common::registry::{DockerRegistry, free_port, skopeo};
use common::server::{Answer, Server};
use common::{imgkit, run, store_in, succeed};
use imgkit::digest::Digest;
use imgkit::failure::{Code, Failure};
use imgkit::format::compress::Compression;
use imgkit::oci::Descriptor;
use imgkit::store::layout::Layout;
use imgkit::store::registry::{Credentials, Platforms, Registry};
use imgkit::store::{Source, image_tree};
use imgkit::tree::contents::HashOnly;
use serde_json::json;
use tempfile::TempDir;

fn layout() -> (TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(dir.path().join("store")).unwrap();
    (dir, layout)
}

fn registry() -> Registry {
    Registry::new(Credentials::default()).unwrap()
}

fn amd64() -> Platforms {
    Platforms::One("linux/amd64".parse().unwrap())
}

fn pull(layout: &Layout, name: &str) -> Result<Descriptor, Failure> {
    registry().pull(&reference(name), &amd64(), &layout.writer().unwrap(), &())
}

fn code(failure: Failure) -> Code {
    match failure {
        Failure::Refused(refusals) => refusals[0].code,
        other => panic!("{other}"),
    }
}

/// The digest of a blob of `name` in `layout`: its only layer's.
fn layer_of(layout: &Layout, name: &str) -> Digest {
    let image = layout.image(&reference(name), &"linux/amd64".parse().unwrap()).unwrap();
    image.layers()[0].descriptor.digest
}

#[test]
fn pulls_what_skopeo_pushed_and_pushes_what_skopeo_reads() {
    let docker = DockerRegistry::start();
    let (_from_dir, from) = layout();
    let made = images::put(&from, "r.example/a:1", &[("bin/x", &noise(1, 200_000))]);
    docker.skopeo_push(from.dir(), "r.example/a:1", "team/a:1", &[]);

    let (_dir, to) = layout();
    let name = format!("{}/team/a:1", docker.host());
    assert_eq!(pull(&to, &name).unwrap().digest, made.digest);
    assert!(to.check().unwrap().is_good());

    let pushed = format!("{}/other/b:2", docker.host());
    registry()
        .push(&to, &reference(&name), &reference(&pushed), &())
        .unwrap();
    assert_eq!(docker.skopeo_digest("other/b:2"), made.digest.to_string());
    let back = tempfile::tempdir().unwrap();
    let target = format!("oci:{}:back", back.path().join("oci").display());
    let source = format!("docker://{pushed}");
    succeed(skopeo().args(["copy", "-q", "--src-tls-verify=false", &source, &target]));
}

#[test]
fn an_index_goes_through_whole_or_for_one_platform() {
    let docker = DockerRegistry::start();
    let (_from_dir, from) = layout();
    let made = images::put_index(&from, "r.example/a:1", &[("bin/x", b"x")]);
    let name = format!("{}/a:1", docker.host());
    registry()
        .push(&from, &reference("r.example/a:1"), &reference(&name), &())
        .unwrap();
    assert_eq!(docker.skopeo_digest("a:1"), made.digest.to_string());

    let (_dir, one) = layout();
    assert_eq!(pull(&one, &name).unwrap().digest, made.digest);
    assert!(one.check().unwrap().is_good());
    assert!(one.image(&reference(&name), &"linux/amd64".parse().unwrap()).is_ok());
    let arm64 = one.image(&reference(&name), &"linux/arm64".parse().unwrap());
    assert!(matches!(arm64, Err(Failure::Unavailable { .. })));
    let partial = registry().push(
        &one,
        &reference(&name),
        &reference(&format!("{}/b:1", docker.host())),
        &(),
    );
    assert!(matches!(partial, Err(Failure::Unavailable { .. })), "{partial:?}");

    let (_dir, all) = layout();
    let writer = all.writer().unwrap();
    registry()
        .pull(&reference(&name), &Platforms::All, &writer, &())
        .unwrap();
    assert!(all.image(&reference(&name), &"linux/arm64".parse().unwrap()).is_ok());
}

#[test]
fn dockers_media_types_hold_the_same_tree() {
    let docker = DockerRegistry::start();
    let (_from_dir, from) = layout();
    images::put(&from, "r.example/a:1", &[("bin/x", b"x"), ("etc/y", b"yy")]);
    docker.skopeo_push(from.dir(), "r.example/a:1", "a:docker", &["--format", "v2s2"]);
    let (_dir, to) = layout();
    let name = format!("{}/a:docker", docker.host());
    let pulled = pull(&to, &name).unwrap();
    assert_eq!(
        pulled.media_type,
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    let platform = "linux/amd64".parse().unwrap();
    let tree = |layout: &Layout, name: &str| {
        let image = layout.image(&reference(name), &platform).unwrap();
        image_tree(layout, name, &image, &mut HashOnly).unwrap()
    };
    assert_eq!(tree(&to, &name), tree(&from, "r.example/a:1"));
}

#[test]
fn takes_a_broken_connection_up_where_it_broke() {
    let docker = DockerRegistry::start();
    let (_from_dir, from) = layout();
    let size = 3_000_000;
    let made = images::put(&from, "r.example/a:1", &[("bin/x", &noise(2, size))]);
    docker.skopeo_push(from.dir(), "r.example/a:1", "a:1", &[]);
    let line = Line::to(
        docker.host(),
        Fault::Breaks {
            after: 1_000_000,
            times: 2,
        },
    );
    let (_dir, to) = layout();
    assert_eq!(pull(&to, &format!("{}/a:1", line.host())).unwrap().digest, made.digest);
    assert!(to.check().unwrap().is_good());
    // Starting over twice would have taken 5 MB.
    assert!(line.sent() < size as u64 + 500_000, "{} bytes were sent", line.sent());
}

#[test]
fn a_registry_whose_disk_was_changed_is_refused_and_nothing_is_tagged() {
    let docker = DockerRegistry::start();
    let (_from_dir, from) = layout();
    images::put(&from, "r.example/a:1", &[("bin/x", &noise(3, 100_000))]);
    docker.skopeo_push(from.dir(), "r.example/a:1", "a:1", &[]);
    let layer = layer_of(&from, "r.example/a:1");
    let file = docker.blob_file(&layer.hex());
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[50_000] ^= 1;
    let (_dir, to) = layout();
    let name = format!("{}/a:1", docker.host());
    for wrong in [flipped, good[..99_000].to_vec(), [&good[..], b"more"].concat()] {
        fs::write(&file, wrong).unwrap();
        assert_eq!(code(pull(&to, &name).unwrap_err()), Code::DigestMismatch);
        assert!(to.list().unwrap().is_empty());
        assert!(!to.dir().join("blobs/sha256").join(layer.hex()).exists());
    }
    fs::write(&file, good).unwrap();
    pull(&to, &name).unwrap();
    assert!(to.check().unwrap().is_good());
}

#[test]
fn a_broken_store_does_not_reach_a_registry_and_is_mended_by_a_pull() {
    let docker = DockerRegistry::start();
    let (_dir, store) = layout();
    let name = format!("{}/a:1", docker.host());
    images::put(&store, &name, &[("bin/x", &noise(4, 100_000))]);
    let layer = layer_of(&store, &name);
    let path = store.dir().join("blobs/sha256").join(layer.hex());
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[50_000] ^= 1;
    fs::write(&path, &flipped).unwrap();
    let push = || registry().push(&store, &reference(&name), &reference(&name), &());
    assert_eq!(code(push().unwrap_err()), Code::DigestMismatch);
    assert!(!docker.blob_file(&layer.hex()).exists());
    fs::write(&path, &good).unwrap();
    push().unwrap();
    fs::write(&path, &flipped).unwrap();
    pull(&store, &name).unwrap();
    assert!(store.check().unwrap().is_good());
}

/// An image in memory, as a server would hold it.
struct Held {
    manifest: Vec<u8>,
    blobs: Vec<(Digest, Vec<u8>)>,
}

impl Held {
    fn new() -> Self {
        let (_dir, layout) = layout();
        images::put(&layout, "r.example/a:1", &[("x", &noise(5, 50_000))]);
        let image = layout
            .image(&reference("r.example/a:1"), &"linux/amd64".parse().unwrap())
            .unwrap();
        let read = |blob: &Descriptor| (blob.digest, layout.blob_bytes(blob, 1 << 20).unwrap());
        Self {
            manifest: image.manifest().to_vec(),
            blobs: image.blobs().iter().map(read).collect(),
        }
    }

    fn serve(&self, path: &str) -> Answer {
        if path == "/v2/" {
            return Answer::ok("{}");
        }
        if path.contains("/manifests/") {
            return Answer::ok(self.manifest.clone()).with("Content-Type", images::MANIFEST);
        }
        match self
            .blobs
            .iter()
            .find(|(digest, _)| path.ends_with(&digest.to_string()))
        {
            Some((_, blob)) => Answer::ok(blob.clone()),
            None => Answer::status(404),
        }
    }
}

#[test]
fn a_header_that_names_another_digest_than_the_bytes_have_is_refused() {
    let held = Held::new();
    let server = Server::start(move |_, request| {
        let answer = held.serve(&request.path);
        answer.with("Docker-Content-Digest", Digest::sha256(b"something else"))
    });
    let (_dir, store) = layout();
    let refused = pull(&store, &format!("{}/a:1", server.host())).unwrap_err();
    assert_eq!(code(refused), Code::DigestMismatch);
}

#[test]
fn another_document_than_the_reference_pins_is_refused() {
    let held = Held::new();
    let server = Server::start(move |_, request| held.serve(&request.path));
    let (_dir, store) = layout();
    let pinned = format!("{}/a:1@{}", server.host(), Digest::sha256(b"something else"));
    assert_eq!(code(pull(&store, &pinned).unwrap_err()), Code::DigestMismatch);
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn a_document_or_blob_without_end_is_cut_off() {
    let held = Held::new();
    let server = Server::start(move |_, request| match request.path.contains("/manifests/") {
        true => Answer::ok(vec![b' '; 5 << 20]),
        false => held.serve(&request.path),
    });
    let (_dir, store) = layout();
    let refused = pull(&store, &format!("{}/a:1", server.host())).unwrap_err();
    assert_eq!(code(refused), Code::Malformed);

    let held = Held::new();
    let server = Server::start(move |_, request| {
        let mut answer = held.serve(&request.path);
        if request.path.contains("/blobs/") {
            answer.body.extend([0; 1000]);
            // In chunks no length is named beforehand.
            let body = std::mem::take(&mut answer.body);
            answer.body = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
            answer = answer.with("Transfer-Encoding", "chunked").with("Content-Length", "");
            answer.headers.retain(|(_, value)| !value.is_empty());
        }
        answer
    });
    let refused = pull(&store, &format!("{}/a:1", server.host())).unwrap_err();
    assert_eq!(code(refused), Code::DigestMismatch);
}

#[test]
fn a_registry_without_ranges_is_read_again_from_the_start() {
    let held = Held::new();
    let cuts = AtomicUsize::new(0);
    let server = Server::start(move |_, request| {
        let mut answer = held.serve(&request.path);
        if answer.body.len() > 40_000 && cuts.fetch_add(1, Ordering::SeqCst) < 2 {
            let length = answer.body.len();
            answer.body.truncate(30_000);
            answer = answer.with("Content-Length", length);
        }
        answer
    });
    let (_dir, store) = layout();
    pull(&store, &format!("{}/a:1", server.host())).unwrap();
    assert!(store.check().unwrap().is_good());
    assert!(
        server
            .requests()
            .iter()
            .any(|request| request.header("range") == Some("bytes=30000-"))
    );
}

#[test]
fn passing_trouble_is_tried_again() {
    let held = Held::new();
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_, request| match asked.fetch_add(1, Ordering::SeqCst) % 2 {
        1 => Answer::status(503),
        _ => held.serve(&request.path),
    });
    let (_dir, store) = layout();
    pull(&store, &format!("{}/a:1", server.host())).unwrap();
}

#[test]
fn logs_in_for_a_token_and_again_when_it_has_run_out() {
    let held = Held::new();
    let tokens = AtomicUsize::new(0);
    let server = Server::start(move |host, request| {
        if request.path.starts_with("/token") {
            let basic = format!("Basic {}", STANDARD.encode("ali:open sesame"));
            if request.header("authorization") != Some(&basic) {
                return Answer::status(401);
            }
            assert!(request.path.contains("scope=repository%3Aa%3Apull"), "{}", request.path);
            let n = tokens.fetch_add(1, Ordering::SeqCst) + 1;
            return Answer::ok(json!({ "token": format!("token-{n}"), "expires_in": 300 }).to_string());
        }
        // The first token is good for the manifest alone.
        let enough = if request.path.contains("/manifests/") { 1 } else { 2 };
        let shown = request
            .header("authorization")
            .and_then(|text| text.strip_prefix("Bearer token-"));
        if shown.is_some_and(|n| n.parse::<usize>().unwrap() >= enough) {
            return held.serve(&request.path);
        }
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
        Answer::status(401).with("WWW-Authenticate", challenge)
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auth.json");
    let auths = json!({ "auths": { server.host(): { "auth": STANDARD.encode("ali:open sesame") } } });
    fs::write(&file, auths.to_string()).unwrap();
    let registry = Registry::new(Credentials::in_files(vec![file])).unwrap();
    let (_dir, store) = layout();
    let name = reference(&format!("{}/a:1", server.host()));
    registry.pull(&name, &amd64(), &store.writer().unwrap(), &()).unwrap();
    assert!(store.check().unwrap().is_good());
}

#[test]
fn pushes_and_pulls_with_tokens_of_a_real_registrys() {
    let docker = DockerRegistry::with_tokens();
    let home = tempfile::tempdir().unwrap();
    let name = format!("{}/team/a:1", docker.host());
    let store = Layout::open_or_create(store_in(home.path())).unwrap();
    let made = images::put(&store, &name, &[("bin/x", &noise(1, 100_000))]);
    let (code, text) = run(imgkit(home.path()).args(["cache", "push", &name]));
    assert!(code == 3 && text.contains("docker login"), "{text}");
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    docker_config(home.path(), docker.host(), &auth);
    succeed(imgkit(home.path()).args(["cache", "push", &name]));
    succeed(imgkit(home.path()).args(["cache", "rm", &name]));
    let text = succeed(imgkit(home.path()).args(["cache", "pull", &name]));
    assert!(text.contains(&made.digest.to_string()));
}

#[test]
fn pushes_log_in_again_when_a_token_has_run_out() {
    let tokens = AtomicUsize::new(0);
    let puts = AtomicUsize::new(0);
    let server = Server::start(move |host, request| {
        if request.path.starts_with("/token") {
            let n = tokens.fetch_add(1, Ordering::SeqCst) + 1;
            return Answer::ok(json!({ "token": format!("token-{n}") }).to_string());
        }
        // Each token is good for two documents, and the fourth is good for none.
        let shown = request
            .header("authorization")
            .and_then(|text| text.strip_prefix("Bearer token-"));
        let number = shown.and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
        if number == 0 || number == 4 || puts.load(Ordering::SeqCst) >= 2 * number {
            let challenge = format!("Bearer realm=\"http://{host}/token\"");
            return Answer::status(401).with("WWW-Authenticate", challenge);
        }
        puts.fetch_add(1, Ordering::SeqCst);
        Answer::status(201).with("Location", request.path.clone())
    });
    let registry = Registry::new(Credentials::in_files(Vec::new())).unwrap();
    let name = reference(&format!("{}/a:1", server.host()));
    let put = |n: u8| registry.put_document(name.repository(), None, imgkit::oci::MANIFEST, &[n]);
    for n in 0..6 {
        put(n).unwrap();
    }
    let error = put(6).unwrap_err().to_string();
    assert!(error.contains("docker login"), "{error}");
}

#[test]
fn a_token_server_can_neither_flood_nor_listen_in() {
    let name = |server: &Server| reference(&format!("{}/a:1", server.host()));
    let registry = || Registry::new(Credentials::in_files(Vec::new())).unwrap();
    let flood = Server::start(|host, request| match request.path.starts_with("/token") {
        true => Answer::ok(json!({ "token": "t".repeat(300 << 10) }).to_string()),
        false => {
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
            Answer::status(401).with("WWW-Authenticate", challenge)
        }
    });
    let error = registry().document(&name(&flood)).unwrap_err().to_string();
    assert!(error.contains("longer than 262144 bytes"), "{error}");
    let plain = Server::start(|_, _| {
        Answer::status(401).with("WWW-Authenticate", "Bearer realm=\"http://tokens.example/token\"")
    });
    let error = registry().document(&name(&plain)).unwrap_err().to_string();
    assert!(error.contains("plain HTTP"), "{error}");
}

fn docker_config(home: &Path, host: &str, auth: &str) {
    fs::create_dir_all(home.join(".docker")).unwrap();
    let auths = json!({ "auths": { host: { "auth": auth } } });
    fs::write(home.join(".docker/config.json"), auths.to_string()).unwrap();
}

#[test]
fn a_password_comes_from_dockers_file_and_its_absence_is_not_a_verdict() {
    let docker = DockerRegistry::with_password();
    let home = tempfile::tempdir().unwrap();
    let name = format!("{}/a:1", docker.host());
    let store = Layout::open_or_create(store_in(home.path())).unwrap();
    let made = images::put(&store, &name, &[("bin/x", b"x")]);
    let push = || run(imgkit(home.path()).args(["cache", "push", &name]));

    let (code, text) = push();
    assert_eq!(code, 3, "{text}");
    let looked = home.path().join(".docker/config.json");
    assert!(
        text.contains(&*looked.to_string_lossy()) && text.contains("none were found"),
        "{text}"
    );

    let log_in = |password: &str| {
        let auth = STANDARD.encode(format!("ali:{password}"));
        docker_config(home.path(), docker.host(), &auth);
    };
    log_in("wrong");
    let (code, text) = push();
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("not accepted"), "{text}");

    log_in("open sesame");
    let (code, text) = push();
    assert_eq!(code, 0, "{text}");
    succeed(imgkit(home.path()).args(["cache", "rm", &name]));
    let text = succeed(imgkit(home.path()).args(["cache", "pull", &name]));
    assert!(text.contains(&made.digest.to_string()));
}

#[test]
fn what_cannot_be_reached_or_found_ends_with_exit_code_3() {
    let docker = DockerRegistry::start();
    let home = tempfile::tempdir().unwrap();
    let nowhere = format!("127.0.0.1:{}/a:1", free_port());
    for name in [&nowhere, &format!("{}/absent:1", docker.host())] {
        let (code, text) = run(imgkit(home.path()).args(["--output", "json", "cache", "pull", name]));
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((code, report["verdict"].as_str()), (3, Some("unavailable")), "{text}");
    }
}

#[test]
fn an_image_has_the_same_digests_in_every_compression() {
    let (_dir, layout) = layout();
    let writer = layout.writer().unwrap();
    let platform = "linux/amd64".parse().unwrap();
    let trees: Vec<_> = [Compression::Gzip, Compression::None, Compression::Zstd]
        .map(|compression| {
            let manifest = images::put_files(&writer, "amd64", compression, &[("bin/x", b"x"), ("etc/y", b"yy")]);
            let name = reference(&format!("r.example/a@{}", manifest.digest));
            let image = layout.image(&name, &platform).unwrap();
            image_tree(&layout, "it", &image, &mut HashOnly).unwrap()
        })
        .into();
    assert!(trees[0] == trees[1] && trees[1] == trees[2]);
    assert_eq!(trees[0].content_bytes(), 3);
}

#[test]
fn a_registry_beyond_the_loopback_is_spoken_to_over_tls_with_a_known_certificate() {
    let (docker, certificate) = DockerRegistry::with_tls();
    let home = tempfile::tempdir().unwrap();
    let name = docker.host().replace("127.0.0.1", "registry.test") + "/a:1";
    let store = Layout::open_or_create(store_in(home.path())).unwrap();
    images::put(&store, &name, &[("bin/x", b"x")]);
    let hosts = home.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 registry.test\n").unwrap();
    let script = r#"mount --bind "$HOSTS" /etc/hosts || exit 99; exec "$IMGKIT" cache push "$NAME""#;
    let push = |trusted: Option<&Path>| {
        let mut command = common::in_mounts_of_its_own(home.path());
        command
            .args(["sh", "-c", script])
            .env("HOSTS", &hosts)
            .env("NAME", &name);
        command.env("IMGKIT", env!("CARGO_BIN_EXE_imgkit"));
        command.envs(trusted.map(|path| ("SSL_CERT_FILE", path)));
        run(&mut command)
    };
    let (code, text) = push(None);
    assert!(code == 3 && text.contains("certificate"), "{code}: {text}");
    let (code, text) = push(Some(&certificate));
    assert_eq!(code, 0, "{text}");
}
