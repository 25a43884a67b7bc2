//! The place of a Notary collection, for those who read it: its server, or docker's trust directory.
//!
//! - Readers see one state of the collection for as long as they hold the place: its files belong together.
//! - Nothing read here is believed: [`crate::trust::notary`] checks it.

use std::sync::Arc;

use super::docker_trust::DockerTrust;
use super::kept::Kept;
use super::notary_client::NotaryClient;
use crate::failure::Failure;
use crate::trust::Source;

/// Where a Notary collection's metadata are.
#[derive(Clone, Debug)]
pub struct NotaryPlace(Arc<Kept<Collection>>);

/// One collection of many that are at a place.
#[derive(Debug)]
struct Collection {
    gun: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Server(Box<NotaryClient>),
    Directory(DockerTrust),
}

impl NotaryPlace {
    /// Names a collection on a server; nothing is contacted yet.
    pub fn on_server(server: NotaryClient, gun: &str) -> Self {
        Self::of(gun, Place::Server(Box::new(server)))
    }

    /// Names a collection in a directory of docker's layout, where docker and `notary` keep what they last trusted.
    pub fn in_directory(dir: DockerTrust, gun: &str) -> Self {
        Self::of(gun, Place::Directory(dir))
    }

    fn of(gun: &str, place: Place) -> Self {
        let gun = gun.to_owned();
        Self(Arc::new(Kept::new(Collection { gun, place })))
    }
}

impl Source for &NotaryPlace {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        (&*self.0).file(name, max)
    }
}

impl Source for &Collection {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        match &self.place {
            Place::Server(server) => server.file(&self.gun, name, max),
            Place::Directory(dir) => dir.file(&self.gun, name, max),
        }
    }
}
