//! `component.yml`: what a component is made of. One YAML mapping; `components/README.md` shows its keys.
//!
//! - From `packages` the files that `keep` matches and `drop` does not, and every library that a program among them needs.
//! - `files` of the author's own, programs of this repository, and what `kernel`, `grub` and `certificates` make.
//! - `config` and `linuxkit` say how it runs.

mod config;
mod files;
mod pattern;

pub use config::RunConfig;
pub use files::{OwnFile, OwnNode};
pub use pattern::Pattern;

use crate::tree::TreePath;
use crate::yaml::{Document, Fields, Item, YamlError};

/// Name of the file in a component's directory.
pub const FILE: &str = "component.yml";

/// A recipe, decoded and checked.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What the component is for, in a line.
    pub about: String,
    /// Packages whose files go in.
    pub packages: Vec<String>,
    /// Packages whose programs make something, and whose files do not go in.
    pub tools: Vec<String>,
    /// Which of the packages' files go in.
    pub keep: Vec<Pattern>,
    /// Which of those do not.
    pub drop: Vec<Pattern>,
    /// Files of the author's own; they replace a package's.
    pub files: Vec<OwnFile>,
    /// Libraries, by their names in programs, that another component of the same root brings.
    pub provided: Vec<String>,
    /// The kernel image to make.
    pub kernel: Option<Kernel>,
    /// The boot loader to make.
    pub grub: Option<Grub>,
    /// The bundle of certificates to make.
    pub certificates: Option<Certificates>,
    /// How it runs.
    pub config: RunConfig,
}

/// A kernel image as LinuxKit has it: `kernel` and `kernel.tar`.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Which modules go in, with all that they depend on.
    pub modules: Modules,
}

/// Modules of a kernel.
#[derive(Clone, Debug)]
pub enum Modules {
    /// All that the package has.
    All,
    /// These.
    Some(Vec<Wanted>),
}

/// One entry of a list of modules.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The module of this name, or that feature built into the kernel.
    Name(String),
    /// All modules at matching paths below `lib/modules/VERSION/`.
    Path(Pattern),
}

/// A GRUB for BIOS: `boot.img` and `core.img`.
#[derive(Clone, Debug)]
pub struct Grub {
    /// Modules that go into `core.img`.
    pub modules: Vec<String>,
    /// Where GRUB finds its files; an empty drive means the one it was booted from.
    pub prefix: String,
    /// Commands that `core.img` runs.
    pub config: String,
}

/// A bundle of certificates.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The packages' files that go in, in the order of their paths.
    pub from: Pattern,
    /// The bundle.
    pub to: TreePath,
}

impl Recipe {
    /// Reads a recipe; `file` is how errors name it.
    ///
    /// # Errors
    /// [`YamlError`] at the place of the first mistake.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, YamlError> {
        Document::parse(file, bytes)?.root().fields("a component", |fields| {
            let recipe = Self {
                about: fields.required("about")?.word()?.to_owned(),
                packages: words(fields, "packages")?,
                tools: words(fields, "tools")?,
                keep: patterns(fields, "keep")?,
                drop: patterns(fields, "drop")?,
                files: list(fields, "files", files::decode)?,
                provided: words(fields, "provided")?,
                kernel: fields.maybe("kernel", kernel)?,
                grub: fields.maybe("grub", grub)?,
                certificates: fields.maybe("certificates", certificates)?,
                config: config::decode(fields)?,
            };
            let tools = fields
                .optional("tools")
                .filter(|_| recipe.kernel.is_none() && recipe.grub.is_none());
            match tools {
                Some(item) => Err(item.invalid("no tool is used; they serve the keys `kernel` and `grub`")),
                None => Ok(recipe),
            }
        })
    }

    /// Lists the packages that the recipe names, those of tools included, each once and sorted.
    pub fn all_packages(&self) -> Vec<String> {
        let mut names: Vec<String> = self.packages.iter().chain(&self.tools).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

fn list<'a, T>(
    fields: &mut Fields<'a>,
    key: &'static str,
    decode: impl FnMut(Item<'a>) -> Result<T, YamlError>,
) -> Result<Vec<T>, YamlError> {
    let decoded = fields.maybe(key, |item| item.list_of(decode))?;
    Ok(decoded.unwrap_or_default())
}

fn words(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<String>, YamlError> {
    list(fields, key, |item| item.word().map(str::to_owned))
}

fn patterns(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<Pattern>, YamlError> {
    list(fields, key, |item| item.parse())
}

fn kernel(item: Item<'_>) -> Result<Kernel, YamlError> {
    item.fields("a kernel", |kernel| {
        let modules = kernel.required("modules")?;
        let modules = match modules.text() {
            Ok("all") => Modules::All,
            Ok(_) => return Err(modules.invalid("expected `all` or a list of modules")),
            Err(_) => Modules::Some(modules.list_of(|item| match item.word()? {
                path if path.contains('/') => item.parse().map(Wanted::Path),
                name => Ok(Wanted::Name(name.replace('-', "_"))),
            })?),
        };
        Ok(Kernel { modules })
    })
}

fn grub(item: Item<'_>) -> Result<Grub, YamlError> {
    item.fields("a boot loader", |grub| {
        Ok(Grub {
            modules: grub.required("modules")?.texts()?,
            prefix: grub.required("prefix")?.word()?.to_owned(),
            config: grub.required("config")?.word()?.to_owned(),
        })
    })
}

fn certificates(item: Item<'_>) -> Result<Certificates, YamlError> {
    item.fields("a bundle of certificates", |bundle| {
        Ok(Certificates {
            from: bundle.required("from")?.parse()?,
            to: files::path(bundle.required("to")?)?,
        })
    })
}

#[cfg(test)]
mod tests;
