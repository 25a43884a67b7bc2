//! What a component's label asks for on its own account (law of the gate 9).
//!
//! A privilege that the YAML itself writes is the specification's, which is signed as such; the rest needs `allow:` in the
//! component's rule. The text forms are what policies match:
//!
//! ```text
//! ambient:CAP_NET_BIND_SERVICE        capability:all
//! annotation:KEY=VALUE                capability:CAP_NET_ADMIN
//! bind:/etc:rw                        cgroup:/a/b
//! bind-namespace:net=/run/netns/x     device:/dev/sda:b:8:0
//! cgroup-device:b:*:*:rwm             host-cgroup:podruntime
//! host-mkdir:/run/l                   host-mount:tmpfs:/var/t
//! interface:wg0                       mount:proc:/proc2
//! namespace:net=host                  oom-score:-998
//! rootfs:shared                       runtime-namespace:other
//! sysctl:net.ipv4.ip_forward=1
//! ```

use std::collections::BTreeSet;
use std::fmt;

use super::capability::Capabilities;
use super::device::Device;
use super::mount::Mount;
use super::namespace::Namespace;
use super::resources::DeviceRule;
use super::runtime::Runtime;
use super::settings::{Overlay, Settings};

/// Every kind of privilege, sorted.
pub const KINDS: [&str; 18] = [
    "ambient",
    "annotation",
    "bind",
    "bind-namespace",
    "capability",
    "cgroup",
    "cgroup-device",
    "device",
    "host-cgroup",
    "host-mkdir",
    "host-mount",
    "interface",
    "mount",
    "namespace",
    "oom-score",
    "rootfs",
    "runtime-namespace",
    "sysctl",
];

/// One thing that reaches out of a container: a kind and what it reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Privilege {
    kind: &'static str,
    subject: String,
}

impl Privilege {
    fn new(kind: &'static str, subject: impl fmt::Display) -> Self {
        // A label's text must not look like another line of a report.
        let readable = |c: char| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        };
        let subject = subject.to_string().chars().map(readable).collect();
        Self { kind, subject }
    }

    /// Returns the kind: one of [`KINDS`].
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns what is reached.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.subject)
    }
}

/// Lists what the label alone asks for, sorted: what the container gets, less what the YAML's own words give it.
pub fn asked_by_label(label: &Settings, yaml: &Overlay) -> Vec<Privilege> {
    let all = privileges(&yaml.over(label));
    let own = privileges(&yaml.over(&Settings::default()));
    all.difference(&own).cloned().collect()
}

/// Lists everything in `settings` that reaches out of the container.
fn privileges(settings: &Settings) -> BTreeSet<Privilege> {
    let mut found = BTreeSet::new();
    add_capabilities(&mut found, "ambient", settings.ambient.as_ref());
    add_capabilities(&mut found, "capability", settings.capabilities.as_ref());
    found.extend(settings.binds.iter().flatten().map(|mount| of_mount("mount", mount)));
    found.extend(settings.mounts.iter().flatten().map(|mount| of_mount("mount", mount)));
    found.extend(settings.devices.iter().flatten().map(of_device));
    let rules = settings.resources.iter().flat_map(|resources| &resources.devices);
    found.extend(rules.filter(|rule| rule.allow).map(of_device_rule));
    for (name, namespace) in [
        ("ipc", &settings.ipc),
        ("net", &settings.net),
        ("pid", &settings.pid),
        ("user", &settings.userns),
        ("uts", &settings.uts),
    ] {
        match namespace {
            Some(Namespace::Host) => found.insert(Privilege::new("namespace", format!("{name}=host"))),
            Some(Namespace::Path(path)) => found.insert(Privilege::new("namespace", format!("{name}={path}"))),
            Some(Namespace::New) | None => false,
        };
    }
    for (kind, map) in [("annotation", &settings.annotations), ("sysctl", &settings.sysctl)] {
        let entries = map.iter().flatten();
        found.extend(entries.map(|(key, value)| Privilege::new(kind, format!("{key}={value}"))));
    }
    let oom = settings.oom_score_adj.filter(|score| *score < 0);
    found.extend(oom.map(|score| Privilege::new("oom-score", score)));
    for (kind, text) in [
        ("cgroup", &settings.cgroups_path),
        ("rootfs", &settings.rootfs_propagation),
    ] {
        let text = text.as_ref().filter(|text| !text.is_empty());
        found.extend(text.map(|text| Privilege::new(kind, text)));
    }
    if let Some(runtime) = &settings.runtime {
        add_runtime(&mut found, runtime);
    }
    found
}

fn add_capabilities(found: &mut BTreeSet<Privilege>, kind: &'static str, capabilities: Option<&Capabilities>) {
    match capabilities {
        Some(Capabilities::All) => found.extend([Privilege::new(kind, "all")]),
        Some(Capabilities::Listed(listed)) => found.extend(listed.iter().map(|name| Privilege::new(kind, name))),
        None => {}
    }
}

/// What init does on the host around the container.
fn add_runtime(found: &mut BTreeSet<Privilege>, runtime: &Runtime) {
    let cgroups = runtime.cgroups.iter().flatten();
    found.extend(cgroups.map(|cgroup| Privilege::new("host-cgroup", cgroup)));
    let directories = runtime.mkdir.iter().flatten();
    found.extend(directories.map(|path| Privilege::new("host-mkdir", path)));
    found.extend(
        runtime
            .mounts
            .iter()
            .flatten()
            .map(|mount| of_mount("host-mount", mount)),
    );
    let interfaces = runtime.interfaces.iter().flatten();
    found.extend(interfaces.map(|interface| Privilege::new("interface", &interface.name)));
    let bound = runtime.bind_ns.paths().into_iter().filter(|(_, path)| !path.is_empty());
    found.extend(bound.map(|(kind, path)| Privilege::new("bind-namespace", format!("{kind}={path}"))));
    let namespace = runtime.namespace.as_ref().filter(|namespace| !namespace.is_empty());
    found.extend(namespace.map(|namespace| Privilege::new("runtime-namespace", namespace)));
}

/// A bind reaches a path of the host, wherever it appears; any other mount is told by type and destination.
fn of_mount(kind: &'static str, mount: &Mount) -> Privilege {
    let has = |wanted: &[&str]| mount.options.iter().any(|option| wanted.contains(&option.as_str()));
    if mount.kind == "bind" || has(&["bind", "rbind"]) {
        let access = if has(&["ro"]) && !has(&["rw"]) { "ro" } else { "rw" };
        let kind = if kind == "host-mount" { kind } else { "bind" };
        return Privilege::new(kind, format!("{}:{access}", mount.source));
    }
    Privilege::new(kind, format!("{}:{}", mount.kind, mount.destination))
}

fn of_device(device: &Device) -> Privilege {
    match device {
        Device::Node {
            path,
            kind,
            major,
            minor,
            ..
        } => Privilege::new("device", format!("{path}:{kind}:{major}:{minor}")),
        Device::Kind(kind) => Privilege::new("device", format!("all:{kind}:*:*")),
    }
}

fn of_device_rule(rule: &DeviceRule) -> Privilege {
    let number = |number: Option<i64>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let kind = if rule.kind.is_empty() { "a" } else { &rule.kind };
    let subject = format!("{kind}:{}:{}:{}", number(rule.major), number(rule.minor), rule.access);
    Privilege::new("cgroup-device", subject)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::yaml::Document;

    fn settings(text: &str) -> Settings {
        let document = Document::parse("label", text.as_bytes()).unwrap();
        document.root().fields("the label", Settings::decode).unwrap()
    }

    fn asked(label: &str, yaml: &str) -> String {
        let document = Document::parse("node.yml", yaml.as_bytes()).unwrap();
        let overlay = document.root().fields("a container", Overlay::decode).unwrap();
        let asked = asked_by_label(&settings(label), &overlay);
        asked.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    /// A label that reaches out in every way there is.
    const EVERYTHING: &str = "\
capabilities: [CAP_KILL, CAP_NET_ADMIN]
ambient: [CAP_CHOWN]
binds: ['/etc/resolv.conf:/etc/resolv.conf', '/run:/run:ro', '/x:/y:rslave']
mounts: [{type: proc, destination: /proc2}, {type: bind, source: /a, destination: /b, options: [ro]}]
tmpfs: [/tmp]
devices: [{path: /dev/x, type: b, major: 8, minor: 0, mode: '0660'}, {path: all, type: c}]
resources: {devices: [{allow: true, access: rwm}, {allow: false, access: r}], memory: {limit: 1}}
net: host
pid: /run/pid
ipc: new
userns: root
sysctl: {net.ipv4.ip_forward: '1'}
annotations: {org.imgkit.optional: 'true'}
cgroupsPath: /a/b
rootfsPropagation: shared
oomScoreAdj: -998
runtime:
  cgroups: [podruntime]
  mkdir: [/run/l]
  mounts: [{type: bind, source: /s, destination: /d}, {type: tmpfs, source: tmpfs, destination: /t}]
  interfaces: [{name: wg0}]
  bindNS: {net: /run/netns/x}
  namespace: other
";

    #[test]
    fn everything_that_reaches_out_is_listed() {
        insta::assert_snapshot!(asked(EVERYTHING, "{}"));
    }

    #[test]
    fn every_kind_is_known() {
        let listed = asked(EVERYTHING, "{}");
        let kinds: BTreeSet<&str> = listed
            .lines()
            .filter_map(|line| Some(line.split_once(':')?.0))
            .collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), KINDS);
    }

    #[test]
    fn what_stays_inside_is_not_listed() {
        let inside = "{command: [a], env: [A=b], cwd: /, readonly: true, uid: 1, tmpfs: [/tmp], net: new, oomScoreAdj: 5, \
            maskedPaths: [/proc/kcore], noNewPrivileges: true, hostname: h, rlimits: ['nofile,1,2']}";
        assert_eq!(asked(inside, "{}"), "");
    }

    #[test]
    fn a_subject_is_one_line() {
        let label = r#"{"annotations": {"a": "b\ncapability:CAP_KILL"}}"#;
        assert_eq!(asked(label, "{}"), "annotation:a=b\\ncapability:CAP_KILL");
    }

    #[test]
    fn the_yamls_own_words_are_not_the_labels() {
        let label = "{capabilities: [CAP_KILL, CAP_NET_ADMIN], binds: ['/a:/a', '/b:/b'], pid: host}";
        assert_eq!(asked(label, "{capabilities: [CAP_SYS_ADMIN], binds: [], pid: new}"), "");
        let added = "{capabilities.add: [CAP_KILL, CAP_SYS_ADMIN], binds.add: ['/a:/other', '/c:/c']}";
        assert_eq!(
            asked(label, added),
            "bind:/b:rw\ncapability:CAP_NET_ADMIN\nnamespace:pid=host"
        );
        assert_eq!(
            asked("{capabilities: [ALL]}", "{capabilities.add: [CAP_KILL]}"),
            "capability:all"
        );
        assert_eq!(asked("{}", "{capabilities: [all], net: host}"), "");
    }
}
