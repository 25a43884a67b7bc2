#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

/// What a user of LinuxKit has, in the forms that its examples use.
const NODE: &str = "\
kernel:
  image: linuxkit/kernel:6.6.13
  cmdline: \"console=tty0  console=ttyS0\"
init:
  - linuxkit/init:c9a1adb982eb4074c01a34ce43860b6df24c252d
  - linuxkit/runc:v1
onboot:
  - name: dhcpcd
    image: linuxkit/dhcpcd:v1
    command: [\"/sbin/dhcpcd\", \"-1\"]
    optional: true
services:
  - name: docker
    image: docker:17.07.0-ce-dind
    capabilities:
     - all
    net: host
    mounts:
     - type: cgroup
       options: [\"rw\",\"nosuid\"]
    binds:
     - /var/:/host_var:rbind,rshared
    runtime:
      bindNS:
          net: /run/netns/wg0
files:
  - path: etc/docker/daemon.json
    contents: '{\"debug\": true}'
  - path: root/.ssh/authorized_keys
    source: ~/.ssh/id_rsa.pub
    mode: \"0600\"
    optional: true
epoch: 7
profile: production
boot:
  image: imgkit.local/components/boot-bios:v1
";

fn mistake(from: &str, to: &str) -> String {
    assert!(NODE.contains(from), "{from}");
    let yaml = NODE.replacen(from, to, 1);
    Spec::parse("node.yml", yaml.as_bytes()).unwrap_err().to_string()
}

#[test]
fn reads_what_linuxkits_examples_have() {
    let spec = Spec::parse("node.yml", NODE.as_bytes()).unwrap();
    let images = spec
        .images()
        .into_iter()
        .map(|(role, image)| format!("{role} {} {}", image.reference, image.place));
    assert_snapshot!(images.collect::<Vec<_>>().join("\n"));
    assert_eq!(spec.epoch, Some(7));
    assert_eq!(spec.profile.as_deref(), Some("production"));
    assert_eq!(spec.kernel.unwrap().cmdline.to_string(), "console=tty0 console=ttyS0");
    assert_eq!(
        spec.services[0].overlay.settings.mounts.as_ref().unwrap()[0].destination,
        "/sys/fs/cgroup"
    );
}

#[test]
fn names_the_files_it_needs() {
    let spec = Spec::parse("node.yml", NODE.as_bytes()).unwrap();
    let sources = spec.sources();
    assert_eq!(sources.len(), 1);
    assert_eq!(
        (sources[0].0, sources[0].1, sources[0].2.line),
        ("~/.ssh/id_rsa.pub", true, 29)
    );
}

#[test]
fn what_is_not_understood_is_an_error() {
    let mistakes = [
        mistake("kernel:\n", "kernal:\n"),
        mistake("    net: host", "    network: host"),
        mistake("    net: host", "    net: hots"),
        mistake("     - all", "     - CAP_ALL"),
        mistake("     - /var/:/host_var:rbind,rshared", "     - /var"),
        mistake("     - /var/:/host_var:rbind,rshared", "     - /run/../etc:/etc"),
        mistake("          net: /run/netns/wg0", "          net: /run/../etc"),
        mistake("     - type: cgroup", "     - source: cgrup"),
        mistake("mode: \"0600\"", "mode: 0600"),
        mistake("mode: \"0600\"", "mode: rw"),
        mistake("    contents:", "    symlink: /x\n    contents:"),
        mistake("    contents:", "    optional: true\n    contents:"),
        mistake("path: etc/docker/daemon.json", "path: etc/../../x"),
        mistake("name: docker", "name: ../docker"),
        mistake("  image: linuxkit/kernel:6.6.13\n", ""),
        mistake("linuxkit/runc:v1", "linuxkit/Runc:v1"),
        mistake("console=ttyS0", "init=$HOME"),
        mistake("  - name: docker\n", "  - name: docker\n    optional: true\n"),
        mistake("  - name: docker\n", "  - {name: docker, image: a}\n  - name: docker\n"),
        mistake("epoch: 7", "epoch: -1"),
        mistake("profile: production", "profile: production, or so"),
    ];
    assert_snapshot!(mistakes.join("\n"));
}

#[test]
fn what_linuxkit_ignores_or_imgkit_lacks_is_said() {
    assert_snapshot!(mistake("epoch: 7", "trust: {org: [linuxkit]}"), @"node.yml:33:8: LinuxKit took `trust` out and ignores it; imgkit checks every component against a policy file: remove this section, and name the policy with `--policy`");
    assert_snapshot!(mistake("epoch: 7", "volumes: [{name: v}]"), @"node.yml:33:10: `volumes` are not supported yet; use a bind of a directory made by `runtime: mkdir`");
    assert!(Spec::parse("node.yml", b"volumes: []\n").is_ok());
}

#[test]
fn the_yaml_lies_over_the_label() {
    let label = |text: &str| {
        let json = serde_json::json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] },
            "config": { "Labels": { "org.mobyproject.config": text } } });
        let config = crate::oci::ImageConfig::parse("it", json.to_string().as_bytes()).unwrap();
        ImageDefaults::new("r.example/it:v1", &config)
    };
    let below =
        label(r#"{"pid": "host", "runtime": {"mkdir": ["/a"], "cgroups": ["b"]}, "annotations": {"k": "v"}}"#).unwrap();
    let yaml = "onboot: [{name: a, image: b, optional: true, pid: '', runtime: {mkdir: []}}]";
    let spec = Spec::parse("node.yml", yaml.as_bytes()).unwrap();
    let settings = spec.onboot[0].settings(&below);
    assert_eq!(
        settings.pid,
        Some(crate::config::namespace::Namespace::Host),
        "an empty word says nothing"
    );
    let runtime = settings.runtime.unwrap();
    assert_eq!(
        (runtime.mkdir, runtime.cgroups),
        (Some(vec![]), Some(vec!["b".to_owned()]))
    );
    assert_eq!(
        settings.annotations.unwrap().len(),
        2,
        "`optional` leaves the label's annotations"
    );
    let refused = [
        r#"{"binds.add": ["/a:/b"]}"#,
        r#"{"name": "x"}"#,
        r#"{"pid": 1}"#,
        "[]",
        r#"{"pid": "host", "pid": "new"}"#,
    ];
    let refused = refused.map(|text| label(text).unwrap_err().to_string());
    assert_snapshot!(refused.join("\n"));
}

proptest! {
    #[test]
    fn never_panics_on_a_damaged_specification(at in 0..NODE.len(), cut in 0..40usize, paste in "[ -~\\n]{0,6}") {
        let end = (at + cut).min(NODE.len());
        let damaged = [&NODE[..at], &paste, &NODE[end..]].concat();
        if let Err(error) = Spec::parse("node.yml", damaged.as_bytes()) {
            prop_assert!(error.place.line <= damaged.lines().count() + 1, "{error}");
        }
    }
}
