//! What LinuxKit changes in every image that it unpacks (`moby/build/image.go`, `exclude`, `replace`, `touch`).

use super::{LayoutError, Part, Rule};
use crate::tree::contents::Memory;
use crate::tree::{Entry, TreePath};

/// What Docker puts into every container's `etc/hosts`.
const HOSTS: &[u8] = b"127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
";

const NO_RESOLV_CONF: &[u8] = b"\n# no resolv.conf configured\n";

/// Where the node's own resolv.conf is written at run time.
const RESOLV_CONF: &str = "/run/resolvconf/resolv.conf";

/// Left out; `dev/pts` and `dev/shm`, which LinuxKit lists too, are made again at once.
const DROPPED: [(&str, Rule); 4] = [
    (".dockerenv", Rule::DropDockerenv),
    ("Dockerfile", Rule::DropDockerfile),
    ("dev/console", Rule::DropConsole),
    ("etc/hostname", Rule::DropHostname),
];

/// Made, or made again with owner root and mode 0755.
const DIRECTORIES: [&str; 6] = ["dev", "dev/pts", "dev/shm", "etc", "proc", "sys"];

/// What becomes of `etc/resolv.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResolvConf {
    /// A fixed file, in containers.
    File,
    /// A link to the one that is made at run time, on the root file system itself.
    Link,
}

/// Applies the rules to the image in `part`, whose paths are still the image's own.
pub(super) fn edit(part: &mut Part, resolv_conf: ResolvConf, contents: &mut Memory) -> Result<(), LayoutError> {
    for (path, rule) in DROPPED {
        let path = TreePath::parse(path)?;
        if part.entries.detach(&path).is_some() {
            part.entries.remove_below(&path);
            part.apply(rule, &path);
        }
    }
    for path in DIRECTORIES {
        replace(part, path, Entry::directory(0o755), Rule::ResetDirectory)?;
    }
    contents.add(HOSTS.to_vec());
    replace(part, "etc/hosts", Entry::file(0o644, HOSTS), Rule::ReplaceHosts)?;
    let resolv_conf = match resolv_conf {
        ResolvConf::Link => Entry::symlink(0o644, RESOLV_CONF),
        ResolvConf::File => {
            contents.add(NO_RESOLV_CONF.to_vec());
            Entry::file(0o644, NO_RESOLV_CONF)
        }
    };
    replace(part, "etc/resolv.conf", resolv_conf, Rule::ReplaceResolvConf)?;
    if part.entries.entry(&TreePath::parse("etc/mtab")?).is_none() {
        replace(part, "etc/mtab", Entry::symlink(0o755, "/proc/mounts"), Rule::MakeMtab)?;
    }
    Ok(())
}

/// Puts `entry` at `path`, and notes the rule when that changes something.
fn replace(part: &mut Part, path: &'static str, entry: Entry, rule: Rule) -> Result<(), LayoutError> {
    let path = TreePath::parse(path)?;
    if part.entries.entry(&path) == Some(&entry) {
        return Ok(());
    }
    part.entries.detach(&path);
    if !entry.is_directory() {
        part.entries.remove_below(&path);
    }
    part.entries.insert(path.clone(), entry);
    part.apply(rule, &path);
    Ok(())
}
