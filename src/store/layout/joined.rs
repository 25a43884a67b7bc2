//! What is kept under a tag beside an image when more comes for that tag from somewhere else: nobody's signature is lost.

use super::{Layout, Writer};
use crate::failure::Failure;
use crate::limit;
use crate::oci::{Artifact, Descriptor, MANIFEST};
use crate::reference::Reference;
use crate::sigstore::manifest::{CONFIG, with_layers};

/// The suffixes of tags whose manifests have one layer for each thing that somebody signed, independent of each other.
const LISTS: [&str; 2] = [".sig", ".att"];

/// What became of a manifest that came for a tag beside an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It has the tag; what had the tag is all in it, or could not be read.
    Taken,
    /// What had the tag has it still, and all that came was in it.
    Present,
    /// A manifest with the layers of both has the tag.
    Both,
    /// What had the tag has it still, and what came is not taken over; here is why.
    Kept(String),
}

impl Writer<'_> {
    /// Names a manifest that is here, which came for a tag beside an image, and loses nothing of what has the name already.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] or [`Failure::Malformed`] when the layout cannot be read or written.
    pub fn join(&self, reference: &Reference, document: &Descriptor) -> Result<Joined, Failure> {
        let layout = self.layout();
        let Some(there) = layout.index()?.find(reference) else {
            return self.tag(reference, document).map(|()| Joined::Taken);
        };
        if there.digest == document.digest {
            return Ok(Joined::Present);
        }
        let is_list = |suffix: &&str| reference.tag().is_some_and(|tag| tag.ends_with(suffix));
        let is_list = LISTS.iter().any(is_list);
        let old_bytes = match layout.blob_bytes(&there, limit::DOCUMENT_BYTES) {
            Ok(old) => old,
            Err(failure @ Failure::Unavailable { .. }) if layout.has(&there.digest) => return Err(failure),
            // Nobody can read it: what can be read heals the tag.
            Err(_) => return self.tag(reference, document).map(|()| Joined::Taken),
        };
        let old = match Artifact::parse(&reference.to_string(), &old_bytes) {
            Ok(old) => old,
            // Where signatures belong, what is none counts for nothing.
            Err(_) if is_list => return self.tag(reference, document).map(|()| Joined::Taken),
            Err(failure) => return Ok(Joined::Kept(format!("the store has something else there: {failure}"))),
        };
        let new = match layout.signatures(reference, document) {
            Ok((new, _)) => new,
            Err(failure) => return Ok(Joined::Kept(failure.to_string())),
        };
        if !is_list {
            return Ok(Joined::Kept("the store has another one".to_owned()));
        }
        if let Some(layer) = new.layers.iter().find(|layer| !layout.has(&layer.descriptor.digest)) {
            return Ok(Joined::Kept(format!(
                "its layer {} did not come along",
                layer.descriptor.digest
            )));
        }
        if old.layers.iter().all(|layer| new.layers.contains(layer)) {
            return self.tag(reference, document).map(|()| Joined::Taken);
        }
        let both = match with_layers(&reference.to_string(), Some(&old_bytes), &new.layers) {
            Ok(Some(both)) => both,
            Ok(None) => return Ok(Joined::Present),
            Err(failure) => return Ok(Joined::Kept(failure.to_string())),
        };
        self.put(CONFIG, &mut both.config.as_slice())?;
        let joined = self.put(MANIFEST, &mut both.manifest.as_slice())?;
        self.tag(reference, &joined).map(|()| Joined::Both)
    }
}

impl Layout {
    /// Reads a manifest of signatures.
    fn signatures(&self, reference: &Reference, document: &Descriptor) -> Result<(Artifact, Vec<u8>), Failure> {
        let bytes = self.blob_bytes(document, limit::DOCUMENT_BYTES)?;
        Ok((Artifact::parse(&reference.to_string(), &bytes)?, bytes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::oci::Annotated;
    use crate::sigstore::manifest::layer;
    use crate::sigstore::payload;

    const TAG: &str = "r.example/app:sha256-00.sig";

    struct Store {
        _dir: tempfile::TempDir,
        layout: Layout,
    }

    impl Store {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::open_or_create(dir.path()).unwrap();
            Self { _dir: dir, layout }
        }

        /// Puts a manifest with a layer for each text, and the layers as well unless they do not come along.
        fn manifest(&self, texts: &[&str], whole: bool) -> Descriptor {
            let writer = self.layout.writer().unwrap();
            let layers: Vec<Annotated> = texts
                .iter()
                .map(|text| layer(payload::MEDIA_TYPE, text.as_bytes(), &[]))
                .collect();
            for text in texts.iter().filter(|_| whole) {
                writer.put(payload::MEDIA_TYPE, &mut text.as_bytes()).unwrap();
            }
            let made = with_layers("it", None, &layers).unwrap().unwrap();
            writer.put(MANIFEST, &mut made.manifest.as_slice()).unwrap()
        }

        fn join(&self, tag: &str, document: &Descriptor) -> Joined {
            let writer = self.layout.writer().unwrap();
            writer.join(&tag.parse().unwrap(), document).unwrap()
        }

        fn tagged(&self, tag: &str) -> Descriptor {
            self.layout.document(&tag.parse().unwrap()).unwrap().unwrap().0
        }

        fn texts(&self) -> Vec<Descriptor> {
            let (artifact, _) = self
                .layout
                .signatures(&TAG.parse().unwrap(), &self.tagged(TAG))
                .unwrap();
            artifact.layers.into_iter().map(|layer| layer.descriptor).collect()
        }
    }

    fn described(texts: &[&str]) -> Vec<Descriptor> {
        let of = |text: &&str| Descriptor::of(payload::MEDIA_TYPE, text.as_bytes());
        texts.iter().map(of).collect()
    }

    #[test]
    fn signatures_of_two_places_are_joined_and_none_is_lost() {
        let store = Store::new();
        let (good, evil) = (store.manifest(&["good"], true), store.manifest(&["evil"], true));
        assert_eq!(store.join(TAG, &good), Joined::Taken);
        assert_eq!(store.join(TAG, &good), Joined::Present);
        assert_eq!(store.join(TAG, &evil), Joined::Both);
        assert_eq!(store.texts(), described(&["good", "evil"]));
        assert_eq!(store.join(TAG, &evil), Joined::Present);
        assert!(store.layout.check().unwrap().is_good());
    }

    #[test]
    fn one_that_has_all_that_is_there_is_taken_as_it_came() {
        let store = Store::new();
        store.join(TAG, &store.manifest(&["a"], true));
        let both = store.manifest(&["a", "b"], true);
        assert_eq!(store.join(TAG, &both), Joined::Taken);
        assert_eq!(store.tagged(TAG).digest, both.digest);
    }

    #[test]
    fn one_whose_layers_did_not_come_along_is_not_taken_over() {
        let store = Store::new();
        let good = store.manifest(&["good"], true);
        store.join(TAG, &good);
        let lacking = store.manifest(&["evil"], false);
        assert!(matches!(store.join(TAG, &lacking), Joined::Kept(why) if why.contains("did not come along")));
        assert_eq!(store.tagged(TAG).digest, good.digest);
    }

    #[test]
    fn what_is_no_list_of_signatures_stays_as_it_is() {
        let store = Store::new();
        let sbom = "r.example/app:sha256-00.sbom";
        let good = store.manifest(&["good"], true);
        store.join(sbom, &good);
        assert!(matches!(
            store.join(sbom, &store.manifest(&["evil"], true)),
            Joined::Kept(_)
        ));
        assert_eq!(store.tagged(sbom).digest, good.digest);
        let writer = store.layout.writer().unwrap();
        let nonsense = writer.put(MANIFEST, &mut &b"{}"[..]).unwrap();
        let other = "r.example/other:sha256-00.sbom";
        store.join(other, &nonsense);
        assert!(matches!(store.join(other, &good), Joined::Kept(_)));
        let kept = store.layout.index().unwrap().find(&other.parse().unwrap());
        assert_eq!(kept.unwrap().digest, nonsense.digest);
        store.join(TAG, &good);
        assert!(matches!(store.join(TAG, &nonsense), Joined::Kept(_)));
        assert_eq!(store.tagged(TAG).digest, good.digest);
    }

    #[test]
    fn what_nobody_can_read_is_replaced() {
        let store = Store::new();
        let writer = store.layout.writer().unwrap();
        let nonsense = writer.put(MANIFEST, &mut &b"{}"[..]).unwrap();
        store.join(TAG, &nonsense);
        assert_eq!(store.join(TAG, &store.manifest(&["good"], true)), Joined::Taken);
        assert_eq!(store.texts(), described(&["good"]));
    }
}
