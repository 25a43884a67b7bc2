//! `runtime.json`: what LinuxKit's layout asks of the node itself before a container is made, and before its process runs.

use std::path::Path;

use serde::Deserialize;

/// The document; every member may be missing, and one that is unknown is refused rather than ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Runtime {
    /// Control groups to make.
    #[serde(deserialize_with = "or_null")]
    pub(crate) cgroups: Vec<String>,
    /// Mounts to make before the container, in this order.
    #[serde(deserialize_with = "or_null")]
    pub(crate) mounts: Vec<Mount>,
    /// Directories to make after the mounts.
    #[serde(deserialize_with = "or_null")]
    pub(crate) mkdir: Vec<String>,
    /// Network interfaces to make or move into the container's namespace.
    #[serde(deserialize_with = "or_null")]
    pub(crate) interfaces: Vec<Interface>,
    /// Where to keep the container's namespaces.
    #[serde(rename = "bindNS", deserialize_with = "or_null")]
    pub(crate) bind_ns: BindNs,
    /// containerd's namespace for the container; empty for the default.
    #[serde(deserialize_with = "or_null")]
    pub(crate) namespace: String,
}

/// One mount, as in an OCI configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mount {
    /// Where; a relative one lies below the container's root.
    pub(crate) destination: String,
    /// The file system's type.
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    /// What.
    #[serde(default)]
    pub(crate) source: String,
    /// Options as in fstab(5).
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) options: Vec<String>,
}

/// One network interface.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Interface {
    /// Its name.
    #[serde(default)]
    pub(crate) name: String,
    /// The kind to make; empty for one that exists.
    #[serde(default)]
    pub(crate) add: String,
    /// The other end of a pair, which stays outside.
    #[serde(default)]
    pub(crate) peer: String,
    /// Whether it is made outside and then moved.
    #[serde(default, rename = "createInRoot")]
    pub(crate) create_in_root: bool,
}

/// Paths to bind the container's namespaces at; empty for none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BindNs {
    cgroup: String,
    ipc: String,
    mnt: String,
    net: String,
    pid: String,
    user: String,
    uts: String,
}

impl Mount {
    /// Describes a mount that no document asks for.
    pub(crate) fn new(destination: String, kind: &str, source: String, options: &[String]) -> Mount {
        Mount {
            destination,
            kind: kind.to_owned(),
            source,
            options: options.to_vec(),
        }
    }
}

impl BindNs {
    /// Lists the wanted ones: the name in `/proc/PID/ns`, and where to.
    pub(crate) fn wanted(&self) -> Vec<(&'static str, &Path)> {
        let all = [
            ("cgroup", &self.cgroup),
            ("ipc", &self.ipc),
            ("mnt", &self.mnt),
            ("net", &self.net),
            ("pid", &self.pid),
            ("user", &self.user),
            ("uts", &self.uts),
        ];
        all.into_iter()
            .filter(|(_, path)| !path.is_empty())
            .map(|(name, path)| (name, Path::new(path)))
            .collect()
    }
}

/// Reads `null` as the empty value: Go writes it for what was never set.
fn or_null<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// What LinuxKit v1.8.2 writes for a container with all of it.
    const LINUXKITS: &str = r#"{
        "cgroups": ["podruntime"],
        "mounts": [
            {"destination": "/containers/onboot/000-net/tmp", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/containers/onboot/000-net/tmp", "options": ["remount", "private"]},
            {"destination": "/var/t", "type": "tmpfs", "source": "tmpfs", "options": ["rw"]}
        ],
        "mkdir": ["/var/x", "/run/y"],
        "interfaces": [
            {"name": "wg0", "add": "wireguard", "createInRoot": true},
            {"name": "veth0", "peer": "veth1", "createInRoot": false}
        ],
        "bindNS": {"cgroup": "", "ipc": "", "mnt": "", "net": "/run/netns/x", "pid": "/run/pidns/x", "user": "", "uts": ""},
        "namespace": "other"
    }"#;

    #[test]
    fn reads_what_linuxkit_writes() {
        let runtime: Runtime = serde_json::from_str(LINUXKITS).unwrap();
        assert_eq!(runtime.mounts.len(), 3);
        assert_eq!(runtime.mounts[1].options, ["remount", "private"]);
        assert_eq!(runtime.interfaces[1].peer, "veth1");
        assert!(runtime.interfaces[0].create_in_root);
        assert_eq!(
            runtime.bind_ns.wanted(),
            [("net", Path::new("/run/netns/x")), ("pid", Path::new("/run/pidns/x"))]
        );
        assert_eq!(runtime.namespace, "other");
    }

    #[test]
    fn takes_null_and_absence_for_nothing() {
        let runtime: Runtime = serde_json::from_str(r#"{"mounts": null, "cgroups": null, "bindNS": null}"#).unwrap();
        assert!(runtime.mounts.is_empty() && runtime.mkdir.is_empty() && runtime.bind_ns.wanted().is_empty());
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let error = serde_json::from_str::<Runtime>(r#"{"mount": []}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown field `mount`"), "{error}");
    }
}
