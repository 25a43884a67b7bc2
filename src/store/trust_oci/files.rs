//! A collection's files in the form that registries and parcels have, as a whole.

use std::collections::BTreeMap;

use super::state::{EMPTY, FileName, Files, State, pages_for, put, read_page, write_page};
use crate::failure::Failure;
use crate::oci::{Descriptor, INDEX, MANIFEST};

/// All files of a collection, by their names.
#[derive(Clone, Debug, Default)]
pub struct TrustFiles {
    files: Files,
}

impl TrustFiles {
    /// Adds a file; an older one of the same role goes, but every root stays.
    pub fn add(&mut self, name: &str, file: Descriptor) {
        put(&mut self.files, name, file);
    }

    /// Finds a file.
    pub fn get(&self, name: &str) -> Option<&Descriptor> {
        self.files.get(name)
    }

    /// Writes pages and index; `keep` keeps each document, and describes it. Returns the index.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when there are too many files for the form.
    pub fn write(&self, keep: &mut dyn FnMut(&str, Vec<u8>) -> Descriptor) -> Result<Descriptor, Failure> {
        let delegated = self.files.keys().filter(|name| !FileName::of(name).is_top()).count();
        let shared = pages_for(delegated);
        let mut pages: BTreeMap<u64, Files> = BTreeMap::from([(shared, Files::new())]);
        for (name, file) in &self.files {
            let page = pages.entry(FileName::of(name).page(shared)).or_default();
            page.insert(name.clone(), file.clone());
        }
        keep(EMPTY.0, EMPTY.1.to_vec());
        let mut listed = BTreeMap::new();
        for (number, files) in pages {
            listed.insert(number, (keep(MANIFEST, write_page(&files)?), files.len()));
        }
        Ok(keep(INDEX, State::after(None, listed)?.bytes))
    }

    /// Reads what [`TrustFiles::write`] wrote; `fetch` gets a document.
    ///
    /// # Errors
    /// As `fetch`; a refusal when a document is not in its form.
    pub fn read(
        subject: &str,
        index: &Descriptor,
        fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, Failure>,
    ) -> Result<Self, Failure> {
        let state = State::parse(subject, index, fetch(index)?)?;
        let mut files = Files::new();
        for (page, _) in state.pages.values() {
            files.extend(read_page(subject, &fetch(page)?)?);
        }
        Ok(Self { files })
    }
}
