//! Why a specification and its components make no root file system.

use super::Owner;
use crate::config::oci::UnknownId;
use crate::config::spec::{ImageName, Role};
use crate::failure::{Code, Failure, Place, Refusal};
use crate::reference::Reference;
use crate::tree::{PathError, TreePath};
use crate::yaml::YamlError;

/// The kinds of reasons.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The kernel's archive holds what is not the kernel's to write.
    #[error("{} would write `{path}`; a kernel writes boot/, lib/modules and lib/firmware", image.reference)]
    KernelPath {
        /// The kernel's component.
        image: Box<ImageName>,
        /// The path at `/`.
        path: TreePath,
    },
    /// The kernel's image lacks a file.
    #[error("{}: {} has no {what} `{file}`; name the right one in `kernel:`", image.place, image.reference)]
    KernelFile {
        /// The kernel's component.
        image: Box<ImageName>,
        /// What the file is.
        what: &'static str,
        /// Its path in the image.
        file: String,
    },
    /// No component was handed in for a reference of the specification.
    #[error("{role}: component {reference} was not handed in")]
    MissingComponent {
        /// The part of the specification.
        role: Role,
        /// The reference.
        reference: Box<Reference>,
    },
    /// A file beside the YAML was not handed in.
    #[error("{place}: there is no file `{path}`; make it, or mark the entry `optional: true`")]
    MissingSource {
        /// The path as written.
        path: String,
        /// Where it is written.
        place: Place,
    },
    /// A path is too long at its place.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A component has an entry below something that is no directory.
    #[error("{owner} has `{path}`, below something that is not a directory; build the component again")]
    Orphan {
        /// Whose it is.
        owner: Owner,
        /// The entry's parent.
        path: TreePath,
    },
    /// A user or group names no container.
    #[error("{place}: {error}")]
    UnknownId {
        /// Where the container or file is written.
        place: Place,
        /// What is wrong.
        error: UnknownId,
    },
    /// A component's label has a mistake.
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

impl From<LayoutError> for Failure {
    fn from(error: LayoutError) -> Self {
        match error {
            LayoutError::KernelPath { image, path } => {
                let expected = "a kernel that writes only boot/, lib/modules and lib/firmware";
                let found = format!("its archive holds `{path}`");
                let advice = "take the file out of the kernel's archive, and put it into a component of `init`";
                Refusal::new(Code::Privilege, &image.reference, expected, found, advice)
                    .at(image.place)
                    .into()
            }
            LayoutError::Yaml(error) => error.into(),
            other => Self::malformed("root file system", other),
        }
    }
}
