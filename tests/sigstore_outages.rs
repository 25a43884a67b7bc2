//! Registries that do not say what is attached to an image: "could not find out", never "unsigned"; and those that list it in pages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::home::answer;
use common::server::{Answer, Manner, Request, Server};
use common::{behind, imgkit, succeed};
use imgkit::digest::Digest;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/cosign")
        .join(name)
}

fn sha256(bytes: &[u8]) -> String {
    Digest::sha256(bytes).to_string()
}

/// An image, and cosign's bundle for another one beside it as this registry has it.
struct Shop {
    image: Vec<u8>,
    bundle: Vec<u8>,
    referrer: Vec<u8>,
}

impl Shop {
    /// The fixtures' image, whose bytes are one line, and its bundle.
    fn new() -> Self {
        let image = br#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:23857c30d7241794ac93de912ebd1e31562e85fee9cafd5925885ed574be534f","size":292},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:827f1618af62d0e5858924108db8fedffadf1d5bca86d835492c3090bb77ee7b","size":136}]}"#;
        let image = [&image[..], b"\n"].concat();
        assert_eq!(
            sha256(&image),
            "sha256:00c3ff7895530356ba3ad7c58540e29b318da6e67527c8bc63914723119f202a"
        );
        let bundle = std::fs::read(fixture("app3.bundle.json")).unwrap();
        let referrer = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2 },
            "layers": [{ "mediaType": BUNDLE, "digest": sha256(&bundle), "size": bundle.len() }],
            "subject": { "mediaType": MANIFEST, "digest": sha256(&image), "size": image.len() },
        });
        Self {
            image,
            bundle,
            referrer: referrer.to_string().into_bytes(),
        }
    }

    /// Answers what has nothing to do with lists.
    fn answer(&self, path: &str) -> Answer {
        let document = |bytes: &[u8]| Answer::ok(bytes).with("Content-Type", MANIFEST);
        match path {
            "/v2/" => Answer::ok("{}"),
            "/v2/a/manifests/v1" => document(&self.image),
            _ if path == format!("/v2/a/manifests/{}", sha256(&self.referrer)) => document(&self.referrer),
            _ if path == format!("/v2/a/blobs/{}", sha256(&self.bundle)) => Answer::ok(self.bundle.clone()),
            _ => Answer::status(404),
        }
    }

    fn page(&self, entries: &[Value]) -> Answer {
        let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        Answer::ok(list.to_string()).with("Content-Type", INDEX)
    }

    fn entry(&self) -> Value {
        json!({ "mediaType": MANIFEST, "digest": sha256(&self.referrer), "size": self.referrer.len(), "artifactType": BUNDLE })
    }
}

fn verify(server: &Server) -> (i32, Value) {
    let home = tempfile::tempdir().unwrap();
    let mut command = imgkit(home.path());
    command.args([
        "--output",
        "json",
        "sigstore",
        "verify",
        &format!("{}/a:v1", server.host()),
        "--key",
    ]);
    answer(&command.arg(fixture("ck.pub")).output().unwrap())
}

fn serve(change: impl Fn(&Shop, &Request) -> Option<Answer> + Send + Sync + 'static) -> Server {
    let shop = Shop::new();
    Server::start(move |_, request| change(&shop, request).unwrap_or_else(|| shop.answer(&request.path)))
}

#[test]
fn referrers_are_read_page_by_page() {
    let server = serve(|shop, request| match request.path.as_str() {
        path if path.ends_with("&last=1") => Some(shop.page(&[shop.entry()])),
        path if path.starts_with("/v2/a/referrers/") => {
            let other = json!({ "mediaType": INDEX, "digest": sha256(b"x"), "size": 1, "artifactType": "x/y" });
            Some(
                shop.page(&[other])
                    .with("Link", format!("<{path}?n=1&last=1>; rel=\"next\"")),
            )
        }
        _ => None,
    });
    let (code, json) = verify(&server);
    assert_eq!(code, 0, "{json}");
    assert_eq!(json["result"]["signatures"][0]["form"], "bundle");
}

#[test]
fn the_next_page_is_found_however_the_header_is_written() {
    let listed = |links: &'static [&'static str]| {
        let server = serve(move |shop, request| match request.path.as_str() {
            path if path.ends_with("last=1,2") => Some(shop.page(&[shop.entry()])),
            path if path.starts_with("/v2/a/referrers/") => {
                let page = shop.page(&[]);
                let with = |page: Answer, link: &&str| page.with("Link", link.replace("PATH", path));
                Some(links.iter().fold(page, with))
            }
            _ => None,
        });
        verify(&server)
    };
    for links in [
        &["<PATH?last=1,2>; rel=\"next\""][..],
        &["<PATH?last=1,2>;REL=next"],
        &["<PATH?last=1,2>; title=\"a; b, c\"; rel=\"last next\""],
        &["</elsewhere>; rel=\"prev\"", "<PATH?last=1,2>; rel=\"next\""],
        &["</elsewhere>; rel=prev, <PATH?last=1,2>; rel=next"],
    ] {
        let (code, json) = listed(links);
        assert_eq!(code, 0, "{links:?}: {json}");
    }
    // What cannot be read may be a next page.
    for links in [&["PATH?last=1,2; rel=next"][..], &["<PATH?last=1,2; rel=next"]] {
        let (code, json) = listed(links);
        assert_eq!(code, 3, "{links:?}: {json}");
    }
}

#[test]
fn a_page_that_is_named_and_not_there_is_no_end_of_the_list() {
    let server = serve(|shop, request| match request.path.as_str() {
        path if path.ends_with("?last=1") => Some(Answer::status(404)),
        path if path.starts_with("/v2/a/referrers/") => {
            Some(shop.page(&[]).with("Link", format!("<{path}?last=1>; rel=\"next\"")))
        }
        _ => None,
    });
    let (code, json) = verify(&server);
    assert_eq!(code, 3, "{json}");
}

#[test]
fn a_listed_manifest_that_cannot_be_had_may_be_a_signature_whatever_the_list_calls_it() {
    let kinds = [
        None,
        Some("application/vnd.dev.cosign.artifact.sig.v1+json"),
        Some("application/vnd.dsse.envelope.v1+json"),
    ];
    for kind in kinds {
        for found in ["it", "nothing", "half of it"] {
            let server = serve(move |shop, request| match request.path.as_str() {
                path if path.starts_with("/v2/a/referrers/") => {
                    let mut entry = shop.entry();
                    entry["artifactType"] = kind.map(Value::from).unwrap_or_default();
                    Some(shop.page(&[entry]))
                }
                path if path.contains("manifests/sha256:") => match found {
                    "nothing" => Some(Answer::status(404)),
                    "half of it" => Some(Answer::ok("{\"schemaVersion\":2,").with("Content-Type", MANIFEST)),
                    _ => None,
                },
                _ => None,
            });
            let (code, json) = verify(&server);
            assert_eq!(code, if found == "it" { 0 } else { 3 }, "{kind:?}, {found}: {json}");
        }
    }
}

#[test]
fn what_is_left_unread_of_too_much_is_not_unsigned() {
    // Somebody puts 256 MiB of other bundles before the one that counts, or only claims to.
    let with = |other: &'static [u8]| {
        let large = vec![b' '; 16 << 20];
        let digest = sha256(&large);
        let server = serve(move |shop, request| {
            let layer = json!({ "mediaType": BUNDLE, "digest": digest, "size": 16 << 20 });
            let many = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
                "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2 },
                "layers": vec![layer; 16],
                "subject": { "mediaType": MANIFEST, "digest": sha256(&shop.image), "size": shop.image.len() },
            });
            let many = many.to_string().into_bytes();
            let entry =
                json!({ "mediaType": MANIFEST, "digest": sha256(&many), "size": many.len(), "artifactType": BUNDLE });
            match request.path.as_str() {
                path if path.starts_with("/v2/a/referrers/") => Some(shop.page(&[entry, shop.entry()])),
                path if path.ends_with(&sha256(&many)) => Some(Answer::ok(many).with("Content-Type", MANIFEST)),
                path if path.ends_with(&digest) && other.is_empty() => Some(Answer::ok(large.clone())),
                path if path.ends_with(&digest) => Some(Answer::ok(other)),
                _ => None,
            }
        });
        verify(&server)
    };
    let (code, json) = with(b"something else");
    assert_eq!(code, 0, "{json}");
    let (code, json) = with(b"");
    assert_eq!(code, 3, "{json}");
    assert!(json["error"]["problem"].as_str().unwrap().contains("in all"), "{json}");
}

#[test]
fn one_that_asks_to_wait_for_ever_is_not_waited_for() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let server = serve(move |_, request| {
        if !request.path.contains("/referrers/") {
            return None;
        }
        let seconds = match counter.fetch_add(1, Ordering::SeqCst) {
            0 => 1,
            _ => u64::MAX,
        };
        Some(Answer::status(429).with("Retry-After", seconds))
    });
    let (code, json) = verify(&server);
    assert_eq!(code, 3, "{json}");
}

/// Verifies in a time that runs so many times faster: the limits are those that hold for everybody.
fn verify_in_haste(server: &Server, speed: u32) -> (i32, Value) {
    let home = tempfile::tempdir().unwrap();
    let mut command = imgkit(home.path());
    command.args(["--output", "json", "sigstore", "verify"]);
    command.arg(format!("{}/a:v1", server.host()));
    command.arg("--key").arg(fixture("ck.pub"));
    let output = behind(&["faketime", "-f", &format!("+0 x{speed}")], &command).output();
    answer(&output.expect("faketime is missing; install it: sudo apt-get install faketime"))
}

/// Where what is attached to an image is listed, and where the image itself is.
const PLACES: [&str; 4] = ["/referrers/", ".sig", "manifests/sha256-", "manifests/v1"];

#[test]
fn one_that_is_silent_drips_or_resets_is_never_taken_for_one_that_has_nothing() {
    let drop = Duration::from_millis(50);
    let manners = [
        (Manner::Never, "timed out"),
        (Manner::DripsHead(drop), "timed out"),
        (Manner::DripsBody(drop), "too slow"),
        (Manner::Resets, "reset"),
    ];
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for (manner, problem) in manners {
            for place in PLACES {
                scope.spawn(move || {
                    let server = serve(move |_, request| {
                        let is_it = request.path.contains(place);
                        is_it.then(|| Answer::slowly(manner))
                    });
                    // The limits take three minutes and a half.
                    let (code, json) = verify_in_haste(&server, 20);
                    assert_eq!(
                        (code, &json["verdict"]),
                        (3, &json!("unavailable")),
                        "{manner:?} {place}: {json}"
                    );
                    let found = json["error"]["problem"].as_str().unwrap();
                    assert!(found.contains(problem), "{manner:?} {place}: {found}");
                    let asked = server.requests();
                    let asked = asked.iter().filter(|request| request.path.contains(place));
                    assert!(asked.count() <= 6, "{manner:?} {place}");
                });
            }
        }
    });
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    // Time alone makes no difference.
    let (code, json) = verify_in_haste(&serve(|_, _| None), 20);
    assert_eq!((code, &json["refusals"][0]["code"]), (1, &json!("UNSIGNED")), "{json}");
}

#[test]
fn nothing_is_fetched_by_plain_http_off_the_loopback() {
    let to = |location: &'static str| {
        serve(move |_, request| {
            let is_list = request.path.contains("/referrers/");
            is_list.then(|| Answer::status(307).with("Location", location))
        })
    };
    let (code, json) = verify(&to("/v2/a/nothing"));
    assert_eq!((code, &json["refusals"][0]["code"]), (1, &json!("UNSIGNED")));
    let (code, json) = verify(&to("http://192.0.2.1/v2/a/referrers"));
    assert_eq!(code, 3, "{json}");
    assert!(
        json["error"]["problem"].as_str().unwrap().contains("off the loopback"),
        "{json}"
    );
}

#[test]
fn a_registry_that_has_nothing_beside_the_image_is_believed() {
    let (code, json) = verify(&serve(|_, _| None));
    assert_eq!(code, 1, "{json}");
    assert_eq!(json["refusals"][0]["code"], "UNSIGNED");
}

#[test]
fn one_that_does_not_say_is_never_taken_for_one_that_has_nothing() {
    let refuses = |what: &'static str, status: u16| {
        serve(move |_, request| {
            let is_it = request.path.contains(what);
            is_it.then(|| Answer::status(status).with("Retry-After", 3600))
        })
    };
    for what in ["/referrers/", ".sig", "manifests/sha256-"] {
        for status in [429, 500, 503] {
            let (code, json) = verify(&refuses(what, status));
            assert_eq!(code, 3, "{what} {status}: {json}");
            assert_eq!(json["verdict"], "unavailable");
            assert!(json["error"]["problem"].as_str().unwrap().contains("3600"), "{json}");
        }
        for status in [400, 403] {
            let (code, json) = verify(&refuses(what, status));
            assert_eq!(code, 3, "{what} {status}: {json}");
        }
    }
    let page = serve(|_, request| {
        request
            .path
            .contains("/referrers/")
            .then(|| Answer::ok("<html>Welcome</html>"))
    });
    assert_eq!(verify(&page).0, 3);
    let elsewhere = serve(|shop, request| {
        let link = "<https://elsewhere.example/v2/a>; rel=next";
        request
            .path
            .contains("/referrers/")
            .then(|| shop.page(&[]).with("Link", link))
    });
    assert_eq!(verify(&elsewhere).0, 3);
    // It lists a manifest, or its blob, and does not give it.
    for gone in ["manifests/sha256:", "/blobs/"] {
        let server = serve(move |shop, request| match request.path.as_str() {
            path if path.contains("/referrers/") => Some(shop.page(&[shop.entry()])),
            path if path.contains(gone) => Some(Answer::status(404)),
            _ => None,
        });
        let (code, json) = verify(&server);
        assert_eq!(code, 3, "{gone}: {json}");
    }
}

/// What somebody who can push makes of a place beside the image.
fn malformed(place: &str, shop: &Shop, good: bool, path: &str) -> Option<Answer> {
    let document = |bytes: &str| Some(Answer::ok(bytes).with("Content-Type", MANIFEST));
    let beside = format!("/v2/a/manifests/{}", sha256(&shop.image).replace(':', "-"));
    let empty = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
    let broken = r#"{"schemaVersion":2,"layers":[]}"#;
    let entry =
        |bytes: &str, size: usize| json!({ "mediaType": MANIFEST, "digest": sha256(bytes.as_bytes()), "size": size });
    let own = good.then(|| shop.entry());
    match place {
        "no manifest" if path == format!("{beside}.sig") => document(broken),
        "a list" if path == format!("{beside}.sig") => Some(Answer::ok(empty).with("Content-Type", INDEX)),
        "too long" if path == format!("{beside}.sig") => document(&" ".repeat((4 << 20) + 1)),
        "no list" if path == beside => document(broken),
        "no list of the registry's" if path.contains("/referrers/") => Some(Answer::ok("{}")),
        // What the registry does not list itself is under the fallback tag.
        "no list of the registry's" if path == beside => Some(shop.page(own.as_slice())),
        "no descriptor" if path == beside => {
            let odd = json!({ "mediaType": MANIFEST, "digest": "sha384:00", "size": 3 });
            Some(shop.page(&[odd]))
        }
        "a referrer" if path == format!("/v2/a/manifests/{}", sha256(broken.as_bytes())) => document(broken),
        "a referrer" if path.contains("/referrers/") => {
            let listed = [Some(entry(broken, broken.len())), own];
            Some(shop.page(&listed.into_iter().flatten().collect::<Vec<_>>()))
        }
        _ if path.contains("/referrers/") => Some(shop.page(own.as_slice())),
        _ => None,
    }
}

#[test]
fn what_is_malformed_beside_a_good_signature_hides_nothing_and_is_told_where_there_is_none() {
    let with =
        |place: &'static str, good: bool| serve(move |shop, request| malformed(place, shop, good, &request.path));
    let (code, json) = verify(&with("nothing", true));
    assert_eq!(code, 0, "{json}");
    let (code, json) = verify(&with("nothing", false));
    assert_eq!((code, &json["refusals"][0]["code"]), (1, &json!("UNSIGNED")), "{json}");
    let tag = sha256(&Shop::new().image).replace(':', "-");
    for (place, named) in [
        ("no manifest", format!("/a:{tag}.sig")),
        ("a list", format!("/a:{tag}.sig")),
        ("too long", format!("a, {tag}.sig")),
        ("no list", format!("/a:{tag}")),
        ("no list of the registry's", "referrers of".to_owned()),
        ("no descriptor", "sha384:00".to_owned()),
        ("a referrer", "/a@sha256:".to_owned()),
    ] {
        let (code, json) = verify(&with(place, true));
        assert_eq!(code, 0, "{place}: {json}");
        // Nobody but the registry makes its own list: then it is not known what there is.
        let is_known = place != "no list of the registry's";
        let rejected = json["result"]["rejected"].as_array().unwrap();
        assert_eq!(rejected.len(), usize::from(is_known), "{place}: {json}");
        assert!(rejected.iter().all(|one| one["code"] == "MALFORMED"), "{place}: {json}");
        let (code, json) = verify(&with(place, false));
        let told = match is_known {
            true => {
                assert_eq!(
                    (code, &json["refusals"][0]["code"]),
                    (1, &json!("MALFORMED")),
                    "{place}: {json}"
                );
                json["refusals"][0]["found"].to_string()
            }
            false => {
                assert_eq!(code, 3, "{place}: {json}");
                json["error"].to_string()
            }
        };
        assert!(told.contains(&named), "{place}: {told}");
        let home = tempfile::tempdir().unwrap();
        let mut tree = imgkit(home.path());
        let server = with(place, true);
        tree.args([
            "--output",
            "json",
            "sigstore",
            "tree",
            &format!("{}/a:v1", server.host()),
        ]);
        let (code, json) = answer(&tree.output().unwrap());
        assert_eq!(code, 0, "{place}: {json}");
        let pieces = json["result"]["documents"][0]["attached"].as_array().unwrap();
        let problems = pieces.iter().filter(|piece| !piece["problem"].is_null());
        assert!(
            pieces.iter().any(|piece| piece["kind"] == "signature"),
            "{place}: {json}"
        );
        assert!(problems.clone().count() == 1, "{place}: {json}");
        assert!(
            problems
                .clone()
                .all(|piece| piece["problem"].as_str().unwrap().contains(&named)),
            "{place}: {json}"
        );
    }
}

#[test]
fn more_referrers_than_are_read_and_one_that_is_listed_wrongly_hide_no_other() {
    // One more than are read, the good one first or last; none of the others is there.
    let with = |first: bool| {
        serve(move |shop, request| {
            if !request.path.contains("/referrers/") {
                return None;
            }
            let other =
                |number: usize| json!({ "mediaType": MANIFEST, "digest": sha256(&number.to_be_bytes()), "size": 1 });
            let mut all: Vec<Value> = (0..1024).map(other).collect();
            all.insert(if first { 0 } else { 1024 }, shop.entry());
            Some(shop.page(&all))
        })
    };
    assert_eq!(verify(&with(true)).0, 0);
    let (code, json) = verify(&with(false));
    assert_eq!(code, 3, "{json}");
    // Who can write the fallback tag lists the good one with another length.
    let server = serve(|shop, request| {
        let mut wrong = shop.entry();
        wrong["size"] = json!(1);
        match request.path.as_str() {
            path if path.contains("/referrers/") => Some(shop.page(&[shop.entry()])),
            path if path.contains("/manifests/sha256-") && !path.contains('.') => Some(shop.page(&[wrong])),
            _ => None,
        }
    });
    assert_eq!(verify(&server).0, 0);
}

#[test]
fn what_was_listed_before_a_list_breaks_off_counts() {
    // The good one, or another, on a page; what follows is the matter.
    let with = |good: bool, follows: &'static str| {
        serve(move |shop, request| match request.path.as_str() {
            path if path.ends_with("?last=1") => Some(match follows {
                "another kind of digest" => {
                    shop.page(&[json!({ "mediaType": MANIFEST, "digest": "sha384:00", "size": 3 })])
                }
                "no list" => Answer::ok("{\"errors\":[]}"),
                "half of it" => Answer::status(206).with("Content-Type", INDEX),
                "too much" => shop.page(&[json!({ "annotations": { "a": "x".repeat(33 << 20) } })]),
                _ => Answer::status(400),
            }),
            path if path.contains("/referrers/") => {
                let listed = good.then(|| shop.entry());
                let link = format!("<{path}?last=1>; rel=next");
                Some(shop.page(listed.as_slice()).with("Link", link))
            }
            _ => None,
        })
    };
    for follows in [
        "another kind of digest",
        "no list",
        "half of it",
        "too much",
        "an error",
    ] {
        let (code, json) = verify(&with(true, follows));
        assert_eq!(code, 0, "{follows}: {json}");
        let (code, json) = verify(&with(false, follows));
        let known = if follows == "another kind of digest" { 1 } else { 3 };
        assert_eq!(code, known, "{follows}: {json}");
    }
}

#[test]
fn annotations_make_no_list_too_long_before_its_own_limit() {
    let with = |annotation: usize| {
        serve(move |shop, request| {
            let list = || {
                let mut other = json!({ "mediaType": INDEX, "digest": sha256(b"x"), "size": 1 });
                other["annotations"] = json!({ "a": "x".repeat(annotation), "b": "" });
                shop.page(&[other, shop.entry()])
            };
            request.path.contains("/referrers/").then(list)
        })
    };
    let (code, json) = verify(&with(20 << 20));
    assert_eq!(code, 0, "{json}");
    let (code, json) = verify(&with(32 << 20));
    assert_eq!(code, 3, "{json}");
    assert!(json["error"]["problem"].as_str().unwrap().contains("longer"), "{json}");
}

#[test]
fn bytes_that_are_not_those_that_are_named_are_not_known_to_be_no_signature() {
    let document = |bytes: &[u8]| Answer::ok(bytes).with("Content-Type", MANIFEST);
    // What is damaged, beside a good bundle or nothing.
    let with = |damage: &'static str, good: bool| {
        serve(move |shop, request| match (damage, request.path.as_str()) {
            ("a blob", path) if path.contains("/blobs/") => Some(Answer::ok(vec![b'z'; shop.bundle.len()])),
            ("a shorter blob", path) if path.contains("/blobs/") => Some(Answer::ok("zzz")),
            ("a tag", path) if path.ends_with(".sig") => {
                Some(document(b"{}").with("Docker-Content-Digest", sha256(b"other")))
            }
            ("the fallback tag", path) if path.contains("/manifests/sha256-") && !path.contains('.') => {
                Some(document(b"{}").with("Docker-Content-Digest", sha256(b"other")))
            }
            ("the list", path) if path.contains("/referrers/") => Some(Answer::ok("{\"errors\":[]}")),
            ("a part of the list", path) if path.contains("/referrers/") => Some(Answer::status(206)),
            ("a part of a tag", path) if path.ends_with(".sig") => {
                let part = Answer::status(206).with("Content-Type", MANIFEST);
                Some(part)
            }
            (_, path) if path.contains("/referrers/") => {
                let listed = (good || damage.ends_with("blob")).then(|| shop.entry());
                Some(shop.page(listed.as_slice()))
            }
            _ => None,
        })
    };
    for damage in [
        "a blob",
        "a shorter blob",
        "a tag",
        "the fallback tag",
        "the list",
        "a part of the list",
        "a part of a tag",
    ] {
        let (code, json) = verify(&with(damage, false));
        assert_eq!((code, &json["verdict"]), (3, &json!("unavailable")), "{damage}: {json}");
    }
    for damage in ["a tag", "the fallback tag"] {
        let (code, json) = verify(&with(damage, true));
        assert_eq!(code, 0, "{damage}: {json}");
    }
}

#[test]
fn a_listed_manifest_is_read_as_far_as_it_is_said_to_be_long() {
    let server = serve(|shop, request| {
        let mut long = shop.entry();
        long["size"] = json!((512 << 10) + 1);
        request.path.contains("/referrers/").then(|| shop.page(&[long]))
    });
    let (code, json) = verify(&server);
    assert_eq!((code, &json["refusals"][0]["code"]), (1, &json!("MALFORMED")), "{json}");
    let asked = server.requests();
    assert!(!asked.iter().any(|request| request.path.contains("manifests/sha256:")));
    // Nothing of 4 MiB is taken for the ten bytes that are listed.
    let large = [b"{}".to_vec(), vec![b' '; 4 << 20]].concat();
    let digest = sha256(&large);
    let server = serve(move |shop, request| match request.path.as_str() {
        path if path.contains("/referrers/") => {
            Some(shop.page(&[json!({ "mediaType": MANIFEST, "digest": digest, "size": 10 })]))
        }
        path if path.ends_with(&digest) => Some(Answer::ok(large.clone()).with("Content-Type", MANIFEST)),
        _ => None,
    });
    let (code, json) = verify(&server);
    assert_eq!(code, 3, "{json}");
    assert!(
        json["error"]["problem"].as_str().unwrap().contains("at most 10 bytes"),
        "{json}"
    );
}

#[test]
fn layers_are_fetched_once_each_and_several_at_a_time() {
    const LAYERS: usize = 64;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (own, highest) = (Arc::clone(&now), Arc::clone(&most));
    let payload = |number: usize| format!("payload {number}").into_bytes();
    let server = serve(move |shop, request| match request.path.as_str() {
        path if path.ends_with(".sig") => {
            // Half of the layers are one payload, signed by many.
            let layer = |number: usize| {
                let bytes = payload(if number.is_multiple_of(2) { 0 } else { number });
                json!({
                    "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": sha256(&bytes), "size": bytes.len(),
                    "annotations": { "dev.cosignproject.cosign/signature": "AAAA" },
                })
            };
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST,
                "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(b"{}"), "size": 2 },
                "layers": (0..LAYERS).map(layer).collect::<Vec<_>>(),
            });
            Some(Answer::ok(manifest.to_string()).with("Content-Type", MANIFEST))
        }
        path if path.contains("/blobs/") => {
            let bytes = (0..LAYERS).map(payload).find(|bytes| path.ends_with(&sha256(bytes)));
            let bytes = bytes.or_else(|| path.ends_with(&sha256(&shop.bundle)).then(|| shop.bundle.clone()))?;
            highest.fetch_max(own.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            own.fetch_sub(1, Ordering::SeqCst);
            Some(Answer::ok(bytes))
        }
        path if path.contains("/referrers/") => Some(shop.page(&[shop.entry()])),
        _ => None,
    });
    let (code, json) = verify(&server);
    assert_eq!(code, 0, "{json}");
    assert_eq!(
        json["result"]["rejected"].as_array().unwrap().len(),
        LAYERS,
        "each is looked at"
    );
    let asked = server.requests();
    let mut blobs: Vec<&str> = asked.iter().map(|request| request.path.as_str()).collect();
    blobs.retain(|path| path.contains("/blobs/"));
    // The one that many signed, the others, and the bundle.
    assert_eq!(blobs.len(), 1 + LAYERS / 2 + 1, "{blobs:?}");
    let most = most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most}");
}

#[test]
fn a_registry_that_lists_referrers_itself_is_put_no_list() {
    let own = tempfile::tempdir().unwrap();
    let key = own.path().join("k.pem");
    let mut openssl = Command::new("openssl");
    openssl.args(["genpkey", "-algorithm", "ED25519", "-out"]);
    succeed(openssl.arg(&key));
    let server = Server::start(|_, request| {
        let shop = Shop::new();
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", _) => Answer::status(202).with("Location", "/v2/a/blobs/uploads/1"),
            ("PUT", path) if path.starts_with("/v2/a/manifests/") => {
                let answer = Answer::status(201).with("Location", path);
                answer.with("OCI-Subject", sha256(&shop.image))
            }
            ("PUT", path) => Answer::status(201).with("Location", path),
            (_, path) if path.contains("/referrers/") => shop.page(&[]),
            (_, path) => shop.answer(path),
        }
    });
    let mut command = imgkit(own.path());
    command.args(["--output", "json", "sigstore", "sign", "--no-tree", "--form", "bundle"]);
    command.arg(format!("{}/a:v1", server.host())).arg("--key").arg(&key);
    let (code, json) = answer(&command.output().unwrap());
    assert_eq!(code, 0, "{json}");
    let put: Vec<Request> = server.requests();
    let put: Vec<&Request> = put
        .iter()
        .filter(|request| request.method == "PUT" && request.path.contains("/manifests/"))
        .collect();
    assert_eq!(put.len(), 1, "{put:?}");
    assert_eq!(put[0].path, format!("/v2/a/manifests/{}", sha256(&put[0].body)));
    let manifest: Value = serde_json::from_slice(&put[0].body).unwrap();
    assert_eq!(manifest["artifactType"], BUNDLE);
}

#[test]
fn one_that_throttles_is_asked_again_when_it_says() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let server = serve(move |shop, request| {
        if !request.path.contains("/referrers/") {
            return None;
        }
        match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Some(Answer::status(429).with("Retry-After", 2)),
            _ => Some(shop.page(&[shop.entry()])),
        }
    });
    let begin = Instant::now();
    let (code, json) = verify(&server);
    assert_eq!(code, 0, "{json}");
    assert!(begin.elapsed().as_secs_f32() >= 2.0);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn a_manifest_of_a_hundred_thousand_layers_is_refused_and_not_fetched() {
    let server = serve(|_, request| {
        let layer = json!({ "mediaType": "a/b", "digest": sha256(b"x"), "size": 1 });
        let many = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": vec![layer; 100_000],
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(b"{}"), "size": 2 },
        });
        let is_it = request.path.ends_with(".sig");
        is_it.then(|| Answer::ok(many.to_string()).with("Content-Type", MANIFEST))
    });
    let (code, json) = verify(&server);
    assert_eq!(code, 1, "{json}");
    assert_eq!(json["refusals"][0]["code"], "MALFORMED");
    assert!(!server.requests().iter().any(|request| request.path.contains("/blobs/")));
}

#[test]
fn a_signature_in_the_middle_of_damaged_ones_is_found_and_annotations_must_not_occur_twice() {
    let damaged = serve(|shop, request| match request.path.as_str() {
        path if path.contains("/referrers/") => {
            let gone = json!({ "mediaType": MANIFEST, "digest": sha256(b"gone"), "size": 4, "artifactType": BUNDLE });
            Some(shop.page(&[gone, shop.entry()]))
        }
        _ => None,
    });
    let (code, json) = verify(&damaged);
    assert_eq!(code, 0, "{json}");
    let twice = serve(|_, request| {
        let text = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(b"{}"), "size": 2 },
            "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": sha256(b"{}"), "size": 2,
                "annotations": { "dev.cosignproject.cosign/signature": "AAAA" },
            }],
        });
        let name = "\"dev.cosignproject.cosign/signature\":";
        let text = text.to_string().replace(name, &format!("{name}\"AAAA\",{name}"));
        let is_it = request.path.ends_with(".sig");
        is_it.then(|| Answer::ok(text).with("Content-Type", MANIFEST))
    });
    let (code, json) = verify(&twice);
    assert_eq!((code, &json["refusals"][0]["code"]), (1, &json!("MALFORMED")));
}
