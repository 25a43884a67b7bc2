//! A kernel image as LinuxKit has it: the file `kernel`, and in `kernel.tar` the modules with the tables that depmod makes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::recipe::{Kernel, Modules, Wanted};
use super::stock::{Pool, Stock};
use super::tool::{Tools, write_tree};
use crate::failure::Failure;
use crate::limit;
use crate::store::file::{cannot, read_limited};
use crate::tree::{Entry, Meta, Node, PathError, Tree, TreePath};

/// Lists that the package brings and depmod reads.
const GIVEN: &[&str] = &["modules.builtin", "modules.builtin.modinfo", "modules.order"];

/// Tables that go into the image: depmod's, in text for small readers and in binary for kmod, and the list of built-in ones.
const TABLES: &[&str] = &[
    "modules.alias",
    "modules.alias.bin",
    "modules.builtin",
    "modules.builtin.alias.bin",
    "modules.builtin.bin",
    "modules.dep",
    "modules.dep.bin",
    "modules.devname",
    "modules.softdep",
];

/// Makes the kernel image of the Linux package in `pool`; the packages of `tools` hold depmod.
///
/// # Errors
/// [`Failure::Malformed`] when the package is no kernel's or a module is not in it; [`Failure::Unavailable`] when depmod fails.
pub fn make(
    subject: &str,
    kernel: &Kernel,
    pool: &Pool,
    tools: &Pool,
    stock: &mut Stock,
    work: &Path,
) -> Result<Tree, Failure> {
    let release = Release::find(subject, &pool.tree)?;
    let tools = Tools::unpack(tools, stock, work)?;
    let mut modules = release.modules(&pool.tree);
    if let Modules::Some(wanted) = &kernel.modules {
        let tables = release.depmod(&modules, &tools, stock, work)?;
        let chosen = choose(subject, wanted, &modules, &tables)?;
        modules.retain(|path, _| chosen.contains(path) || GIVEN.contains(&path.as_str()));
    }
    let tables = release.depmod(&modules, &tools, stock, work)?;
    let mut tree = Tree::new();
    let path = |text: &str| TreePath::parse(text).map_err(|error: PathError| Failure::malformed(subject, error));
    let image = pool.tree.entry(&release.image).cloned();
    let mut image = image.ok_or_else(|| Failure::malformed(subject, "the kernel vanished"))?;
    image.meta = Meta::root(0o644);
    tree.insert(path("kernel")?, image);
    let archive = Entry {
        meta: Meta::root(0o644),
        node: Node::Archive,
    };
    tree.insert(path("kernel.tar")?, archive);
    let top = format!("kernel.tar/lib/modules/{}", release.version);
    let mut put = |below: &str, entry: Entry| -> Result<(), Failure> {
        let place = path(&format!("{top}/{below}"))?;
        for above in place.ancestors().skip(1) {
            tree.insert(above, Entry::directory(0o755));
        }
        tree.insert(place, entry);
        Ok(())
    };
    for (below, entry) in modules {
        if !GIVEN.contains(&below.as_str()) {
            put(&below, entry)?;
        }
    }
    for name in TABLES {
        let table = tables.get(*name).map(Vec::as_slice).unwrap_or_default();
        put(name, stock.add(0o644, &mut &*table)?)?;
    }
    Ok(tree)
}

/// The kernel of a package.
struct Release {
    version: String,
    image: TreePath,
    modules: TreePath,
}

impl Release {
    fn find(subject: &str, tree: &Tree) -> Result<Self, Failure> {
        let version = |path: &TreePath| {
            let text = std::str::from_utf8(path.as_bytes()).ok()?;
            text.strip_prefix("boot/vmlinuz-").map(str::to_owned)
        };
        let found: Vec<(String, &TreePath)> = tree
            .iter()
            .filter_map(|(path, _)| Some((version(path)?, path)))
            .collect();
        let [(version, image)] = found.as_slice() else {
            let problem = format!(
                "expected one boot/vmlinuz-VERSION in its packages, found {}",
                found.len()
            );
            return Err(Failure::malformed(subject, problem));
        };
        let modules = TreePath::parse(format!("lib/modules/{version}"));
        Ok(Self {
            version: version.clone(),
            image: (*image).clone(),
            modules: modules.map_err(|error| Failure::malformed(subject, error))?,
        })
    }

    /// Lists modules, and the lists that came with them, by their paths below `lib/modules/VERSION`.
    fn modules(&self, tree: &Tree) -> BTreeMap<String, Entry> {
        let below = |(path, entry): (&TreePath, &Entry)| {
            let path = path.relative_to(&self.modules)?;
            let path = std::str::from_utf8(path.as_bytes()).ok()?;
            let is_module = path.ends_with(".ko") || path.ends_with(".ko.xz") || path.ends_with(".ko.zst");
            let meta = Meta::root(0o644);
            let node = entry.node.clone();
            (is_module || GIVEN.contains(&path)).then(|| (path.to_owned(), Entry { meta, node }))
        };
        tree.below(&self.modules).filter_map(below).collect()
    }

    /// Runs depmod over some of the modules and returns the tables that it writes.
    fn depmod(
        &self,
        modules: &BTreeMap<String, Entry>,
        tools: &Tools,
        stock: &Stock,
        work: &Path,
    ) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let dir = tempfile::tempdir_in(work).map_err(|error| cannot("write into", work, &error))?;
        let mut tree = Tree::new();
        for (below, entry) in modules {
            let below = TreePath::parse(below).and_then(|below| self.modules.join(&below));
            let place = below.map_err(|error| Failure::malformed(&self.version, error))?;
            for above in place.ancestors() {
                tree.insert(above, Entry::directory(0o755));
            }
            tree.insert(place, entry.clone());
        }
        write_tree(&tree, stock, dir.path())?;
        let arguments: [OsString; 3] = ["-b".into(), dir.path().into(), self.version.clone().into()];
        tools.run("sbin/depmod", &arguments, stock)?;
        let tables = dir.path().join("lib/modules").join(&self.version);
        let mut written = BTreeMap::new();
        for name in TABLES {
            let path = tables.join(name);
            if fs::exists(&path).map_err(|error| cannot("find", &path, &error))? {
                written.insert((*name).to_owned(), read_limited(&path, limit::MODULE_TABLE_BYTES)?);
            }
        }
        Ok(written)
    }
}

/// Chooses modules with all that they depend on, softly too.
fn choose(
    subject: &str,
    wanted: &[Wanted],
    modules: &BTreeMap<String, Entry>,
    tables: &BTreeMap<String, Vec<u8>>,
) -> Result<BTreeSet<String>, Failure> {
    let text = |name: &str| {
        tables
            .get(name)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    };
    let by_name: BTreeMap<String, &String> = modules.keys().map(|path| (module_name(path), path)).collect();
    let builtin: BTreeSet<String> = text("modules.builtin").lines().map(module_name).collect();
    let dep = text("modules.dep");
    let depends: BTreeMap<&str, Vec<&str>> = dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (path, needs.split_ascii_whitespace().collect()))
        .collect();
    let soft = text("modules.softdep");
    let mut todo: Vec<String> = Vec::new();
    for wanted in wanted {
        match wanted {
            Wanted::Name(name) if builtin.contains(name) => {}
            Wanted::Name(name) => match by_name.get(name) {
                Some(path) => todo.push((*path).clone()),
                None => {
                    let problem =
                        format!("the kernel has no module `{name}`, and it is not built in; correct `modules`");
                    return Err(Failure::malformed(subject, problem));
                }
            },
            Wanted::Path(pattern) => {
                let matches = |path: &&String| TreePath::parse(path).is_ok_and(|path| pattern.matches(&path));
                let found: Vec<String> = modules.keys().filter(matches).cloned().collect();
                if found.is_empty() {
                    let problem = format!("no module's path matches `{pattern}`; correct `modules`");
                    return Err(Failure::malformed(subject, problem));
                }
                todo.extend(found);
            }
        }
    }
    let mut chosen = BTreeSet::new();
    while let Some(path) = todo.pop() {
        if !chosen.insert(path.clone()) {
            continue;
        }
        let hard = depends.get(path.as_str()).into_iter().flatten();
        todo.extend(hard.map(|path| (*path).to_owned()));
        let softly = soft_needs(&soft, &module_name(&path));
        todo.extend(softly.filter_map(|name| by_name.get(&name)).map(|path| (*path).clone()));
    }
    Ok(chosen)
}

/// Lists the modules that `modules.softdep` names for one: `softdep NAME pre: A B post: C`.
fn soft_needs<'a>(table: &'a str, name: &str) -> impl Iterator<Item = String> + use<'a> {
    let name = name.to_owned();
    let lines = table.lines().map(|line| line.split_ascii_whitespace());
    let matching = lines.filter_map(move |mut words| {
        let is_this =
            words.next() == Some("softdep") && words.next().is_some_and(|word| word.replace('-', "_") == name);
        is_this.then_some(words)
    });
    matching
        .flatten()
        .filter(|word| !word.ends_with(':'))
        .map(|word| word.replace('-', "_"))
}

/// Tells a module's name by its path: the file's name up to `.ko`, with underscores.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_by_paths() {
        assert_eq!(module_name("kernel/drivers/net/virtio-net.ko"), "virtio_net");
        assert_eq!(module_name("kernel/crypto/crc32c_generic.ko.xz"), "crc32c_generic");
    }

    #[test]
    fn soft_dependencies_are_of_the_named_module_alone() {
        let table = "# comment\nsoftdep ext4 pre: crc32c\nsoftdep nf-nat pre: a-b post: c\n";
        let needs = |name| soft_needs(table, name).collect::<Vec<_>>();
        assert_eq!(needs("nf_nat"), ["a_b", "c"]);
        assert_eq!(needs("ext4"), ["crc32c"]);
        assert!(needs("comment").is_empty());
    }
}
