//! A container's `config.json`: the OCI runtime specification that LinuxKit makes of settings (`ConfigToOCI`).

use std::collections::BTreeMap;

use serde::Serialize;

use super::capability::Capabilities;
use super::device::{Device, Id, IdMapping, Ids};
use super::json;
use super::label::ImageDefaults;
use super::mount::Mount;
use super::namespace::Namespace;
use super::resources::{DeviceRule, Resources};
use super::rlimit::Rlimit;
use super::settings::Settings;

/// The version that LinuxKit 1.8 writes.
const OCI_VERSION: &str = "1.2.1";

/// Writes `config.json`; `settings` are the YAML's over the label's.
///
/// # Errors
/// [`UnknownId`] when a user or group is named after a container that is not there.
pub(super) fn encode(settings: &Settings, image: &ImageDefaults, ids: &Ids) -> Result<Vec<u8>, UnknownId> {
    let resources = resources(settings);
    let (bounding, effective, ambient) = capabilities(settings);
    let id = |id: &Option<Id>| number(id.as_ref().unwrap_or(&Id::ROOT), ids);
    let groups = settings.additional_gids.iter().flatten();
    Ok(json::encode(&Config {
        oci_version: OCI_VERSION,
        process: Process {
            user: User {
                uid: id(&settings.uid)?,
                gid: id(&settings.gid)?,
                additional_gids: groups.map(|id| number(id, ids)).collect::<Result<_, _>>()?,
            },
            args: settings.command.as_ref().unwrap_or(&image.command),
            env: settings.env.as_ref().unwrap_or(&image.env),
            cwd: match (&settings.cwd, image.working_dir.as_str()) {
                (Some(cwd), _) => cwd,
                (None, "") => "/",
                (None, cwd) => cwd,
            },
            capabilities: CapabilitySets {
                inheritable: bounding.clone(),
                permitted: bounding.clone(),
                bounding,
                effective,
                ambient,
            },
            rlimits: settings.rlimits.as_deref().unwrap_or_default(),
            no_new_privileges: settings.no_new_privileges.unwrap_or_default(),
            oom_score_adj: settings.oom_score_adj,
        },
        root: Root {
            path: "rootfs",
            readonly: settings.readonly.unwrap_or_default(),
        },
        hostname: settings.hostname.as_deref().unwrap_or_default(),
        mounts: mounts(settings),
        annotations: settings.annotations.as_ref(),
        linux: Linux {
            uid_mappings: settings.uid_mappings.as_deref().unwrap_or_default(),
            gid_mappings: settings.gid_mappings.as_deref().unwrap_or_default(),
            sysctl: settings.sysctl.as_ref(),
            resources,
            cgroups_path: settings.cgroups_path.as_deref().unwrap_or_default(),
            namespaces: namespaces(settings),
            devices: device_nodes(settings),
            rootfs_propagation: settings.rootfs_propagation.as_deref().unwrap_or_default(),
            masked_paths: settings.masked_paths.as_deref().unwrap_or_default(),
            readonly_paths: settings.readonly_paths.as_deref().unwrap_or_default(),
        },
    }))
}

/// A `uid` or `gid` names a container that the specification does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user or group `{0}` is not the name of a container; expected a number, root, or a container's name")]
pub struct UnknownId(pub String);

pub(super) fn number(id: &Id, ids: &Ids) -> Result<u32, UnknownId> {
    id.resolve(ids).ok_or_else(|| match id {
        Id::Named(name) => UnknownId(name.clone()),
        Id::Number(number) => UnknownId(number.to_string()),
    })
}

/// Returns the bounding set (sorted), the effective and the ambient capabilities (as written).
fn capabilities(settings: &Settings) -> (Vec<&'static str>, Vec<&'static str>, Vec<&'static str>) {
    let names = |list: &Option<Capabilities>| list.as_ref().map(Capabilities::names).unwrap_or_default();
    let (effective, ambient) = (names(&settings.capabilities), names(&settings.ambient));
    let mut bounding = [effective.as_slice(), ambient.as_slice()].concat();
    bounding.sort_unstable();
    bounding.dedup();
    (bounding, effective, ambient)
}

/// Returns the usual mounts, and over them tmpfs, binds and mounts, sorted by destination.
fn mounts(settings: &Settings) -> Vec<Mount> {
    let readonly = settings.readonly.unwrap_or_default();
    let with_ro = |options: &[&'static str]| -> Vec<&'static str> {
        let ro = readonly.then_some("ro");
        options.iter().copied().chain(ro).collect()
    };
    let dev = with_ro(&["nosuid", "strictatime", "mode=755", "size=65536k"]);
    let sys = with_ro(&["nosuid", "noexec", "nodev"]);
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    let cgroup = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    let usual = [
        Mount::new("/proc", "proc", "proc", &["nosuid", "nodev", "noexec", "relatime"]),
        Mount::new("/dev", "tmpfs", "tmpfs", &dev),
        Mount::new("/dev/pts", "devpts", "devpts", &pts),
        Mount::new("/sys", "sysfs", "sysfs", &sys),
        Mount::new("/sys/fs/cgroup", "cgroup", "cgroup", &cgroup),
    ];
    let asked = [&settings.tmpfs, &settings.binds, &settings.mounts];
    let asked = asked.into_iter().flatten().flatten().cloned();
    let by_destination: BTreeMap<String, Mount> = usual
        .into_iter()
        .chain(asked)
        .map(|mount| (mount.destination.clone(), mount))
        .collect();
    by_destination.into_values().collect()
}

/// Returns the namespaces that the container does not share with the host.
fn namespaces(settings: &Settings) -> Vec<NamespaceEntry<'_>> {
    fn entry<'a>(kind: &'static str, namespace: Option<&'a Namespace>) -> Option<NamespaceEntry<'a>> {
        match namespace? {
            Namespace::Host => None,
            Namespace::New => Some(NamespaceEntry { kind, path: "" }),
            Namespace::Path(path) => Some(NamespaceEntry { kind, path }),
        }
    }
    let pid = settings.pid.as_ref().or(Some(&Namespace::New));
    [
        entry("network", settings.net.as_ref()),
        entry("ipc", settings.ipc.as_ref()),
        entry("uts", settings.uts.as_ref()),
        entry("pid", pid),
        entry("user", settings.userns.as_ref()),
        entry("mount", Some(&Namespace::New)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn device_nodes(settings: &Settings) -> Vec<DeviceNode<'_>> {
    let devices = settings.devices.iter().flatten();
    let node = |device| match device {
        &Device::Node {
            ref path,
            ref kind,
            major,
            minor,
            mode,
        } => Some(DeviceNode {
            path,
            kind,
            major,
            minor,
            file_mode: mode,
        }),
        Device::Kind(_) => None,
    };
    devices.filter_map(node).collect()
}

/// Returns the limits, with leave to use each device that is asked for.
fn resources(settings: &Settings) -> Resources {
    let mut resources = settings.resources.clone().unwrap_or_default();
    let rules = settings.devices.iter().flatten().map(|device| {
        let (kind, major, minor) = match device {
            Device::Node { kind, major, minor, .. } => (kind, Some(*major), Some(*minor)),
            Device::Kind(kind) => (kind, None, None),
        };
        DeviceRule {
            allow: true,
            kind: kind.clone(),
            major,
            minor,
            access: "rwm".to_owned(),
        }
    });
    resources.devices.extend(rules);
    resources
}

// The members below stand in the order of Go's runtime-spec structures.

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    oci_version: &'static str,
    process: Process<'a>,
    root: Root,
    #[serde(skip_serializing_if = "str::is_empty")]
    hostname: &'a str,
    mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "is_empty_map")]
    annotations: Option<&'a BTreeMap<String, String>>,
    linux: Linux<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process<'a> {
    user: User,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    args: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    env: &'a [String],
    cwd: &'a str,
    capabilities: CapabilitySets,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rlimits: &'a [Rlimit],
    #[serde(skip_serializing_if = "is_false")]
    no_new_privileges: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_score_adj: Option<i32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    additional_gids: Vec<u32>,
}

#[derive(Serialize)]
struct CapabilitySets {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bounding: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    effective: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inheritable: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permitted: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ambient: Vec<&'static str>,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    readonly: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    uid_mappings: &'a [IdMapping],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    gid_mappings: &'a [IdMapping],
    #[serde(skip_serializing_if = "is_empty_map")]
    sysctl: Option<&'a BTreeMap<String, String>>,
    resources: Resources,
    #[serde(skip_serializing_if = "str::is_empty")]
    cgroups_path: &'a str,
    namespaces: Vec<NamespaceEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    devices: Vec<DeviceNode<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    rootfs_propagation: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    masked_paths: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    readonly_paths: &'a [String],
}

#[derive(Serialize)]
struct NamespaceEntry<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceNode<'a> {
    path: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    major: i64,
    minor: i64,
    file_mode: u32,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_empty_map(map: &Option<&BTreeMap<String, String>>) -> bool {
    map.is_none_or(BTreeMap::is_empty)
}
