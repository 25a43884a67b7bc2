//! Kernel modules: which one a name or a device needs, and loading it with what it depends on.
//!
//! The tables are depmod's text files in `/lib/modules/RELEASE`: `modules.dep` (paths and dependencies), `modules.alias` (devices and
//! other aliases), `modules.softdep` (helpers to load first, where they exist) and `modules.builtin` (nothing to load).

mod alias;
mod hotplug;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::system::{finit_module, uname};

use self::alias::Aliases;
pub(crate) use self::hotplug::Hotplug;
use crate::error::{Context, Error};

/// `finit_module`'s flag for a compressed file (include/uapi/linux/module.h).
const COMPRESSED_FILE: i32 = 4;

/// The modules of the running kernel.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    folder: PathBuf,
    /// Module name to its file and the files it depends on, the deepest dependency last; relative to `folder`.
    files: HashMap<String, Vec<String>>,
    aliases: Aliases,
    /// Module name to the names or aliases that should be loaded before it.
    helpers: HashMap<String, Vec<String>>,
    builtin: HashSet<String>,
    loaded: HashSet<String>,
}

impl Modules {
    /// Reads the tables of the running kernel; a kernel without modules has empty ones.
    pub(crate) fn of_running_kernel() -> Modules {
        let release = uname().release().to_string_lossy().into_owned();
        let folder = Path::new("/lib/modules").join(release);
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        Modules::parse(
            folder.clone(),
            &read("modules.dep"),
            &read("modules.alias"),
            &read("modules.softdep"),
            &read("modules.builtin"),
        )
    }

    /// Reads the tables from their texts.
    fn parse(folder: PathBuf, dep: &str, alias: &str, softdep: &str, builtin: &str) -> Modules {
        let mut files = HashMap::new();
        for line in dep.lines() {
            if let Some((file, needs)) = line.split_once(':') {
                let chain = std::iter::once(file).chain(needs.split_ascii_whitespace());
                files.insert(module_name(file), chain.map(str::to_owned).collect());
            }
        }
        let mut helpers: HashMap<String, Vec<String>> = HashMap::new();
        for line in softdep.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some("softdep"), Some(module), Some("pre:")) = (words.next(), words.next(), words.next()) {
                let before = words.take_while(|word| *word != "post:").map(str::to_owned);
                helpers.entry(normalised(module)).or_default().extend(before);
            }
        }
        let builtin = builtin.lines().map(module_name).collect();
        Modules {
            folder,
            files,
            aliases: Aliases::parse(alias),
            helpers,
            builtin,
            loaded: HashSet::new(),
        }
    }

    /// Loads the module of that name, or every module with that alias, with what each depends on.
    ///
    /// # Errors
    ///
    /// [`Error::NoModule`] when nothing has that name, [`Error::File`] when the kernel refuses a module.
    pub(crate) fn load(&mut self, name: &str) -> Result<(), Error> {
        let own = normalised(name);
        if self.builtin.contains(&own) {
            return Ok(());
        }
        if self.files.contains_key(&own) {
            return self.load_with_needs(&own);
        }
        let modules: Vec<String> = self.aliases.matching(name).map(normalised).collect();
        let mut outcome = Err(Error::NoModule(name.to_owned()));
        // Several modules may drive one device; one that declines (ENODEV) must not hide the others.
        for module in &modules {
            match self.load_with_needs(module) {
                Err(_) if outcome.is_ok() => {}
                result => outcome = result,
            }
        }
        outcome
    }

    /// Loads one module after its helpers and its dependencies.
    fn load_with_needs(&mut self, module: &str) -> Result<(), Error> {
        for file in self.order(module) {
            let name = module_name(&file);
            if self.loaded.contains(&name) {
                continue;
            }
            insert(&self.folder.join(&file))?;
            self.loaded.insert(name);
        }
        Ok(())
    }

    /// Lists the files to load for a module, itself last.
    fn order(&self, module: &str) -> Vec<String> {
        let mut order = Vec::new();
        for helper in self.helpers.get(module).into_iter().flatten() {
            let own = normalised(helper);
            let found = if self.files.contains_key(&own) {
                Some(own)
            } else {
                self.aliases.matching(helper).next().map(normalised)
            };
            order.extend(
                found
                    .iter()
                    .filter_map(|name| self.files.get(name))
                    .flat_map(|chain| chain.iter().rev().cloned()),
            );
        }
        order.extend(
            self.files
                .get(module)
                .into_iter()
                .flat_map(|chain| chain.iter().rev().cloned()),
        );
        order
    }
}

/// Lists the modules that files in `modules-load.d` name (modules-load.d(5): one a line, `#` and `;` begin comments).
pub(crate) fn wanted() -> Vec<String> {
    let mut files: Vec<PathBuf> = ["/usr/lib/modules-load.d", "/etc/modules-load.d"]
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| names_in(&text))
        .collect()
}

/// Reads one file of `modules-load.d`.
fn names_in(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
        .map(str::to_owned)
        .collect()
}

/// Gives one module's file to the kernel; one that is loaded already is no error.
fn insert(path: &Path) -> Result<(), Error> {
    let file = File::open(path).at("open", path)?;
    let flags = if path.extension().is_some_and(|extension| extension == "ko") {
        0
    } else {
        COMPRESSED_FILE
    };
    match finit_module(&file, c"", flags) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).at("load the kernel module", path),
    }
}

/// Returns the name of the module in a file: `kernel/fs/x-y.ko.xz` holds `x_y`.
fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    normalised(base.split(".ko").next().unwrap_or(base))
}

/// The kernel writes `_` where file names may have `-`.
fn normalised(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Modules {
        Modules::parse(
            PathBuf::from("/lib/modules/6.1"),
            "kernel/net/virtio_net.ko: kernel/net/net_failover.ko kernel/net/failover.ko\nkernel/fs/overlay/overlay.ko:\nkernel/lib/libcrc32c.ko:\nkernel/crypto/crc32c-intel.ko:\n",
            "alias virtio:d00000001v* virtio_net\nalias crc32c crc32c_intel\n",
            "# comment\nsoftdep libcrc32c pre: crc32c post: other\nsoftdep cifs gcm\n",
            "kernel/fs/ext4/ext4.ko\n",
        )
    }

    #[test]
    fn loads_the_deepest_dependency_first() {
        assert_eq!(
            tables().order("virtio_net"),
            [
                "kernel/net/failover.ko",
                "kernel/net/net_failover.ko",
                "kernel/net/virtio_net.ko"
            ]
        );
    }

    #[test]
    fn loads_helpers_by_their_alias_before_the_module() {
        assert_eq!(
            tables().order("libcrc32c"),
            ["kernel/crypto/crc32c-intel.ko", "kernel/lib/libcrc32c.ko"]
        );
    }

    #[test]
    fn takes_builtin_modules_for_loaded() {
        assert!(tables().load("ext4").is_ok());
    }

    #[test]
    fn names_a_module_that_does_not_exist() {
        let error = tables().load("zfs").err().map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some("no kernel module is called zfs or has that alias; add it to the kernel component")
        );
    }

    #[test]
    fn says_which_file_the_kernel_did_not_get() {
        let error = tables()
            .load("overlay")
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.starts_with("cannot open /lib/modules/6.1/kernel/fs/overlay/overlay.ko: "),
            "{error}"
        );
    }

    #[test]
    fn takes_dash_and_underscore_for_one() {
        assert_eq!(module_name("kernel/crypto/crc32c-intel.ko.xz"), "crc32c_intel");
    }

    #[test]
    fn reads_modules_load_files() {
        assert_eq!(
            names_in("# always\noverlay\n\n; no\n  br_netfilter \n"),
            ["overlay", "br_netfilter"]
        );
    }
}
