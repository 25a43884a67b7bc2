//! The settings of a container, as the YAML or a component's label gives them.

use std::collections::BTreeMap;

use super::capability::Capabilities;
use super::device::{Device, Id, IdMapping};
use super::mount::{Mount, path};
use super::namespace::Namespace;
use super::resources::Resources;
use super::rlimit::Rlimit;
use super::runtime::Runtime;
use crate::yaml::{Fields, Item, YamlError};

/// What one place says of a container; an absent setting says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "fields are the YAML's keys, described in LinuxKit's docs/yaml.md"
)]
pub struct Settings {
    pub additional_gids: Option<Vec<Id>>,
    pub ambient: Option<Capabilities>,
    pub annotations: Option<BTreeMap<String, String>>,
    pub binds: Option<Vec<Mount>>,
    pub capabilities: Option<Capabilities>,
    pub cgroups_path: Option<String>,
    pub command: Option<Vec<String>>,
    pub cwd: Option<String>,
    pub devices: Option<Vec<Device>>,
    pub env: Option<Vec<String>>,
    pub gid: Option<Id>,
    pub gid_mappings: Option<Vec<IdMapping>>,
    pub hostname: Option<String>,
    pub ipc: Option<Namespace>,
    pub masked_paths: Option<Vec<String>>,
    pub mounts: Option<Vec<Mount>>,
    pub net: Option<Namespace>,
    pub no_new_privileges: Option<bool>,
    pub oom_score_adj: Option<i32>,
    pub pid: Option<Namespace>,
    pub readonly: Option<bool>,
    pub readonly_paths: Option<Vec<String>>,
    pub resources: Option<Resources>,
    pub rlimits: Option<Vec<Rlimit>>,
    pub rootfs_propagation: Option<String>,
    pub runtime: Option<Runtime>,
    pub sysctl: Option<BTreeMap<String, String>>,
    pub tmpfs: Option<Vec<Mount>>,
    pub uid: Option<Id>,
    pub uid_mappings: Option<Vec<IdMapping>>,
    pub userns: Option<Namespace>,
    pub uts: Option<Namespace>,
}

impl Settings {
    /// Reads the keys that YAML and label share.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, YamlError> {
        Ok(Self {
            additional_gids: fields.maybe("additionalGids", |item| item.list_of(Id::decode))?,
            ambient: fields.maybe("ambient", capabilities)?,
            annotations: fields.maybe("annotations", |item| item.text_map())?,
            binds: fields.maybe("binds", |item| item.list_of(Mount::decode_bind))?,
            capabilities: fields.maybe("capabilities", capabilities)?,
            cgroups_path: fields.maybe("cgroupsPath", path)?,
            command: fields.maybe("command", |item| item.texts())?,
            cwd: fields.maybe("cwd", unless_empty)?.flatten(),
            devices: fields.maybe("devices", |item| item.list_of(Device::decode))?,
            env: fields.maybe("env", |item| item.texts())?,
            gid: fields.maybe("gid", Id::decode)?,
            gid_mappings: fields.maybe("gidMappings", IdMapping::decode_list)?,
            hostname: fields.maybe("hostname", unless_empty)?.flatten(),
            ipc: fields.maybe("ipc", Namespace::decode)?.flatten(),
            masked_paths: fields.maybe("maskedPaths", |item| item.texts())?,
            mounts: fields.maybe("mounts", |item| item.list_of(Mount::decode_complete))?,
            net: fields.maybe("net", Namespace::decode_net)?.flatten(),
            no_new_privileges: fields.maybe("noNewPrivileges", |item| item.boolean())?,
            oom_score_adj: fields.maybe("oomScoreAdj", |item| item.integer())?,
            pid: fields.maybe("pid", Namespace::decode)?.flatten(),
            readonly: fields.maybe("readonly", |item| item.boolean())?,
            readonly_paths: fields.maybe("readonlyPaths", |item| item.texts())?,
            resources: fields.maybe("resources", Resources::decode)?,
            rlimits: fields.maybe("rlimits", |item| item.list_of(|limit| limit.parse()))?,
            rootfs_propagation: fields.maybe("rootfsPropagation", |item| item.text().map(str::to_owned))?,
            runtime: fields.maybe("runtime", Runtime::decode)?,
            sysctl: fields.maybe("sysctl", |item| item.text_map())?,
            tmpfs: fields.maybe("tmpfs", |item| item.list_of(Mount::decode_tmpfs))?,
            uid: fields.maybe("uid", Id::decode)?,
            uid_mappings: fields.maybe("uidMappings", IdMapping::decode_list)?,
            userns: fields.maybe("userns", Namespace::decode)?.flatten(),
            uts: fields.maybe("uts", Namespace::decode)?.flatten(),
        })
    }

    /// Lays these settings over `below`: whatever is said here replaces what is said there.
    fn over(self, below: &Self) -> Self {
        fn first<T: Clone>(own: Option<T>, below: &Option<T>) -> Option<T> {
            own.or_else(|| below.clone())
        }
        Self {
            additional_gids: first(self.additional_gids, &below.additional_gids),
            ambient: first(self.ambient, &below.ambient),
            annotations: first(self.annotations, &below.annotations),
            binds: first(self.binds, &below.binds),
            capabilities: first(self.capabilities, &below.capabilities),
            cgroups_path: first(self.cgroups_path, &below.cgroups_path),
            command: first(self.command, &below.command),
            cwd: first(self.cwd, &below.cwd),
            devices: first(self.devices, &below.devices),
            env: first(self.env, &below.env),
            gid: first(self.gid, &below.gid),
            gid_mappings: first(self.gid_mappings, &below.gid_mappings),
            hostname: first(self.hostname, &below.hostname),
            ipc: first(self.ipc, &below.ipc),
            masked_paths: first(self.masked_paths, &below.masked_paths),
            mounts: first(self.mounts, &below.mounts),
            net: first(self.net, &below.net),
            no_new_privileges: first(self.no_new_privileges, &below.no_new_privileges),
            oom_score_adj: first(self.oom_score_adj, &below.oom_score_adj),
            pid: first(self.pid, &below.pid),
            readonly: first(self.readonly, &below.readonly),
            readonly_paths: first(self.readonly_paths, &below.readonly_paths),
            resources: first(self.resources, &below.resources),
            rlimits: first(self.rlimits, &below.rlimits),
            rootfs_propagation: first(self.rootfs_propagation, &below.rootfs_propagation),
            runtime: match (self.runtime, &below.runtime) {
                (Some(own), Some(below)) => Some(own.over(below)),
                (own, below) => first(own, below),
            },
            sysctl: first(self.sysctl, &below.sysctl),
            tmpfs: first(self.tmpfs, &below.tmpfs),
            uid: first(self.uid, &below.uid),
            uid_mappings: first(self.uid_mappings, &below.uid_mappings),
            userns: first(self.userns, &below.userns),
            uts: first(self.uts, &below.uts),
        }
    }
}

/// What the YAML says of a container: settings, and additions to the label's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Replace the label's.
    pub settings: Settings,
    /// Added to the label's binds (`binds.add`), unless `binds` replaces them.
    pub binds_add: Option<Vec<Mount>>,
    /// Added to the label's capabilities (`capabilities.add`), unless `capabilities` replaces them.
    pub capabilities_add: Option<Capabilities>,
}

impl Overlay {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, YamlError> {
        Ok(Self {
            settings: Settings::decode(fields)?,
            binds_add: fields.maybe("binds.add", |item| item.list_of(Mount::decode_bind))?,
            capabilities_add: fields.maybe("capabilities.add", capabilities)?,
        })
    }

    /// Lays the YAML's words over the label's; the result is what the container gets.
    pub fn over(&self, label: &Settings) -> Settings {
        let mut below = label.clone();
        if let Some(more) = &self.binds_add {
            below.binds.get_or_insert_default().extend(more.iter().cloned());
        }
        if let Some(more) = &self.capabilities_add {
            below.capabilities = Some(below.capabilities.unwrap_or_default().and(more.clone()));
        }
        self.settings.clone().over(&below)
    }
}

fn capabilities(item: Item<'_>) -> Result<Capabilities, YamlError> {
    let words = item.texts()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Capabilities::parse(&words).map_err(|error| item.invalid(error))
}

/// For settings where LinuxKit takes an empty text for none.
fn unless_empty(item: Item<'_>) -> Result<Option<String>, YamlError> {
    let text = item.text()?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}
