//! Reads the members of a tar archive, one after the other.

use std::io::{self, Read};

use ::tar::{EntryType, Header};

use super::BLOCK;
use super::pax::Records;
use crate::limit;
use crate::tree::{Device, Meta};

/// Reads members in the archive's order; the content of each is a stream.
pub struct Reader<'a> {
    input: &'a mut dyn Read,
    /// Bytes consumed so far.
    offset: u64,
    /// What is left of the current member's content.
    content: u64,
    /// What follows it up to the next block.
    padding: u64,
}

/// One member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name as written.
    pub path: Vec<u8>,
    /// Owner, mode and extended attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block device.
    Block(Device),
    /// A character device.
    Char(Device),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A regular file of this many bytes.
    File(u64),
    /// Another name of the member with this name, as written.
    HardLink(Vec<u8>),
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of an archive.
    pub fn new(input: &'a mut dyn Read) -> Self {
        Self {
            input,
            offset: 0,
            content: 0,
            padding: 0,
        }
    }

    /// Reads the next member's headers, skipping what is left of the one before; `None` at the end.
    ///
    /// The end is a block of zeros, followed by nothing but zeros.
    ///
    /// # Errors
    /// [`TarError`] when reading fails, and for anything malformed or ambiguous.
    pub fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        self.skip()?;
        let mut records = None;
        let (mut long_path, mut long_link) = (None, None);
        loop {
            let at = self.offset;
            let bad = |what| TarError::Malformed { offset: at, what };
            let block = self.block()?;
            if block.iter().all(|b| *b == 0) {
                if records.is_some() || long_path.is_some() || long_link.is_some() {
                    return Err(bad("an extended header has no member after it"));
                }
                return self.end().map(|()| None);
            }
            let header = Header::from_byte_slice(&block);
            if header.cksum().ok() != Some(checksum(&block)) {
                return Err(bad("the header's checksum is wrong"));
            }
            let twice = match header.entry_type() {
                EntryType::XHeader => {
                    let data = self.special(header, at)?;
                    records.replace(Records::parse(&data).map_err(bad)?).is_some()
                }
                EntryType::XGlobalHeader => {
                    let data = self.special(header, at)?;
                    // `git archive` writes a comment here; anything that changes members is refused.
                    if Records::parse(&data).map_err(bad)? != Records::default() {
                        return Err(bad("a global PAX header sets names, sizes, owners or attributes"));
                    }
                    false
                }
                EntryType::GNULongName => long_path.replace(until_nul(self.special(header, at)?)).is_some(),
                EntryType::GNULongLink => long_link.replace(until_nul(self.special(header, at)?)).is_some(),
                _ => {
                    let records = records.unwrap_or_default();
                    return self.member(header, records, long_path, long_link, at).map(Some);
                }
            };
            if twice {
                return Err(bad("two extended headers describe one member"));
            }
        }
    }

    fn member(
        &mut self,
        header: &Header,
        records: Records,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        at: u64,
    ) -> Result<Member, TarError> {
        let bad = |what| TarError::Malformed { offset: at, what };
        if (records.path.is_some() && long_path.is_some()) || (records.link.is_some() && long_link.is_some()) {
            return Err(bad("its name is given both by PAX and by GNU headers"));
        }
        let path = records
            .path
            .or(long_path)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = || {
            let short = || header.link_name_bytes().map(|link| link.into_owned());
            records
                .link
                .or(long_link)
                .or_else(short)
                .ok_or(bad("a link has no target"))
        };
        let id = |record: Option<u64>, field: io::Result<u64>| {
            let id = record.or(field.ok());
            id.and_then(|id| u32::try_from(id).ok())
                .ok_or(bad("its owner is not a 32-bit number"))
        };
        let mode = header.mode().map_err(|_| bad("its mode is not a number"))?;
        let meta = Meta {
            mode: (mode & 0o7777) as u16,
            uid: id(records.uid, header.uid())?,
            gid: id(records.gid, header.gid())?,
            xattrs: records.xattrs,
        };
        let size = match records.size {
            Some(size) => size,
            None => header.entry_size().map_err(|_| bad("its size is not a number"))?,
        };
        let device = || match (header.device_major(), header.device_minor()) {
            (Ok(Some(major)), Ok(Some(minor))) => Ok(Device { major, minor }),
            _ => Err(bad("its device number is malformed")),
        };
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => {
                return Err(bad("a regular file's name ends with a slash"));
            }
            EntryType::Regular | EntryType::Continuous => Kind::File(size),
            EntryType::Link => Kind::HardLink(link()?),
            EntryType::Symlink => Kind::Symlink(link()?),
            EntryType::Char => Kind::Char(device()?),
            EntryType::Block => Kind::Block(device()?),
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Fifo,
            EntryType::GNUSparse => return Err(bad("it is sparse; pack it without sparse files")),
            _ => return Err(bad("its type is not one that file trees have")),
        };
        if size != 0 && !matches!(kind, Kind::File(_)) {
            return Err(bad("it has content, which its type does not have"));
        }
        self.expect(size, at)?;
        Ok(Member { path, meta, kind })
    }

    /// Reads the content of an extended header.
    fn special(&mut self, header: &Header, at: u64) -> Result<Vec<u8>, TarError> {
        let bad = |what| TarError::Malformed { offset: at, what };
        let size = header.entry_size().map_err(|_| bad("its size is not a number"))?;
        if size > limit::TAR_HEADER_BYTES {
            return Err(bad("an extended header is larger than 1 MiB"));
        }
        self.expect(size, at)?;
        let mut data = Vec::new();
        self.read_to_end(&mut data)?;
        self.skip()?;
        Ok(data)
    }

    fn expect(&mut self, size: u64, at: u64) -> Result<(), TarError> {
        let padded = size.checked_next_multiple_of(BLOCK as u64).ok_or(TarError::Malformed {
            offset: at,
            what: "its size is out of range",
        })?;
        self.content = size;
        self.padding = padded - size;
        Ok(())
    }

    /// Passes over what is left of a member.
    fn skip(&mut self) -> Result<(), TarError> {
        io::copy(self, &mut io::sink())?;
        let mut padding = [0; BLOCK];
        let padding = padding.get_mut(..self.padding as usize).unwrap_or_default();
        self.padding = 0;
        self.input.read_exact(padding).map_err(truncated)?;
        self.offset += padding.len() as u64;
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK], TarError> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block).map_err(truncated)?;
        self.offset += BLOCK as u64;
        Ok(block)
    }

    /// Reads to the end of the input, which only zeros may fill.
    fn end(&mut self) -> Result<(), TarError> {
        let mut buffer = [0; 16 * BLOCK];
        loop {
            let n = match self.input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if buffer.iter().take(n).any(|b| *b != 0) {
                return Err(TarError::Malformed {
                    offset: self.offset,
                    what: "there are bytes after the archive's end",
                });
            }
            self.offset += n as u64;
        }
    }
}

/// Reads the current member's content; a truncated one is `UnexpectedEof`.
impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.content).map_or(buffer.len(), |left| left.min(buffer.len()));
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        if buffer.is_empty() {
            return Ok(0);
        }
        let n = self.input.read(buffer)?;
        if n == 0 {
            return Err(truncated(io::ErrorKind::UnexpectedEof.into()));
        }
        self.content -= n as u64;
        self.offset += n as u64;
        Ok(n)
    }
}

/// An archive could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// Reading its bytes failed, or they are compressed and broken, or end too early.
    #[error("tar archive: {0}")]
    Io(#[from] io::Error),
    /// It is not a well-formed archive.
    #[error("tar archive, member at byte {offset}: {what}")]
    Malformed {
        /// Where the header begins.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

fn truncated(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the archive is cut short"),
        _ => error,
    }
}

/// Sums a header's bytes, its checksum field counted as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let field = 148..156;
    let bytes = block.iter().enumerate();
    bytes
        .map(|(at, byte)| u32::from(if field.contains(&at) { b' ' } else { *byte }))
        .sum()
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|b| *b == 0);
    name.truncate(end.unwrap_or(name.len()));
    name
}
