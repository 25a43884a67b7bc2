//! Disk images as arguments: their format is named by the file's ending or an option, never guessed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};

use crate::disk::ReadAt;
use crate::failure::{Code, Failure, Refusal};
use crate::format::foreign;
use crate::format::qcow2::{self, QcowError};
use crate::limit;
use crate::seal::Sealed;
use crate::store::file::{FileAt, read_limited};

/// An image file and its format.
#[derive(Clone, Debug, Args)]
pub(super) struct DiskArg {
    /// The image: a disk (.img, .raw, .qcow2), or the .seal of a set of files
    #[arg(value_name = "DISK")]
    pub(super) path: PathBuf,
    /// The disk's format [default: as the file's ending says]
    #[arg(long, value_enum, value_name = "FORMAT")]
    disk_format: Option<DiskFormat>,
}

/// A container of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DiskFormat {
    /// QEMU's copy-on-write format, version 3
    Qcow2,
    /// The guest's bytes themselves
    Raw,
    /// A seal with the files that it names beside it
    Seal,
}

impl DiskFormat {
    /// Returns QEMU's name of the format.
    pub(super) fn qemu_name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw | Self::Seal => "raw",
        }
    }
}

/// An image whose bytes can be read.
pub(super) enum Opened {
    /// A disk, as its guest sees it.
    Disk(Arc<dyn ReadAt>),
    /// A seal and the files of its set, by name.
    Files(Box<Sealed>, BTreeMap<String, Arc<dyn ReadAt>>),
}

impl DiskArg {
    /// Takes a path whose ending names a format; none where it does not, or nothing is there.
    pub(super) fn named(path: &Path) -> Option<Self> {
        let disk = Self {
            path: path.to_owned(),
            disk_format: None,
        };
        (disk.format().is_ok() && path.exists()).then_some(disk)
    }

    /// Returns how messages call the image.
    pub(super) fn subject(&self) -> String {
        self.path.display().to_string()
    }

    /// Returns the format.
    pub(super) fn format(&self) -> Result<DiskFormat, Failure> {
        let by_ending = match self.path.extension().and_then(|ending| ending.to_str()) {
            Some("img" | "raw") => Some(DiskFormat::Raw),
            Some("qcow2") => Some(DiskFormat::Qcow2),
            Some("seal") => Some(DiskFormat::Seal),
            _ => None,
        };
        self.disk_format.or(by_ending).ok_or_else(|| {
            Failure::malformed(
                self.subject(),
                "its ending names no format; say --disk-format raw or --disk-format qcow2",
            )
        })
    }

    /// Opens the image.
    pub(super) fn open(&self) -> Result<Opened, Failure> {
        match self.format()? {
            DiskFormat::Seal => self.open_set(),
            format => Ok(Opened::Disk(guest(&self.subject(), format, FileAt::open(&self.path)?)?)),
        }
    }

    /// Opens a seal's files: those beside it whose names begin as its own does.
    fn open_set(&self) -> Result<Opened, Failure> {
        let bytes = read_limited(&self.path, limit::SEAL_BYTES)?;
        let sealed = Sealed::decode(&bytes).map_err(|error| {
            let advice = "get the image again";
            let subject = format!("seal of {}", self.subject());
            Refusal::new(Code::Malformed, subject, "a seal as imgkit writes it", error, advice)
        })?;
        let file_name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (stem, is_tar) = match file_name.strip_suffix(".tar.seal") {
            Some(stem) => (stem, true),
            None => (file_name.strip_suffix(".seal").unwrap_or(file_name), false),
        };
        let dir = self
            .path
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut members: BTreeMap<String, Arc<dyn ReadAt>> = BTreeMap::new();
        let suffixes: &[&str] = if is_tar {
            &[".tar"]
        } else {
            // imgkit writes no microcode of its own beside an initrd; tools that boot LinuxKit's sets would load one that is there.
            &["-kernel", "-initrd.img", "-cmdline", "-ucode.cpio"]
        };
        for suffix in suffixes {
            let name = format!("{stem}{suffix}");
            let path = dir.join(&name);
            if path.exists() {
                members.insert(name, Arc::new(FileAt::open(&path)?));
            }
        }
        Ok(Opened::Files(Box::new(sealed), members))
    }
}

/// Opens the bytes that a guest sees of a file.
pub(super) fn guest(subject: &str, format: DiskFormat, file: FileAt) -> Result<Arc<dyn ReadAt>, Failure> {
    let refuse = |found: String, byte: Option<u64>| {
        let expected = format!("a {} disk as imgkit writes it", format.qemu_name());
        let advice = "get the disk again; do not convert it with another tool before it is verified";
        let subject = format!("{} container of {subject}", format.qemu_name());
        let mut refusal = Refusal::new(Code::Malformed, subject, expected, found, advice);
        refusal.byte = byte;
        Failure::from(refusal)
    };
    let file: Arc<dyn ReadAt> = Arc::new(file);
    match format {
        DiskFormat::Qcow2 => {
            let guest = qcow2::Guest::open(file).map_err(|error| match error {
                QcowError::Io(error) => Failure::unavailable(subject, error),
                error => refuse(error.to_string(), error.offset()),
            })?;
            Ok(Arc::new(guest))
        }
        DiskFormat::Raw | DiskFormat::Seal => match foreign::second_format(&file) {
            Ok(None) => Ok(file),
            Ok(Some((name, offset))) => Err(refuse(format!("the mark of {name}"), Some(offset))),
            Err(error) => Err(Failure::unavailable(subject, error)),
        },
    }
}
