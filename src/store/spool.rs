//! File contents on their way from layers to an image: one unnamed temporary file, indexed by digest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::file::cannot;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::tree::Contents;
use crate::tree::contents::{Sink, hash_to};

/// Contents of any total size, each kept once; gone when dropped, or when the process ends.
///
/// It has no name in the file system, so no other process can change what was hashed on its way in.
#[derive(Debug)]
pub struct Spool {
    file: File,
    len: u64,
    contents: BTreeMap<Digest, Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    offset: u64,
    size: u64,
}

impl Spool {
    /// Makes an empty spool on the file system of `dir`.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when no file can be made there.
    pub fn within(dir: &Path) -> Result<Self, Failure> {
        let file = tempfile::tempfile_in(dir).map_err(|error| cannot("make a temporary file in", dir, &error))?;
        Ok(Self {
            file,
            len: 0,
            contents: BTreeMap::new(),
        })
    }

    /// Returns the bytes kept, each content once.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Tells whether no byte is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Sink for Spool {
    fn take(&mut self, content: &mut dyn Read) -> io::Result<(u64, Digest)> {
        // A content that was cut short or known already is overwritten by the next one.
        self.file.seek(SeekFrom::Start(self.len))?;
        let mut out = BufWriter::with_capacity(1 << 16, &self.file);
        let (size, digest) = hash_to(content, &mut out)?;
        out.flush()?;
        drop(out);
        if let std::collections::btree_map::Entry::Vacant(place) = self.contents.entry(digest) {
            place.insert(Span { offset: self.len, size });
            self.len += size;
        }
        Ok((size, digest))
    }
}

impl Contents for Spool {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + '_>> {
        match self.contents.get(digest) {
            Some(span) => Ok(Box::new(SpoolReader {
                file: &self.file,
                rest: *span,
            })),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("no content {digest}"))),
        }
    }
}

struct SpoolReader<'a> {
    file: &'a File,
    rest: Span,
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.rest.size).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        let n = self.file.read_at(buffer, self.rest.offset)?;
        if n == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.rest.offset += n as u64;
        self.rest.size -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(spool: &Spool, digest: &Digest) -> Vec<u8> {
        let mut bytes = Vec::new();
        spool.open(digest).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn keeps_each_content_once_and_reads_it_back_from_many_threads() {
        let mut spool = Spool::within(&std::env::temp_dir()).unwrap();
        let big = vec![7; 200_000];
        let (size, one) = spool.take(&mut big.as_slice()).unwrap();
        assert_eq!((size, one), (200_000, Digest::sha256(&big)));
        let (_, two) = spool.take(&mut &b"small"[..]).unwrap();
        let (_, again) = spool.take(&mut big.as_slice()).unwrap();
        let (_, none) = spool.take(&mut io::empty()).unwrap();
        assert_eq!(again, one);
        assert_eq!(spool.len(), 200_005);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    assert_eq!(read(&spool, &one), big);
                    assert_eq!(read(&spool, &two), b"small");
                    assert_eq!(read(&spool, &none), b"");
                });
            }
        });
        assert!(spool.open(&Digest::sha256(b"never")).is_err());
    }

    #[test]
    fn a_content_that_broke_off_is_not_kept() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("cut"))
            }
        }
        let mut spool = Spool::within(&std::env::temp_dir()).unwrap();
        assert!(spool.take(&mut (&b"abc"[..]).chain(Broken)).is_err());
        let (_, digest) = spool.take(&mut &b"xyz"[..]).unwrap();
        assert_eq!(read(&spool, &digest), b"xyz");
        assert_eq!(spool.len(), 3);
    }
}
