//! The packages of one run, each unpacked once, their contents in one spool.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::archive::{Archive, Fetched};
use super::deb::{Deb, licenses};
use crate::digest::{Digest, HashingReader};
use crate::failure::Failure;
use crate::limit;
use crate::oci::{Package, digest_mismatch};
use crate::store::file::cannot;
use crate::store::spool::Spool;
use crate::tree::contents::Sink;
use crate::tree::{Contents, Entry, Node, Tree, TreePath};

/// Unpacked packages, and whatever else a run makes of them.
#[derive(Debug)]
pub struct Stock {
    packages: BTreeMap<String, Item>,
    spool: Spool,
}

/// One package.
#[derive(Debug)]
struct Item {
    package: Package,
    tree: Tree,
    /// Packages that stand for this one, when it holds nothing itself.
    stands_for: Vec<String>,
}

/// The files of some packages, merged.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// The packages, sorted by name.
    pub packages: Vec<Package>,
    /// Their files.
    pub tree: Tree,
}

impl Stock {
    /// Makes an empty stock; contents are kept in an unnamed file in `dir`.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when no file can be made there.
    pub fn within(dir: &Path) -> Result<Self, Failure> {
        Ok(Self {
            packages: BTreeMap::new(),
            spool: Spool::within(dir)?,
        })
    }

    /// Gets the packages of these names and unpacks those that are not here yet.
    ///
    /// Of a metapackage (one that holds nothing but its documentation) the packages that it depends on are taken as well, one level deep.
    ///
    /// # Errors
    /// As [`Archive::fetch`]; [`Failure::Malformed`] when a file is no package, or one of another name.
    pub fn load(&mut self, archive: &Archive, names: &[String], locked: Option<&[Package]>) -> Result<(), Failure> {
        let is_new = |stock: &Self, name: &String| !stock.packages.contains_key(name);
        let mut missing: Vec<String> = names.iter().filter(|name| is_new(self, name)).cloned().collect();
        missing.sort();
        missing.dedup();
        let mut follow = Vec::new();
        for fetched in archive.fetch(&missing, locked)? {
            let (item, depends) = self.unpack(&fetched)?;
            if is_metapackage(&item.tree) {
                follow.extend(depends.iter().filter(|name| is_new(self, name)).cloned());
                self.packages.insert(
                    fetched.name,
                    Item {
                        stands_for: depends,
                        ..item
                    },
                );
            } else {
                self.packages.insert(fetched.name, item);
            }
        }
        follow.sort();
        follow.dedup();
        follow.retain(|name| is_new(self, name));
        if follow.is_empty() {
            return Ok(());
        }
        for fetched in archive.fetch(&follow, locked)? {
            let (item, _) = self.unpack(&fetched)?;
            self.packages.insert(fetched.name, item);
        }
        Ok(())
    }

    /// Merges the files of these packages and of those that stand for metapackages among them.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when two packages have different things at one path; [`Failure::Unavailable`] for one not loaded.
    pub fn pool(&self, names: &[String]) -> Result<Pool, Failure> {
        let mut chosen: BTreeMap<&str, &Item> = BTreeMap::new();
        let find = |name: &str| {
            let found = self.packages.get_key_value(name);
            found.ok_or_else(|| Failure::unavailable(format!("package {name}"), "it was not loaded"))
        };
        for name in names {
            let (name, item) = find(name)?;
            chosen.insert(name, item);
            for name in &item.stands_for {
                let (name, item) = find(name)?;
                chosen.insert(name, item);
            }
        }
        let mut pool = Pool::default();
        for item in chosen.values() {
            pool.packages.push(item.package.clone());
            for (path, entry) in item.tree.iter() {
                let before = pool.tree.insert(path.clone(), entry.clone());
                // Directories may differ in mode and owner; a package's own word on one matters little.
                if before.is_some_and(|before| before != *entry && !(before.is_directory() && entry.is_directory())) {
                    let problem = format!("/{path} is something else in another of the component's packages");
                    return Err(Failure::malformed(format!("package {}", item.package.name), problem));
                }
            }
        }
        Ok(pool)
    }

    /// Keeps `content` and returns its entry, owned by root.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be read or kept.
    pub fn add(&mut self, mode: u16, content: &mut dyn Read) -> Result<Entry, Failure> {
        let taken = self.spool.take(content);
        let (size, digest) = taken.map_err(|error| Failure::unavailable("temporary file", error))?;
        let mut entry = Entry::directory(mode);
        entry.node = Node::File { size, digest };
        Ok(entry)
    }

    /// Reads a content whole.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be read.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let read = self
            .spool
            .open(digest)
            .and_then(|mut content| content.read_to_end(&mut bytes));
        read.map_err(|error| Failure::unavailable("temporary file", error))?;
        Ok(bytes)
    }

    /// Returns the contents of everything here.
    pub fn contents(&self) -> &dyn Contents {
        &self.spool
    }

    /// Returns where contents are kept, for trees that are read by others.
    pub fn sink(&mut self) -> &mut dyn Sink {
        &mut self.spool
    }

    /// Reads which licences a package's copyright file names; one that is a link into another package, or too long, is not followed.
    fn licenses(&self, name: &str, tree: &Tree) -> Result<Vec<String>, Failure> {
        let path = TreePath::parse(format!("usr/share/doc/{name}/copyright"));
        let entry = path.ok().and_then(|path| tree.entry(&path).cloned());
        match entry.map(|entry| entry.node) {
            Some(Node::File { size, digest }) if size <= limit::COPYRIGHT_BYTES => Ok(licenses(&self.read(&digest)?)),
            _ => Ok(Vec::new()),
        }
    }

    fn unpack(&mut self, fetched: &Fetched) -> Result<(Item, Vec<String>), Failure> {
        let path = &fetched.path;
        let file = File::open(path).map_err(|error| cannot("open", path, &error))?;
        let mut input = HashingReader::sha256(BufReader::new(file));
        let deb = Deb::read(&mut input, &mut self.spool);
        let rest = io::copy(&mut input, &mut io::sink());
        rest.map_err(|error| cannot("read", path, &error))?;
        let found = input.finish();
        if found != fetched.sha256 {
            return Err(digest_mismatch(&path.display().to_string(), fetched.sha256, found));
        }
        let subject = format!("package {} ({})", fetched.name, path.display());
        let Deb { control, tree } = deb.map_err(|error| Failure::malformed(&subject, error))?;
        if control.name != fetched.name {
            return Err(Failure::malformed(
                subject,
                format!("its control says that it is `{}`", control.name),
            ));
        }
        let package = Package {
            name: control.name,
            version: control.version,
            architecture: control.architecture,
            sha256: found,
            licenses: self.licenses(&fetched.name, &tree)?,
        };
        let stands_for = Vec::new();
        Ok((
            Item {
                package,
                tree,
                stands_for,
            },
            control.depends,
        ))
    }
}

/// Tells whether a package holds nothing but its documentation.
fn is_metapackage(tree: &Tree) -> bool {
    const DOCUMENTATION: [&[u8]; 4] = [
        b"usr/share/doc/",
        b"usr/share/bug/",
        b"usr/share/lintian/",
        b"usr/share/man/",
    ];
    let documents = |path: &TreePath| DOCUMENTATION.iter().any(|start| path.as_bytes().starts_with(start));
    tree.iter().all(|(path, entry)| entry.is_directory() || documents(path))
}
