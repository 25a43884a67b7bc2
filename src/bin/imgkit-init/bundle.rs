//! A container's directory in LinuxKit's layout: `config.json`, `runtime.json`, `rootfs` and, unless read-only, `lower` and `tmp`.

mod mount;
mod runtime;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use serde_json::Value;

pub(crate) use self::mount::perform as mount;
pub(crate) use self::runtime::{Mount, Runtime};
use crate::error::{Context, Error};
use crate::netlink;

/// Annotation of an onboot container that may fail without stopping the boot.
const OPTIONAL: &str = "org.imgkit.optional";
/// Annotation of a service that is not started again once it has ended well.
const ONESHOT: &str = "org.imgkit.oneshot";

/// One container to run.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// The directory's name: unique among those of its kind, and the container's identifier.
    pub(crate) id: String,
    path: PathBuf,
    config: Value,
    runtime: Runtime,
}

impl Bundle {
    /// Reads every bundle below a directory, in the order of names; a directory that is missing holds none.
    pub(crate) fn all_in(folder: &str) -> Result<Vec<Bundle>, Error> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).at("list", folder),
        };
        let mut paths = entries
            .map(|entry| Ok(entry.at("list", folder)?.path()))
            .collect::<Result<Vec<_>, Error>>()?;
        paths.sort();
        paths.into_iter().map(Bundle::read).collect()
    }

    /// Reads one bundle's documents.
    fn read(path: PathBuf) -> Result<Bundle, Error> {
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let config = document(&path.join("config.json"))?.unwrap_or(Value::Null);
        let runtime = document(&path.join("runtime.json"))?.unwrap_or_default();
        Ok(Bundle {
            id,
            path,
            config,
            runtime,
        })
    }

    /// Returns the name that the node's YAML gave: the directory's without its `NNN-`.
    pub(crate) fn name(&self) -> &str {
        match self.id.split_at_checked(4) {
            Some((number, name))
                if number.ends_with('-') && number.bytes().take(3).all(|byte| byte.is_ascii_digit()) =>
            {
                name
            }
            _ => &self.id,
        }
    }

    /// Returns the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns containerd's namespace for the container, if it is not the default one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        Some(self.runtime.namespace.as_str()).filter(|namespace| !namespace.is_empty())
    }

    /// Says whether the boot may go on when this container fails.
    pub(crate) fn is_optional(&self) -> bool {
        self.is_annotated(OPTIONAL)
    }

    /// Says whether the container stays down once it has ended well.
    pub(crate) fn is_oneshot(&self) -> bool {
        self.is_annotated(ONESHOT)
    }

    fn is_annotated(&self, key: &str) -> bool {
        self.config
            .pointer("/annotations")
            .and_then(|annotations| annotations.get(key))
            .and_then(Value::as_str)
            == Some("true")
    }

    /// Returns the OCI configuration with its root as an absolute path, as containerd wants it.
    pub(crate) fn spec(&self) -> Value {
        let mut spec = self.config.clone();
        if let Some(root) = spec.pointer_mut("/root/path") {
            *root = Value::from(self.path.join("rootfs").to_string_lossy().into_owned());
        }
        spec
    }

    /// Makes mounts, directories and control groups: what has to be there before the container is created.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        let rootfs = self.path.join("rootfs");
        let has_root = self
            .runtime
            .mounts
            .iter()
            .any(|wanted| rootfs.join(&wanted.destination) == rootfs);
        if !has_root {
            // runc wants the root to be a mount point; LinuxKit's builder always asks for one, others may not.
            mount_bind(&rootfs, &rootfs).at("bind to itself", &rootfs)?;
        }
        for wanted in &self.runtime.mounts {
            mount::perform(wanted, &rootfs.join(&wanted.destination))?;
        }
        for folder in self.runtime.mkdir.iter().map(|folder| rootfs.join(folder)) {
            fs::create_dir_all(&folder).at("make the directory", &folder)?;
        }
        for group in &self.runtime.cgroups {
            let folder = Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/'));
            fs::create_dir_all(&folder).at("make the control group", &folder)?;
        }
        Ok(())
    }

    /// Says whether [`Bundle::prepare_process`] has anything to do.
    pub(crate) fn needs_process(&self) -> bool {
        !self.runtime.interfaces.is_empty() || !self.runtime.bind_ns.wanted().is_empty()
    }

    /// Gives the created but not yet running process its interfaces, and binds its namespaces.
    pub(crate) fn prepare_process(&self, pid: u32) -> Result<(), Error> {
        for wanted in &self.runtime.interfaces {
            let outside = wanted.create_in_root;
            match (wanted.add.as_str(), wanted.peer.as_str()) {
                ("" | "veth", peer) if !peer.is_empty() => {
                    netlink::add_pair(&wanted.name, peer)?;
                    netlink::move_to(&wanted.name, pid)?;
                }
                ("veth", _) => {
                    let found = format!("the pair {} without a peer", wanted.name);
                    return Err(self.unsupported(found, "add: veth with peer: NAME"));
                }
                ("", _) => netlink::move_to(&wanted.name, pid)?,
                (kind, _) if outside => {
                    netlink::add(&wanted.name, kind, None)?;
                    netlink::move_to(&wanted.name, pid)?;
                }
                (kind, _) => netlink::add(&wanted.name, kind, Some(pid))?,
            }
        }
        for (kind, target) in self.runtime.bind_ns.wanted() {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).at("make the directory", parent)?;
            }
            File::create(target).at("make", target)?;
            mount_bind(format!("/proc/{pid}/ns/{kind}"), target).at("bind a namespace to", target)?;
        }
        Ok(())
    }

    /// Takes the container's root away; what else was mounted is for others to use and stays.
    pub(crate) fn clean_up(&self) {
        // The container has ended; a root that is still busy does no harm.
        let _ = unmount(self.path.join("rootfs"), UnmountFlags::DETACH);
        if self.path.join("lower").is_dir() {
            let _ = unmount(self.path.join("tmp"), UnmountFlags::DETACH);
        }
    }

    fn unsupported(&self, found: String, supported: &'static str) -> Error {
        Error::Unsupported {
            path: self.path.join("runtime.json"),
            found,
            supported,
        }
    }
}

/// Reads a JSON document; `None` when the file is missing.
fn document<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Json {
            path: path.to_owned(),
            source,
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn bundle(config: &str) -> (tempfile::TempDir, Vec<Bundle>) {
        let folder = tempfile::tempdir().unwrap();
        for id in ["010-b", "002-a", "plain"] {
            fs::create_dir_all(folder.path().join(id)).unwrap();
            fs::write(folder.path().join(id).join("config.json"), config).unwrap();
        }
        let bundles = Bundle::all_in(folder.path().to_str().unwrap()).unwrap();
        (folder, bundles)
    }

    #[test]
    fn reads_bundles_in_the_order_of_their_names() {
        let (_folder, bundles) = bundle(r#"{"root": {"path": "rootfs"}}"#);
        assert_eq!(
            bundles.iter().map(Bundle::name).collect::<Vec<_>>(),
            ["a", "b", "plain"]
        );
        assert_eq!(bundles[0].id, "002-a");
    }

    #[test]
    fn gives_containerd_an_absolute_root() {
        let (folder, bundles) = bundle(r#"{"root": {"path": "rootfs", "readonly": true}}"#);
        let spec = bundles[2].spec();
        assert_eq!(
            spec["root"]["path"],
            folder.path().join("plain/rootfs").to_str().unwrap()
        );
        assert_eq!(spec["root"]["readonly"], true);
    }

    #[test]
    fn heeds_annotations_only_when_they_say_true() {
        let (_folder, bundles) =
            bundle(r#"{"annotations": {"org.imgkit.optional": "true", "org.imgkit.oneshot": "yes"}}"#);
        assert!(bundles[0].is_optional());
        assert!(!bundles[0].is_oneshot());
    }

    #[test]
    fn names_the_file_that_is_not_json() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("000-x")).unwrap();
        fs::write(folder.path().join("000-x/runtime.json"), "{").unwrap();
        let error = Bundle::all_in(folder.path().to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("000-x/runtime.json: EOF while parsing"), "{error}");
    }

    #[test]
    fn takes_a_missing_directory_for_an_empty_one() {
        assert!(Bundle::all_in("/nonexistent/containers/onboot").unwrap().is_empty());
    }
}
