//! Another user, who may read and not write.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Prepares a program to be run by a user who owns nothing: as root by user 65534, else by this user without the right to write.
///
/// The copy lies in `dir`, which that user can reach.
pub fn stranger(program: &Path, dir: &Path) -> Command {
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    let copy = dir.join("program");
    fs::copy(program, &copy).unwrap();
    if !rustix::process::geteuid().is_root() {
        return Command::new(copy);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(copy);
    command
}

/// Takes the right to write from a directory and all below it.
pub fn make_read_only(dir: &Path) {
    for path in all_below(dir) {
        let mode = if path.is_dir() { 0o555 } else { 0o444 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

/// Gives it back, so that the directory can be removed.
pub fn make_writable(dir: &Path) {
    // From the top down, as an unreadable directory hides what is below.
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    for path in all_below(dir).into_iter().rev().filter(|path| path.is_dir()) {
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
}

/// Lists a directory and all below it, deepest first.
fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(all_below(&path)),
            false => all.push(path),
        }
    }
    all.push(dir.to_owned());
    all
}
