//! Which files of packages go into a component.
//!
//! - What `keep` matches and `drop` does not; a kept symbolic link brings what it points to, and everything brings its directories.
//! - Every library that a kept program or library needs is found the way Debian's loader finds it without a cache, and kept;
//!   one that is missing is an error here, not a surprise in the node.

use std::collections::{BTreeMap, BTreeSet};

use super::elf::Linkage;
use super::recipe::Pattern;
use super::stock::Stock;
use crate::failure::Failure;
use crate::tree::{Entry, Node, Tree, TreePath};

/// Where Debian's loader looks, in this order (ld.so(8); `/lib64` holds the loader itself).
const LIBRARIES: &[&str] = &["lib/TRIPLET", "usr/lib/TRIPLET", "lib", "usr/lib", "lib64", "usr/lib64"];

/// How many symbolic links a path may lead through: Linux's own bound (path_resolution(7)).
const LINKS: usize = 40;

/// Chooses files of `pool`; every pattern of `keep` must match something.
///
/// # Errors
/// [`Failure::Malformed`] naming the pattern that matches nothing.
pub fn choose(subject: &str, pool: &Tree, keep: &[Pattern], drop: &[Pattern]) -> Result<Tree, Failure> {
    let mut used = vec![false; keep.len()];
    let mut chosen = Chosen::default();
    for (path, entry) in pool.iter() {
        let mut kept = false;
        for (pattern, used) in keep.iter().zip(&mut used) {
            if pattern.matches(path) {
                kept = true;
                *used = true;
            }
        }
        if kept && !drop.iter().any(|pattern| pattern.matches(path)) {
            chosen.add(pool, path, entry);
        }
    }
    match keep.iter().zip(used).find(|(_, used)| !used) {
        Some((pattern, _)) => {
            let problem = format!("`keep: {pattern}` matches no file of its packages; correct it or leave it out");
            Err(Failure::malformed(subject, problem))
        }
        None => Ok(chosen.finish(pool)),
    }
}

/// Adds to `tree` the libraries and loaders of `pool` that its programs need.
///
/// # Errors
/// [`Failure::Malformed`] naming every library that is in neither and not `provided`, and who needs it.
pub fn add_libraries(
    subject: &str,
    tree: &mut Tree,
    pool: &Tree,
    provided: &[String],
    stock: &Stock,
) -> Result<(), Failure> {
    // The component's own files stand before the packages'.
    let mut both = pool.clone();
    tree.iter()
        .for_each(|(path, entry)| drop(both.insert(path.clone(), entry.clone())));
    let mut chosen = Chosen::default();
    let mut todo: Vec<TreePath> = tree.iter().map(|(path, _)| path.clone()).collect();
    let mut seen = BTreeSet::new();
    let mut missing = BTreeSet::new();
    while let Some(path) = todo.pop() {
        let Some(entry) = both.entry(&path) else { continue };
        let Node::File { digest, .. } = &entry.node else {
            continue;
        };
        if below_archive(tree, &path) || !seen.insert(path.clone()) || !is_elf(stock, entry) {
            continue;
        }
        let linkage = Linkage::of(&stock.read(digest)?);
        let linkage = linkage.map_err(|error| Failure::malformed(format!("{subject}: /{path}"), error))?;
        let Some(linkage) = linkage else { continue };
        let triplet = linkage
            .interpreter
            .as_deref()
            .and_then(triplet)
            .or_else(|| own_triplet(&path));
        let triplet = triplet.unwrap_or_else(|| "x86_64-linux-gnu".to_owned());
        let mut needs: Vec<(String, Vec<String>)> = Vec::new();
        if let Some(loader) = &linkage.interpreter {
            needs.push((loader.clone(), vec![loader.clone()]));
        }
        for name in &linkage.needed {
            needs.push((name.clone(), candidates(name, &path, &linkage, &triplet)));
        }
        for (name, candidates) in needs {
            if provided
                .iter()
                .any(|provided| name.rsplit('/').next() == Some(provided))
            {
                continue;
            }
            let found = candidates.iter().find_map(|candidate| follow(&both, candidate));
            match found {
                Some(chain) => chain.into_iter().for_each(|step| {
                    if tree.entry(&step).is_none()
                        && let Some(entry) = pool.entry(&step)
                    {
                        chosen.add(pool, &step, entry);
                        todo.push(step);
                    } else {
                        todo.push(step);
                    }
                }),
                None => drop(missing.insert(format!("/{path} needs {name}"))),
            }
        }
    }
    if !missing.is_empty() {
        let list: Vec<String> = missing.into_iter().collect();
        let problem = format!(
            "{}; add the packages that hold them to `packages`, or name them under `provided` when another component of the same \
             root brings them",
            list.join(", ")
        );
        return Err(Failure::malformed(subject, problem));
    }
    for (path, entry) in chosen.finish(pool) {
        if tree.entry(&path).is_none() {
            tree.insert(path, entry);
        }
    }
    Ok(())
}

/// Finds `path` (with or without a leading slash) in a tree and returns every link on the way and the file at the end.
pub fn follow(tree: &Tree, path: &str) -> Option<Vec<TreePath>> {
    let mut steps = Vec::new();
    let mut path = TreePath::parse(path).ok()?;
    for _ in 0..LINKS {
        let link = path
            .ancestors()
            .chain([path.clone()])
            .find(|part| matches!(tree.entry(part).map(|entry| &entry.node), Some(Node::Symlink(_))));
        let Some(link) = link else {
            tree.entry(&path)?;
            steps.push(path);
            return Some(steps);
        };
        let Some(Node::Symlink(target)) = tree.entry(&link).map(|entry| &entry.node) else {
            return None;
        };
        let rest = path.relative_to(&link);
        path = join(link.parent().as_ref(), target, rest.as_ref())?;
        steps.push(link);
    }
    None
}

/// What was chosen so far.
#[derive(Debug, Default)]
struct Chosen {
    tree: Tree,
}

impl Chosen {
    /// Takes an entry, what it points to, and its directories.
    fn add(&mut self, pool: &Tree, path: &TreePath, entry: &Entry) {
        if self.tree.insert(path.clone(), entry.clone()).is_some() {
            return;
        }
        for above in path.ancestors() {
            if self.tree.entry(&above).is_none() {
                let directory = pool.entry(&above).filter(|entry| entry.is_directory());
                self.tree
                    .insert(above, directory.cloned().unwrap_or_else(|| Entry::directory(0o755)));
            }
        }
        if let Node::Symlink(_) = entry.node {
            let text = String::from_utf8_lossy(path.as_bytes()).into_owned();
            for step in follow(pool, &text).into_iter().flatten() {
                if let Some(entry) = pool.entry(&step).filter(|_| self.tree.entry(&step).is_none()) {
                    self.add(pool, &step, entry);
                }
            }
        }
    }

    /// Names each hard-linked file by the first of its chosen paths.
    fn finish(self, pool: &Tree) -> Tree {
        let mut first: BTreeMap<TreePath, TreePath> = BTreeMap::new();
        let canonical = |(path, entry): (TreePath, Entry)| {
            let original = match &entry.node {
                Node::HardLink(target) => target.clone(),
                Node::File { .. } => path.clone(),
                _ => return (path, entry),
            };
            match first.get(&original) {
                Some(file) => {
                    let node = Node::HardLink(file.clone());
                    let meta = Default::default();
                    (path, Entry { meta, node })
                }
                None => {
                    let entry = pool.entry(&original).cloned().unwrap_or(entry);
                    first.insert(original, path.clone());
                    (path, entry)
                }
            }
        };
        self.tree.into_iter().map(canonical).collect()
    }
}

/// Lists where the loader would look for a library, in order.
fn candidates(name: &str, of: &TreePath, linkage: &Linkage, triplet: &str) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let origin = of
        .parent()
        .map(|parent| String::from_utf8_lossy(parent.as_bytes()).into_owned());
    let origin = format!("/{}", origin.unwrap_or_default());
    let searched = linkage
        .search
        .iter()
        .map(|dir| dir.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin));
    let standard = LIBRARIES.iter().map(|dir| dir.replace("TRIPLET", triplet));
    searched.chain(standard).map(|dir| format!("{dir}/{name}")).collect()
}

/// Tells Debian's name of an architecture by its loader.
fn triplet(loader: &str) -> Option<String> {
    let name = loader.rsplit('/').next()?;
    let architecture = name.strip_prefix("ld-linux-")?.split('.').next()?;
    Some(format!("{}-linux-gnu", architecture.replace("x86-64", "x86_64")))
}

/// Tells Debian's name of an architecture by the directory of a library.
fn own_triplet(path: &TreePath) -> Option<String> {
    let text = std::str::from_utf8(path.as_bytes()).ok()?;
    text.split('/')
        .find(|part| part.ends_with("-linux-gnu"))
        .map(str::to_owned)
}

fn is_elf(stock: &Stock, entry: &Entry) -> bool {
    let Node::File { digest, .. } = &entry.node else {
        return false;
    };
    let mut start = [0; 4];
    let read = stock
        .contents()
        .open(digest)
        .and_then(|mut content| content.read_exact(&mut start));
    read.is_ok() && start == *b"\x7fELF"
}

fn below_archive(tree: &Tree, path: &TreePath) -> bool {
    path.ancestors()
        .any(|above| tree.entry(&above).is_some_and(|entry| entry.node == Node::Archive))
}

/// Applies a link's target, `..` included, and what followed the link in the path.
fn join(directory: Option<&TreePath>, target: &[u8], rest: Option<&TreePath>) -> Option<TreePath> {
    let start = match (target.starts_with(b"/"), directory) {
        (false, Some(directory)) => directory.as_bytes(),
        _ => b"",
    };
    let mut parts: Vec<&[u8]> = Vec::new();
    let all = [start, target, rest.map_or(&b""[..], TreePath::as_bytes)];
    for part in all.iter().flat_map(|bytes| bytes.split(|b| *b == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    TreePath::parse(parts.join(&b'/')).ok()
}

#[cfg(test)]
mod tests;
