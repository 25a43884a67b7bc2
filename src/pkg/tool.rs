//! Programs of packages, run at build time from where they were unpacked, by the loader and libraries of their own packages.
//!
//! So what they make does not depend on the host's versions, nor on the host having them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::elf::Linkage;
use super::select::follow;
use super::stock::{Pool, Stock};
use crate::failure::Failure;
use crate::store::file::cannot;
use crate::tree::{Entry, Node, Tree, TreePath};

/// Programs of some packages, unpacked in a directory that is removed when this is dropped.
#[derive(Debug)]
pub struct Tools {
    dir: tempfile::TempDir,
    tree: Tree,
}

impl Tools {
    /// Unpacks the files of `pool` into a new directory in `within`.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written.
    pub fn unpack(pool: &Pool, stock: &Stock, within: &Path) -> Result<Self, Failure> {
        let dir = tempfile::tempdir_in(within).map_err(|error| cannot("write into", within, &error))?;
        write_tree(&pool.tree, stock, dir.path())?;
        Ok(Self {
            dir,
            tree: pool.tree.clone(),
        })
    }

    /// Returns where a path of the packages is now.
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Runs a program with an empty environment, and fails with its own words when it does.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the packages have no such program or not its loader; [`Failure::Unavailable`] when it fails.
    pub fn run(&self, program: &str, arguments: &[OsString], stock: &Stock) -> Result<(), Failure> {
        let absent = |what: &str| Failure::malformed(format!("tool {program}"), format!("{what}; correct `tools`"));
        let real = follow(&self.tree, program).and_then(|chain| chain.last().cloned());
        let real = real.ok_or_else(|| absent("the packages of `tools` do not have it"))?;
        let Some(Entry {
            node: Node::File { digest, .. },
            ..
        }) = self.tree.entry(&real)
        else {
            return Err(absent("it is no file"));
        };
        let linkage = Linkage::of(&stock.read(digest)?).map_err(|error| absent(&error.to_string()))?;
        let loader = linkage.and_then(|linkage| linkage.interpreter);
        let loader = loader.ok_or_else(|| absent("it is no dynamically linked program"))?;
        let loader = follow(&self.tree, &loader).and_then(|chain| chain.last().cloned());
        let loader = loader.ok_or_else(|| absent("the packages of `tools` do not have its loader; libc6 has it"))?;
        let mut libraries = OsString::new();
        for dir in library_dirs(&self.tree) {
            libraries.push(on_disk(self.dir.path(), &dir));
            libraries.push(":");
        }
        let mut command = Command::new(on_disk(self.dir.path(), &loader));
        let name = program.rsplit('/').next().unwrap_or(program);
        command
            .arg("--inhibit-cache")
            .arg("--library-path")
            .arg(libraries)
            .arg("--argv0")
            .arg(name);
        command.arg(on_disk(self.dir.path(), &real)).args(arguments);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .current_dir(self.dir.path());
        let output = command.output();
        let output = output
            .map_err(|error| Failure::unavailable(format!("tool {program}"), format!("cannot run it: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let words: String = String::from_utf8_lossy(&output.stderr)
            .trim()
            .chars()
            .take(1000)
            .collect();
        Err(Failure::unavailable(
            format!("tool {program}"),
            format!("{}: {words}", output.status),
        ))
    }
}

/// Writes directories, files and symbolic links; a tree's own rules keep it from writing through a link.
pub(super) fn write_tree(tree: &Tree, stock: &Stock, dir: &Path) -> Result<(), Failure> {
    for (path, entry) in tree.iter() {
        let place = on_disk(dir, path);
        let written = match &entry.node {
            Node::Directory => fs::create_dir(&place),
            Node::File { digest, .. } => write_file(&place, entry.meta.mode, digest, stock),
            Node::HardLink(target) => fs::hard_link(on_disk(dir, target), &place),
            Node::Symlink(target) => symlink(std::ffi::OsStr::from_bytes(target), &place),
            // No tool needs a device or a pipe.
            Node::Archive | Node::Block(_) | Node::Char(_) | Node::Fifo => Ok(()),
        };
        written.map_err(|error| cannot("write", &place, &error))?;
    }
    Ok(())
}

fn write_file(place: &Path, mode: u16, digest: &crate::digest::Digest, stock: &Stock) -> std::io::Result<()> {
    let mut file = fs::File::create_new(place)?;
    std::io::copy(&mut stock.contents().open(digest)?, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(if mode & 0o111 == 0 {
        0o600
    } else {
        0o700
    }))
}

/// Finds the directories that hold libraries, sorted.
fn library_dirs(tree: &Tree) -> Vec<TreePath> {
    let is_library = |path: &TreePath| path.name().windows(3).any(|part| part == b".so");
    let mut dirs: Vec<TreePath> = tree
        .iter()
        .filter(|(path, entry)| !entry.is_directory() && is_library(path))
        .filter_map(|(path, _)| path.parent())
        .filter(|dir| dir.as_bytes().split(|b| *b == b'/').count() <= 3)
        .collect();
    dirs.sort();
    dirs.dedup();
    dirs
}

fn on_disk(dir: &Path, path: &TreePath) -> PathBuf {
    dir.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
}
