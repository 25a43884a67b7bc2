//! The place of a collection, whatever it is: one face for those who read and those who publish.
//!
//! - Readers see one state of the collection for as long as they hold the place: its files belong together.
//! - Publishers say what they made of the state that they read. Where somebody else published meanwhile, nothing of theirs is
//!   lost: [`Outcome::Overtaken`] tells the publisher to read again, to do its work again, and to try again.

use std::fmt;
use std::sync::Arc;

use super::kept::Kept;
use super::trust_dir::{Publisher, TrustDir};
use super::trust_http::TrustHttp;
use super::trust_oci::{OciPublisher, TrustOci};
use crate::failure::Failure;
use crate::limit;
use crate::trust::edit::Publication;
use crate::trust::{Source, file_name};

/// Where a collection's metadata are.
#[derive(Clone, Debug)]
pub enum TrustPlace {
    /// In a directory.
    Directory(TrustDir),
    /// In a registry.
    Registry(TrustOci),
    /// On a web server, where it can be read.
    Web(Arc<Kept<TrustHttp>>),
}

impl TrustPlace {
    /// Tells whether a collection was published here.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be found out.
    pub fn is_published(&self) -> Result<bool, Failure> {
        match self {
            Self::Directory(dir) => Ok(dir.is_published()),
            Self::Registry(oci) => oci.is_published(),
            Self::Web(web) => {
                let timestamp = (&**web).file(&file_name("timestamp", None), limit::TIMESTAMP_BYTES)?;
                Ok(timestamp.is_some())
            }
        }
    }

    /// Tells whether the place is on another machine, where others can put older states.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Directory(_) => false,
            Self::Registry(_) | Self::Web(_) => true,
        }
    }

    /// Begins a publication: what is read from now on is the newest state, which the publication replaces.
    ///
    /// Where publishers can wait for each other, this waits until nobody else publishes.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the place cannot be written; [`Failure::Malformed`] when it is one to read only.
    pub fn publisher(&self) -> Result<PlacePublisher<'_>, Failure> {
        match self {
            Self::Directory(dir) => Ok(PlacePublisher::Directory(dir.publisher()?)),
            Self::Registry(oci) => Ok(PlacePublisher::Registry(oci.publisher()?)),
            Self::Web(_) => {
                let problem = "a web server's files can be read only; publish in a directory (dir:PATH) and have its files copied \
                               to the server, timestamp.json last";
                Err(Failure::malformed(self, problem))
            }
        }
    }
}

impl fmt::Display for TrustPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => dir.dir().display().fmt(f),
            Self::Registry(oci) => oci.name().fmt(f),
            Self::Web(web) => f.write_str(web.source().url()),
        }
    }
}

impl From<TrustHttp> for TrustPlace {
    fn from(http: TrustHttp) -> Self {
        Self::Web(Arc::new(Kept::new(http)))
    }
}

impl From<TrustOci> for TrustPlace {
    fn from(oci: TrustOci) -> Self {
        Self::Registry(oci)
    }
}

impl From<TrustDir> for TrustPlace {
    fn from(dir: TrustDir) -> Self {
        Self::Directory(dir)
    }
}

impl Source for &TrustPlace {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            TrustPlace::Directory(dir) => Source::file(&mut &*dir, name, max),
            TrustPlace::Registry(oci) => Source::file(&mut &*oci, name, max),
            TrustPlace::Web(web) => Source::file(&mut &**web, name, max),
        }
    }
}

/// A publication that was begun.
#[derive(Debug)]
pub enum PlacePublisher<'a> {
    /// In a directory, whose lock it holds.
    Directory(Publisher<'a>),
    /// In a registry.
    Registry(OciPublisher<'a>),
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// It is the collection's present state, or a later one was made of it.
    Published,
    /// Somebody else published since the state was read; nothing of this publication counts.
    Overtaken,
}

impl PlacePublisher<'_> {
    /// Publishes what was made of the collection as it was read since this was begun.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be written; then the collection is as it was, or as it was to be.
    pub fn publish(self, publication: &Publication) -> Result<Outcome, Failure> {
        match self {
            Self::Directory(publisher) => publisher.publish(publication).map(|()| Outcome::Published),
            Self::Registry(publisher) => publisher.publish(publication),
        }
    }
}
