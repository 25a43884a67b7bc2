//! `runtime`: what init does on the host around a container, written to its bundle as `runtime.json`.

use serde::Serialize;

use super::mount::{Mount, path};
use crate::yaml::{Item, YamlError};

/// What one place asks init to do; absent parts say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    /// Namespaces to keep after the container's end, each bound at a path.
    pub bind_ns: BindNamespaces,
    /// Control groups to make.
    pub cgroups: Option<Vec<String>>,
    /// Network interfaces to move or make.
    pub interfaces: Option<Vec<Interface>>,
    /// Directories to make.
    pub mkdir: Option<Vec<String>>,
    /// Mounts to make on the host.
    pub mounts: Option<Vec<Mount>>,
    /// The containerd namespace that a service runs in.
    pub namespace: Option<String>,
}

impl Runtime {
    pub(super) fn decode(item: Item<'_>) -> Result<Self, YamlError> {
        item.fields("`runtime`", |fields| {
            Ok(Self {
                bind_ns: fields.maybe("bindNS", BindNamespaces::decode)?.unwrap_or_default(),
                cgroups: fields.maybe("cgroups", |item| item.texts())?,
                interfaces: fields.maybe("interfaces", |item| item.list_of(Interface::decode))?,
                mkdir: fields.maybe("mkdir", |item| item.list_of(path))?,
                mounts: fields.maybe("mounts", |item| item.list_of(Mount::decode))?,
                namespace: fields.maybe("namespace", |item| item.text().map(str::to_owned))?,
            })
        })
    }

    /// Lays this over `label`: whatever is said here replaces what is said there.
    pub(super) fn over(&self, label: &Self) -> Self {
        fn first<T: Clone>(own: &Option<T>, label: &Option<T>) -> Option<T> {
            own.as_ref().or(label.as_ref()).cloned()
        }
        Self {
            bind_ns: self.bind_ns.over(&label.bind_ns),
            cgroups: first(&self.cgroups, &label.cgroups),
            interfaces: first(&self.interfaces, &label.interfaces),
            mkdir: first(&self.mkdir, &label.mkdir),
            mounts: first(&self.mounts, &label.mounts),
            namespace: first(&self.namespace, &label.namespace),
        }
    }
}

/// Where namespaces are bound, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields are the kinds of namespaces")]
pub struct BindNamespaces {
    pub cgroup: Option<String>,
    pub ipc: Option<String>,
    pub mnt: Option<String>,
    pub net: Option<String>,
    pub pid: Option<String>,
    pub user: Option<String>,
    pub uts: Option<String>,
}

impl BindNamespaces {
    fn decode(item: Item<'_>) -> Result<Self, YamlError> {
        item.fields("`bindNS`", |fields| {
            Ok(Self {
                cgroup: fields.maybe("cgroup", path)?,
                ipc: fields.maybe("ipc", path)?,
                mnt: fields.maybe("mnt", path)?,
                net: fields.maybe("net", path)?,
                pid: fields.maybe("pid", path)?,
                user: fields.maybe("user", path)?,
                uts: fields.maybe("uts", path)?,
            })
        })
    }

    fn over(&self, label: &Self) -> Self {
        let first = |own: &Option<String>, label: &Option<String>| own.as_ref().or(label.as_ref()).cloned();
        Self {
            cgroup: first(&self.cgroup, &label.cgroup),
            ipc: first(&self.ipc, &label.ipc),
            mnt: first(&self.mnt, &label.mnt),
            net: first(&self.net, &label.net),
            pid: first(&self.pid, &label.pid),
            user: first(&self.user, &label.user),
            uts: first(&self.uts, &label.uts),
        }
    }

    /// Lists kind and path, sorted by kind; an unset path is empty.
    pub(super) fn paths(&self) -> [(&'static str, &str); 7] {
        fn or_empty(path: &Option<String>) -> &str {
            path.as_deref().unwrap_or_default()
        }
        [
            ("cgroup", or_empty(&self.cgroup)),
            ("ipc", or_empty(&self.ipc)),
            ("mnt", or_empty(&self.mnt)),
            ("net", or_empty(&self.net)),
            ("pid", or_empty(&self.pid)),
            ("user", or_empty(&self.user)),
            ("uts", or_empty(&self.uts)),
        ]
    }
}

/// A network interface that a container gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The kind to make, such as `wireguard`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub add: String,
    /// The other end of a `veth` pair.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// Whether it is made in the host's namespace and moved.
    pub create_in_root: bool,
}

impl Interface {
    fn decode(item: Item<'_>) -> Result<Self, YamlError> {
        let text = |item: Item<'_>| item.text().map(str::to_owned);
        item.fields("an interface", |fields| {
            Ok(Self {
                name: fields.maybe("name", text)?.unwrap_or_default(),
                add: fields.maybe("add", text)?.unwrap_or_default(),
                peer: fields.maybe("peer", text)?.unwrap_or_default(),
                create_in_root: fields.maybe("createInRoot", |item| item.boolean())?.unwrap_or_default(),
            })
        })
    }
}

/// Writes `runtime.json`: `rootfs_mounts` make the root file system and come first.
pub(super) fn encode(runtime: &Runtime, rootfs_mounts: &[Mount]) -> Vec<u8> {
    let user_mounts = runtime.mounts.as_deref().unwrap_or_default();
    super::json::encode(&RuntimeJson {
        cgroups: runtime.cgroups.as_deref().unwrap_or_default(),
        mounts: rootfs_mounts.iter().chain(user_mounts).collect(),
        mkdir: runtime.mkdir.as_deref().unwrap_or_default(),
        interfaces: runtime.interfaces.as_deref().unwrap_or_default(),
        // A map of these seven sorts as LinuxKit's structure does.
        bind_ns: runtime.bind_ns.paths().into_iter().collect(),
        namespace: runtime.namespace.as_deref().unwrap_or_default(),
    })
}

/// The file's members in LinuxKit's order; all of them are always there.
#[derive(Serialize)]
struct RuntimeJson<'a> {
    cgroups: &'a [String],
    mounts: Vec<&'a Mount>,
    mkdir: &'a [String],
    interfaces: &'a [Interface],
    #[serde(rename = "bindNS")]
    bind_ns: std::collections::BTreeMap<&'a str, &'a str>,
    namespace: &'a str,
}
