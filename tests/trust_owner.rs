//! `imgkit trust` through the binary, as those meet it who look after a collection together: who is told what, and what mends what.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::fs;
use std::path::Path;

use common::home::{Home, PASSPHRASE};
use common::owner::Owner;
use imgkit::key::Passphrase;
use imgkit::store::key_store::open_key;
use serde_json::{Value, json};

/// A later time than the default root is good for.
const IN_TWO_YEARS: &str = "2028-01-01T00:00:00Z";

/// A key that is kept outside the key directory: its id, and its files.
struct Person {
    id: String,
    private: String,
    public: String,
}

fn person(home: &Home, name: &str) -> Person {
    let private = home.text(&format!("{name}.pem"));
    let made = home.good(&["key", "generate", &private]);
    Person {
        id: made["keyid"].as_str().unwrap().to_owned(),
        private,
        public: home.text(&format!("{name}.pub")),
    }
}

/// Signs a name as a role.
fn sign(home: &Home, name: &str, role: &str) {
    home.good(&["sign", "--file", &home.file("a", "a"), "--name", name, "--role", role]);
}

/// Does something with another key directory that has `key` alone, as `role`.
fn elsewhere(home: &Home, (role, key): (&str, &Person), arguments: &[&str]) -> (i32, Value) {
    let keys = home.text(&format!("keys-of-{}", key.id));
    let environment = [("IMGKIT_KEY_DIR", keys.as_str())];
    let pin = home.text("keys/c/root.json");
    let of = ["--collection", "c", "--pin", &pin];
    if !Path::new(&keys).exists() {
        let import = ["key", "import", "--role", role, &key.private];
        home.good_with(&[&import[..], &of].concat(), &environment);
    }
    home.run_with(&[arguments, &of].concat(), &environment)
}

#[test]
fn what_holds_the_names_of_a_role_is_not_taken_away() {
    let home = Home::with_collection(&["--bins", "2"]);
    sign(&home, "a", "targets");
    let (code, refused) = home.run(&["delegate", "rm", "bins"]);
    assert!(
        code == 2 && refused.to_string().contains("does not go alone"),
        "{refused}"
    );
    home.good(&["lookup", "a"]);
}

#[test]
fn a_role_that_goes_is_missed_in_what_is_told_and_in_the_past() {
    let home = Home::with_collection(&["--role", "team=prod/*"]);
    sign(&home, "prod/a", "team");
    let removed = home.good(&["delegate", "rm", "team"]);
    assert_eq!(removed["names"], json!(["prod/a"]));
    let snapshots = home.good(&["history", "prod/a"])["snapshots"].clone();
    let last = snapshots.as_array().unwrap().last().unwrap();
    assert_eq!(last["roles"][0]["role"], "team");
    assert_eq!(last["roles"][0]["removed"], json!(["prod/a"]));
    assert_eq!(last["roles"][0]["gone"], true);
    let difference = home.good(&["diff", "@2", "@3"])["difference"].clone();
    assert!(difference.to_string().contains("prod/a"), "{difference}");
    assert_eq!(home.run(&["history", "prod/b"]).0, 1, "it was never signed");
}

#[test]
fn a_key_that_goes_takes_nothing_along_that_others_of_its_role_signed() {
    let home = Home::with_collection(&["--role", "web=w/*"]);
    let carol = person(&home, "carol");
    let first = Owner::at(home.dir(), "c", &["web"]).key("web").id().to_string();
    home.good(&["signer", "add", "web", "--key", &carol.public]);
    let file = home.file("a", "a");
    let (code, signed) = elsewhere(
        &home,
        ("web", &carol),
        &["sign", "--file", &file, "--name", "w/x", "--role", "web"],
    );
    // Snapshot and timestamp are signed where their keys are.
    assert_eq!(code, 2, "{signed}");
    let change = home.text("change.json");
    let staged = [
        "stage", &change, "sign", "--file", &file, "--name", "w/x", "--role", "web",
    ];
    assert_eq!(elsewhere(&home, ("web", &carol), &staged).0, 0);
    home.good(&["publish", &change]);
    for away in [&["signer", "rm", "web", &first][..], &["revoke", &first, "--yes"]] {
        let before = fs::read_dir(home.path("trust/c")).unwrap().count();
        let kept = home.path("kept");
        copy(&home.path("trust"), &kept);
        let gone = home.good(away);
        if away[0] == "revoke" {
            assert_eq!(gone["noLongerTrusted"], json!([]));
            assert_eq!(gone["signedByOthers"], json!(["w/x"]));
        }
        home.good(&["lookup", "w/x"]);
        assert!(fs::read_dir(home.path("trust/c")).unwrap().count() > before);
        fs::remove_dir_all(home.path("trust")).unwrap();
        fs::rename(&kept, home.path("trust")).unwrap();
        let _ = fs::remove_dir_all(home.path("state"));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => {
                fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }
}

#[test]
fn whoever_signs_under_an_expired_root_is_told() {
    let home = Home::with_collection(&[]);
    let file = home.file("a", "a");
    let later = ["--at", IN_TWO_YEARS];
    home.good(&[&["renew", "targets"][..], &later].concat());
    let signed = home.good(&[&["sign", "--file", &file, "--name", "a"][..], &later].concat());
    assert_eq!(signed["expired"][0]["role"], "root");
    assert_eq!(home.refused(&[&["lookup", "a"][..], &later].concat()), "EXPIRED");
    home.good(&[&["renew", "root"][..], &later].concat());
    let signed = home.good(&[&["sign", "--file", &file, "--name", "b"][..], &later].concat());
    assert_eq!(signed.get("expired"), None);
    home.good(&[&["lookup", "b"][..], &later].concat());
}

#[test]
fn a_ceremony_gives_targets_to_several_people_who_sign_again_what_it_says() {
    let home = Home::with_collection(&["--bins", "2"]);
    sign(&home, "a", "targets");
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| person(&home, name));
    let (ceremony, change) = (home.text("ceremony.json"), home.text("change.json"));
    let keys = ["--key", &alice.private, "--key", &bob.public, "--key", &carol.public];
    let propose = ["root", "propose", &ceremony, "--role", "targets", "--threshold", "2"];
    home.good(&[&propose[..], &keys].concat());
    home.good(&["root", "sign", &ceremony, "--yes"]);
    let (code, refused) = home.run(&["root", "finish", &ceremony]);
    assert!(
        code == 2 && refused.to_string().contains("imgkit trust stage FILE"),
        "{refused}"
    );
    home.good(&["stage", &change, "root", "finish", &ceremony]);
    assert_eq!(home.refused(&["publish", &change]), "THRESHOLD");
    assert_eq!(elsewhere(&home, ("targets", &bob), &["cosign", &change, "--yes"]).0, 0);
    home.good(&["publish", &change]);
    let found = home.good(&["lookup", "a"]);
    assert_eq!(found["evidence"]["threshold"], 2, "{found}");
}

#[test]
fn who_signed_a_root_cosigns_no_other_of_its_version() {
    let home = Home::with_collection(&[]);
    let bob = person(&home, "bob");
    let (first, second) = (home.text("first.json"), home.text("second.json"));
    home.good(&["root", "propose", &first, "--role", "targets", "--key", &bob.private]);
    home.good(&["root", "sign", &first, "--yes"]);
    home.good(&["root", "propose", &second]);
    assert_eq!(home.refused(&["cosign", &second, "--yes"]), "ROLLBACK");
    home.good(&["root", "finish", &first]);
    // What another's draft holds is remembered as well.
    fs::remove_file(&second).unwrap();
    home.good(&["root", "propose", &second]);
    home.good(&["cosign", &second, "--yes"]);
    let third = home.text("third.json");
    home.good(&[
        "root",
        "propose",
        &third,
        "--threshold",
        "1",
        "--role",
        "timestamp",
        "--new",
        "1",
    ]);
    assert_eq!(home.refused(&["root", "sign", &third, "--yes"]), "ROLLBACK");
}

#[test]
fn the_doctor_tells_what_could_not_be_found_out_from_what_is_broken() {
    let home = Home::with_collection(&[]);
    let port = common::registry::free_port();
    let place = format!("http://127.0.0.1:{port}/c");
    let pin = home.text("keys/c/root.json");
    let (code, answer) = home.run(&["doctor", "--collection", &place, "--pin", &pin]);
    assert_eq!(code, 3, "{answer}");
    // A key that is cut is found before it is needed, and commands name the collection where it had to be named.
    let key = fs::read_dir(home.path("keys/c/targets"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = fs::read(&key).unwrap();
    fs::write(&key, &whole[..whole.len() / 2]).unwrap();
    fs::remove_dir_all(home.path("keys/c/snapshot")).unwrap();
    let (code, answer) = home.run(&["doctor", "--collection", "c"]);
    let findings = answer["result"]["findings"].as_array().unwrap().clone();
    let mends = |subject: &str| {
        let found = findings
            .iter()
            .find(|one| one["subject"].as_str().unwrap().ends_with(subject));
        found.unwrap_or_else(|| panic!("{findings:?}"))["mend"]
            .as_str()
            .unwrap()
    };
    assert_eq!(code, 1);
    assert!(mends(".pem").contains("imgkit trust --collection c restore"));
    assert!(mends("snapshot").contains("imgkit trust --collection c rotate snapshot"));
    home.good(&["--collection", "c", "rotate", "snapshot"]);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let home = Home::with_collection(&["--role", "team=prod/*"]);
    let key = person(&home, "key");
    let (more, two) = (
        home.text("more"),
        format!("root={},{}", key.private, person(&home, "other").public),
    );
    for (arguments, reason) in [
        (
            &["delegate", "add", "other", "", "--key", &key.public][..],
            "empty pattern",
        ),
        (
            &[
                "delegate",
                "add",
                "other",
                "x/*",
                "--key",
                &key.public,
                "--key",
                &key.public,
            ],
            "name each key once",
        ),
        (&["witness", "targets", "--yes"], "imgkit trust renew targets"),
        (&["stage", &home.text("file"), "ls"], "root finish"),
        (
            &[
                "--trust-dir",
                &more,
                "init",
                "d",
                "--threshold",
                "root=2/2",
                "--key",
                &two,
            ],
            "imgkit trust root propose",
        ),
    ] {
        let (code, refused) = home.run(arguments);
        assert!(
            code == 2 && refused.to_string().contains(reason),
            "{arguments:?}: {refused}"
        );
    }
    home.good(&["--trust-dir", &more, "init", "d", "--dialect", "tuf"]);
}

#[test]
fn a_publication_that_counts_is_nothing_to_be_removed() {
    let home = Home::with_collection(&[]);
    sign(&home, "a", "targets");
    // As a publisher leaves it that is killed before the files have their own names.
    let next = home.path("trust/c/.imgkit-next");
    fs::create_dir(&next).unwrap();
    for file in ["timestamp.json", "2.targets.json", "2.snapshot.json"] {
        fs::rename(home.path(&format!("trust/c/{file}")), next.join(file)).unwrap();
    }
    fs::write(next.join(".counts"), "").unwrap();
    home.good(&["lookup", "a"]);
    let told = home.good(&["doctor"])["findings"].to_string();
    assert!(told.contains("remove nothing") && !told.contains("rm -r"), "{told}");
    sign(&home, "b", "targets");
    home.good(&["lookup", "a"]);
    let told = home.good(&["doctor"])["findings"].to_string();
    assert!(!told.contains("remove nothing"), "{told}");
}

#[test]
fn a_key_is_written_under_its_own_id_whatever_a_delegate_lists_it_under() {
    let home = Home::with_collection(&["--role", "team=prod/*"]);
    sign(&home, "prod/a", "team");
    let owner = Owner::at(home.dir(), "c", &["root", "team"]);
    let (root, team) = (owner.key("root").id().to_string(), owner.key("team"));
    owner.forge("team", team, |signed| {
        signed["delegations"] = json!({
            "keys": { root.as_str(): team.tuf_key().to_json() },
            "roles": [{ "name": "x", "keyids": [root], "threshold": 1, "terminating": false, "paths": ["prod/*"] }],
        });
    });
    home.good(&["inspect", "--keys-to", &home.text("public")]);
    let pem = fs::read_to_string(home.path(&format!("public/{root}.pem"))).unwrap();
    assert_eq!(pem, owner.key("root").public().to_pem().unwrap());
}

#[test]
fn names_that_a_role_may_not_sign_keep_nobody_from_an_export() {
    let home = Home::with_collection(&["--role", "team=prod/*"]);
    sign(&home, "prod/a", "team");
    let owner = Owner::at(home.dir(), "c", &["team"]);
    owner.forge("team", owner.key("team"), |signed| {
        signed["targets"]["other/a"] = signed["targets"]["prod/a"].clone();
    });
    let exported = home.good(&["export", &home.text("export.tar"), "--all"]);
    assert_eq!(exported["targets"], json!(["prod/a"]));
    assert_eq!(exported["leftOut"], json!(["other/a"]));
}

#[test]
fn a_change_of_which_nothing_is_left_is_not_published() {
    let home = Home::with_collection(&[]);
    let change = home.text("change.json");
    home.good(&["stage", &change, "sign", "--file", &home.file("a", "a"), "--name", "a"]);
    let mut draft: Value = serde_json::from_slice(&fs::read(&change).unwrap()).unwrap();
    draft["documents"] = json!([]);
    fs::write(&change, draft.to_string()).unwrap();
    let (code, refused) = home.run(&["publish", &change]);
    assert!(
        code == 2 && refused.to_string().contains("no change to publish"),
        "{refused}"
    );
}

#[test]
fn what_goes_on_trusting_a_key_that_is_taken_away_is_told() {
    let home = Home::with_collection(&["--role", "team=prod/*"]);
    sign(&home, "prod/a", "team");
    let owner = Owner::at(home.dir(), "c", &["team"]);
    let stolen = owner.key("team");
    let other = person(&home, "other");
    home.good(&["signer", "add", "team", "--key", &other.public]);
    // The other one signs too: bins of both keys.
    let keys = json!([stolen.id(), other.id]);
    let public = home.good(&["inspect"]).to_string();
    assert!(public.contains(&other.id));
    let object = |pem: &str| {
        let key = open_key(Path::new(pem), &Passphrase::new(PASSPHRASE).unwrap()).unwrap();
        key.tuf_key().to_json().clone()
    };
    let bins = json!({
        "keys": { stolen.id().as_str(): stolen.tuf_key().to_json(), other.id.as_str(): object(&other.private) },
        "succinct_roles": { "keyids": keys, "threshold": 1, "bit_length": 1, "name_prefix": "tb" },
    });
    let theirs = open_key(Path::new(&other.private), &Passphrase::new(PASSPHRASE).unwrap()).unwrap();
    owner.forge("team", &theirs, |signed| signed["delegations"] = bins);
    let id = stolen.id().to_string();
    let (code, json) = home.run(&["signer", "rm", "team", &id]);
    assert!(code == 2 && json.to_string().contains("0 at hand"), "{json}");
    let (code, json) = home.run(&["revoke", &id, "--yes"]);
    assert_eq!(
        (code, &json["result"]["stillTrusted"]),
        (1, &json!([{ "role": "tb-0", "by": "team" }])),
        "{json}"
    );
    assert_eq!(json["result"]["signedByOthers"], json!(["prod/a"]));
}

#[test]
fn a_place_that_hides_a_file_makes_nobody_give_the_role_up() {
    let home = Home::with_collection(&["--role", "team=prod/*"]);
    sign(&home, "prod/a", "team");
    let change = home.text("change.json");
    home.good(&["stage", &change, "rotate", "team"]);
    let mut draft: Value = serde_json::from_slice(&fs::read(&change).unwrap()).unwrap();
    let documents = draft["documents"].as_array_mut().unwrap();
    documents.retain(|document| document["role"] == "targets");
    fs::write(&change, draft.to_string()).unwrap();
    let file = home.path("trust/c/2.team.json");
    let content = fs::read(&file).unwrap();
    assert_eq!(home.run(&["publish", &change]).0, 2);
    fs::remove_file(&file).unwrap();
    assert_eq!(home.run(&["publish", &change]).0, 3);
    fs::write(&file, "{}").unwrap();
    assert_ne!(home.run(&["publish", &change]).0, 0);
    fs::write(&file, content).unwrap();
    home.good(&["lookup", "prod/a"]);
}

#[test]
fn a_key_is_taken_away_from_a_role_whose_file_is_gone() {
    let home = Home::with_collection(&["--role", "team=prod/*"]);
    sign(&home, "prod/a", "team");
    let id = Owner::at(home.dir(), "c", &["team"]).key("team").id().to_string();
    let file = home.path("trust/c/2.team.json");
    let content = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(
        home.run(&["revoke", &id, "--yes", "--new", "1"]).0,
        1,
        "it was not looked into"
    );
    fs::write(&file, content).unwrap();
    assert_eq!(home.refused(&["lookup", "prod/a"]), "REVOKED");
    fs::remove_file(&file).unwrap();
    home.good(&["delegate", "rm", "team"]);
}

#[test]
fn a_root_that_nobody_could_sign_is_not_remembered() {
    let home = Home::with_collection(&[]);
    let (first, second) = (home.text("first.json"), home.text("second.json"));
    home.good(&["root", "propose", &first]);
    let wrong = [("IMGKIT_PASSPHRASE", "wrong")];
    assert_eq!(home.run_with(&["cosign", &first, "--yes"], &wrong).0, 2);
    home.good(&["root", "propose", &second, "--role", "timestamp", "--new", "1"]);
    home.good(&["cosign", &second, "--yes"]);
    assert_eq!(home.refused(&["cosign", &first, "--yes"]), "ROLLBACK");
}
