//! A collection's metadata in a registry, beside images or in a repository of its own.
//!
//! - A tag names the present state, an index from which everything is fetched by digest. Whoever reads sees one state for as
//!   long as he holds the place; nothing read here is believed: [`crate::trust`] checks it.
//! - Each state also has a tag with its number, `TAG.7`, which never moves: old states stay, and publishers who meet notice.
//!   How they take turns, and what window remains, is in docs/decisions/0007-registry-publishing.md.
//! - What is fetched is kept in memory, so that a build that asks a hundred times fetches once.

mod files;
mod publish;
mod state;

pub use files::TrustFiles;
pub use publish::OciPublisher;
pub use state::{COLLECTION, METADATA, PAGE};

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::oci::Descriptor;
use crate::reference::{Reference, Repository};
use crate::store::registry::Registry;
use crate::trust::Source;
use state::{FileName, Files, State};

/// The tag of a collection for which no other is named.
const TAG: &str = "imgkit-trust";

const SCHEME: &str = "oci://";

/// The name of a collection in a registry: `oci://HOST/REPOSITORY[:TAG]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciName {
    repository: Repository,
    tag: String,
}

impl FromStr for OciName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            |what: &str| format!("`{text}`: {what}; expected {SCHEME}HOST/REPOSITORY or {SCHEME}HOST/REPOSITORY:TAG");
        let name = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| bad("it is no place in a registry"))?;
        let host = name.split('/').next().unwrap_or_default();
        if !name.contains('/') || !(host.contains(['.', ':']) || host == "localhost") {
            return Err(bad("the registry's host is missing"));
        }
        let reference: Reference = name.parse().map_err(|error| bad(&format!("{error}")))?;
        if reference.digest().is_some() {
            return Err(bad("a digest does not move with the collection"));
        }
        let named = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let tag = reference.tag().filter(|_| named).unwrap_or(TAG);
        // A number follows it.
        if tag.len() > 100 {
            return Err(bad("the tag is longer than 100 bytes"));
        }
        Ok(Self {
            repository: reference.repository().clone(),
            tag: tag.to_owned(),
        })
    }
}

impl fmt::Display for OciName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.repository)?;
        match self.tag == TAG {
            true => Ok(()),
            false => write!(f, ":{}", self.tag),
        }
    }
}

/// A collection in a registry.
#[derive(Clone, Debug)]
pub struct TrustOci {
    registry: Arc<Registry>,
    name: OciName,
    session: Arc<Mutex<Session>>,
}

/// What was read since the place is held.
#[derive(Debug, Default)]
struct Session {
    /// The present state, once it was looked for; within, none where there is no collection.
    present: Option<Option<Arc<State>>>,
    /// Earlier states by their numbers.
    earlier: BTreeMap<u64, Arc<State>>,
    pages: BTreeMap<Digest, Arc<Files>>,
    contents: BTreeMap<Digest, Arc<Vec<u8>>>,
}

impl TrustOci {
    /// Names the place; nothing is contacted yet.
    pub fn new(registry: Arc<Registry>, name: OciName) -> Self {
        Self {
            registry,
            name,
            session: Arc::default(),
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &OciName {
        &self.name
    }

    /// Tells whether a collection was published here.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry cannot be reached.
    pub fn is_published(&self) -> Result<bool, Failure> {
        let mut session = self.session();
        Ok(self.present(&mut session)?.is_some())
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state that this session sees.
    fn present(&self, session: &mut Session) -> Result<Option<Arc<State>>, Failure> {
        if let Some(present) = &session.present {
            return Ok(present.clone());
        }
        let present = self.tagged(&self.name.tag)?.map(Arc::new);
        session.present = Some(present.clone());
        Ok(present)
    }

    /// Fetches the state under a tag, if there is one.
    fn tagged(&self, tag: &str) -> Result<Option<State>, Failure> {
        let reference = self.reference(tag)?;
        let found = self.registry.find_document(&reference)?;
        let parse = |(found, bytes)| State::parse(&reference.to_string(), &found, bytes);
        found.map(parse).transpose()
    }

    fn reference(&self, tag_or_digest: &str) -> Result<Reference, Failure> {
        let separator = if tag_or_digest.contains(':') { '@' } else { ':' };
        let name = format!("{}{separator}{tag_or_digest}", self.name.repository);
        name.parse().map_err(|error| Failure::malformed(&name, error))
    }

    /// Returns the tag of the state with a number.
    fn tag_of(&self, generation: u64) -> String {
        format!("{}.{generation}", self.name.tag)
    }

    /// Fetches one of a state's pages; one that was never written has no files.
    fn page(&self, session: &mut Session, state: &State, number: u64) -> Result<Arc<Files>, Failure> {
        let Some((page, _)) = state.pages.get(&number) else {
            return Ok(Arc::default());
        };
        if let Some(files) = session.pages.get(&page.digest) {
            return Ok(Arc::clone(files));
        }
        let reference = self.reference(&page.digest.to_string())?;
        let (_, bytes) = self.registry.document(&reference)?;
        let files = Arc::new(state::read_page(&reference.to_string(), &bytes)?);
        session.pages.insert(page.digest, Arc::clone(&files));
        Ok(files)
    }

    fn content(&self, session: &mut Session, name: &str, file: &Descriptor, max: usize) -> Result<Vec<u8>, Failure> {
        if file.size > max as u64 {
            let subject = format!("{name} in {}", self.name);
            let advice = "fetch the collection again; if it stays so, somebody put something else in its place";
            let (expected, found) = (format!("at most {max} bytes"), format!("{} bytes", file.size));
            return Err(Refusal::new(Code::Malformed, subject, expected, found, advice).into());
        }
        if let Some(bytes) = session.contents.get(&file.digest) {
            return Ok(bytes.to_vec());
        }
        let bytes = self.registry.blob(&self.name.repository, file)?;
        session.contents.insert(file.digest, Arc::new(bytes.clone()));
        Ok(bytes)
    }

    /// Finds a file that a later version took the place of, in the state that had it: versions only grow from state to state.
    fn earlier(&self, session: &mut Session, present: &State, name: &str) -> Result<Option<Descriptor>, Failure> {
        let wanted = FileName::of(name);
        let (mut first, mut last) = (1, present.generation.saturating_sub(1));
        while first <= last {
            let middle = first.midpoint(last);
            let state = match session.earlier.get(&middle) {
                Some(state) => Arc::clone(state),
                None => match self.tagged(&self.tag_of(middle))? {
                    Some(state) if state.generation == middle => Arc::new(state),
                    // Who cleaned up the repository took it away.
                    _ => return Ok(None),
                },
            };
            session.earlier.insert(middle, Arc::clone(&state));
            let files = self.page(session, &state, wanted.page(state.shared()))?;
            if let Some(file) = files.get(name) {
                return Ok(Some(file.clone()));
            }
            match version_of(&files, wanted.role) {
                Some(version) if Some(version) > wanted.version => last = middle - 1,
                _ => first = middle + 1,
            }
        }
        Ok(None)
    }
}

impl Source for &TrustOci {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let mut session = self.session();
        let Some(state) = self.present(&mut session)? else {
            let problem =
                "the registry has no collection under this name; name another, or make one with `imgkit trust init`";
            return Err(Failure::unavailable(&self.name, problem));
        };
        let wanted = FileName::of(name);
        let files = self.page(&mut session, &state, wanted.page(state.shared()))?;
        let file = match files.get(name) {
            Some(file) => Some(file.clone()),
            // Every root is on the page; what is later than the latest version of a role is nowhere.
            None if wanted.role != "root" && version_of(&files, wanted.role) > wanted.version => {
                self.earlier(&mut session, &state, name)?
            }
            None => None,
        };
        file.map(|file| self.content(&mut session, name, &file, max))
            .transpose()
    }
}

/// Returns the version of a role's newest file on a page.
fn version_of(files: &Files, role: &str) -> Option<u64> {
    let names = files.keys().map(|name| FileName::of(name));
    names
        .filter(|name| name.role == role)
        .filter_map(|name| name.version)
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_registry_has_a_host_and_may_have_a_tag() {
        let name = |text: &str| {
            text.parse::<OciName>()
                .map(|name| (name.repository.to_string(), name.tag))
        };
        let is = |repository: &str, tag: &str| Ok((repository.to_owned(), tag.to_owned()));
        assert_eq!(name("oci://r.example/team/a"), is("r.example/team/a", TAG));
        assert_eq!(name("oci://localhost:5000/a:b"), is("localhost:5000/a", "b"));
        for bad in [
            "oci://team/a",
            "oci://r.example",
            "r.example/a",
            "oci://r.example/A",
            "oci://r.example/a@sha256:00",
        ] {
            assert!(name(bad).is_err(), "{bad}");
        }
        for text in ["oci://r.example/team/a", "oci://r.example/team/a:b"] {
            assert_eq!(
                text.parse::<OciName>().map(|name| name.to_string()),
                Ok(text.to_owned())
            );
        }
    }
}
