//! Where an image is, as these commands name it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use tempfile::TempDir;

use crate::cli::Context;
use crate::cli::store::registry;
use crate::failure::Failure;
use crate::oci::Descriptor;
use crate::reference::Reference;
use crate::sigstore::attachment::{Attachment, Wanted};
use crate::store::Source as _;
use crate::store::archive;
use crate::store::attached::{Beside, attached_for, attachments};
use crate::store::layout::Layout;

/// An image's place: a registry, an OCI layout, or one in a tar archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In an archive of an OCI layout.
    Archive(PathBuf, Option<Reference>),
    /// In an OCI layout, under a name, or alone.
    Layout(PathBuf, Option<Reference>),
    /// In a registry.
    Registry(Reference),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(file, None) => write!(f, "oci-archive:{}", file.display()),
            Self::Archive(file, Some(name)) => write!(f, "oci-archive:{}:{name}", file.display()),
            Self::Layout(dir, None) => write!(f, "oci:{}", dir.display()),
            Self::Layout(dir, Some(name)) => write!(f, "oci:{}:{name}", dir.display()),
            Self::Registry(reference) => reference.fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |text: &str| text.parse::<Reference>().map_err(|error| error.to_string());
        type Make = fn(PathBuf, Option<Reference>) -> Place;
        let kinds = [("oci:", Self::Layout as Make), ("oci-archive:", Self::Archive as Make)];
        let found = kinds
            .iter()
            .find_map(|(prefix, make)| Some((text.strip_prefix(prefix)?, make)));
        let Some((rest, make)) = found else {
            return name(text.strip_prefix("docker://").unwrap_or(text)).map(Self::Registry);
        };
        let (path, rest) = rest
            .split_once(':')
            .map_or((rest, None), |(path, rest)| (path, Some(rest)));
        match path.is_empty() {
            true => Err(format!("expected a path behind the `:` of `{text}`")),
            false => Ok(make(path.into(), rest.map(name).transpose()?)),
        }
    }
}

/// An image that was found, and what it lies in.
pub(super) struct Located {
    /// What it lies in.
    pub(super) source: Box<dyn Beside>,
    /// That, where it is a layout.
    pub(super) layout: Option<Layout>,
    /// Its name.
    pub(super) reference: Reference,
    /// The document that its name stands for.
    pub(super) document: Descriptor,
    /// That document's bytes.
    pub(super) bytes: Vec<u8>,
    _temporary: Option<TempDir>,
}

impl Located {
    /// Reads the signatures and attestations among which what is wanted can be.
    pub(super) fn pieces(&self, wanted: Wanted<'_>) -> Result<Vec<Attachment>, Failure> {
        let repository = self.reference.repository();
        let found = attached_for(&*self.source, repository, &self.document.digest, wanted)?;
        Ok(attachments(&*self.source, repository, &found))
    }
}

impl Place {
    /// Finds the image.
    pub(super) fn locate(&self, context: &Context) -> Result<Located, Failure> {
        match self {
            Self::Archive(file, name) => {
                let (dir, layout) = archive::unpack(file, &context.scratch_dir())?;
                self.in_layout(layout, name.as_ref(), Some(dir))
            }
            Self::Registry(reference) => {
                let registry = registry(context)?;
                let (document, bytes) = registry.document(reference)?;
                registry.check_tag(reference)?;
                Ok(Located {
                    source: Box::new(registry),
                    layout: None,
                    reference: reference.clone(),
                    document,
                    bytes,
                    _temporary: None,
                })
            }
            Self::Layout(dir, name) => self.in_layout(Layout::open(dir)?, name.as_ref(), None),
        }
    }

    fn in_layout(
        &self,
        layout: Layout,
        name: Option<&Reference>,
        temporary: Option<TempDir>,
    ) -> Result<Located, Failure> {
        let reference = match name {
            Some(name) => name.clone(),
            None => only_image(&layout)?,
        };
        let absent = || Failure::unavailable(self, "the layout has no image of this name");
        let (document, bytes) = layout.document(&reference)?.ok_or_else(absent)?;
        layout.check_tag(&reference)?;
        Ok(Located {
            source: Box::new(layout.clone()),
            layout: Some(layout),
            reference,
            document,
            bytes,
            _temporary: temporary,
        })
    }
}

/// Returns the name of the only image in a layout; what lies beside images is none.
pub(super) fn only_image(layout: &Layout) -> Result<Reference, Failure> {
    let is_beside = |reference: &Reference| reference.tag().is_some_and(|tag| tag.starts_with("sha256-"));
    let mut names: Vec<_> = layout.list()?.into_iter().map(|(name, _)| name).collect();
    names.retain(|name| !is_beside(name));
    match names.as_slice() {
        [only] => Ok(only.clone()),
        names => {
            let dir = layout.dir().display();
            let problem = format!(
                "it has {} named images; say which: oci:{dir}:HOST/REPOSITORY:TAG",
                names.len()
            );
            Err(Failure::malformed(dir, problem))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_written_as_skopeo_writes_them() {
        let place = |text: &str| text.parse::<Place>().map(|place| place.to_string());
        assert_eq!(place("docker://r.example/a:1"), Ok("r.example/a:1".to_owned()));
        for text in [
            "oci:/a/b",
            "oci:b:127.0.0.1:5000/a:1",
            "oci-archive:x.tar",
            "r.example/a:1",
        ] {
            assert_eq!(place(text), Ok(text.to_owned()));
        }
        assert!(place("oci:").is_err());
        assert!(place("oci:a:B").is_err());
    }
}
