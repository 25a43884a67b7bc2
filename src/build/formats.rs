//! The formats of finished images, and the files that they consist of, named as LinuxKit names them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use crate::digest::{Digest, Hasher};
use crate::disk::{ReadAt, Stream};
use crate::failure::Failure;
use crate::store::file::NewFile;
use crate::tree::contents::hash_to;

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Kernel, initrd and command line as files, with a seal beside them.
    KernelInitrd,
    /// A disk in QEMU's format that boots from a BIOS.
    Qcow2Bios,
    /// A disk that boots from a BIOS.
    RawBios,
    /// The root file system as one archive, with a seal beside it.
    Tar,
}

impl Format {
    /// All formats, with their names.
    pub const ALL: [(&'static str, Self); 4] = [
        ("kernel+initrd", Self::KernelInitrd),
        ("qcow2-bios", Self::Qcow2Bios),
        ("raw-bios", Self::RawBios),
        ("tar", Self::Tar),
    ];

    /// Returns the format's name.
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, format)| *format == self);
        named.map_or("", |(name, _)| name)
    }
}

impl Format {
    /// Returns what policies call images of this format: a disk is one in every container.
    pub fn form(self) -> &'static str {
        match self {
            Self::KernelInitrd | Self::Tar => self.name(),
            Self::Qcow2Bios | Self::RawBios => "disk",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(|(name, _)| name).join(", ");
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, format)| *format)
            .ok_or_else(|| format!("format `{text}` is not known; expected one of {}", known()))
    }
}

/// A finished file.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// The format that it belongs to, or the kind of document that it is.
    pub format: &'static str,
    /// Its path.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of all its bytes: the `image` digest.
    pub image: Digest,
}

/// A file that is written and checked, and has no name yet.
pub(super) struct Pending {
    pub(super) format: &'static str,
    pub(super) path: PathBuf,
    pub(super) file: NewFile,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

impl Pending {
    /// Writes a file with `write`, hashing what goes through.
    pub(super) fn write(
        format: &'static str,
        path: PathBuf,
        write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let file = NewFile::beside(&path)?;
        let mut hashed = Hashed {
            out: io::BufWriter::with_capacity(1 << 18, file),
            hasher: Hasher::sha256(),
            size: 0,
        };
        write(&mut hashed)?;
        let Hashed { out, hasher, size } = hashed;
        let file = out
            .into_inner()
            .map_err(|error| Failure::unavailable(path.display(), error.into_error()))?;
        Ok(Self {
            format,
            path,
            file,
            size,
            digest: hasher.finish(),
        })
    }

    /// Returns how messages call the file.
    pub(super) fn subject(&self) -> String {
        self.path.display().to_string()
    }

    /// Returns the name that the file will have.
    pub(super) fn file_name(&self) -> String {
        let name = self.path.file_name();
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Gives the file its name.
    fn finish(self) -> Result<Output, Failure> {
        self.file.finish(&self.path)?;
        Ok(Output {
            format: self.format,
            path: self.path,
            size: self.size,
            image: self.digest,
        })
    }
}

/// Gives all files their names, or, where one cannot have its own, none.
pub(super) fn finish(pending: Vec<Pending>) -> Result<Vec<Output>, Failure> {
    let mut outputs: Vec<Output> = Vec::new();
    for file in pending {
        match file.finish() {
            Ok(output) => outputs.push(output),
            Err(failure) => {
                // A part of an image without its rest is worse than nothing; the failure itself is what is reported.
                for output in &outputs {
                    let _ = std::fs::remove_file(&output.path);
                }
                return Err(failure);
            }
        }
    }
    Ok(outputs)
}

struct Hashed<W> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..n).unwrap_or_default());
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Copies a source from its beginning to its end.
pub(super) fn copy(source: &dyn ReadAt, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < source.len() {
        let n = (source.len() - offset).min(buffer.len() as u64) as usize;
        let chunk = buffer.get_mut(..n).unwrap_or_default();
        source.read_exact_at(chunk, offset)?;
        out.write_all(chunk)?;
        offset += n as u64;
    }
    Ok(())
}

/// Copies a source that was compared before, while its SHA-256 was `expected`; `InvalidData` if it is another now.
pub(super) fn copy_compared(source: &dyn ReadAt, expected: &Digest, out: &mut dyn Write) -> io::Result<()> {
    let (_, found) = hash_to(&mut Stream::new(source), out)?;
    match found == *expected {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("expected {expected}, found {found}: it changed while it was used; check who writes to the store"),
        )),
    }
}

/// Returns the path of a file of an image called `name`.
pub(super) fn path(out: &Path, name: &str, suffix: &str) -> PathBuf {
    out.join(format!("{name}{suffix}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_changed_since_it_was_compared_is_not_copied_in_silence() {
        let source = b"segment".to_vec();
        let mut out = Vec::new();
        copy_compared(&source, &Digest::sha256(b"segment"), &mut out).unwrap();
        assert_eq!(out, b"segment");
        let error = copy_compared(&source, &Digest::sha256(b"another"), &mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn files_get_their_names_together_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            Pending::write(Format::RawBios.name(), dir.path().join(name), |out| {
                out.write_all(b"disk")
                    .map_err(|error| Failure::unavailable("disk", error))
            })
        };
        std::fs::create_dir_all(dir.path().join("b/in the way")).unwrap();
        assert!(finish(vec![write("a").unwrap(), write("b").unwrap()]).is_err());
        assert!(!dir.path().join("a").exists());
        assert_eq!(finish(vec![write("a").unwrap(), write("c").unwrap()]).unwrap().len(), 2);
    }
}
