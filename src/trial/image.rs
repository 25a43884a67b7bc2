//! Made-up images: one layer of a few files, with everything that a node needs to be laid out.

use std::collections::BTreeMap;

use serde_json::json;

use super::Fault;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::format::tar::write_tar;
use crate::oci::{Descriptor, Image, Platform, walk};
use crate::reference::Reference;
use crate::sigstore::attachment::Attachment;
use crate::store::attached::Ask;
use crate::store::layout::Writer;
use crate::time::Time;
use crate::tree::contents::Memory;
use crate::tree::{Entry, Tree, TreePath, list};
use crate::trust::metadata::TargetFile;
use crate::trust::{ImageTarget, PlatformTarget};
use crate::verify::Supply;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The files of a made-up image and their lengths: it plays each part of a node, the boot loader's included.
const FILES: [(&str, usize); 4] = [("boot.img", 512), ("core.img", 8192), ("kernel", 4096), ("init", 4096)];

/// A made-up image.
pub(super) struct MadeUp {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
    tree: Tree,
    platform: String,
}

impl MadeUp {
    pub(super) fn new(platform: &Platform, created: Time, version: Option<&str>) -> Result<Self, Failure> {
        let mut contents = Memory::default();
        let mut tree = Tree::new();
        for (name, length) in FILES {
            let content: Vec<u8> = name.bytes().cycle().take(length).collect();
            let path = TreePath::parse(name).map_err(|error| Failure::malformed(name, error))?;
            tree.insert(path, Entry::file(0o755, &content));
            contents.add(content);
        }
        let mut layer = Vec::new();
        let written = write_tar(&tree, &contents, Time::EPOCH, &mut layer);
        written.map_err(|error| Failure::unavailable("a made-up image", error))?;
        let labels: BTreeMap<&str, &str> = version
            .map(|version| ("org.opencontainers.image.version", version))
            .into_iter()
            .collect();
        let config = json!({
            "created": created, "architecture": platform.architecture(), "os": "linux", "config": { "Labels": labels },
            "rootfs": { "type": "layers", "diff_ids": [Digest::sha256(&layer)] },
        });
        let config = config.to_string().into_bytes();
        let descriptor = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": Digest::sha256(bytes), "size": bytes.len() });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
        });
        Ok(Self {
            manifest: manifest.to_string().into_bytes(),
            layer,
            config,
            tree,
            platform: platform.to_string(),
        })
    }

    /// Returns the digest of the document that names the image.
    pub(super) fn digest(&self) -> Digest {
        Digest::sha256(&self.manifest)
    }

    /// A tag for an image that has none.
    pub(super) fn tag(&self) -> &'static str {
        "made-up"
    }

    /// Describes the image as its signer does; where another image was signed, that.
    pub(super) fn target(&self, fault: Option<Fault>) -> TargetFile {
        let document = self.signed_digest(fault);
        ImageTarget {
            document,
            length: self.manifest.len() as u64,
            platforms: vec![self.platform_target(&document)],
        }
        .to_file()
    }

    /// Returns the digest of the document that is signed; where another image is, that one's.
    pub(super) fn signed_digest(&self, fault: Option<Fault>) -> Digest {
        match fault {
            Some(Fault::OtherImage) => Digest::sha256(b"another image"),
            _ => self.digest(),
        }
    }

    /// Describes the tree of the image that `document` names.
    pub(super) fn platform_target(&self, document: &Digest) -> PlatformTarget {
        PlatformTarget {
            platform: self.platform.clone(),
            manifest: *document,
            tree: list::digest(&self.tree),
        }
    }

    /// Offers the image to the gate, with what lies beside it.
    pub(super) fn supply(
        &self,
        reference: &Reference,
        platform: &Platform,
        attached: Vec<Attachment>,
    ) -> Result<impl Supply + use<>, Failure> {
        let mut fetch = |_: &Descriptor| Ok(self.config.clone());
        let subject = reference.to_string();
        let image = walk(&subject, self.manifest.clone(), &self.digest(), platform, &mut fetch)?;
        let tree = self.tree.clone();
        Ok(OfOne { image, tree, attached })
    }

    /// Puts the image into a store under a name.
    pub(super) fn put(&self, writer: &Writer<'_>, reference: &Reference) -> Result<(), Failure> {
        writer.put(LAYER, &mut self.layer.as_slice())?;
        writer.put(CONFIG, &mut self.config.as_slice())?;
        let document = writer.put(MANIFEST, &mut self.manifest.as_slice())?;
        writer.tag(reference, &document)
    }
}

/// One image under whatever name.
struct OfOne {
    image: Image,
    tree: Tree,
    attached: Vec<Attachment>,
}

impl Supply for OfOne {
    fn document(&self, _: &Reference) -> Result<Digest, Failure> {
        Ok(*self.image.digest())
    }

    fn image(&self, _: &Reference, _: &Platform) -> Result<Image, Failure> {
        Ok(self.image.clone())
    }

    fn tree(&self, _: &str, _: &Image, _: Option<&Digest>) -> Result<Tree, Failure> {
        Ok(self.tree.clone())
    }

    fn attached(&self, _: &Ask<'_>) -> Result<Vec<Attachment>, Failure> {
        Ok(self.attached.clone())
    }
}
