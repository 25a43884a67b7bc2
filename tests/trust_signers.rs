//! `imgkit trust` through the binary, where a delegate writes into his own metadata what is meant to mislead those who look after keys.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use std::collections::BTreeSet;
use std::fs;

use common::home::Home;
use common::owner::Owner;
use imgkit::key::SigningKey;
use serde_json::{Value, json};

/// A collection with the roles `evil` and `team`; the key of `evil` is one of the two of `team`.
struct Mixed {
    home: Home,
    owner: Owner,
}

impl Mixed {
    fn new() -> Self {
        let home = Home::with_collection(&["--role", "evil=ext/*", "--role", "team=prod/*"]);
        for (role, name) in [("evil", "ext/a"), ("team", "prod/a")] {
            home.good(&["sign", "--file", &home.file("a", "a"), "--name", name, "--role", role]);
        }
        let owner = Owner::at(home.dir(), "c", &["evil", "root", "targets", "team"]);
        let mixed = Self { home, owner };
        mixed.home.good(&[
            "key",
            "export-public",
            &mixed.id("evil"),
            "--out",
            &mixed.home.text("evil.pub"),
        ]);
        mixed
            .home
            .good(&["signer", "add", "team", "--key", &mixed.home.text("evil.pub")]);
        mixed
    }

    fn id(&self, role: &str) -> String {
        self.owner.key(role).id().to_string()
    }

    /// Has `evil` trust the role `name` to a key that he lists under an id of his choice.
    fn evil_lists(&self, name: &str, id: &str, key: &SigningKey) {
        self.owner.forge("evil", self.owner.key("evil"), |signed| {
            signed["delegations"] = delegations(name, id, key);
        });
    }

    /// Moves the keys of `evil` to where his holder alone has them.
    fn without_evil(self) -> Self {
        fs::rename(self.home.path("keys/c/evil"), self.home.path("elsewhere")).unwrap();
        self
    }

    /// The keys of a role, as one that trusts it has it.
    fn keys_of(&self, role: &str, by: Option<&str>) -> BTreeSet<String> {
        let (_, inspected) = self.home.run(&["inspect"]);
        let roles = inspected["result"]["roles"].as_array().unwrap().clone();
        let one = roles.iter().find(|one| one["role"] == role && one["by"] == json!(by));
        let keys = one.unwrap_or_else(|| panic!("{roles:?}"))["keys"].clone();
        serde_json::from_value(keys).unwrap()
    }
}

fn delegations(name: &str, id: &str, key: &SigningKey) -> Value {
    json!({
        "keys": { id: key.tuf_key().to_json() },
        "roles": [{ "name": name, "keyids": [id], "threshold": 1, "terminating": false, "paths": ["ext/x"] }],
    })
}

/// What a command prints for people.
fn text(home: &Home, arguments: &[&str]) -> String {
    let mut command = common::imgkit(home.dir());
    command.arg("trust").args(arguments).args(["--at", common::home::NOW]);
    command
        .env("IMGKIT_TRUST_DIR", home.path("trust"))
        .env("IMGKIT_KEY_DIR", home.path("keys"))
        .env("IMGKIT_PASSPHRASE", common::home::PASSPHRASE);
    common::run(&mut command).1
}

/// All files of private keys, whatever their role.
fn key_files(home: &Home) -> BTreeSet<String> {
    let roles = fs::read_dir(home.path("keys/c")).unwrap().flatten();
    let files = roles
        .filter_map(|role| fs::read_dir(role.path()).ok())
        .flatten()
        .flatten();
    files.map(|file| file.path().to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_key_that_somebody_lists_under_his_own_id_stays_when_his_goes() {
    let mixed = Mixed::new();
    let (evil, team, root) = (mixed.id("evil"), mixed.id("team"), mixed.id("root"));
    // Under his id stands the key of the team, and then the one of the root.
    mixed.evil_lists("team", &evil, mixed.owner.key("team"));
    mixed.home.good(&["signer", "rm", "team", &evil]);
    assert_eq!(mixed.keys_of("team", Some("targets")), BTreeSet::from([team.clone()]));
    mixed.home.good(&["signer", "add", "team", "--new", "1"]);
    mixed.evil_lists("team", &evil, mixed.owner.key("root"));
    let revoked = mixed.home.good(&["revoke", &evil, "--new", "1", "--yes"]);
    assert_eq!(revoked["roles"], json!(["evil"]));
    assert_eq!(mixed.keys_of("root", None), BTreeSet::from([root]));
    assert!(mixed.keys_of("team", Some("targets")).contains(&team));
    assert!(!mixed.keys_of("evil", Some("targets")).contains(&evil));
}

#[test]
fn an_id_under_which_different_keys_stand_names_none_of_them() {
    let mixed = Mixed::new();
    let (evil, team) = (mixed.id("evil"), mixed.id("team"));
    let foreign = "f0".repeat(32);
    // Another tool gave the team's key an id of its own; `evil` lists the root's under the same.
    mixed.owner.forge("targets", mixed.owner.key("targets"), |signed| {
        let delegations = &mut signed["delegations"];
        delegations["keys"][&foreign] = delegations["keys"][&team].clone();
        let roles = delegations["roles"].as_array_mut().unwrap();
        let role = roles.iter_mut().find(|role| role["name"] == "team").unwrap();
        role["keyids"] = json!([foreign, evil]);
    });
    mixed.home.good(&["witness", "team", "--yes"]);
    mixed.evil_lists("x", &foreign, mixed.owner.key("root"));
    for command in [
        &["revoke", &foreign, "--new", "1", "--yes"][..],
        &["revoke", &foreign, "--yes"],
    ] {
        let (code, refused) = mixed.home.run(command);
        let said = refused["error"]["problem"].as_str().unwrap();
        let both = [
            format!("{team} for team by targets"),
            format!("{} for x by evil", mixed.id("root")),
        ];
        assert!(code == 2 && both.iter().all(|one| said.contains(one)), "{refused}");
    }
    // By its own id it goes from under the foreign one.
    let revoked = mixed.home.good(&["revoke", &team, "--yes", "--new", "1"]);
    assert_eq!(revoked["roles"], json!(["team"]));
    assert!(!mixed.keys_of("team", Some("targets")).contains(&foreign));
}

#[test]
fn an_id_that_goes_on_where_another_ends_hides_it_from_nobody() {
    let mixed = Mixed::new();
    let evil = mixed.id("evil");
    mixed.evil_lists("x", &format!("{evil}0"), mixed.owner.key("evil"));
    let (code, refused) = mixed.home.run(&["revoke", &evil[..20], "--new", "1", "--yes"]);
    assert!(code == 2 && refused.to_string().contains("all of it"), "{refused}");
    let revoked = mixed.home.good(&["revoke", &evil, "--new", "1", "--yes"]);
    assert_eq!(revoked["roles"], json!(["evil", "team", "x"]));
}

#[test]
fn a_key_under_the_id_of_another_keeps_that_from_signing_nowhere() {
    let mixed = Mixed::new().without_evil();
    mixed.evil_lists("team", &mixed.id("team"), mixed.owner.key("evil"));
    let file = mixed.home.file("b", "b");
    let sign = ["sign", "--role", "team", "--file", &file, "--name", "prod/b"];
    mixed.home.good(&sign);
    mixed.home.good(&["renew", "team"]);
    assert_eq!(mixed.home.good(&["lookup", "prod/b"])["evidence"]["role"], "team");
    // The team's own signature in a file that goes round stays there.
    let staged = mixed.home.text("change.json");
    mixed.home.good(&[&["stage", &staged][..], &["renew", "team"]].concat());
    mixed.home.good(&["cosign", &staged, "--yes"]);
    mixed.home.good(&["publish", &staged]);
}

#[test]
fn a_role_that_is_there_gets_other_names_and_nothing_else_by_adding_it() {
    let mixed = Mixed::new();
    mixed.evil_lists("team", &mixed.id("team"), mixed.owner.key("team"));
    let add = ["delegate", "add", "team", "new/*"];
    for (more, said) in [
        (&["--threshold", "2", "--by", "targets"][..], "signer add team"),
        (&["--terminating", "--by", "targets"], "delegate rm team"),
        (&["--new", "1"], "trust rotate"),
        (&["--by", "root"], "root does not trust it"),
        (&[], "--by"),
    ] {
        let (code, refused) = mixed.home.run(&[&add[..], more].concat());
        let problem = refused["error"]["problem"].as_str().unwrap();
        assert!(code == 2 && problem.contains(said), "{more:?}: {problem}");
    }
    let names = |by: &str| {
        let listed = mixed.home.good(&["delegate", "ls"])["roles"].clone();
        let listed = listed.as_array().unwrap().clone();
        let one = listed.into_iter().find(|one| one["role"] == "team" && one["by"] == by);
        one.unwrap()["patterns"].clone()
    };
    mixed.home.good(&[&add[..], &["--by", "targets"]].concat());
    assert_eq!((names("targets"), names("evil")), (json!(["new/*"]), json!(["ext/x"])));
    mixed.home.good(&["delegate", "add", "team", "ext/y", "--by", "evil"]);
    assert_eq!((names("targets"), names("evil")), (json!(["new/*"]), json!(["ext/y"])));
    // Where one alone trusts it, that is who is meant.
    mixed.home.good(&["delegate", "add", "evil", "more/*"]);
    assert_eq!(mixed.home.run(&["delegate", "add", "targets", "more/*"]).0, 2);
}

#[test]
fn what_a_file_gives_a_key_is_taken_from_it_in_the_same_file() {
    let mixed = Mixed::new();
    let evil = mixed.id("evil");
    for by in ["targets", "evil"] {
        let file = mixed.home.text(&format!("{by}.json"));
        let stage = |change: &[&str]| mixed.home.good(&[&["stage", &file][..], change].concat());
        stage(&[
            "delegate",
            "add",
            "newteam",
            "new/*",
            "--by",
            by,
            "--key",
            &mixed.home.text("evil.pub"),
        ]);
        // What is in the file is there for the next change.
        stage(&["signer", "add", "newteam", "--new", "1"]);
        stage(&["delegate", "add", "newteam", "newer/*"]);
        let revoked = stage(&["revoke", &evil, "--new", "1", "--yes"]);
        assert_eq!(revoked["roles"], json!(["evil", "newteam", "team"]));
        let draft: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let bodies = draft["documents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|document| &document["signed"]);
        let roles = bodies
            .filter_map(|body| body["delegations"]["roles"].as_array())
            .flatten();
        let roles: Vec<_> = roles.collect();
        assert!(roles.iter().any(|role| role["name"] == "newteam"), "{roles:?}");
        for role in roles {
            assert!(!role["keyids"].as_array().unwrap().contains(&json!(evil)), "{role}");
        }
    }
}

/// A collection in which the role `team` signs prod/a.
fn with_team() -> Home {
    let home = Home::with_collection(&["--role", "team=prod/*"]);
    let file = home.file("a", "a");
    home.good(&["sign", "--file", &file, "--name", "prod/a", "--role", "team"]);
    home
}

#[test]
fn a_role_that_comes_back_has_other_keys_and_says_nothing_of_what_was() {
    let home = with_team();
    let owner = Owner::at(home.dir(), "c", &["team"]);
    let old = owner.key("team").id().to_string();
    home.good(&["key", "export-public", &old, "--out", &home.text("old.pub")]);
    // What counts is not dropped.
    let (code, refused) = home.run(&["renew", "team", "--anew"]);
    assert!(code == 2 && refused.to_string().contains("is trusted"), "{refused}");
    home.good(&["delegate", "rm", "team"]);
    let add = |key: &str| home.run(&["delegate", "add", "team", "prod/*", "--key", key]);
    let before = key_files(&home);
    for key in ["old.pub", &format!("keys/c/team/{old}.pem")] {
        let (code, refused) = add(&home.text(key));
        assert!(code == 2 && refused.to_string().contains("was revoked"), "{refused}");
    }
    assert_eq!(key_files(&home), before);

    home.good(&["key", "generate", &home.text("new.pem")]);
    let said = text(
        &home,
        &["delegate", "add", "team", "prod/*", "--key", &home.text("new.pub")],
    );
    assert!(said.contains("imgkit trust renew team --anew"), "{said}");
    home.good(&["key", "import", "--role", "team", &home.text("new.pem")]);
    // Neither is lost by mistake: who took a key away may want what it signed.
    assert_eq!(home.refused(&["renew", "team"]), "REVOKED");
    home.good(&["renew", "team", "--anew"]);
    assert_eq!(home.refused(&["lookup", "prod/a"]), "UNSIGNED");
    home.good(&["sign", "--file", &home.text("a"), "--name", "prod/b", "--role", "team"]);
    assert_eq!(home.good(&["lookup", "prod/b"])["evidence"]["role"], "team");
}

#[test]
fn what_somebody_else_signed_or_broke_is_not_begun_anew() {
    let home = with_team();
    let owner = Owner::at(home.dir(), "c", &["targets", "team"]);
    home.good(&["delegate", "rm", "team"]);
    home.good(&["key", "generate", &home.text("new.pem")]);
    home.good(&["delegate", "add", "team", "prod/*", "--key", &home.text("new.pub")]);
    home.good(&["key", "import", "--role", "team", &home.text("new.pem")]);
    // A key that was never the role's.
    let stranger = SigningKey::from_seed(&[77; 32]).unwrap();
    owner.forge("team", &stranger, |_| {});
    assert_eq!(home.refused(&["renew", "team", "--anew"]), "WRONG_KEY");
    // Signed by the old one alone, and broken on the way.
    owner.forge("team", owner.key("team"), |_| {});
    let file = home.path("trust/c/4.team.json");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("prod/a", "prod/b")).unwrap();
    assert_eq!(home.refused(&["renew", "team", "--anew"]), "DIGEST_MISMATCH");
    fs::remove_file(&file).unwrap();
    assert_eq!(home.run(&["renew", "team", "--anew"]).0, 3);
    fs::write(&file, good).unwrap();
    home.good(&["renew", "team", "--anew"]);
}

#[test]
fn a_staged_change_says_how_a_role_that_it_leaves_untrusted_is_published() {
    let home = with_team();
    let key = Owner::at(home.dir(), "c", &["team"]).key("team").id().to_string();
    let new = home.good(&["key", "generate", &home.text("new.pem")]);
    let (file, public) = (home.text("change.json"), home.text("new.pub"));
    let revoke = ["stage", &file, "revoke", &key, "--key", &public, "--yes"];
    let staged = home.good(&revoke);
    assert_eq!(
        staged["noLongerTrustedBy"],
        json!([{ "role": "team", "by": "targets" }])
    );
    fs::remove_file(&file).unwrap();
    let said = text(&home, &revoke);
    let without = format!("imgkit trust publish {file} --untrusted team");
    let with = format!("imgkit trust stage {file} witness team");
    assert!(said.contains(&without) && said.contains(&with), "{said}");
    // Both do what they say.
    assert_eq!(home.run(&["publish", &file]).0, 2);
    home.good(&["key", "import", "--role", "team", &home.text("new.pem")]);
    let said = text(&home, &["stage", &file, "witness", "team", "--yes"]);
    assert!(!said.contains("--untrusted"), "{said}");
    home.good(&["publish", &file]);
    home.good(&["lookup", "prod/a"]);
    home.good(&["key", "generate", &home.text("third.pem")]);
    let (file, public) = (home.text("second.json"), home.text("third.pub"));
    let key = new["keyid"].as_str().unwrap();
    home.good(&["stage", &file, "revoke", key, "--key", &public, "--yes"]);
    home.good(&["publish", &file, "--untrusted", "team"]);
    assert_eq!(home.refused(&["lookup", "prod/a"]), "REVOKED");
}

#[test]
fn a_role_whose_file_is_lost_is_begun_without_names_where_that_is_asked_for() {
    let home = with_team();
    // What counts is not dropped.
    let (code, refused) = home.run(&["renew", "team", "--lost"]);
    assert!(code == 2 && refused.to_string().contains("is trusted"), "{refused}");
    // Nor is what a stranger signed: the role's keys look at it first.
    let owner = Owner::at(home.dir(), "c", &["team"]);
    owner.forge("team", &SigningKey::from_seed(&[77; 32]).unwrap(), |_| {});
    assert_eq!(home.refused(&["renew", "team", "--lost"]), "WRONG_KEY");
    owner.forge("team", owner.key("team"), |_| {});
    let file = home.path("trust/c/4.team.json");
    fs::write(&file, "{}").unwrap();
    let advice = "imgkit trust renew team --lost";
    let (code, doctor) = home.run(&["doctor"]);
    assert!(code == 1 && doctor.to_string().contains(advice), "{doctor}");
    fs::remove_file(&file).unwrap();
    let (code, doctor) = home.run(&["doctor"]);
    assert!(code == 1 && doctor.to_string().contains(advice), "{doctor}");
    let (code, status) = home.run(&["status"]);
    assert!(code == 1 && status.to_string().contains("is missing"), "{status}");
    assert_eq!(home.run(&["lookup", "prod/a"]).0, 3);
    home.good(&["renew", "team", "--lost"]);
    assert_eq!(home.refused(&["lookup", "prod/a"]), "UNSIGNED");
    home.good(&["sign", "--file", &home.text("a"), "--name", "prod/a", "--role", "team"]);
    home.good(&["doctor"]);
}

#[test]
fn a_broken_bin_keeps_its_role_from_new_keys_until_it_is_mended() {
    let home = Home::with_collection(&["--bins", "2"]);
    home.good(&["sign", "--file", &home.file("a", "a"), "--name", "a"]);
    let bin = ["bin-0", "bin-1"]
        .into_iter()
        .find(|bin| home.path(&format!("trust/c/2.{bin}.json")).exists());
    let bin = bin.unwrap();
    fs::write(home.path(&format!("trust/c/2.{bin}.json")), "{}").unwrap();
    let before = key_files(&home);
    assert_eq!(home.refused(&["rotate", "targets"]), "MALFORMED");
    assert_eq!(home.refused(&["signer", "add", "targets", "--new", "1"]), "MALFORMED");
    assert_eq!(key_files(&home), before);
    let (code, doctor) = home.run(&["doctor"]);
    let doctor = doctor.to_string();
    assert!(
        code == 1 && doctor.contains(&format!("imgkit trust renew {bin} --lost")),
        "{doctor}"
    );
    assert!(!doctor.contains("delegate rm"), "{doctor}");
    home.good(&["renew", bin, "--lost"]);
    home.good(&["rotate", "targets"]);
    home.good(&["sign", "--file", &home.text("a"), "--name", "a"]);
    home.good(&["lookup", "a"]);
}

#[test]
fn a_key_to_which_bins_are_trusted_that_nobody_signed_yet_is_not_left_unseen() {
    let home = with_team();
    let owner = Owner::at(home.dir(), "c", &["team"]);
    let stolen = owner.key("team");
    home.good(&["signer", "add", "team", "--new", "1"]);
    owner.forge("team", stolen, |signed| {
        signed["delegations"] = json!({
            "keys": { stolen.id().as_str(): stolen.tuf_key().to_json() },
            "succinct_roles": { "keyids": [stolen.id()], "threshold": 1, "bit_length": 1, "name_prefix": "tb" },
        });
    });
    let id = stolen.id();
    let revoke = ["revoke", id.as_str(), "--yes"];
    let (code, refused) = home.run(&revoke);
    assert!(
        code == 2 && refused.to_string().contains("imgkit trust delegate rm tb-0"),
        "{refused}"
    );
    home.good(&["delegate", "rm", "tb-0"]);
    home.good(&revoke);
    let roles = home.good(&["inspect"])["roles"].to_string();
    assert!(!roles.contains("tb-"), "{roles}");
    home.good(&["lookup", "prod/a"]);
}

#[test]
fn a_threshold_is_lowered_where_that_is_said_and_nowhere_else() {
    let home = Home::with_collection(&[]);
    home.good(&["signer", "add", "targets", "--new", "2", "--threshold", "2"]);
    home.good(&["key", "generate", &home.text("new.pem")]);
    let proposal = home.text("root.json");
    let new = home.text("new.pem");
    let propose = ["root", "propose", &proposal, "--role", "targets", "--key", &new];
    let before = key_files(&home);
    let (code, refused) = home.run(&propose);
    assert!(code == 2 && refused.to_string().contains("--threshold"), "{refused}");
    assert!(!home.path("root.json").exists());
    // What is refused leaves no key behind.
    for command in [
        &["rotate", "targets", "--new", "1"][..],
        &["rotate", "nobody"],
        &["signer", "add", "targets", "--new", "1", "--threshold", "9"],
        &["signer", "add", "nobody"],
        &["delegate", "add", "team", "t/*", "--new", "1", "--threshold", "2"],
        &["delegate", "add", "team", "t/*", "--threshold", "0"],
        &["delegate", "add", "team", "t/*", "--by", "nobody"],
    ] {
        let (code, refused) = home.run(command);
        assert_eq!(code, 2, "{command:?}: {refused}");
    }
    assert_eq!(key_files(&home), before);
    home.good(&[&propose[..], &["--threshold", "1"]].concat());
    let rotated = home.good(&["rotate", "targets", "--new", "3"]);
    assert_eq!(rotated["thresholds"], json!([{ "by": null, "threshold": 2 }]));
}

#[test]
fn what_is_signed_again_is_told_whoever_said_it_last() {
    let mixed = Mixed::new();
    let owner = &mixed.owner;
    let hash = "ab".repeat(32);
    owner.forge("evil", owner.key("evil"), |signed| {
        signed["targets"]["ext/a"] =
            json!({ "length": 7, "hashes": { "sha256": hash, "md5": "cd" }, "custom": { "by": "thief" } });
    });
    let (code, asked) = mixed.home.run(&["revoke", &mixed.id("evil"), "--new", "1"]);
    let said = asked["error"]["problem"].as_str().unwrap();
    let told = format!(
        "signed again, what evil says:\n+ ext/a (evil): md5:cd sha256:{hash} (7 bytes)\n    {{\"by\":\"thief\"}}\n"
    );
    assert!(code == 2 && said.contains(&told), "{said}");
}

#[test]
fn nobody_writes_lines_of_others() {
    let mixed = Mixed::new();
    let evil = mixed.id("evil");
    let since = "2026-01-01T00:00:00Z";
    mixed.owner.forge("evil", mixed.owner.key("evil"), |signed| {
        let key = mixed.owner.key("evil").tuf_key().to_json().clone();
        signed["delegations"] = delegations("x", &evil, mixed.owner.key("evil"));
        signed["delegations"]["roles"][0]["paths"] = json!(["ext/a\nteam by targets: FORGED"]);
        signed["x-imgkit-revoked"] = json!([{ "role": "a\nFORGED", "keyid": evil, "key": key, "since": since }]);
    });
    fs::write(mixed.home.path("trust/c/.x; FORGED #"), "").unwrap();
    fs::write(mixed.home.path("trust/c/.y\nFORGED"), "").unwrap();
    let file = mixed.home.text("a");
    let sign = ["sign", "--role", "x", "--file", &file, "--name", "prod/z"];
    for (command, told) in [
        (
            &["inspect"][..],
            format!(r#"revoked for "a\nFORGED" by evil since {since}: {evil}"#),
        ),
        (&["delegate", "ls"], r"ext/a\nteam by targets: FORGED".to_owned()),
        (&sign, r"its names are ext/a\nteam by targets: FORGED".to_owned()),
        (&["doctor"], "mend it: rm -r FILE when nobody publishes".to_owned()),
        (&["doctor"], "/.x; FORGED #' when nobody publishes".to_owned()),
    ] {
        let said = text(&mixed.home, command);
        assert!(said.contains(&told), "{command:?}: {said}");
        assert!(
            !said
                .lines()
                .any(|line| line.starts_with("FORGED") || line.starts_with("team by targets: FORGED")),
            "{said}"
        );
    }
}

#[test]
fn what_a_change_takes_away_is_shown_as_going_and_nothing_else_is_shown() {
    let home = with_team();
    home.good(&["delegate", "add", "sub", "prod/s*", "--by", "team"]);
    home.good(&["sign", "--file", &home.text("a"), "--name", "prod/s1", "--role", "sub"]);
    let shown = |file: &str, change: &[&str]| {
        let file = home.text(file);
        home.good(&[&["stage", &file], change].concat());
        let (_, asked) = home.run(&["cosign", &file]);
        let said = asked["error"]["problem"].as_str().unwrap().to_owned();
        let lines = said
            .lines()
            .filter(|line| line.starts_with("+ ") || line.starts_with("- "));
        lines
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let unrelated = ["sign", "--file", &home.text("a"), "--name", "spec/c"];
    assert_eq!(shown("1.json", &unrelated), ["+ spec/c (targets)"]);
    let gone = [
        "- prod/s1 (sub)",
        "- prod/a (team)",
        "- role sub, trusted by team",
        "- role team, trusted by targets",
    ];
    assert_eq!(shown("2.json", &["delegate", "rm", "team"]), gone);
}
