//! Segments: made once, in parallel, kept, and compared with the verified tree whenever they are used.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use crate::assemble::{Image, Segment};
use crate::config::spec::Spec;
use crate::digest::{Digest, HashingReader};
use crate::disk::{ReadAt, Stream};
use crate::failure::Failure;
use crate::format::cpio::CpioError;
use crate::format::segment::{read_segment, write_segment};
use crate::store::derived::{Derived, Kind};
use crate::store::file::FileAt;
use crate::store::spool::Spool;
use crate::store::{Progress, Source, image_tree};
use crate::tree::contents::{HashOnly, hash_to};
use crate::tree::{Contents, Tree};
use crate::verify::{Component, Verified};

/// What segments are made from.
pub(super) struct Workshop<'a> {
    pub(super) spec: &'a Spec,
    pub(super) source: &'a dyn Source,
    pub(super) derived: &'a Derived,
    pub(super) level: i32,
    pub(super) progress: &'a dyn Progress,
    /// Whether the finished image is unpacked and compared before it has its name, so that nothing made now is read twice.
    pub(super) unpacked_at_the_end: bool,
    /// Contents of `files: source:`.
    pub(super) sources: &'a Spool,
    /// Contents that were unpacked before, by manifest.
    pub(super) spools: Mutex<BTreeMap<Digest, Arc<Spool>>>,
}

/// A segment's bytes.
pub(super) struct Made {
    pub(super) owner: String,
    pub(super) bytes: Arc<dyn ReadAt>,
    /// SHA-256 of the bytes that were unpacked and compared; `None` where that is left to the check of the finished image.
    pub(super) compared: Option<Digest>,
}

impl Workshop<'_> {
    /// Makes or finds every segment of an image; `component` finds a part's component.
    pub(super) fn segments<'c>(
        &self,
        image: &Image,
        component: &(dyn Fn(&Segment) -> Option<&'c Verified<Component>> + Sync),
    ) -> Result<Vec<Made>, Failure> {
        // One by one and the largest first, so that the last thread to end ends early; the result keeps the plan's order.
        let mut order: Vec<usize> = (0..image.plan.segments.len()).collect();
        let size = |at: &usize| {
            image
                .plan
                .segments
                .get(*at)
                .map_or(0, |segment| segment.tree.content_bytes())
        };
        order.sort_by_key(|at| std::cmp::Reverse(size(at)));
        self.progress.expect(order.iter().map(size).sum());
        let one = |at: usize| {
            let segment = image
                .plan
                .segments
                .get(at)
                .ok_or_else(|| Failure::malformed("initrd", "no such segment"))?;
            let made = self.segment(segment, image, component(segment))?;
            self.progress.advance(size(&at));
            Ok((at, made))
        };
        let mut made = order
            .into_iter()
            .par_bridge()
            .map(one)
            .collect::<Result<Vec<(usize, Made)>, Failure>>()?;
        made.sort_by_key(|(at, _)| *at);
        Ok(made.into_iter().map(|(_, made)| made).collect())
    }

    fn segment(
        &self,
        segment: &Segment,
        image: &Image,
        component: Option<&Verified<Component>>,
    ) -> Result<Made, Failure> {
        let key = segment.cache_key(self.level);
        let (bytes, compared) = match self.known(segment, &key) {
            Some((bytes, digest)) => (bytes, Some(digest)),
            None => self.make(segment, &key, image, component)?,
        };
        Ok(Made {
            owner: segment.owner(self.spec),
            bytes: Arc::new(bytes),
            compared,
        })
    }

    /// Finds a kept segment, and unpacks and compares it; one that is wrong is forgotten.
    fn known(&self, segment: &Segment, key: &Digest) -> Option<(FileAt, Digest)> {
        let file = self.derived.open(Kind::Segment, key)?;
        if let Some(digest) = compare(&file, segment) {
            return Some((file, digest));
        }
        self.derived.forget(Kind::Segment, key);
        None
    }

    fn make(
        &self,
        segment: &Segment,
        key: &Digest,
        image: &Image,
        component: Option<&Verified<Component>>,
    ) -> Result<(FileAt, Option<Digest>), Failure> {
        let contents = self.everything(component.into_iter(), image)?;
        let mut file = self.derived.start(Kind::Segment, key)?;
        let written = write_segment(&segment.tree, &contents, segment.place, self.level, &mut file);
        written.map_err(|error| cannot_write(segment, &error))?;
        let file = self.derived.keep(Kind::Segment, key, file)?;
        if self.unpacked_at_the_end {
            return Ok((file, None));
        }
        let digest = compare(&file, segment).ok_or_else(|| {
            Failure::unavailable(
                format!("segment {}", segment.name),
                "what was written is not what was to be written; check this machine's disk and memory",
            )
        })?;
        Ok((file, Some(digest)))
    }

    /// Unpacks every component, for formats that hold whole files.
    pub(super) fn everything<'c>(
        &'c self,
        components: impl Iterator<Item = &'c Verified<Component>>,
        image: &'c Image,
    ) -> Result<Everything<'c>, Failure> {
        let spools = components
            .map(|component| self.contents(component))
            .collect::<Result<_, _>>()?;
        Ok(Everything {
            spools,
            others: [self.sources, &image.generated],
        })
    }

    /// Finds or unpacks one file of a component, as bytes that are hashed now.
    pub(super) fn file(&self, component: &Verified<Component>, digest: &Digest) -> Result<Arc<dyn ReadAt>, Failure> {
        let is_it =
            |file: &FileAt| hash_to(&mut Stream::new(file), &mut io::sink()).is_ok_and(|(_, found)| found == *digest);
        if let Some(file) = self.derived.open(Kind::File, digest) {
            if is_it(&file) {
                return Ok(Arc::new(file));
            }
            self.derived.forget(Kind::File, digest);
        }
        let subject = component.reference();
        let cannot = |error: io::Error| Failure::unavailable(subject, error);
        let contents = self.contents(component)?;
        let mut file = self.derived.start(Kind::File, digest)?;
        io::copy(&mut contents.open(digest).map_err(cannot)?, &mut file).map_err(cannot)?;
        let file = self.derived.keep(Kind::File, digest, file)?;
        match self.unpacked_at_the_end || is_it(&file) {
            true => Ok(Arc::new(file)),
            false => Err(Failure::unavailable(
                subject,
                "what was written is not what was read; check this machine's disk",
            )),
        }
    }

    /// Unpacks a component's layers, once for all its segments.
    pub(super) fn contents(&self, component: &Verified<Component>) -> Result<Arc<Spool>, Failure> {
        let manifest = *component.image().manifest_digest();
        let poisoned = |_| Failure::unavailable("segments", "another thread failed");
        if let Some(spool) = self.spools.lock().map_err(poisoned)?.get(&manifest) {
            return Ok(Arc::clone(spool));
        }
        let mut spool = Spool::within(self.derived.scratch())?;
        let subject = component.reference().to_string();
        let images = self.spec.images();
        let named = images.iter().find(|(_, name)| name.reference == *component.reference());
        let place = named.map(|(_, name)| &name.place);
        let tree = image_tree(self.source, &subject, component.image(), &mut spool);
        let tree = tree.map_err(|failure| failure.at(place))?;
        // The layers may have been replaced since the component was judged by its signed list.
        if tree != *component.tree() {
            return Err(crate::verify::tree_mismatch(&subject, component.tree_digest(), &tree).at(place));
        }
        let spool = Arc::new(spool);
        self.spools
            .lock()
            .map_err(poisoned)?
            .insert(manifest, Arc::clone(&spool));
        Ok(spool)
    }
}

/// Tells a disk that is full or broken from a tree that no archive can hold.
fn cannot_write(segment: &Segment, error: &CpioError) -> Failure {
    let subject = format!("segment {}", segment.name);
    match error {
        CpioError::Io(_) => Failure::unavailable(subject, error),
        _ => Failure::malformed(subject, error),
    }
}

/// Unpacks a file, and returns its SHA-256 if it holds exactly a segment: its entries, its place, nothing else.
fn compare(file: &FileAt, segment: &Segment) -> Option<Digest> {
    let mut tree = Tree::new();
    let mut bytes = HashingReader::sha256(Stream::new(file));
    let read = read_segment(&mut bytes, file.len(), &mut HashOnly, &mut |path, entry| {
        tree.insert(path, entry);
        Ok(())
    });
    let same = read.is_ok_and(|summary| summary.place == segment.place) && tree == segment.tree;
    same.then(|| bytes.finish())
}

/// Contents of everything that an image holds.
pub(super) struct Everything<'a> {
    spools: Vec<Arc<Spool>>,
    others: [&'a dyn Contents; 2],
}

impl Contents for Everything<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + '_>> {
        let spools = self.spools.iter().map(|spool| &**spool as &dyn Contents);
        for contents in spools.chain(self.others) {
            match contents.open(digest) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("no content {digest}")))
    }
}
