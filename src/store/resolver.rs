//! From a reference to an image: the local store first, else its registry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use super::attached::{Ask, pieces};
use super::file::cannot;
use super::layout::Layout;
use super::registry::{Platforms, Registry, in_repository};
use super::{Progress, Source};
use crate::attest::predicate::TREE;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::oci::{Descriptor, Image, Platform};
use crate::reference::Reference;
use crate::sigstore::attachment::{Attachment, Wanted};

/// Finds images in the local store, and pulls into it those that are not there.
///
/// - A tag that is in the store is not looked up again, unless [`Resolver::asking_first`]: what a tag means changes only by `cache pull`
///   or a lock file.
/// - A tag that is not there gets into it with the digest that a registry or a lock file said of it, never with one that somebody wrote
///   behind it: such an image goes by its digest alone.
/// - A document that is damaged in the store is pulled again: that says nothing of the image.
/// - Into a store that cannot be written nothing is pulled; then a temporary one beside it takes what comes, and goes with the resolver.
pub struct Resolver {
    store: Layout,
    beside: Option<(TempDir, Layout)>,
    registry: Option<Registry>,
    /// Tags with the digests that registries said they stand for.
    said: Mutex<BTreeSet<Reference>>,
    /// Tags with the digests that a lock file says they stand for.
    locked: BTreeSet<Reference>,
    /// Whether what a tag stands for is asked of its registry, though the store has one of the name.
    asks_first: bool,
    progress: Box<dyn Progress + Send>,
}

impl Resolver {
    /// Resolves in `store` alone.
    pub fn offline(store: Layout) -> Self {
        Self {
            store,
            beside: None,
            registry: None,
            said: Mutex::default(),
            locked: BTreeSet::new(),
            asks_first: false,
            progress: Box::new(()),
        }
    }

    /// Resolves in `store`, else from registries; `scratch` is where a temporary store is made if `store` cannot be written.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when neither can be written.
    pub fn online(
        store: Layout,
        registry: Registry,
        scratch: &Path,
        progress: Box<dyn Progress + Send>,
    ) -> Result<Self, Failure> {
        let beside = match store.writer() {
            Ok(_) => None,
            Err(_) => {
                let dir = TempDir::new_in(scratch);
                let dir = dir.map_err(|error| cannot("make a temporary store in", scratch, &error))?;
                let layout = Layout::open_or_create(dir.path())?;
                Some((dir, layout))
            }
        };
        Ok(Self {
            store,
            beside,
            registry: Some(registry),
            said: Mutex::default(),
            locked: BTreeSet::new(),
            asks_first: false,
            progress,
        })
    }

    /// Asks registries what tags stand for now, whatever the store has; offline, the store's word goes on counting.
    #[must_use]
    pub fn asking_first(self) -> Self {
        Self {
            asks_first: true,
            ..self
        }
    }

    /// Takes a lock file's word for what tags stand for: the store's tags are made to say the same.
    #[must_use]
    pub fn locked(self, images: &BTreeMap<Reference, Digest>) -> Self {
        let pinned = images.iter().filter_map(|(name, digest)| name.pin(*digest).ok());
        Self {
            locked: pinned.map(|pinned| pinned.reference().clone()).collect(),
            ..self
        }
    }

    fn layouts(&self) -> impl Iterator<Item = &Layout> {
        let beside = self.beside.as_ref().map(|(_, layout)| layout);
        [&self.store].into_iter().chain(beside)
    }

    /// Returns whom to ask about what is not in the store.
    fn registry(&self, reference: &Reference) -> Result<&Registry, Failure> {
        self.registry.as_ref().ok_or_else(|| {
            let problem = format!(
                "it is not whole in the store {}, and no registry may be asked; pull it first",
                self.store.dir().display()
            );
            Failure::unavailable(reference, problem)
        })
    }

    /// Keeps in mind what a registry said that a tag stands for.
    fn hear(&self, reference: &Reference, digest: Digest) {
        if let Ok(pinned) = reference.pin(digest) {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.insert(pinned.reference().clone());
        }
    }

    /// Returns the name under which a document may be in the store: its digest alone where nobody but who wrote the reference says
    /// that its tag stands for it, or the store has another under that tag.
    fn name_of(&self, reference: &Reference) -> Result<Reference, Failure> {
        let Some((tagged, digest)) = reference.both() else {
            return Ok(reference.clone());
        };
        let mut here = None;
        for layout in self.layouts() {
            here = here.or(layout.named(&tagged)?);
        }
        let is_said = || {
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            // What a name means to those who build is not changed by who only asks.
            !self.asks_first && said.contains(reference)
        };
        let may_have_tag = match here {
            _ if self.locked.contains(reference) => true,
            Some(here) => here == *digest,
            None => is_said(),
        };
        match may_have_tag {
            true => Ok(reference.clone()),
            false => in_repository(reference.repository(), &digest.to_string()),
        }
    }

    /// Gives a document that the store has already the tag that it was found by.
    fn name(&self, layout: &Layout, reference: &Reference, document: &Descriptor) -> Result<(), Failure> {
        if self.asks_first || self.registry.is_none() || reference.tag().is_none() {
            return Ok(());
        }
        let name = self.name_of(reference)?;
        let is_new = name.tag().is_some() && layout.named(&name)? != Some(document.digest);
        match (is_new, layout.writer()) {
            (true, Ok(writer)) => writer.tag(&name, document),
            // A store that cannot be written goes without.
            _ => Ok(()),
        }
    }

    /// Returns the digest that a name stands for in a layout that has not its document's bytes, where a registry can be asked for them:
    /// that says nothing of the image.
    fn damaged(&self, layout: &Layout, reference: &Reference) -> Result<Option<Digest>, Failure> {
        let digest = match reference.digest() {
            Some(digest) => Some(*digest),
            None => layout.named(reference)?,
        };
        Ok(digest.filter(|digest| self.registry.is_some() && !layout.is_whole(digest)))
    }

    /// Pulls what the store has of no use; where that cannot be had either, what is wrong with it is the answer.
    fn pull_again(
        &self,
        reference: &Reference,
        digest: Digest,
        platform: &Platform,
        failure: Failure,
    ) -> Result<Image, Failure> {
        let Ok(pinned) = reference.pin(digest) else {
            return Err(failure);
        };
        self.pull(pinned.reference(), platform).map_err(|again| match again {
            Failure::Unavailable { .. } => failure,
            again => again,
        })
    }

    fn pull(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure> {
        let registry = self.registry(reference)?;
        let name = self.name_of(reference)?;
        let target = self.beside.as_ref().map_or(&self.store, |(_, layout)| layout);
        let platforms = Platforms::One(platform.clone());
        registry.pull(&name, &platforms, &target.writer()?, &*self.progress)?;
        target.image(&name, platform)
    }
}

impl Source for Resolver {
    fn digest(&self, reference: &Reference) -> Result<Digest, Failure> {
        if let (Some(registry), true, None) = (&self.registry, self.asks_first, reference.digest()) {
            let (document, _) = registry.document(reference)?;
            self.hear(reference, document.digest);
            return Ok(document.digest);
        }
        for layout in self.layouts() {
            match layout.document(reference) {
                Ok(Some((document, _))) => return Ok(document.digest),
                Ok(None) => {}
                // What the name stands for is known all the same; the document can be had again.
                Err(failure) => return self.damaged(layout, reference)?.ok_or(failure),
            }
        }
        let (document, _) = self.registry(reference)?.document(reference)?;
        self.hear(reference, document.digest);
        Ok(document.digest)
    }

    fn check_tag(&self, reference: &Reference) -> Result<(), Failure> {
        let Some((tagged, digest)) = reference.both() else {
            return Ok(());
        };
        if !self.asks_first || self.registry.is_none() {
            for layout in self.layouts() {
                if layout.named(&tagged)?.is_none() {
                    continue;
                }
                match (layout.check_tag(reference), &self.registry) {
                    // The tag may have been moved since it came here.
                    (Err(Failure::Refused(_)), Some(_)) => {}
                    (known, _) => return known,
                }
            }
        }
        self.registry(&tagged)?.check_tag(reference)?;
        self.hear(reference, *digest);
        Ok(())
    }

    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure> {
        for layout in self.layouts() {
            let document = match layout.document(reference) {
                Ok(Some((document, _))) => document,
                Ok(None) => continue,
                Err(failure) => match self.damaged(layout, reference)? {
                    Some(digest) => return self.pull_again(reference, digest, platform, failure),
                    None => return Err(failure),
                },
            };
            let image = layout.image(reference, platform);
            if let (Ok(image), None) = (&image, &self.registry) {
                // Nobody can complete it, so what is wrong with it is the answer.
                layout.check_sizes(&reference.to_string(), image)?;
            }
            match image {
                Ok(image) if layout.holds(&image) => {
                    self.name(layout, reference, &document)?;
                    return Ok(image);
                }
                // Another platform was pulled, or blobs are gone: the same document is completed, whatever the tag means by now.
                Ok(_) | Err(Failure::Unavailable { .. }) => {
                    let pinned = reference.pin(document.digest).map_err(|named| {
                        Failure::unavailable(reference, format!("the store has {} under {named}", document.digest))
                    })?;
                    return self.pull(pinned.reference(), platform);
                }
                Err(failure) => return Err(failure),
            }
        }
        self.pull(reference, platform)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Failure> {
        match &self.beside {
            Some((_, layout)) if layout.has(&descriptor.digest) => layout.blob(descriptor),
            _ => self.store.blob(descriptor),
        }
    }

    fn attached(&self, ask: &Ask<'_>) -> Result<Vec<Attachment>, Failure> {
        let Ask {
            reference,
            document,
            wanted,
            enough,
        } = *ask;
        let here = self.store.attached(ask)?;
        match &self.registry {
            Some(registry) if !enough(&here) => pieces(registry, reference.repository(), document, wanted),
            // Who is not asked has not said that there is nothing. A tree is looked for beside a signature that was found here.
            None if wanted != Wanted::Attestation(TREE) && !enough(&here) => {
                let problem = "the local store has nothing beside it that is enough, and no registry is asked; build once without \
                               `--offline`, or copy what is beside it into the store (`imgkit sigstore copy`)";
                Err(Failure::unavailable(reference, problem))
            }
            _ => Ok(here),
        }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let registry = &self.registry;
        f.debug_struct("Resolver")
            .field("store", &self.store)
            .field("registry", registry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
