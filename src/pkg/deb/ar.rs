//! The `ar` archive that a package is: 60-byte headers, no symbol tables, no long names (deb(5)).
//!
//! Read here and not by a crate, because crates accept BSD's and GNU's variants, in which an archive's members can be told in
//! two ways; a package has one.

use std::io::{self, Read};

use super::{DebError, Packing};

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

/// The members of an archive, in order, each of which must be the one that is expected.
pub(super) struct Members<'a> {
    input: &'a mut (dyn Read + Send),
    offset: u64,
    /// Bytes of the current member that were not read yet.
    left: u64,
    /// Whether a byte of padding follows the current member.
    odd: bool,
}

impl<'a> Members<'a> {
    /// Reads the archive's magic.
    pub(super) fn start(input: &'a mut (dyn Read + Send)) -> Result<Self, DebError> {
        let mut members = Self {
            input,
            offset: 0,
            left: 0,
            odd: false,
        };
        let mut magic = [0; MAGIC.len()];
        members.fill(&mut magic, "a Debian package starts with `!<arch>`")?;
        if magic != MAGIC {
            return Err(members.bad(0, "a Debian package starts with `!<arch>`"));
        }
        Ok(members)
    }

    /// Reads the member `name`, which must be at most `most` bytes long.
    pub(super) fn expect(&mut self, name: &str, most: u64) -> Result<Vec<u8>, DebError> {
        let at = self.offset;
        let (found, size) = self.header()?;
        if found != name || size > most {
            let what = format!("expected the member `{name}` of at most {most} bytes, found `{found}` of {size}");
            return Err(self.bad(at, what));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.fill(&mut bytes, "the member is cut short")?;
        self.left = 0;
        Ok(bytes)
    }

    /// Opens the member `stem`, whose name's ending says how it is packed.
    pub(super) fn open(&mut self, stem: &str) -> Result<Packing, DebError> {
        let at = self.offset;
        let (found, _) = self.header()?;
        found.strip_prefix(stem).and_then(Packing::of).ok_or_else(|| {
            let what = format!("expected the member `{stem}` with the ending .xz, .zst, .gz or none, found `{found}`");
            self.bad(at, what)
        })
    }

    /// Reads the content of the member that was opened last.
    pub(super) fn content(&mut self) -> Content<'_, 'a> {
        Content { members: self }
    }

    /// Checks that nothing follows.
    pub(super) fn end(mut self) -> Result<(), DebError> {
        self.skip()?;
        let at = self.offset;
        let mut more = [0];
        match self.input.read(&mut more)? {
            0 => Ok(()),
            _ => Err(self.bad(at, "expected the end of the package after data.tar, found more bytes")),
        }
    }

    /// Reads a header: the member's name and size.
    fn header(&mut self) -> Result<(String, u64), DebError> {
        self.skip()?;
        let at = self.offset;
        let mut header = [0; HEADER];
        self.fill(&mut header, "expected another member, found the end")?;
        let field = |from: usize, to: usize| header.get(from..to).and_then(|field| std::str::from_utf8(field).ok());
        let name = field(0, 16).map(|name| name.trim_end_matches(' ').trim_end_matches('/'));
        let size = field(48, 58).map(|size| size.trim_end_matches(' '));
        let size = size.filter(|size| size.bytes().all(|b| b.is_ascii_digit()));
        let size = size.and_then(|size| size.parse().ok());
        match (name, size, field(58, 60)) {
            (Some(name), Some(size), Some("`\n")) => {
                self.left = size;
                self.odd = size % 2 == 1;
                Ok((name.to_owned(), size))
            }
            _ => Err(self.bad(at, "this is no header of an archive's member")),
        }
    }

    /// Goes to the end of the current member and of its padding.
    fn skip(&mut self) -> Result<(), DebError> {
        io::copy(&mut self.content(), &mut io::sink())?;
        if std::mem::take(&mut self.odd) {
            let at = self.offset;
            let mut padding = [0];
            self.fill(&mut padding, "a byte of padding is missing")?;
            if padding != *b"\n" {
                return Err(self.bad(at, "the byte of padding is not a newline"));
            }
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8], short: &str) -> Result<(), DebError> {
        let at = self.offset;
        match self.input.read_exact(buffer) {
            Ok(()) => {
                self.offset += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.bad(at, short)),
            Err(error) => Err(error.into()),
        }
    }

    fn bad(&self, offset: u64, what: impl Into<String>) -> DebError {
        DebError::Ar {
            offset,
            what: what.into(),
        }
    }
}

/// The rest of a member; a member that ends before its size is an error.
pub(super) struct Content<'m, 'a> {
    members: &'m mut Members<'a>,
}

impl Read for Content<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let members = &mut *self.members;
        let wanted = usize::try_from(members.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = members.input.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        if n == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the member is cut short"));
        }
        members.left -= n as u64;
        members.offset += n as u64;
        Ok(n)
    }
}
