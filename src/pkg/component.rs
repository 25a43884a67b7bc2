//! A component's tree: packages' files, own files, what is made of them, and the libraries that all of it needs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::recipe::{self, Certificates, OwnFile, OwnNode, Recipe};
use super::select::{add_libraries, choose};
use super::stock::{Pool, Stock};
use super::{grub, kernel};
use crate::failure::Failure;
use crate::limit;
use crate::oci::Package;
use crate::store::file::{cannot, read_limited};
use crate::tree::{Entry, Meta, Node, Tree, TreePath};

/// A component's directory and the recipe in it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The directory.
    pub dir: PathBuf,
    /// The component's name: the directory's.
    pub name: String,
    /// The recipe.
    pub recipe: Recipe,
}

impl Source {
    /// Reads the recipe in `dir`.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when there is none; [`Failure::Malformed`] at the place of the first mistake.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let real = fs::canonicalize(dir).map_err(|error| cannot("find", dir, &error))?;
        let name = real.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Failure::malformed(dir.display(), "its name, the component's, is not UTF-8"))?;
        let path = dir.join(recipe::FILE);
        let bytes = read_limited(&path, limit::YAML_BYTES)?;
        Ok(Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
            recipe: Recipe::parse(&path.display().to_string(), &bytes)?,
        })
    }
}

/// A component, ready to be written as an image.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its files; their contents are in the stock.
    pub tree: Tree,
    /// The packages whose files are in it.
    pub packages: Vec<Package>,
    /// The packages whose programs made something in it.
    pub tools: Vec<Package>,
}

impl Component {
    /// Puts a component together of packages that `stock` has.
    ///
    /// Programs of this repository are taken from the directory `programs`; `work` is for temporary files.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the recipe and its packages do not fit; [`Failure::Unavailable`] when something cannot be read,
    /// written or run.
    pub fn assemble(source: &Source, stock: &mut Stock, programs: &Path, work: &Path) -> Result<Self, Failure> {
        let Source { dir, name, recipe } = source;
        let subject = format!("component {name}");
        let pool = stock.pool(&recipe.packages)?;
        let tools = stock.pool(&recipe.tools)?;
        let mut tree = choose(&subject, &pool.tree, &recipe.keep, &recipe.drop)?;
        let mut made = Vec::new();
        if let Some(kernel) = &recipe.kernel {
            made.push(kernel::make(&subject, kernel, &pool, &tools, stock, work)?);
        }
        if let Some(grub) = &recipe.grub {
            made.push(grub::make(grub, &tools, stock, work)?);
        }
        if let Some(certificates) = &recipe.certificates {
            made.push(bundle(&subject, certificates, &pool, stock)?);
        }
        for file in &recipe.files {
            made.push([own(file, dir, programs, stock)?].into_iter().collect());
        }
        for (path, entry) in made.into_iter().flatten() {
            put(&mut tree, &subject, path, entry)?;
        }
        add_libraries(&subject, &mut tree, &pool.tree, &recipe.provided, stock)?;
        Ok(Self {
            tree,
            packages: pool.packages,
            tools: tools.packages,
        })
    }
}

/// Adds an entry and the directories above it; a file may replace a file, and nothing else.
fn put(tree: &mut Tree, subject: &str, path: TreePath, entry: Entry) -> Result<(), Failure> {
    for above in path.ancestors() {
        match tree.entry(&above) {
            None => drop(tree.insert(above, Entry::directory(0o755))),
            Some(there) if there.is_directory() || there.node == Node::Archive => {}
            Some(_) => {
                let problem = format!("/{path} lies below /{above}, which is no directory");
                return Err(Failure::malformed(subject, problem));
            }
        }
    }
    let before = tree.insert(path.clone(), entry);
    let is_directory = tree.entry(&path).is_some_and(Entry::is_directory);
    match before {
        Some(before) if before.is_directory() != is_directory => {
            let problem = format!("/{path} is a directory in one place and none in another");
            Err(Failure::malformed(subject, problem))
        }
        _ => Ok(()),
    }
}

fn own(file: &OwnFile, dir: &Path, programs: &Path, stock: &mut Stock) -> Result<(TreePath, Entry), Failure> {
    let mut from_disk = |path: PathBuf, advice: &str| {
        let mut opened = File::open(&path)
            .map_err(|error| Failure::unavailable(path.display(), format!("cannot open it: {error}{advice}")))?;
        stock.add(file.mode, &mut opened)
    };
    let on_disk = |path: &TreePath| dir.join(String::from_utf8_lossy(path.as_bytes()).as_ref());
    let mut entry = match &file.node {
        OwnNode::Contents(text) => stock.add(file.mode, &mut text.as_bytes())?,
        OwnNode::Directory => Entry::directory(file.mode),
        OwnNode::Program(name) => from_disk(
            programs.join(name),
            "; build this repository's programs with `cargo build --release --bins`, or name their directory with --programs",
        )?,
        OwnNode::Source(path) => from_disk(on_disk(path), "")?,
        OwnNode::Symlink(target) => Entry::symlink(file.mode, target.as_bytes()),
    };
    entry.meta = Meta {
        uid: file.uid,
        gid: file.gid,
        ..entry.meta
    };
    Ok((file.path.clone(), entry))
}

/// Writes certificates one after the other, in the order of their paths.
fn bundle(subject: &str, bundle: &Certificates, pool: &Pool, stock: &mut Stock) -> Result<Tree, Failure> {
    let mut text = Vec::new();
    for (path, entry) in pool.tree.iter().filter(|(path, _)| bundle.from.matches(path)) {
        let Node::File { digest, .. } = &entry.node else {
            continue;
        };
        let certificate = stock.read(digest)?;
        if !certificate.starts_with(b"-----BEGIN CERTIFICATE-----") {
            return Err(Failure::malformed(subject, format!("/{path} is no certificate in PEM")));
        }
        text.extend_from_slice(certificate.trim_ascii_end());
        text.push(b'\n');
    }
    if text.is_empty() {
        return Err(Failure::malformed(
            subject,
            format!("`from: {}` matches no file", bundle.from),
        ));
    }
    Ok([(bundle.to.clone(), stock.add(0o644, &mut text.as_slice())?)]
        .into_iter()
        .collect())
}
