//! An OCI layout in one tar archive (skopeo's `oci-archive`).
//!
//! - The same layout gives the same bytes: members are sorted, and have neither times nor owners.
//! - An archive is unpacked strictly: regular files with the names of a layout, each once; every blob is hashed on the way.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use tempfile::TempDir;

use super::file::{NewFile, cannot, read_limited};
use super::layout::Layout;
use super::parcel::{blob_name, member};
use crate::failure::Failure;
use crate::format::tar::{Kind, Reader};
use crate::limit;
use crate::oci::Descriptor;

const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";

/// Writes a layout into an archive.
///
/// # Errors
/// [`Failure::Unavailable`] when it cannot be read or written; a refusal when a blob has other bytes than its name says.
pub fn pack(layout: &Layout, to: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| cannot("write", to, &error);
    let mut file = NewFile::beside(to)?;
    {
        let mut buffered = BufWriter::new(&mut file);
        let mut archive = tar::Builder::new(&mut buffered as &mut dyn Write);
        for name in [MARKER, INDEX] {
            let bytes = read_limited(&layout.dir().join(name), limit::LAYOUT_INDEX_BYTES)?;
            member(&mut archive, name, bytes.len() as u64, &mut bytes.as_slice()).map_err(failed)?;
        }
        for blob in layout.blobs()? {
            let name = format!("blobs/{}/{}", blob.digest.algorithm(), blob.digest.hex());
            member(&mut archive, &name, blob.size, &mut layout.blob_reader(&blob)?).map_err(failed)?;
        }
        archive.into_inner().map_err(failed)?;
        buffered.flush().map_err(failed)?;
    }
    file.finish(to)
}

/// Unpacks an archive into a temporary layout below `scratch`.
///
/// # Errors
/// [`Failure::Unavailable`] when it cannot be read or written; [`Failure::Malformed`] when it is no layout; a refusal when a blob
/// has other bytes than its name says.
pub fn unpack(from: &Path, scratch: &Path) -> Result<(TempDir, Layout), Failure> {
    let bad = |problem: String| Failure::malformed(from.display(), problem);
    let dir = TempDir::new_in(scratch);
    let dir = dir.map_err(|error| cannot("make a temporary directory in", scratch, &error))?;
    let layout = Layout::open_or_create(dir.path().join("layout"))?;
    let file = File::open(from).map_err(|error| cannot("open", from, &error))?;
    let mut input = BufReader::new(file);
    let mut archive = Reader::new(&mut input);
    let writer = layout.writer()?;
    let mut named = Vec::new();
    let mut blobs = 0;
    while let Some(member) = archive.next_member().map_err(|error| bad(error.to_string()))? {
        let name = String::from_utf8_lossy(&member.path).into_owned();
        let size = match member.kind {
            Kind::File(size) => size,
            // Other tools write the directories too.
            Kind::Directory if name.trim_start_matches("./").trim_end_matches('/').split('/').count() <= 2 => continue,
            _ => return Err(bad(format!("`{}`, which is no regular file", name.escape_debug()))),
        };
        let name = name.trim_start_matches("./");
        if named.iter().any(|other| other == name) {
            return Err(bad(format!("`{}` twice", name.escape_debug())));
        }
        if let Some(digest) = blob_name(name) {
            blobs += 1;
            if blobs > limit::PARCEL_BLOBS {
                return Err(bad(format!("more than {} blobs", limit::PARCEL_BLOBS)));
            }
            let blob = Descriptor {
                digest,
                ..Descriptor::of("", &[])
            };
            writer.put_exactly(&Descriptor { size, ..blob }, &mut archive)?;
            continue;
        }
        if ![MARKER, INDEX].contains(&name) {
            return Err(bad(format!("`{}`, which no layout has", name.escape_debug())));
        }
        if size > limit::LAYOUT_INDEX_BYTES as u64 {
            return Err(bad(format!("`{name}` of {size} bytes")));
        }
        let mut bytes = Vec::new();
        let read = archive.read_to_end(&mut bytes);
        read.map_err(|error| bad(error.to_string()))?;
        let path = layout.dir().join(name);
        let mut file = NewFile::beside(&path)?;
        file.write_all(&bytes).map_err(|error| cannot("write", &path, &error))?;
        file.finish(&path)?;
        named.push(name.to_owned());
    }
    drop(writer);
    match named.len() {
        2 => Layout::open(layout.dir()).map(|layout| (dir, layout)),
        _ => Err(bad(
            "no oci-layout and index.json; is it an archive of an OCI layout?".to_owned()
        )),
    }
}
