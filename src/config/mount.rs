//! What a container finds mounted: `mounts`, `binds` and `tmpfs`.

use serde::Serialize;

use super::device::IdMapping;
use crate::yaml::{Item, YamlError};

/// One mount, as the OCI runtime specification writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Where it appears.
    pub destination: String,
    /// File system type, or `bind`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// What is mounted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Mount options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// User IDs of an ID-mapped mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group IDs of an ID-mapped mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

impl Mount {
    /// Makes a mount without ID mappings.
    pub fn new(destination: &str, kind: &str, source: &str, options: &[&str]) -> Self {
        Self {
            destination: destination.to_owned(),
            kind: kind.to_owned(),
            source: source.to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Reads an entry of `runtime: mounts`, which is used as it is written.
    pub(super) fn decode(item: Item<'_>) -> Result<Self, YamlError> {
        item.fields("a mount", |fields| {
            Ok(Self {
                destination: fields.maybe("destination", path)?.unwrap_or_default(),
                kind: fields
                    .maybe("type", |item| item.text().map(str::to_owned))?
                    .unwrap_or_default(),
                source: fields.maybe("source", path)?.unwrap_or_default(),
                options: fields.maybe("options", |item| item.texts())?.unwrap_or_default(),
                uid_mappings: fields.maybe("uidmappings", IdMapping::decode_list)?.unwrap_or_default(),
                gid_mappings: fields.maybe("gidmappings", IdMapping::decode_list)?.unwrap_or_default(),
            })
        })
    }

    /// Reads an entry of `mounts`, and fills in what LinuxKit fills in: type, source and usual destination.
    pub(super) fn decode_complete(item: Item<'_>) -> Result<Self, YamlError> {
        let mut mount = Self::decode(item)?;
        if mount.kind.is_empty() {
            mount.kind = match (mount.source.as_str(), mount.destination.as_str()) {
                (kind @ ("mqueue" | "devpts" | "proc" | "sysfs" | "cgroup"), _) => kind.to_owned(),
                (_, "/dev") => "tmpfs".to_owned(),
                _ => return Err(item.invalid("a mount needs the key `type`, for example `type: tmpfs`")),
            };
        }
        if mount.source.is_empty() {
            mount.source.clone_from(&mount.kind);
        }
        if mount.destination.is_empty() {
            mount.destination = match mount.kind.as_str() {
                "proc" => "/proc".to_owned(),
                "devpts" => "/dev/pts".to_owned(),
                "sysfs" => "/sys".to_owned(),
                "cgroup" => "/sys/fs/cgroup".to_owned(),
                "mqueue" => "/dev/mqueue".to_owned(),
                _ => return Err(item.invalid(format!("a {} mount needs the key `destination`", mount.kind))),
            };
        }
        Ok(mount)
    }

    /// Reads `SOURCE:DESTINATION[:OPTION,…]`, an entry of `binds`.
    pub(super) fn decode_bind(item: Item<'_>) -> Result<Self, YamlError> {
        let text = item.text()?;
        let parts: Vec<&str> = text.split(':').collect();
        parts.iter().take(2).try_for_each(|path| refuse_dots(item, path))?;
        let (source, destination, mut options) = match parts.as_slice() {
            [source, destination] => (*source, *destination, vec!["rw", "rbind", "rshared"]),
            [source, destination, options] => {
                let options = options.split(',').chain(["rbind"]).collect();
                (*source, *destination, options)
            }
            _ => {
                return Err(item.invalid(format!(
                    "`{text}` is not a bind; expected SOURCE:DESTINATION[:OPTION,…]"
                )));
            }
        };
        // `a:b:` has one empty option in LinuxKit, which runc refuses.
        options.retain(|option| !option.is_empty());
        if source.is_empty() || destination.is_empty() {
            return Err(item.invalid(format!(
                "`{text}` is not a bind; expected SOURCE:DESTINATION[:OPTION,…]"
            )));
        }
        Ok(Self::new(destination, "bind", source, &options))
    }

    /// Reads `DESTINATION[:OPTION,…]`, an entry of `tmpfs`.
    pub(super) fn decode_tmpfs(item: Item<'_>) -> Result<Self, YamlError> {
        let text = item.text()?;
        let (destination, options) = match text.split_once(':') {
            Some((destination, options)) if !options.contains(':') => (destination, options.split(',').collect()),
            None => (text, Vec::new()),
            Some(_) => ("", Vec::new()),
        };
        match destination {
            "" => Err(item.invalid(format!("`{text}` is not a tmpfs; expected DESTINATION[:OPTION,…]"))),
            _ => Ok(Self::new(destination, "tmpfs", "tmpfs", &options)),
        }
    }
}

/// Reads a path of the host or of a container.
pub(super) fn path(item: Item<'_>) -> Result<String, YamlError> {
    let path = item.text()?;
    refuse_dots(item, path)?;
    Ok(path.to_owned())
}

/// A path that climbs is not where it looks to be, least of all to a policy's `bind:/run/*`.
fn refuse_dots(item: Item<'_>, path: &str) -> Result<(), YamlError> {
    match path.split('/').any(|part| part == "..") {
        true => Err(item.invalid(format!("path `{path}` has a `..` component; write where it leads"))),
        false => Ok(()),
    }
}
