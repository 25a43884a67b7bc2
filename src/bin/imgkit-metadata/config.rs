//! Where metadata goes: the files below `/run/config`, under the names that LinuxKit's metadata package gives them.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use crate::error::{Context, Error};
use crate::instance::Instance;
use crate::userdata::Item;

/// The directory of a node's configuration.
pub(crate) struct Config {
    folder: PathBuf,
}

impl Config {
    /// Makes the directory.
    pub(crate) fn create(folder: &str) -> Result<Config, Error> {
        let config = Config {
            folder: PathBuf::from(folder),
        };
        config.folder(&[], 0o755)?;
        Ok(config)
    }

    /// Writes what the instance is.
    pub(crate) fn write_instance(&self, provider: &str, instance: &Instance) -> Result<(), Error> {
        self.file(&["provider"], 0o644, provider.as_bytes())?;
        let values = [
            ("hostname", &instance.hostname),
            ("local_hostname", &instance.hostname),
            ("instance_id", &instance.id),
            ("availability_zone", &instance.availability_zone),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                self.file(&[name], 0o644, value.as_bytes())?;
            }
        }
        if !instance.ssh_keys.is_empty() {
            let lines: String = instance.ssh_keys.iter().map(|key| format!("{key}\n")).collect();
            self.write_ssh("authorized_keys", 0o600, lines.as_bytes())?;
        }
        Ok(())
    }

    /// Writes a file for sshd.
    pub(crate) fn write_ssh(&self, name: &str, mode: u32, content: &[u8]) -> Result<(), Error> {
        self.folder(&["ssh"], 0o755)?;
        self.file(&["ssh", name], mode, content)
    }

    /// Writes user data as it came.
    pub(crate) fn write_user_data(&self, data: &[u8]) -> Result<(), Error> {
        self.file(&["userdata"], 0o644, data)
    }

    /// Writes the files that user data described.
    pub(crate) fn write_items(&self, items: &[Item]) -> Result<(), Error> {
        for item in items {
            let path: Vec<&str> = item.path.iter().map(String::as_str).collect();
            match &item.content {
                Some(content) => self.file(&path, item.mode, content.as_bytes())?,
                None => self.folder(&path, item.mode)?,
            }
        }
        Ok(())
    }

    /// Returns the host name that was written, by the instance or by user data.
    pub(crate) fn hostname(&self) -> Option<String> {
        let text = fs::read_to_string(self.folder.join("hostname")).ok()?;
        Some(text.trim().to_owned()).filter(|name| !name.is_empty())
    }

    /// Makes a directory with exactly this mode.
    fn folder(&self, path: &[&str], mode: u32) -> Result<(), Error> {
        let folder = self.folder.join(path.iter().collect::<PathBuf>());
        fs::create_dir_all(&folder).at("make the directory", &folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(mode)).at("set the mode of", &folder)
    }

    /// Writes a file with exactly this mode, whole or not at all.
    fn file(&self, path: &[&str], mode: u32, content: &[u8]) -> Result<(), Error> {
        let target = self.folder.join(path.iter().collect::<PathBuf>());
        // Renaming makes the file appear whole; nobody else writes here while the boot waits for this program.
        let unfinished = self.folder.join(format!(".unfinished-{}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .at("make", &unfinished)?;
        file.write_all(content).at("write", &target)?;
        file.set_permissions(Permissions::from_mode(mode))
            .at("set the mode of", &target)?;
        fs::rename(&unfinished, &target).at("write", &target)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn writes_linuxkits_names_and_modes() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::create(folder.path().join("config").to_str().unwrap()).unwrap();
        let instance = Instance {
            hostname: Some("node1".to_owned()),
            ssh_keys: vec!["ssh-ed25519 AAAA".to_owned(), "ssh-rsa BBBB".to_owned()],
            ..Instance::default()
        };
        config.write_instance("openstack", &instance).unwrap();
        config
            .write_items(
                &crate::userdata::parse(br#"{"ssh": {"entries": {"k": {"perm": "0600", "content": "v"}}}}"#)
                    .unwrap()
                    .unwrap(),
            )
            .unwrap();
        let read = |path: &str| fs::read_to_string(folder.path().join("config").join(path)).unwrap();
        let mode = |path: &str| {
            fs::metadata(folder.path().join("config").join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!(read("ssh/authorized_keys"), "ssh-ed25519 AAAA\nssh-rsa BBBB\n");
        assert_eq!(
            (
                mode("ssh"),
                mode("ssh/authorized_keys"),
                mode("ssh/k"),
                mode("hostname")
            ),
            (0o755, 0o600, 0o600, 0o644)
        );
        assert_eq!(
            (read("provider").as_str(), config.hostname().as_deref()),
            ("openstack", Some("node1"))
        );
        let left: Vec<_> = fs::read_dir(folder.path().join("config"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            left.iter()
                .all(|name| !name.to_string_lossy().starts_with(".unfinished")),
            "{left:?}"
        );
    }
}
