//! Small images, made of given files.

use std::io::Write;

use imgkit::digest::Digest;
use imgkit::format::compress::Compression;
use imgkit::oci::Descriptor;
use imgkit::reference::Reference;
use imgkit::store::layout::{Layout, Writer};
use serde_json::json;

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Packs files into a tar archive.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, path, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

pub fn pack(compression: Compression, bytes: &[u8]) -> (&'static str, Vec<u8>) {
    match compression {
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            let packed = encoder.finish().unwrap();
            ("application/vnd.oci.image.layer.v1.tar+gzip", packed)
        }
        Compression::None => ("application/vnd.oci.image.layer.v1.tar", bytes.to_vec()),
        Compression::Zstd => (
            "application/vnd.oci.image.layer.v1.tar+zstd",
            zstd::encode_all(bytes, 1).unwrap(),
        ),
    }
}

/// Puts an image of one layer into a store, its blob and diff id as given; the manifest is not tagged.
pub fn put_layer(writer: &Writer, architecture: &str, blob: (&str, &[u8]), diff_id: Digest) -> Descriptor {
    let layer = writer.put(blob.0, &mut &*blob.1).unwrap();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": { "Entrypoint": ["/bin/x"] },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    let config = writer.put(CONFIG, &mut config.to_string().as_bytes()).unwrap();
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    writer.put(MANIFEST, &mut manifest.to_string().as_bytes()).unwrap()
}

/// Puts an image of given files into a store, for one architecture.
pub fn put_files(writer: &Writer, architecture: &str, compression: Compression, files: &[(&str, &[u8])]) -> Descriptor {
    put_packed(writer, architecture, compression, &tar(files))
}

fn put_packed(writer: &Writer, architecture: &str, compression: Compression, archive: &[u8]) -> Descriptor {
    let (media_type, blob) = pack(compression, archive);
    put_layer(writer, architecture, (media_type, &blob), Digest::sha256(archive))
}

/// Puts and tags an image of one archive for linux/amd64.
pub fn put_archive(layout: &Layout, name: &str, archive: &[u8]) -> Descriptor {
    let writer = layout.writer().unwrap();
    let manifest = put_packed(&writer, "amd64", Compression::Gzip, archive);
    writer.tag(&reference(name), &manifest).unwrap();
    manifest
}

/// Puts and tags an image for linux/amd64.
pub fn put(layout: &Layout, name: &str, files: &[(&str, &[u8])]) -> Descriptor {
    put_archive(layout, name, &tar(files))
}

/// Puts and tags an index of an image for linux/amd64 and another for linux/arm64.
pub fn put_index(layout: &Layout, name: &str, files: &[(&str, &[u8])]) -> Descriptor {
    let writer = layout.writer().unwrap();
    let manifests: Vec<_> = ["amd64", "arm64"]
        .map(|architecture| {
            let manifest = put_files(&writer, architecture, Compression::Zstd, files);
            let mut entry = json!(manifest);
            entry["platform"] = json!({ "os": "linux", "architecture": architecture });
            entry
        })
        .into();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let index = writer.put(INDEX, &mut index.to_string().as_bytes()).unwrap();
    writer.tag(&reference(name), &index).unwrap();
    index
}

pub fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// Numbers without a pattern, the same for the same seed.
pub fn numbers(seed: u64, count: usize) -> Vec<usize> {
    let bytes = noise(seed, count * 8);
    let chunks = bytes.as_chunks::<8>().0.iter();
    chunks
        .map(|chunk| usize::try_from(u64::from_le_bytes(*chunk) >> 3).unwrap())
        .collect()
}
