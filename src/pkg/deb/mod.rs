//! Debian binary packages (deb(5), format 2.0): their control fields and their files.
//!
//! - Three members in this order: `debian-binary`, `control.tar[.xz|.zst|.gz]`, `data.tar[.xz|.zst|.gz]`; anything else is refused.
//! - Files become a tree by the rules of image layers, so a package cannot write through its own links.
//! - Every stream is bounded: control to [`limit::DEB_CONTROL_BYTES`], data as a layer.

mod ar;
mod control;
mod copyright;

pub use control::{Control, ControlError};
pub use copyright::licenses;

use std::io::{self, Read};

use ar::Members;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use crate::format::compress::{Compression, bounded};
use crate::format::layers::{LayerError, flatten};
use crate::format::tar::{Kind, Reader, TarError};
use crate::limit;
use crate::tree::Tree;
use crate::tree::contents::Sink;

/// What a package says of itself, and its files.
#[derive(Clone, Debug)]
pub struct Deb {
    /// Name, version, architecture and dependencies.
    pub control: Control,
    /// Files, as they would be unpacked at `/`.
    pub tree: Tree,
}

impl Deb {
    /// Reads a package; contents of its files go to `sink`.
    ///
    /// # Errors
    /// [`DebError`] when it is not a package of format 2.0, or exceeds a bound of [`limit`].
    pub fn read(input: &mut (dyn Read + Send), sink: &mut dyn Sink) -> Result<Self, DebError> {
        let mut members = Members::start(input)?;
        let control = read_control(&mut members)?;
        let packing = members.open("data.tar")?;
        let tree = flatten([packing.reader(members.content())?], sink)?;
        members.end()?;
        Ok(Self { control, tree })
    }

    /// Reads only what a package says of itself.
    ///
    /// # Errors
    /// As [`Deb::read`], for the part that is read.
    pub fn control(input: &mut (dyn Read + Send)) -> Result<Control, DebError> {
        read_control(&mut Members::start(input)?)
    }
}

/// Why something is no Debian package.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// It is no `ar` archive, or one of another form.
    #[error("at byte {offset}: {what}")]
    Ar {
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// What was expected or found.
        what: String,
    },
    /// Its control fields are wrong.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Its files are wrong.
    #[error("data.tar: {0}")]
    Data(#[from] LayerError),
    /// Reading it failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its control archive holds no file `control`.
    #[error("control.tar has no file `control`")]
    NoControl,
    /// Its control archive cannot be read.
    #[error("control.tar: {0}")]
    Tar(#[from] TarError),
    /// It is of another format than 2.x.
    #[error("expected format 2.0, found `{0}`")]
    Version(String),
}

/// How a member of the package is packed, by its name.
#[derive(Clone, Copy, Debug)]
enum Packing {
    Layer(Compression),
    Xz,
}

impl Packing {
    fn of(suffix: &str) -> Option<Self> {
        match suffix {
            "" => Some(Self::Layer(Compression::None)),
            ".gz" => Some(Self::Layer(Compression::Gzip)),
            ".xz" => Some(Self::Xz),
            ".zst" => Some(Self::Layer(Compression::Zstd)),
            _ => None,
        }
    }

    fn reader<'a>(self, input: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
        match self {
            Self::Layer(compression) => compression.reader(input),
            Self::Xz => bounded(input, |input| {
                // With CONCATENATED, bytes after the last stream are an error.
                let stream = Stream::new_stream_decoder(limit::DEB_XZ_MEMORY, CONCATENATED)?;
                Ok(Box::new(XzDecoder::new_stream(input, stream)))
            }),
        }
    }
}

fn read_control(members: &mut Members<'_>) -> Result<Control, DebError> {
    let version = members.expect("debian-binary", limit::DEB_MAGIC_BYTES)?;
    if !version.starts_with(b"2.") || !version.ends_with(b"\n") {
        return Err(DebError::Version(String::from_utf8_lossy(&version).trim().to_owned()));
    }
    let packing = members.open("control.tar")?;
    let mut archive = packing.reader(members.content())?.take(limit::DEB_CONTROL_BYTES);
    let mut files = Reader::new(&mut archive);
    while let Some(file) = files.next_member()? {
        let name = file.path.strip_prefix(b"./").unwrap_or(&file.path);
        if name == b"control" && matches!(file.kind, Kind::File(_)) {
            let mut text = Vec::new();
            files.read_to_end(&mut text)?;
            return Ok(Control::parse(&text)?);
        }
    }
    Err(DebError::NoControl)
}

#[cfg(test)]
mod tests;
