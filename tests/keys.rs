//! Private keys from everywhere: tokens, plugins, files of openssl and Notary; their backups and passphrases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::home::{Home, NOW, PASSPHRASE, answer};
use common::node::Node;
use common::token::{PIN, Token};
use serde_json::Value;

/// A user with whatever tools write keys, who finds a token if there is one.
fn user() -> Home {
    let mut home = Home::by_the_clock();
    home.set("SOFTHSM2_CONF", home.path("softhsm2.conf"));
    home.set("IMGKIT_PKCS11_PIN", PIN);
    home
}

impl Home {
    /// Runs another program, which must succeed.
    fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = common::in_home(Path::new(program), self.dir());
        command.current_dir(self.dir()).args(arguments);
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        for role in ["ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"] {
            command.env(format!("NOTARY_{role}_PASSPHRASE"), PASSPHRASE);
        }
        let output = command.stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs what is missing"));
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {text}");
        text
    }

    fn openssl(&self, arguments: &str) -> String {
        self.tool("openssl", &arguments.split_whitespace().collect::<Vec<_>>())
    }

    /// Puts the plugin where its keys are.
    fn plugin(&self) {
        fs::write(self.path("signer"), PLUGIN).unwrap();
        fs::set_permissions(self.path("signer"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn public_of(&self, key: &str) -> String {
        let exported = self.good(&["key", "export-public", key]);
        exported["public"].as_str().unwrap().to_owned()
    }
}

/// Runs a command that ends so; returns its result, or everything that it says of its failure.
fn json(command: &mut Command, expected: i32) -> Value {
    let output = command.output().unwrap();
    let (code, value) = answer(&output);
    assert_eq!(code, expected, "{command:?}: {output:?}");
    match expected {
        0 => value["result"].clone(),
        _ => value,
    }
}

#[test]
fn a_collection_whose_keys_lie_in_a_token_lives_its_whole_life() {
    let home = user();
    let token = Token::with_keys(home.dir());
    let key = |name: &str| token.key(name);
    let spec = |role: &str, name: &str| format!("{role}={}", key(name));
    let specs = [
        spec("root", "p256"),
        spec("targets", "rsa"),
        spec("snapshot", "ed25519"),
        spec("timestamp", "p384"),
    ];
    let mut arguments = vec!["init", "c"];
    for spec in &specs {
        arguments.extend(["--key", spec]);
    }
    home.good(&arguments);
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let mut files = fs::read_dir(home.path("keys/c").join(role)).unwrap();
        let file = files.next().unwrap().unwrap().path();
        assert_eq!(file.extension().unwrap(), "json");
        let content = fs::read_to_string(&file).unwrap();
        assert!(
            content.contains("pkcs11:token=my%20token") && !content.contains(PIN),
            "{content}"
        );
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    fs::write(home.path("f"), "content").unwrap();
    let file = home.text("f");
    home.good(&["sign", "--file", &file, "--name", "files/f"]);
    home.good(&["verify", "--file", &file, "files/f"]);
    home.good(&["status"]);
    home.good(&["renew", "root", "targets"]);
    home.good(&["verify", "--file", &file, "files/f"]);
    // No encrypted file is opened, so no passphrase is asked for; and no PIN without a terminal.
    let mut renew = home.command(&["renew", "timestamp"]);
    json(renew.env_remove("IMGKIT_PASSPHRASE"), 0);
    let refused = json(renew.env_remove("IMGKIT_PKCS11_PIN"), 2);
    assert!(refused.to_string().contains("--pin-fd"), "{refused}");
    let refused = json(home.command(&["renew", "root"]).env("IMGKIT_PKCS11_PIN", "wrong"), 2);
    assert!(refused.to_string().contains("PIN is wrong"), "{refused}");
    // A PIN on the command line is refused.
    let with_pin = format!("root={}&pin-value=1", key("p256"));
    let refused = home.command(&["init", "d", "--key", &with_pin]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--pin-fd"));
    // A token without the key is "could not find out".
    let gone = format!("root={}", key("p256").replace("p256", "gone"));
    json(&mut home.command(&["init", "d", "--key", &gone]), 3);

    // Other keys of the token take over; whoever pins the first root goes on.
    for (name, kind) in [
        ("root-2", "p256"),
        ("targets-2", "rsa"),
        ("team", "ed25519"),
        ("targets-3", "p384"),
    ] {
        token.add(name, kind);
    }
    let id_of = |name: &str| home.good(&["key", "export-public", &key(name)])["keyid"].clone();
    for (role, old, new) in [("root", "p256", "root-2"), ("targets", "rsa", "targets-2")] {
        let rotated = home.good(&["rotate", role, "--key", &key(new)]);
        assert_eq!(rotated["before"], serde_json::json!([id_of(old)]));
        assert_eq!(rotated["keys"], serde_json::json!([id_of(new)]));
        home.good(&["verify", "--file", &file, "files/f"]);
    }
    home.good(&["renew", "root"]);
    // Back to the first key: where it is, is known already.
    home.good(&["rotate", "root", "--key", &key("p256")]);
    home.good(&["rotate", "root", "--key", &key("root-2")]);

    // A role below targets, and a change that is staged, signed and published.
    home.good(&["delegate", "add", "team", "team/*", "--key", &key("team")]);
    home.good(&["sign", "--role", "team", "--file", &file, "--name", "team/f"]);
    home.good(&["verify", "--file", &file, "team/f"]);
    let draft = home.text("draft.json");
    home.good(&["stage", &draft, "sign", "--file", &file, "--name", "files/g"]);
    assert_eq!(
        home.command(&["lookup", "files/g"]).output().unwrap().status.code(),
        Some(1)
    );
    home.good(&["publish", &draft]);
    home.good(&["verify", "--file", &file, "files/g"]);

    // Revoked keys are replaced by others of the token, which sign the rest again.
    let lost = id_of("targets-2");
    let lost = lost.as_str().unwrap();
    let same = home
        .command(&["revoke", lost, "--key", &key("targets-2"), "--yes"])
        .output()
        .unwrap();
    assert_eq!(same.status.code(), Some(2));
    let revoked = home.good(&["revoke", lost, "--key", &key("targets-3"), "--yes"]);
    assert_eq!(revoked["noLongerTrusted"], serde_json::json!([]));
    assert_eq!(revoked["signedAgain"], serde_json::json!(["files/f", "files/g"]));
    for name in ["files/f", "files/g", "team/f"] {
        home.good(&["verify", "--file", &file, name]);
    }
    let lost = id_of("team");
    home.good(&["revoke", lost.as_str().unwrap(), "--key", &key("ed25519"), "--yes"]);
    home.good(&["verify", "--file", &file, "team/f"]);
    home.good(&["doctor"]);
    // No private key has left the token.
    let kept = fs::read_dir(home.path("keys/c"))
        .unwrap()
        .flatten()
        .filter(|dir| dir.path().is_dir());
    let kept = kept.flat_map(|role| fs::read_dir(role.path()).unwrap().flatten());
    let files: Vec<_> = kept
        .map(|file| file.path())
        .filter(|file| file.extension().unwrap() == "pem")
        .collect();
    assert!(
        files.iter().all(|file| file.parent().unwrap().ends_with("seal")),
        "{files:?}"
    );
}

#[test]
fn a_secret_from_a_pipe_does_for_all_that_one_command_opens() {
    let home = user();
    home.good(&["init", "c"]);
    let mut command = home.command(&["rotate", "targets", "--algorithm", "p384", "--passphrase-fd", "0"]);
    command.env_remove("IMGKIT_PASSPHRASE");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSPHRASE}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let rotated: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = rotated["result"]["keys"][0].as_str().unwrap();
    let key = home.good(&["key", "export-public", id])["key"].to_string();
    assert!(key.contains("ecdsa-sha2-nistp384"), "{key}");
    let idle = home
        .command(&["rotate", "targets", "--algorithm", "p384", "--key", "k.pem"])
        .output()
        .unwrap();
    assert_eq!(idle.status.code(), Some(2));
}

#[test]
fn a_pin_comes_from_a_descriptor() {
    let home = user();
    let token = Token::with_keys(home.dir());
    let mut command = home.command(&["key", "export-public", &token.key("p256"), "--pin-fd", "3"]);
    command.env_remove("IMGKIT_PKCS11_PIN");
    fs::write(home.path("pin"), format!("{PIN}\n")).unwrap();
    let mut shell = common::behind(
        &["sh", "-c", &format!("exec \"$@\" 3<{}", home.text("pin")), "sh"],
        &command,
    );
    let exported = json(shell.stdin(Stdio::null()), 0);
    assert_eq!(
        exported["public"].as_str().unwrap(),
        home.openssl("pkey -in p256.p8 -pubout")
    );
}

/// A signer plugin of a few lines: it keeps openssl's keys in its own directory.
const PLUGIN: &str = r#"#!/usr/bin/env python3
import base64, json, os, subprocess, sys
q = json.load(sys.stdin)
assert q["imgkitSigner"] == 1 and "IMGKIT_PASSPHRASE" not in os.environ
key = os.path.join(os.path.dirname(os.path.abspath(__file__)), q["key"] + ".p8")
run = lambda a, i=b"": subprocess.run(["openssl"] + a, input=i, stdout=subprocess.PIPE, check=True).stdout
if not os.path.exists(key):
    json.dump({"error": "there is no key " + q["key"]}, sys.stdout)
elif q["operation"] == "public":
    json.dump({"public": run(["pkey", "-in", key, "-pubout"]).decode()}, sys.stdout)
else:
    message = base64.b64decode(q["message"])
    options = {"ecdsa-sha2-nistp256": ["-sha256"], "ecdsa-sha2-nistp384": ["-sha384"],
        "rsassa-pss-sha256": ["-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]}[q["scheme"]]
    signature = run(["dgst", "-sign", key] + options, message)
    if os.environ.get("LIE"):
        signature = run(["dgst", "-sign", key] + options, b"another message")
    json.dump({"signature": base64.b64encode(signature).decode()}, sys.stdout)
"#;

#[test]
fn a_plugin_signs_and_is_not_believed() {
    let home = user();
    home.plugin();
    home.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out a.p8");
    home.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out b.p8");
    let key = |role: &str, name: &str| format!("{role}=plugin:{}:{name}", home.text("signer"));
    home.good(&["init", "c", "--key", &key("root", "a"), "--key", &key("targets", "b")]);
    fs::write(home.path("f"), "content").unwrap();
    let file = home.text("f");
    home.good(&["sign", "--file", &file, "--name", "files/f"]);
    home.good(&["verify", "--file", &file, "files/f"]);
    let refused = json(home.command(&["renew", "targets"]).env("LIE", "1"), 3);
    assert!(refused.to_string().contains("not good"), "{refused}");
    let refused = json(&mut home.command(&["init", "d", "--key", &key("root", "none")]), 3);
    assert!(refused.to_string().contains("there is no key none"), "{refused}");
}

#[test]
fn keys_are_made_in_a_token_and_never_leave_it() {
    let home = user();
    let token = Token::new(home.dir());
    let mut specs = Vec::new();
    let kinds = [
        ("root", "p256"),
        ("targets", "rsa3072"),
        ("snapshot", "ed25519"),
        ("timestamp", "p384"),
    ];
    for (role, algorithm) in kinds {
        let made = home.good(&["key", "generate", "--key", &token.key(role), "--algorithm", algorithm]);
        let key = made["key"].as_str().unwrap();
        assert!(key.contains(&format!("object={role}")) && key.contains("id="), "{key}");
        assert_eq!(home.public_of(key), made["public"].as_str().unwrap());
        specs.push((role, made["keyid"].clone(), format!("{role}={}", token.key(role))));
    }
    assert_eq!(token.objects().len(), 2 * kinds.len());
    for object in token.objects() {
        let attributes = token.attributes(&object);
        // A private half says so of itself.
        if let Some(extractable) = attributes.get("CKA_EXTRACTABLE") {
            assert_eq!(
                (*extractable, attributes["CKA_SENSITIVE"]),
                (false, true),
                "{attributes:?}"
            );
        }
    }
    let mut arguments = vec!["init", "c"];
    specs.iter().for_each(|(_, _, spec)| arguments.extend(["--key", spec]));
    home.good(&arguments);
    let listed = home.good(&["key", "ls"]);
    for (role, id, _) in &specs {
        let all = listed["keys"].as_array().unwrap();
        let entry = all.iter().find(|entry| entry["role"] == *role).unwrap();
        assert!(
            entry["keyid"] == *id && entry["place"].as_str().unwrap().starts_with("pkcs11:"),
            "{entry}"
        );
    }
    fs::write(home.path("f"), "content").unwrap();
    let file = home.text("f");
    home.good(&["sign", "--file", &file, "--name", "files/f"]);
    home.good(&["verify", "--file", &file, "files/f"]);

    // A label is one key's; an id is the token's to give; and a key is made in a file or in a token.
    let again = json(&mut home.command(&["key", "generate", "--key", &token.key("root")]), 2);
    assert!(again.to_string().contains("already"), "{again}");
    let with_id = token.key("new").replace("object=new", "object=new;id=%01");
    let refused = json(&mut home.command(&["key", "generate", "--key", &with_id]), 2);
    assert!(refused.to_string().contains("no id"), "{refused}");
    let both = home
        .command(&["key", "generate", "file.pem", "--key", &token.key("new")])
        .output()
        .unwrap();
    assert_eq!(both.status.code(), Some(2), "{both:?}");
    assert_eq!(token.objects().len(), 2 * kinds.len());
}

/// A library that never says which tokens there are.
const HANGS: &str = r"
#include <unistd.h>
typedef unsigned long CK_RV;
static CK_RV fine(void) { return 0; }
static CK_RV none(void) { return 0x54; }
static CK_RV hangs(void) { for (;;) sleep(1000); }
static struct { unsigned char version[2]; CK_RV (*functions[68])(void); } list;
CK_RV C_GetFunctionList(void **found) {
    list.version[0] = 2; list.version[1] = 40;
    for (int i = 0; i < 68; i++) list.functions[i] = none;
    list.functions[0] = fine;
    list.functions[1] = fine;
    list.functions[4] = hangs;
    *found = &list;
    return 0;
}
";

#[test]
fn a_token_that_hangs_could_not_be_found_out_about() {
    let home = user();
    fs::write(home.path("hangs.c"), HANGS).unwrap();
    home.tool("cc", &["-shared", "-fPIC", "-o", "hangs.so", "hangs.c"]);
    let key = format!("pkcs11:token=any;object=key?module-path={}", home.text("hangs.so"));
    let began = Instant::now();
    let mut asked = home.command(&["key", "export-public", &key]);
    let refused = json(&mut asked, 3);
    assert!(
        refused.to_string().contains("did not answer within 15 seconds"),
        "{refused}"
    );
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn images_are_sealed_by_keys_in_a_token_or_behind_a_program() {
    let (node, home) = (Node::new(), user());
    let token = Token::with_keys(home.dir());
    home.plugin();
    home.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out a.p8");
    let behind = format!("plugin:{}:a", home.text("signer"));
    let run = |arguments: &[&str]| {
        let mut command = node.command(arguments);
        command
            .env("SOFTHSM2_CONF", token.config())
            .env("IMGKIT_PKCS11_PIN", PIN);
        command
    };
    for (number, key) in [token.key("p256"), token.key("ed25519"), behind].iter().enumerate() {
        json(&mut run(&["trust", "rotate", "seal", "--key", key, "--at", NOW]), 0);
        // No file is opened, so no passphrase is needed.
        let (once, twice) = (format!("once{number}"), format!("twice{number}"));
        let build = Node::build_args(&once, &["--format", "raw-bios", "--seal-key", key]);
        json(run(&build).env_remove("IMGKIT_PASSPHRASE"), 0);
        assert_eq!(node.verify(&format!("{once}/node-bios.img")).code, 0, "{key}");
        let build = Node::build_args(&twice, &["--format", "raw-bios", "--seal-request", "request"]);
        json(&mut run(&build), 0);
        let sign = ["seal", "sign", "--seal-key", key, "request"];
        json(run(&sign).env_remove("IMGKIT_PASSPHRASE"), 0);
        let image = format!("{twice}/node-bios.img");
        assert_eq!(node.verify(&image).code, 1, "not sealed yet");
        node.good(&["seal", "attach", &image, "request.sig"]);
        assert_eq!(node.verify(&image).code, 0, "{key}");
    }
    // What the key directory keeps of such a key names it as well.
    let kept = fs::read_dir(node.path("keys/platform/seal")).unwrap().flatten();
    let kept: Vec<_> = kept
        .map(|file| file.path().display().to_string())
        .filter(|file| file.ends_with(".json"))
        .collect();
    assert_eq!(kept.len(), 3);
    json(&mut run(&["seal", "sign", "--seal-key", &kept[0], "request"]), 0);
    // The token's keys no longer seal: the role has another.
    let old = token.key("p256");
    let old = Node::build_args("old", &["--format", "raw-bios", "--seal-key", &old]);
    let refused = json(&mut run(&old), 1);
    assert!(
        refused.to_string().contains("REVOKED") || refused.to_string().contains("WRONG_KEY"),
        "{refused}"
    );
    // A public key, and one that is yet to be made, seal nothing.
    fs::write(home.path("a.pub"), home.openssl("pkey -in a.p8 -pubout")).unwrap();
    let refused = json(
        &mut run(&["seal", "sign", "--seal-key", &home.text("a.pub"), "request"]),
        2,
    );
    assert!(refused.to_string().contains("public key"), "{refused}");
    let made = run(&["seal", "sign", "--seal-key", "generate:p256", "request"])
        .output()
        .unwrap();
    assert_eq!(made.status.code(), Some(2));
}

#[test]
fn keys_of_openssl_are_read_in_every_form() {
    let home = user();
    home.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256.pem");
    home.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.pem");
    home.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    home.openssl("genpkey -algorithm ED25519 -out ed25519.pem");
    home.openssl("ec -in p256.pem -out sec1-256.pem");
    home.openssl("ec -in p384.pem -out sec1-384.pem");
    home.openssl("ecparam -name prime256v1 -genkey -out parameters.pem");
    home.openssl("rsa -in rsa.pem -traditional -out pkcs1.pem");
    fs::write(home.path("pass"), PASSPHRASE).unwrap();
    for cipher in ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc"] {
        home.openssl(&format!(
            "pkcs8 -topk8 -in p256.pem -v2 {cipher} -passout file:pass -out {cipher}.pem"
        ));
    }
    home.openssl("pkcs8 -topk8 -in rsa.pem -v2prf hmacWithSHA1 -passout file:pass -out sha1.pem");
    home.openssl("pkcs8 -topk8 -in p384.pem -scrypt -passout file:pass -out scrypt.pem");
    let files = [
        "p256",
        "p384",
        "rsa",
        "ed25519",
        "sec1-256",
        "sec1-384",
        "parameters",
        "pkcs1",
        "aes-128-cbc",
        "aes-192-cbc",
        "aes-256-cbc",
        "sha1",
        "scrypt",
    ];
    for name in files {
        let file = home.text(&format!("{name}.pem"));
        let public = home.openssl(&format!("pkey -in {file} -passin file:pass -pubout"));
        assert_eq!(home.public_of(&file), public, "{name}");
        let imported = home.good(&["--collection", "c", "key", "import", "--role", name, &file]);
        let kept = imported["imported"][0]["file"].as_str().unwrap().to_owned();
        // What is kept is encrypted, and openssl opens it.
        assert_eq!(
            home.openssl(&format!("pkey -in {kept} -passin file:pass -pubout")),
            public,
            "{name}"
        );
        assert!(fs::read_to_string(&kept).unwrap().contains("ENCRYPTED"));
    }
    home.openssl("ec -in p256.pem -aes256 -passout file:pass -out old.pem");
    let old = json(&mut home.command(&["key", "export-public", &home.text("old.pem")]), 2);
    assert!(old.to_string().contains("openssl pkey"), "{old}");
}

#[test]
fn keys_of_notary_are_read() {
    let home = user();
    for role in ["root", "targets"] {
        let dir = home.text("notary");
        home.tool("notary", &["-d", &dir, "key", "generate", "ecdsa", "--role", role]);
    }
    let mut roles = Vec::new();
    for entry in fs::read_dir(home.path("notary/private")).unwrap() {
        let path = entry.unwrap().path();
        let imported = home.good(&["--collection", "c", "key", "import", path.to_str().unwrap()]);
        roles.push(imported["imported"][0]["role"].as_str().unwrap().to_owned());
    }
    roles.sort();
    assert_eq!(roles, ["root", "targets"]);
    let listed = home.good(&["--collection", "c", "key", "ls"]);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn keys_of_cosign_are_imported_and_kept_under_another_passphrase() {
    let home = user();
    home.good(&["init", "c"]);
    let file = |name: &str| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/key/testdata");
        dir.join(name).to_str().unwrap().to_owned()
    };
    let files = [
        ("cosign-old-label.key", Some("hello")),
        ("cosign-no-passphrase.key", None),
    ];
    for (name, passphrase) in files {
        let key = file(name);
        let mut import = home.command(&["key", "import", "--role", "targets", &key]);
        import
            .env("IMGKIT_NEW_PASSPHRASE", PASSPHRASE)
            .env_remove("IMGKIT_PASSPHRASE");
        import.envs(passphrase.map(|passphrase| ("IMGKIT_PASSPHRASE", passphrase)));
        let imported = json(&mut import, 0);
        let kept = imported["imported"][0]["file"].as_str().unwrap();
        fs::write(home.path("pass"), PASSPHRASE).unwrap();
        let public = home.openssl(&format!("pkey -in {kept} -passin file:pass -pubout"));
        assert_eq!(home.public_of(kept), public, "openssl opens what is kept");
        // The key signs for a role at once.
        home.good(&["signer", "add", "targets", "--key", kept]);
        home.good(&["rotate", "targets", "--key", kept]);
    }
    let wrong = home
        .command(&["key", "import", "--role", "targets", &file("cosign-new-label.key")])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_backup_brings_every_key_back_and_writes_over_none() {
    let home = user();
    home.good(&[
        "init",
        "c",
        "--algorithm",
        "p256",
        "--key",
        "timestamp=generate:ed25519",
    ]);
    let signed_root = |version: u64| {
        let content = format!(r#"{{"version":{version},"signed":"sha256:{}"}}"#, "0".repeat(64));
        fs::write(home.path("keys/c/root-signed.json"), &content).unwrap();
        content
    };
    let third = signed_root(3);
    let backup = home.text("backup");
    home.good(&["backup", &backup]);
    assert_eq!(
        home.path("backup").metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    json(&mut home.command(&["backup", &backup]), 2);
    assert_eq!(home.good(&["restore", &backup])["restored"], serde_json::json!([]));
    fs::rename(home.path("keys"), home.path("lost")).unwrap();
    json(home.command(&["restore", &backup]).env("IMGKIT_PASSPHRASE", "wrong"), 2);
    assert!(!home.path("keys/c/root").exists());
    assert_eq!(
        home.good(&["restore", &backup])["restored"].as_array().unwrap().len(),
        7
    );
    home.good(&["renew", "root", "targets", "timestamp"]);
    // Of the newest root that was signed offline, the later one stays: nobody signs a second one of its version.
    let kept = || fs::read_to_string(home.path("keys/c/root-signed.json")).unwrap();
    assert_eq!(kept(), third);
    for (here, then) in [(4, signed_root(4)), (2, third)] {
        signed_root(here);
        home.good(&["restore", &backup]);
        assert_eq!(kept(), then);
    }
    // Another key under the name of one in the backup stays, and nothing is restored.
    let key = fs::read_dir(home.path("keys/c/root"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(&key, "mine").unwrap();
    fs::remove_dir_all(home.path("keys/c/seal")).unwrap();
    json(&mut home.command(&["restore", &backup]), 2);
    assert_eq!(fs::read_to_string(&key).unwrap(), "mine");
    assert!(!home.path("keys/c/seal").exists());
}

#[test]
fn a_passphrase_is_changed_for_all_keys_or_none() {
    let home = user();
    home.good(&["init", "c"]);
    home.good(&["key", "generate", &home.text("mine.pem"), "--algorithm", "p384"]);
    assert!(
        fs::read_to_string(home.path("mine.pub"))
            .unwrap()
            .contains("BEGIN PUBLIC KEY")
    );
    json(home.command(&["key", "passwd"]).env("IMGKIT_PASSPHRASE", "wrong"), 2);
    json(home.command(&["key", "passwd"]).env("IMGKIT_NEW_PASSPHRASE", "new"), 0);
    json(&mut home.command(&["renew", "root"]), 2);
    json(home.command(&["renew", "root"]).env("IMGKIT_PASSPHRASE", "new"), 0);
}
