//! Metadata files as one list: what a look-up read, and what it can be repeated from without a network.

use std::sync::Arc;

use super::TrustError;
use super::chain::Wanted;
use super::names::root_version;
use crate::failure::Failure;

/// A place that metadata come from: a bundle, a directory, a server.
pub trait Source {
    /// Returns the bytes of the file `name`, or `None` when there is no such file.
    ///
    /// Of a file longer than `max` bytes no more than `max + 1` need be read: that it is too long is for the caller to say.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be found out.
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure>;
}

/// Asks for a file; `None` when the place says that there is none.
pub(super) fn fetch(source: &mut impl Source, wanted: &Wanted) -> Result<Option<Vec<u8>>, TrustError> {
    source.file(&wanted.file, wanted.max).map_err(TrustError::Source)
}

/// Asks for a file that has to be there.
pub(super) fn need(source: &mut impl Source, wanted: &Wanted) -> Result<Vec<u8>, TrustError> {
    let missing = || TrustError::Missing {
        file: wanted.file.clone(),
    };
    fetch(source, wanted)?.ok_or_else(missing)
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        (**self).file(name, max)
    }
}

/// Metadata files by name, in the order in which they were read; a copy shares their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    files: Vec<(String, Arc<[u8]>)>,
}

impl Bundle {
    /// Adds a file; one that has the name already is replaced.
    pub fn add(&mut self, name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) {
        let (name, bytes) = (name.into(), bytes.into());
        self.files.retain(|(other, _)| *other != name);
        self.files.push((name, bytes));
    }

    /// Adds all files of another, each as [`Bundle::add`] does.
    pub fn add_all(&mut self, other: &Self) {
        for (name, bytes) in &other.files {
            self.add(name, Arc::clone(bytes));
        }
    }

    /// Returns a file's bytes.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.files.iter().find(|(other, _)| other == name);
        found.map(|(_, bytes)| &**bytes)
    }

    /// Returns the root files with their names, in order.
    pub fn root_files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files().filter(|(name, _)| root_version(name).is_some())
    }

    /// Returns the roots, in order.
    pub fn roots(&self) -> impl Iterator<Item = &[u8]> {
        self.root_files().map(|(_, bytes)| bytes)
    }

    /// Returns all files in order.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), &**bytes))
    }
}

impl<N: Into<String>, B: Into<Arc<[u8]>>> FromIterator<(N, B)> for Bundle {
    fn from_iter<I: IntoIterator<Item = (N, B)>>(files: I) -> Self {
        let mut bundle = Self::default();
        for (name, bytes) in files {
            bundle.add(name, bytes);
        }
        bundle
    }
}

impl Source for &Bundle {
    /// Returns the whole file: a bundle is in memory already.
    fn file(&mut self, name: &str, _max: usize) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.get(name).map(<[u8]>::to_vec))
    }
}
