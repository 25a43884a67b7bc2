//! A forger who has the seal key: takes a finished disk apart, changes what a case wants, and seals it again as a builder would.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use imgkit::build::sign;
use imgkit::digest::Digest;
use imgkit::disk::bios::{self, File, Parts};
use imgkit::disk::extents::{Extent, Owner};
use imgkit::disk::merkle::Merkle;
use imgkit::disk::{ReadAt, Stream};
use imgkit::format::segment::{LEVEL, read_segment, write_segment};
use imgkit::key::SigningKey;
use imgkit::seal::statement::{EvidenceRecord, Layout, Predicate, SegmentRecord, SubjectDigest};
use imgkit::seal::{Envelope, Evidence, Sealed, Statement};
use imgkit::tree::contents::Memory;
use imgkit::tree::{Entry, Tree, TreePath};
use imgkit::verify::disk::{SPANS, read_seal};

use super::node::Node;

/// A disk in parts.
#[derive(Clone)]
pub struct Forge {
    pub boot: Vec<u8>,
    pub core: Vec<u8>,
    pub kernel: Vec<u8>,
    pub grub: Vec<u8>,
    /// The initrd's segments with the owners that the statement names.
    pub segments: Vec<(String, Vec<u8>)>,
    /// The evidence's documents by name.
    pub documents: BTreeMap<String, Vec<u8>>,
    pub statement: Statement,
    /// What is done to the bytes before they are hashed and sealed.
    pub on_disk: Option<fn(&mut [u8])>,
    /// What the statement says otherwise than is so.
    pub lie: Option<fn(&mut Statement)>,
    boot_component: String,
    serial: u32,
    sealed: Sealed,
    seal_capacity: u64,
}

/// One segment unpacked.
pub struct Unpacked {
    pub tree: Tree,
    pub contents: Memory,
    pub place: u64,
}

impl Forge {
    /// Takes a disk apart along its extents.
    pub fn of(disk: &[u8], extents: &[Extent]) -> Self {
        let (place, sealed) = read_seal("disk", &disk.to_vec()).unwrap();
        let bytes = |extent: &Extent| disk[extent.offset as usize..][..extent.length as usize].to_vec();
        let named = |name: &str| {
            let is_it = |extent: &&Extent| extent.owner == Owner::File { name: name.into() };
            bytes(extents.iter().find(is_it).unwrap())
        };
        let boot_component = match &extents[0].owner {
            Owner::BootCode { component } => component.clone(),
            other => panic!("{other}"),
        };
        let segments = extents.iter().filter_map(|extent| match &extent.owner {
            Owner::Segment { component } => Some((component.clone(), bytes(extent))),
            _ => None,
        });
        let evidence = Evidence::decode(&sealed.evidence).unwrap();
        let mut boot = disk[..512].to_vec();
        boot[440..].fill(0);
        Self {
            boot,
            core: bytes(&extents[2]),
            kernel: named("KERNEL"),
            grub: named("GRUB.CFG"),
            segments: segments.collect(),
            documents: evidence
                .iter()
                .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
                .collect(),
            statement: Statement::decode(sealed.envelope.payload()).unwrap(),
            on_disk: None,
            lie: None,
            boot_component,
            serial: u32::from_le_bytes(disk[440..444].try_into().unwrap()),
            sealed,
            seal_capacity: place.length,
        }
    }

    /// Finds the segment whose owner ends so.
    pub fn segment(&mut self, owner: &str) -> &mut Vec<u8> {
        let found = self.segments.iter_mut().find(|(name, _)| name.ends_with(owner));
        &mut found.unwrap_or_else(|| panic!("no segment {owner}")).1
    }

    /// Unpacks a segment, changes it, and packs it again as the builder does.
    pub fn repack(&mut self, owner: &str, change: impl FnOnce(&mut Unpacked)) {
        let segment = self.segment(owner);
        let mut unpacked = Unpacked::of(segment);
        let (tree, place) = (unpacked.tree.clone(), unpacked.place);
        change(&mut unpacked);
        assert!(
            tree != unpacked.tree || place != unpacked.place,
            "nothing changed in {owner}"
        );
        *segment = unpacked.pack(LEVEL);
    }

    pub fn predicate(&mut self) -> &mut Predicate {
        &mut self.statement.predicate
    }

    /// Puts the parts together and seals them with `key`, by whatever was done to them.
    pub fn seal(mut self, key: &SigningKey) -> Vec<u8> {
        let source = |bytes: &[u8]| -> Arc<dyn ReadAt> { Arc::new(bytes.to_vec()) };
        let file = |name: &str, parts| File {
            name: name.into(),
            parts,
        };
        let one = |name: &str, bytes: &[u8]| file(name, vec![(Owner::File { name: name.into() }, source(bytes))]);
        let segment = |(owner, bytes): &(String, Vec<u8>)| {
            (
                Owner::Segment {
                    component: owner.clone(),
                },
                source(bytes),
            )
        };
        let initrd = file("INITRD.IMG", self.segments.iter().map(segment).collect());
        let laid_out = bios::layout(&Parts {
            boot_component: self.boot_component.clone(),
            boot_image: self.boot.clone(),
            core_image: self.core.clone(),
            files: vec![one("KERNEL", &self.kernel), initrd, one("GRUB.CFG", &self.grub)],
            seal_capacity: self.seal_capacity,
            serial: self.serial,
        });
        let laid_out = laid_out.unwrap();
        let mut disk = Vec::new();
        std::io::copy(&mut Stream::new(&laid_out.assembly), &mut disk).unwrap();
        if let Some(change) = self.on_disk {
            change(&mut disk);
        }
        let place = laid_out.seal.offset..laid_out.seal.offset + laid_out.seal.length;
        let tree = Merkle::of(&disk, place.clone()).unwrap();
        self.documents.insert(SPANS.into(), tree.nodes.concat());
        self.statement.subject[0].digest = SubjectDigest::Content(tree.content().hex());
        let record = |(owner, bytes): &(String, Vec<u8>)| SegmentRecord {
            owner: owner.clone(),
            length: bytes.len() as u64,
        };
        let segments = self.segments.iter().map(record).collect();
        let mut evidence = Evidence::default();
        for (name, document) in std::mem::take(&mut self.documents) {
            assert!(evidence.add(name, document));
        }
        let stored = evidence.encode().unwrap();
        let predicate = self.predicate();
        predicate.segments = segments;
        predicate.layout = Layout::Bios {
            writer: 1,
            length: disk.len() as u64,
            seal_offset: place.start,
            seal_length: place.end - place.start,
        };
        predicate.evidence = EvidenceRecord {
            size: stored.len() as u64,
            digest: Digest::sha256(&stored),
        };
        if let Some(lie) = self.lie {
            lie(&mut self.statement);
        }
        let mut envelope = Envelope::unsigned(self.statement.encode());
        envelope.attach(sign(key, &envelope).unwrap());
        let sealed = Sealed {
            evaluated_at: self.sealed.evaluated_at,
            envelope,
            evidence: stored,
        };
        let seal = sealed.encode(self.seal_capacity as usize).unwrap();
        disk[place.start as usize..place.end as usize].copy_from_slice(&seal);
        disk
    }
}

/// Changes what the seal of a set of files says, and seals it again over the files as they are then.
pub fn reseal_set(node: &Node, seal: &str, change: impl FnOnce(&mut Statement)) {
    let path = node.path(seal);
    let mut sealed = Sealed::decode(&fs::read(&path).unwrap()).unwrap();
    let mut statement = Statement::decode(sealed.envelope.payload()).unwrap();
    change(&mut statement);
    for subject in &mut statement.subject {
        if let Ok(bytes) = fs::read(path.with_file_name(&subject.name)) {
            subject.digest = SubjectDigest::File(Digest::sha256(&bytes).hex());
        }
    }
    sealed.envelope = Envelope::unsigned(statement.encode());
    sealed
        .envelope
        .attach(sign(&node.opened_seal_key(), &sealed.envelope).unwrap());
    fs::write(&path, sealed.encode(sealed.len()).unwrap()).unwrap();
}

impl Unpacked {
    pub fn of(segment: &[u8]) -> Self {
        let (mut tree, mut contents) = (Tree::new(), Memory::default());
        let summary = read_segment(
            &mut &*segment,
            segment.len() as u64,
            &mut contents,
            &mut |path, entry| {
                tree.insert(path, entry);
                Ok(())
            },
        );
        let place = summary.unwrap().place;
        Self { tree, contents, place }
    }

    pub fn pack(&self, level: i32) -> Vec<u8> {
        let mut segment = Vec::new();
        write_segment(&self.tree, &self.contents, self.place, level, &mut segment).unwrap();
        segment
    }

    /// Finds the path that ends so.
    pub fn path(&self, ending: &str) -> TreePath {
        let mut paths = self.tree.iter().map(|(path, _)| path);
        let found = paths.find(|path| path.as_bytes().ends_with(ending.as_bytes()));
        found.unwrap_or_else(|| panic!("no {ending}: {:?}", self.tree)).clone()
    }

    pub fn entry(&mut self, ending: &str) -> &mut Entry {
        let path = self.path(ending);
        self.tree.entry_mut(&path).unwrap()
    }

    pub fn content(&self, ending: &str) -> Vec<u8> {
        let path = self.path(ending);
        match &self.tree.entry(&path).unwrap().node {
            imgkit::tree::Node::File { digest, .. } => self.contents.content(digest).unwrap().to_vec(),
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Gives a file another content.
    pub fn write(&mut self, ending: &str, content: &[u8]) {
        self.contents.add(content.to_vec());
        let node = Entry::file(0, content).node;
        self.entry(ending).node = node;
    }

    /// Puts an entry beside the one whose path ends so.
    pub fn put_beside(&mut self, ending: &str, name: &str, entry: Entry) {
        let name = TreePath::parse(name).unwrap();
        let path = match self.path(ending).parent() {
            Some(parent) => parent.join(&name).unwrap(),
            None => name,
        };
        self.contents.add(Vec::new());
        assert_eq!(self.tree.insert(path, entry), None);
    }

    pub fn remove(&mut self, ending: &str) -> Entry {
        let path = self.path(ending);
        self.tree.remove(&path).unwrap()
    }
}
