//! `build --release`: what a release pipeline calls refuses whatever a release must not be; each fault beside the twin.

use super::common::node::{Answer, Node, answer};
use super::common::owner::clock;

/// A node with all that a release needs, at this hour.
struct Release {
    node: Node,
    key: String,
}

impl Release {
    fn new() -> Self {
        let node = Node::new();
        node.edit("policy.yml", "image:\n", "spec:\n  signed: {root: platform}\nimage:\n");
        node.good(&["trust", "sign", "--file", "node.yml", "--name", "spec/node.yml"]);
        node.good(&["trust", "renew", "root", "targets"]);
        node.good(&["lock", "node.yml"]);
        let key = node.seal_key().display().to_string();
        Self { node, key }
    }

    fn build(&self, without: &str, more: &[&str], epoch: Option<i64>) -> Answer {
        let options = [
            ("--policy", Some("policy.yml")),
            ("--seal-key", Some(&*self.key)),
            ("--locked", None),
        ];
        let given = options.into_iter().filter(|(name, _)| *name != without);
        let given = given.flat_map(|(name, value)| [Some(name), value]).flatten();
        let fixed = [
            "build",
            "--release",
            "--offline",
            "--format",
            "raw-bios",
            "--out",
            "out",
        ];
        let args: Vec<&str> = fixed
            .into_iter()
            .chain(given)
            .chain(more.iter().copied())
            .chain(["--", "node.yml"])
            .collect();
        let mut command = self.node.command(&args);
        if let Some(seconds) = epoch {
            command.env("SOURCE_DATE_EPOCH", seconds.to_string());
        }
        answer(&mut command)
    }

    /// Asserts that it is wrong usage, and which; and that nothing is left.
    fn is_wrong(&self, answer: &Answer, word: &str) {
        assert_eq!(answer.code, 2, "{word}: {}", answer.json);
        assert!(answer.json.to_string().contains(word), "{word}: {}", answer.json);
        assert!(self.node.names("out").is_empty(), "{word}");
    }

    fn is_good(&self) {
        let built = self.build("", &[], None);
        assert_eq!(built.code, 0, "{}", built.json);
        assert_eq!(self.node.verify("out/node-bios.img").code, 0);
        std::fs::remove_dir_all(self.node.path("out")).unwrap();
    }
}

#[test]
fn a_release_needs_policy_lock_and_seal() {
    let release = Release::new();
    for (without, word) in [
        ("--policy", "needs a policy"),
        ("--locked", "needs a lock"),
        ("--seal-key", "needs a seal"),
    ] {
        release.is_wrong(&release.build(without, &[], None), word);
    }
    release.is_good();
    let request = ["--seal-request", "request"];
    assert_eq!(
        release.build("--seal-key", &request, None).code,
        0,
        "a seal in two phases is one"
    );
}

#[test]
fn a_release_refuses_every_unsafe_switch() {
    let release = Release::new();
    let help = release.node.text(&["build", "--help"]);
    let switches: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--unsafe"))
        .collect();
    assert!(switches.contains(&"--unsafe-accept-unsigned"), "{help}");
    for switch in switches {
        let answer = release.build("", &[switch], None);
        assert_eq!(answer.code, 2, "{switch}: {}", answer.json);
        assert!(release.node.names("out").is_empty());
    }
    release.is_good();
}

#[test]
fn a_release_refuses_a_policy_that_admits_everything_or_asks_nothing() {
    let release = Release::new();
    for (from, to, word) in [
        (
            "rules:\n",
            "rules:\n  - match: other.test/**\n    unsigned: accept\n",
            "unsigned components",
        ),
        (
            "    signed: {root: platform}\n    proved: true\n",
            "    unsigned: accept\n",
            "unsigned components",
        ),
        ("spec:\n  signed: {root: platform}\n", "", "no `spec:`"),
        ("  sealed: {root: platform}\n", "", "no `image: sealed:`"),
    ] {
        let good = std::fs::read_to_string(release.node.path("policy.yml")).unwrap();
        release.node.edit("policy.yml", from, to);
        release.is_wrong(&release.build("", &[], None), word);
        release.node.write("policy.yml", &good);
    }
    release.is_good();
}

#[test]
fn a_release_is_evaluated_within_an_hour_of_the_clock() {
    let release = Release::new();
    let word = "more than an hour from the clock";
    for seconds in [-7200, -3700, 3700, 7200] {
        let at = clock().plus(seconds);
        release.is_wrong(&release.build("", &["--at", &at.to_string()], None), word);
        release.is_wrong(&release.build("", &[], Some(at.unix())), word);
        release.node.good(&["lock", "--at", &at.to_string(), "node.yml"]);
        release.is_wrong(&release.build("", &[], None), word);
    }
    for seconds in [-3000, 3000] {
        let at = clock().plus(seconds).to_string();
        assert_eq!(release.build("", &["--at", &at], None).code, 0);
    }
    std::fs::remove_dir_all(release.node.path("out")).unwrap();
    release.node.good(&["lock", "node.yml"]);
    release.is_good();
}

#[test]
fn a_release_is_of_a_signed_specification() {
    let release = Release::new();
    release.node.edit("node.yml", "contents: node", "contents: other");
    let answer = release.build("", &[], None);
    assert_eq!(
        (answer.code, answer.codes()),
        (1, vec!["DIGEST_MISMATCH"]),
        "{}",
        answer.json
    );
    release
        .node
        .good(&["trust", "sign", "--file", "node.yml", "--name", "spec/node.yml"]);
    release.is_good();
}
