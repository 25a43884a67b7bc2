//! Components that docker content trust signs: collections of Debian's real notary-server, signed by its real client, demanded by
//! a policy with their GUN and pinned root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::forge::Forge;
use common::images::{noise, put, put_index, reference};
use common::node::{Answer, NOW, Node};
use common::notary::{Keys, NotaryServer, PASSWORD, USER};
use common::publisher::{GUN, Owner};
use common::registry::{DockerRegistry, free_port};
use common::server::{Answer as Reply, Server};
use common::sigstore::client;
use common::succeed;
use imgkit::digest::Digest;
use imgkit::oci::Descriptor;
use imgkit::store::layout::Layout;
use serde_json::{Value, json};

/// The documents of a seal's evidence by name.
type Documents = BTreeMap<String, Vec<u8>>;

/// The image that the specification names.
const IMAGE: &str = "r.example/team/app:v1";

/// A node whose service is one of a Notary collection.
struct Case<'a> {
    node: Node,
    owner: Owner<'a>,
    image: Descriptor,
}

impl<'a> Case<'a> {
    /// Makes the collection, whose root is of the fixture's time, and signs nothing. The rule demands `signed`.
    fn new(server: &'a NotaryServer, signed: &str) -> Self {
        Self::of(Owner::of(server), signed)
    }

    fn of(owner: Owner<'a>, signed: &str) -> Self {
        owner.good(&["init", "--dialect", "notary", GUN, "--new-root-key", "--at", NOW]);
        let node = Node::new();
        let image = store(&node, IMAGE, 5);
        node.edit("node.yml", "local.test/svc:v1", IMAGE);
        node.edit(
            "policy.yml",
            "rules:\n",
            &format!("  app: {{gun: {GUN}, file: app.json}}\nrules:\n  - match: r.example/**\n    signed: {signed}\n"),
        );
        let case = Self { node, owner, image };
        case.pin(&case.owner);
        case
    }

    /// Pins the root that a publisher's trust directory has.
    fn pin(&self, owner: &Owner<'_>) {
        let root = owner.trust().join("tuf").join(GUN).join("metadata/root.json");
        fs::copy(root, self.node.path("app.json")).unwrap();
    }

    /// Signs a tag with Debian's client.
    fn sign(&self, tag: &str, image: &Descriptor, more: &[&str]) {
        let (length, hex) = (image.size.to_string(), image.digest.hex());
        let args = ["addhash", "-p", GUN, tag, &length, "--sha256", &hex];
        succeed(&mut self.owner.notary(&[&args[..], more].concat()));
    }

    /// The arguments that name the server.
    fn server(&self) -> [String; 4] {
        let ca = self.owner.server.ca().display().to_string();
        [
            "--notary".to_owned(),
            self.owner.server.url(),
            "--ca-cert".to_owned(),
            ca,
        ]
    }

    fn verify_at(&self, place: &[String], at: &str, image: &str) -> Answer {
        let fixed = ["policy", "verify", "--offline", "--policy", "policy.yml", "--at", at];
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        self.node.run(&[&fixed[..], &place, &[image]].concat())
    }

    fn verify(&self, image: &str) -> Answer {
        self.verify_at(&self.server(), NOW, image)
    }

    fn build(&self) -> Answer {
        let key = self.node.seal_key().display().to_string();
        let server = self.server();
        let mut more = vec!["--format", "raw-bios", "--seal-key", &key];
        more.extend(server.iter().map(String::as_str));
        self.node.run(&Node::build_args("out", &more))
    }
}

/// Puts an image into the node's store.
fn store(node: &Node, name: &str, seed: u64) -> Descriptor {
    let layout = Layout::open_or_create(node.path("store")).unwrap();
    put(&layout, name, &[("bin/app", &noise(seed, 60_000))])
}

/// What a verification says of the service.
fn service(answer: &Answer) -> &Value {
    let components = answer.json["result"]["components"].as_array().unwrap();
    components.iter().find(|one| one["reference"] == IMAGE).unwrap()
}

fn admitted(answer: &Answer) {
    assert_eq!(answer.code, 0, "{}", answer.json);
}

/// Asserts that the one image is refused for one reason.
fn refused(answer: &Answer, code: &str) {
    assert_eq!(answer.code, 1, "{}", answer.json);
    let refusals = answer.json["result"]["images"][0]["refusals"].as_array().unwrap();
    let codes: Vec<&str> = refusals
        .iter()
        .map(|refusal| refusal["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, [code], "{}", answer.json);
}

#[test]
fn what_the_real_client_signed_is_admitted_sealed_and_verified_offline() {
    let server = NotaryServer::start(Keys::Local);
    let case = Case::new(&server, "{root: app}");
    refused(&case.verify(IMAGE), "UNSIGNED");
    case.sign("v1", &case.image, &[]);
    admitted(&case.verify(IMAGE));
    // By the digest that a present tag stands for; and by both.
    let digest = case.image.digest;
    admitted(&case.verify(&format!("{GUN}@{digest}")));
    admitted(&case.verify(&format!("{IMAGE}@{digest}")));
    let built = case.build();
    admitted(&built);
    let answer = case.node.verify_files("out/node-bios.img");
    admitted(&answer);
    let service = service(&answer);
    // Docker signs no tree: what is on the disk is the sealer's word.
    assert_eq!(service["state"], "ASSERTED", "{service}");
    assert!(service["admitted"].to_string().contains("targets"), "{service}");

    // Today's metadata, once the tag is taken away.
    let server = case.server();
    let mut fresh = vec!["verify", "--fresh", "--policy", "policy.yml"];
    fresh.extend(server.iter().map(String::as_str));
    fresh.push("out/node-bios.img");
    admitted(&case.node.run(&fresh));
    succeed(&mut case.owner.notary(&["remove", "-p", GUN, "v1"]));
    let today = case.node.run(&fresh);
    assert_eq!((today.code, today.codes()), (1, vec!["UNSIGNED"]), "{}", today.json);
    admitted(&case.node.verify("out/node-bios.img"));

    // The seal's key over other metadata: each file of the collection is needed as it was.
    let disk = fs::read(case.node.path("out/node-bios.img")).unwrap();
    let extents = case.node.extents("out/node-bios.img");
    let key = case.node.opened_seal_key();
    let resealed = |change: &dyn Fn(&mut Documents)| {
        let mut forge = Forge::of(&disk, &extents);
        change(&mut forge.documents);
        fs::write(case.node.path("forged.img"), forge.seal(&key)).unwrap();
        case.node.verify("forged.img")
    };
    admitted(&resealed(&|_| {}));
    let forge = Forge::of(&disk, &extents);
    let names: Vec<_> = forge
        .documents
        .keys()
        .filter(|name| name.starts_with("trust/app/"))
        .collect();
    let kinds = ["root.json", "snapshot.", "targets.", "timestamp.json"];
    for kind in kinds {
        assert!(names.iter().any(|name| name.contains(kind)), "{kind}: {names:?}");
    }
    for name in names.iter().filter(|name| !name.ends_with(".root.json")) {
        let answer = resealed(&|documents| {
            let bytes = documents.get_mut(*name).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        });
        assert_eq!(answer.code, 1, "{name}: {}", answer.json);
        assert!(
            answer.subjects().iter().all(|subject| *subject == IMAGE),
            "{}",
            answer.json
        );
    }
}

#[test]
fn a_target_that_describes_the_trees_is_proved_and_another_tree_refused() {
    let server = NotaryServer::start(Keys::Local);
    let case = Case::new(&server, "{root: app}\n    proved: true");
    let (length, digest) = (case.image.size.to_string(), case.image.digest.to_string());
    let sign = |custom: &Value| {
        let custom = custom.to_string();
        let args = [
            "sign", GUN, "v1", "--digest", &digest, "--length", &length, "--custom", &custom,
        ];
        case.owner.good(&args);
    };
    case.sign("v1", &case.image, &[]);
    refused(&case.verify(IMAGE), "NOT_PROVED");
    // What imgkit's own signers say of an image in a TUF collection.
    case.node.good(&["trust", "sign", "--at", NOW, IMAGE]);
    let custom = case.node.good(&["trust", "lookup", "--at", NOW, IMAGE])["signed"]["custom"].clone();
    sign(&custom);
    admitted(&case.verify(IMAGE));
    admitted(&case.build());
    let answer = case.node.verify_files("out/node-bios.img");
    admitted(&answer);
    assert_eq!(service(&answer)["state"], "PROVED", "{}", answer.json);
    let mut other = custom;
    other["imgkit"]["platforms"][0]["tree"] = Digest::sha256(b"another").to_string().into();
    sign(&other);
    refused(&case.verify(IMAGE), "TREE_MISMATCH");
}

#[test]
fn a_role_that_docker_signs_with_is_demanded_by_its_name() {
    let server = NotaryServer::start(Keys::Local);
    let case = Case::new(&server, "{root: app, role: targets/releases}");
    case.sign("v1", &case.image, &[]);
    refused(&case.verify(IMAGE), "WRONG_KEY");
    let (public, private) = case.owner.delegate("alice");
    case.owner
        .good(&["delegate", "add", GUN, "releases", "--key", &public, "--all-paths"]);
    succeed(
        &mut case
            .owner
            .notary(&["key", "import", &private, "--role", "targets/releases"]),
    );
    case.sign("v1", &case.image, &["-r", "targets/releases"]);
    admitted(&case.verify(IMAGE));
    admitted(&case.verify(&format!("{GUN}@{}", case.image.digest)));
    admitted(&case.build());
    admitted(&case.node.verify("out/node-bios.img"));

    // Docker asks `targets/releases` before `targets`: what stands there is what the tag means.
    let other = store(&case.node, "r.example/team/other:v1", 6);
    case.sign("v1", &other, &[]);
    admitted(&case.verify(IMAGE));
    case.node.edit("policy.yml", "role: targets/releases", "role: targets");
    refused(&case.verify(IMAGE), "WRONG_KEY");
}

#[test]
fn a_bare_digest_is_admitted_by_any_present_tag_that_the_role_signs() {
    let server = NotaryServer::start(Keys::Local);
    let case = Case::new(&server, "{root: app, role: targets/alice}");
    let bare = format!("{GUN}@{}", case.image.digest);
    for role in ["releases", "alice"] {
        let (public, private) = case.owner.delegate(role);
        let add = ["delegate", "add", GUN, role, "--key", &public, "--all-paths"];
        case.owner.good(&add);
        let role = format!("targets/{role}");
        succeed(&mut case.owner.notary(&["key", "import", &private, "--role", &role]));
    }
    // Docker signs in `targets/releases` and in the signer's own role; of v1 alice says nothing.
    for tag in ["v1", "v2"] {
        case.sign(tag, &case.image, &["-r", "targets/releases"]);
    }
    refused(&case.verify(&bare), "UNSIGNED");
    case.sign("v2", &case.image, &["-r", "targets/alice"]);
    refused(&case.verify(IMAGE), "WRONG_KEY");
    admitted(&case.verify(&bare));
    case.node.edit("node.yml", IMAGE, &bare);
    admitted(&case.build());
    admitted(&case.node.verify("out/node-bios.img"));
    // Once v2 stands for another image, none of the tags that stand for this one is hers.
    let other = store(&case.node, "r.example/team/other:v1", 6);
    case.sign("v2", &other, &["-r", "targets/releases"]);
    refused(&case.verify(&bare), "WRONG_KEY");
    admitted(&case.node.verify("out/node-bios.img"));
}

#[test]
fn another_image_tag_or_repository_than_was_signed_is_refused() {
    let server = NotaryServer::start(Keys::Local);
    let case = Case::new(&server, "{root: app}");
    case.sign("v1", &case.image, &[]);
    // An image of another repository is not signed by what signs this one's tag, though it is the very same.
    let layout = Layout::open_or_create(case.node.path("store")).unwrap();
    let files: [(&str, &[u8]); 1] = [("bin/app", &noise(5, 60_000))];
    for name in ["r.example/team/other:v1", "r.example/team/app/below:v1"] {
        assert_eq!(put(&layout, name, &files).digest, case.image.digest);
        refused(&case.verify(name), "UNSIGNED");
        refused(
            &case.verify(&format!("{}@{}", name.rsplit_once(':').unwrap().0, case.image.digest)),
            "UNSIGNED",
        );
    }
    let second = store(&case.node, "r.example/team/app:v2", 6);
    refused(&case.verify("r.example/team/app:v2"), "UNSIGNED");
    refused(&case.verify(&format!("{GUN}@{}", second.digest)), "UNSIGNED");
    store(&case.node, IMAGE, 7);
    refused(&case.verify(IMAGE), "DIGEST_MISMATCH");
    let built = case.build();
    assert_eq!(
        (built.code, built.codes()),
        (1, vec!["DIGEST_MISMATCH"]),
        "{}",
        built.json
    );
    // An index is a document like any other; a length that is not its own is refused.
    let index = put_index(&layout, "r.example/team/app:v3", &files);
    case.sign("v3", &index, &[]);
    admitted(&case.verify("r.example/team/app:v3"));
    let longer = Descriptor {
        size: second.size + 1,
        ..second
    };
    case.sign("v2", &longer, &[]);
    refused(&case.verify("r.example/team/app:v2"), "DIGEST_MISMATCH");
}

#[test]
fn another_root_a_time_to_come_and_a_server_that_is_gone() {
    let server = NotaryServer::start(Keys::Local);
    let case = Case::new(&server, "{root: app}");
    case.sign("v1", &case.image, &[]);
    admitted(&case.verify(IMAGE));
    refused(
        &case.verify_at(&case.server(), "2036-01-01T00:00:00Z", IMAGE),
        "EXPIRED",
    );
    let gone = ["--notary".to_owned(), format!("https://127.0.0.1:{}", free_port())];
    let answer = case.verify_at(&gone, NOW, IMAGE);
    assert_eq!(answer.code, 3, "{}", answer.json);
    let answer = case.verify_at(&[], NOW, IMAGE);
    assert_eq!(answer.code, 3, "{}", answer.json);
    assert!(answer.json.to_string().contains("--notary"), "{}", answer.json);

    // A server that has another collection under the name.
    let elsewhere = NotaryServer::start(Keys::Local);
    let stranger = Owner::of(&elsewhere);
    stranger.good(&["init", "--dialect", "notary", GUN, "--new-root-key", "--at", NOW]);
    case.pin(&stranger);
    refused(&case.verify(IMAGE), "WRONG_KEY");
    // A root of a collection with another name, and a TUF root.
    let text = fs::read_to_string(case.node.path("policy.yml")).unwrap();
    case.node.write("policy.yml", &text.replace(GUN, "r.example/team/else"));
    let answer = case.verify("r.example/team/else:v1");
    assert_eq!(answer.code, 2, "{}", answer.json);
    case.node
        .write("policy.yml", &text.replace("app.json", "keys/platform/root.json"));
    assert_eq!(case.verify(IMAGE).code, 2);
}

#[test]
fn a_server_that_goes_back_is_noticed() {
    let server = NotaryServer::start(Keys::Local);
    let case = Case::new(&server, "{root: app}");
    case.sign("v1", &case.image, &[]);
    // The collection as it is now, as a server has it.
    case.owner.good(&["ls", GUN]);
    let dir = case.owner.trust().join("tuf").join(GUN).join("metadata");
    let mut old: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let bytes = fs::read(dir.join(format!("{role}.json"))).unwrap();
        old.insert(format!("{role}.{}.json", Digest::sha256(&bytes).hex()), bytes.clone());
        old.insert(format!("{role}.json"), bytes);
    }
    let back = Server::start(move |_, request| {
        let file = request.path.rsplit('/').next().unwrap();
        let absent = r#"{"errors":[{"code":"METADATA_NOT_FOUND","message":"no trust data","detail":null}]}"#;
        match old.get(file) {
            Some(bytes) => Reply::ok(bytes.clone()),
            None => Reply {
                body: absent.into(),
                ..Reply::status(404)
            },
        }
    });
    let back = ["--notary".to_owned(), format!("http://{}", back.host())];
    admitted(&case.verify_at(&back, NOW, IMAGE));
    let second = store(&case.node, "r.example/team/app:v2", 6);
    case.sign("v2", &second, &[]);
    admitted(&case.verify("r.example/team/app:v2"));
    refused(&case.verify_at(&back, NOW, IMAGE), "ROLLBACK");
    // Docker's own directory, as a place: it has what its user last saw.
    case.owner.good(&["ls", GUN]);
    let dir = [
        "--notary".to_owned(),
        format!("app=dir:{}", case.owner.trust().display()),
    ];
    admitted(&case.verify_at(&dir, NOW, "r.example/team/app:v2"));
}

#[test]
fn a_server_that_wants_a_token_gets_the_one_of_who_is_logged_in() {
    let server = NotaryServer::with_tokens();
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let config = json!({ "auths": { "r.example": { "auth": auth } } }).to_string();
    let owner = Owner::of(&server);
    fs::create_dir_all(owner.home.path().join(".docker")).unwrap();
    fs::write(owner.home.path().join(".docker/config.json"), &config).unwrap();
    let case = Case::of(owner, "{root: app}");
    let (length, hex) = (case.image.size.to_string(), case.image.digest.to_string());
    let args = ["sign", GUN, "v1", "--digest", &hex, "--length", &length];
    case.owner.good(&args);
    let answer = case.verify(IMAGE);
    assert_eq!(answer.code, 3, "{}", answer.json);
    assert!(answer.json.to_string().contains("docker login"), "{}", answer.json);
    fs::create_dir_all(case.node.path(".docker")).unwrap();
    case.node.write(".docker/config.json", &config);
    admitted(&case.verify(IMAGE));
}

#[test]
fn a_collection_of_the_real_clients_own_and_an_image_in_a_registry() {
    let server = NotaryServer::start(Keys::Signer);
    let registry = DockerRegistry::start();
    let owner = Owner::of(&server);
    let node = Node::new();
    let gun = format!("{}/team/app", registry.host());
    let layout = Layout::open_or_create(node.path("made")).unwrap();
    let files: [(&str, &[u8]); 1] = [("bin/app", &noise(5, 60_000))];
    let image = put(&layout, IMAGE, &files);
    let name = format!("{gun}:v1");
    client()
        .push(&layout, &reference(IMAGE), &reference(&name), &())
        .unwrap();
    succeed(&mut owner.notary(&["init", "-p", &gun]));
    let (length, hex) = (image.size.to_string(), image.digest.hex());
    succeed(&mut owner.notary(&["addhash", "-p", &gun, "v1", &length, "--sha256", &hex]));
    let root = owner.trust().join("tuf").join(&gun).join("metadata/root.json");
    fs::copy(root, node.path("app.json")).unwrap();
    let policy = format!(
        "version: 1\nroots: {{app: {{gun: '{gun}', file: app.json}}}}\nsigners: {{official: {{root: app}}}}\n\
         rules:\n  - match: {gun}:*\n    signed: official\n"
    );
    node.write("policy.yml", &policy);
    let (url, ca) = (server.url(), server.ca().display().to_string());
    let place = ["--policy", "policy.yml", "--notary", &url, "--ca-cert", &ca];
    let explained = node.run(&[&["policy", "explain"][..], &place, &[&name]].concat());
    admitted(&explained);
    assert!(
        explained.json.to_string().contains("of role `targets`"),
        "{}",
        explained.json
    );
    let verify = [&["policy", "verify"][..], &place, &[&name]].concat();
    admitted(&node.run(&verify));
    let kept = node.run(&verify);
    assert!(
        !kept.json["result"]["images"][0]["judgedBefore"].is_null(),
        "{}",
        kept.json
    );

    let checked = node.good(&["policy", "check", "policy.yml"]);
    assert_eq!(checked["roots"]["app"]["gun"], gun.as_str());
    let exported = node.run(&["policy", "export", "--policy", "policy.yml", "--containers", "exported"]);
    assert!(
        exported.json.to_string().contains("Notary collections"),
        "{}",
        exported.json
    );
    let exported = fs::read_to_string(node.path("exported/policy.json")).unwrap();
    assert!(
        exported.contains("reject") && !exported.contains("sigstoreSigned"),
        "{exported}"
    );
    let proved = node.run(&["policy", "prove", "policy.yml"]);
    admitted(&proved);
}
