//! From a reference to an image: the local store first, else its registry.

use std::io::Read;
use std::path::Path;

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
/// A tag that is in the store is not looked up again, unless [`Resolver::asking_first`]: what a tag means changes only by `cache pull`
/// or a lock file. Into a store
/// that cannot be written nothing is pulled; then a temporary one beside it takes what comes, and goes with the resolver.
pub struct Resolver {
    store: Layout,
    beside: Option<(TempDir, Layout)>,
    registry: Option<Registry>,
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

    /// Gives a document that the store has already the name that it was found by, where nothing has it.
    fn name(&self, layout: &Layout, reference: &Reference, document: &Descriptor) -> Result<(), Failure> {
        let is_new = !self.asks_first && self.registry.is_some() && reference.tag().is_some();
        match (is_new && !layout.has_name(reference)?, layout.writer()) {
            (true, Ok(writer)) => writer.tag(reference, document),
            // A store that cannot be written goes without.
            _ => Ok(()),
        }
    }

    fn pull(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure> {
        let registry = self.registry(reference)?;
        // What a name means to those who build is not changed by who only asks.
        let by_digest = match (self.asks_first, reference.digest()) {
            (true, Some(digest)) => Some(in_repository(reference.repository(), &digest.to_string())?),
            _ => None,
        };
        let reference = by_digest.as_ref().unwrap_or(reference);
        let target = self.beside.as_ref().map_or(&self.store, |(_, layout)| layout);
        let platforms = Platforms::One(platform.clone());
        registry.pull(reference, &platforms, &target.writer()?, &*self.progress)?;
        target.image(reference, platform)
    }
}

impl Source for Resolver {
    fn digest(&self, reference: &Reference) -> Result<Digest, Failure> {
        if let (Some(registry), true, None) = (&self.registry, self.asks_first, reference.digest()) {
            return Ok(registry.document(reference)?.0.digest);
        }
        for layout in self.layouts() {
            if let Some((document, _)) = layout.document(reference)? {
                return Ok(document.digest);
            }
        }
        Ok(self.registry(reference)?.document(reference)?.0.digest)
    }

    fn check_tag(&self, reference: &Reference) -> Result<(), Failure> {
        let Some((tagged, _)) = reference.both() else {
            return Ok(());
        };
        if !self.asks_first || self.registry.is_none() {
            for layout in self.layouts() {
                if !layout.has_name(&tagged)? {
                    continue;
                }
                match (layout.check_tag(reference), &self.registry) {
                    // The tag may have been moved since it came here.
                    (Err(Failure::Refused(_)), Some(_)) => {}
                    (known, _) => return known,
                }
            }
        }
        self.registry(&tagged)?.check_tag(reference)
    }

    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure> {
        for layout in self.layouts() {
            let Some((document, _)) = layout.document(reference)? else {
                continue;
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
