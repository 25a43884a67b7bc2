//! Writes a tree as an OCI image of one layer, the same bytes every time.

use std::io::{self, Seek, Write};

use serde_json::{Map, Value, json};

use super::recipe::RunConfig;
use crate::digest::Hasher;
use crate::failure::Failure;
use crate::format::cpio::MTIME;
use crate::format::tar::write_tar;
use crate::oci::{Descriptor, PACKAGES, Package, Platform, TOOLS};
use crate::reference::Reference;
use crate::store::file::cannot;
use crate::store::layout::Layout;
use crate::time::Time;
use crate::tree::{Contents, Tree};

/// How hard layers are compressed: they are unpacked when a node is built, so speed counts and a registry's space does a little.
const LEVEL: i32 = 9;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What an image says of itself.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// Where it runs.
    pub platform: Platform,
    /// How it runs.
    pub run: &'a RunConfig,
    /// Its title and what it is for, where known.
    pub title: Option<(&'a str, &'a str)>,
    /// The packages whose files are in it.
    pub packages: &'a [Package],
    /// The packages whose programs made something in it.
    pub tools: &'a [Package],
}

/// Writes an image into `store` and names it.
///
/// # Errors
/// [`Failure::Unavailable`] when it cannot be written.
pub fn write(
    store: &Layout,
    name: &Reference,
    tree: &Tree,
    contents: &dyn Contents,
    about: &About<'_>,
) -> Result<Descriptor, Failure> {
    let writer = store.writer()?;
    let unwritable = |error: io::Error| cannot("write a layer into", store.dir(), &error);
    let mut packed = tempfile::tempfile_in(store.dir()).map_err(unwritable)?;
    let diff_id = pack(tree, contents, &mut packed).map_err(unwritable)?;
    packed.rewind().map_err(unwritable)?;
    let layer = writer.put(LAYER, &mut packed)?;
    let config = config(about, &diff_id.to_string()).to_string();
    let config = writer.put(CONFIG, &mut config.as_bytes())?;
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] }).to_string();
    let manifest = writer.put(MANIFEST, &mut manifest.as_bytes())?;
    writer.tag(name, &manifest)?;
    Ok(manifest)
}

/// Writes the layer and returns the digest of its archive before compression.
fn pack(tree: &Tree, contents: &dyn Contents, out: &mut dyn Write) -> io::Result<crate::digest::Digest> {
    let mtime = Time::from_unix(i64::from(MTIME)).map_err(io::Error::other)?;
    let mut archive = Tee {
        out: zstd::Encoder::new(out, LEVEL)?,
        hasher: Hasher::sha256(),
    };
    archive.out.include_checksum(true)?;
    {
        let mut buffered = io::BufWriter::with_capacity(1 << 16, &mut archive);
        write_tar(tree, contents, mtime, &mut buffered)?;
        buffered.flush()?;
    }
    archive.out.finish()?;
    Ok(archive.hasher.finish())
}

fn config(about: &About<'_>, diff_id: &str) -> Value {
    let RunConfig {
        entrypoint,
        cmd,
        env,
        working_dir,
        user,
        labels,
    } = about.run;
    let mut labels: Map<String, Value> = labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    if let Some((title, description)) = about.title {
        labels.insert("org.opencontainers.image.title".to_owned(), json!(title));
        labels.insert("org.opencontainers.image.description".to_owned(), json!(description));
    }
    for (label, packages) in [(PACKAGES, about.packages), (TOOLS, about.tools)] {
        // A component without any says so; of a directory nothing is known.
        if !packages.is_empty() || (label == PACKAGES && about.title.is_some()) {
            labels.insert(label.to_owned(), Value::String(json!(packages).to_string()));
        }
    }
    let mut run = Map::new();
    for (key, list) in [("Entrypoint", entrypoint), ("Cmd", cmd), ("Env", env)] {
        if !list.is_empty() {
            run.insert(key.to_owned(), json!(list));
        }
    }
    for (key, word) in [("WorkingDir", working_dir), ("User", user)] {
        if let Some(word) = word {
            run.insert(key.to_owned(), json!(word));
        }
    }
    run.insert("Labels".to_owned(), Value::Object(labels));
    let mut config = json!({ "config": run, "rootfs": { "type": "layers", "diff_ids": [diff_id] } });
    if let (Value::Object(config), Ok(Value::Object(platform))) = (&mut config, serde_json::to_value(&about.platform)) {
        config.extend(platform);
    }
    config
}

/// Hashes what it passes on.
struct Tee<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
