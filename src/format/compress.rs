//! Compressed layers: detection by magic, and readers that a bomb cannot exhaust.
//!
//! - A truncated stream and bytes after the last member or frame are errors.
//! - What comes out is limited in total ([`limit::LAYER_BYTES`]) and by its ratio to what went in ([`limit::LAYER_RATIO`]).

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::malformed_if_other;
use crate::limit;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip (RFC 1952), one member or several.
    Gzip,
    /// Not compressed.
    None,
    /// Zstandard (RFC 8878), one frame or several.
    Zstd,
}

impl Compression {
    /// Tells the compression by the first bytes of a stream.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A Zstandard frame, or a skippable one before it (zstd:chunked layers).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Reads the stream's first bytes, tells its compression, and gives the whole stream back.
    ///
    /// # Errors
    /// What reading gave.
    pub fn detect<R: Read>(mut input: R) -> io::Result<(Self, Rewound<R>)> {
        let mut start = Vec::with_capacity(4);
        input.by_ref().take(4).read_to_end(&mut start)?;
        Ok((Self::of(&start), Cursor::new(start).chain(input)))
    }

    /// Unpacks `input`, within the limits of a layer.
    ///
    /// # Errors
    /// `InvalidData` or `UnexpectedEof` while reading: a broken stream, or a [`Bomb`].
    pub fn reader<'a>(self, input: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
        bounded(input, |input| match self {
            Self::Gzip => Ok(Box::new(flate2::read::MultiGzDecoder::new(input))),
            Self::None => Ok(Box::new(input)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::new(input)?;
                decoder.window_log_max(limit::LAYER_WINDOW_LOG)?;
                Ok(Box::new(decoder))
            }
        })
    }
}

/// Unpacks `input` with a decompressor of the caller's, within the limits of a layer.
///
/// # Errors
/// What `decompressor` gave; while reading, as [`Compression::reader`].
pub fn bounded<'a, R: Read + Send + 'a>(
    input: R,
    decompressor: impl FnOnce(Metered<R>) -> io::Result<Box<dyn Read + Send + 'a>>,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let consumed = Arc::new(AtomicU64::new(0));
    let unpacked = decompressor(Metered {
        input,
        consumed: Arc::clone(&consumed),
    })?;
    Ok(Box::new(Bounded {
        unpacked,
        consumed,
        produced: 0,
    }))
}

/// A stream whose first bytes were looked at.
pub type Rewound<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// A layer unpacks to more than is plausible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bomb {
    /// More in all than a layer may have.
    #[error("the layer unpacks to more than {} bytes; split it into several", limit::LAYER_BYTES)]
    Bytes,
    /// More for each compressed byte than real files reach.
    #[error(
        "the layer unpacks {consumed} bytes to {produced}, more than {} times as many; pack it without huge runs of one byte",
        limit::LAYER_RATIO
    )]
    Ratio {
        /// Compressed bytes read so far.
        consumed: u64,
        /// Bytes that came out of them.
        produced: u64,
    },
}

/// Counts what a decompressor reads.
#[derive(Debug)]
pub struct Metered<R> {
    input: R,
    consumed: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.consumed.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Stops when more comes out than a layer may have.
struct Bounded<'a> {
    unpacked: Box<dyn Read + Send + 'a>,
    consumed: Arc<AtomicU64>,
    produced: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.unpacked.read(buffer).map_err(malformed_if_other)?;
        self.produced += n as u64;
        let consumed = self.consumed.load(Ordering::Relaxed);
        let bomb = if self.produced > limit::LAYER_BYTES {
            Bomb::Bytes
        } else if self.produced > limit::LAYER_RATIO_GRACE && self.produced / limit::LAYER_RATIO > consumed {
            Bomb::Ratio {
                consumed,
                produced: self.produced,
            }
        } else {
            return Ok(n);
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, bomb))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn pack(compression: Compression, content: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Gzip => gzip(content),
            Compression::None => content.to_vec(),
            Compression::Zstd => zstd::encode_all(content, 3).unwrap(),
        }
    }

    fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
        let (compression, input) = Compression::detect(packed)?;
        let mut content = Vec::new();
        compression.reader(input)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn finds_and_unpacks_each_compression() {
        let content = b"some content that is long enough to be compressed compressed compressed";
        for compression in [Compression::Gzip, Compression::None, Compression::Zstd] {
            let packed = pack(compression, content);
            assert_eq!(Compression::detect(&*packed).unwrap().0, compression);
            assert_eq!(unpack(&packed).unwrap(), content);
        }
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    #[test]
    fn reads_several_members_and_frames() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let two = [pack(compression, b"one"), pack(compression, b"two")].concat();
            assert_eq!(unpack(&two).unwrap(), b"onetwo");
        }
    }

    #[test]
    fn refuses_truncation_anywhere_and_trailing_garbage() {
        let content: Vec<u8> = (0..2000u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        for compression in [Compression::Gzip, Compression::Zstd] {
            let packed = pack(compression, &content);
            for end in 4..packed.len() {
                assert!(unpack(&packed[..end]).is_err(), "{compression:?} cut at {end}");
            }
            for garbage in [&b"x"[..], b"\0", b"garbage garbage"] {
                assert!(unpack(&[&packed, garbage].concat()).is_err(), "{compression:?}");
            }
        }
    }

    #[test]
    fn refuses_a_bomb_of_zeros() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut packed = Vec::new();
            let zeros = pack(compression, &vec![0; 64 << 20]);
            (0..160).for_each(|_| packed.extend_from_slice(&zeros));
            let mut reader = compression.reader(&*packed).unwrap();
            let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
            let bomb = error.into_inner().unwrap().downcast::<Bomb>().unwrap();
            assert!(matches!(*bomb, Bomb::Ratio { .. }), "{bomb}");
        }
        let mut endless = Compression::None.reader(io::repeat(7)).unwrap();
        let mut count = Bounded {
            unpacked: Box::new(&mut endless),
            consumed: Arc::new(AtomicU64::new(u64::MAX)),
            produced: limit::LAYER_BYTES - 10,
        };
        assert!(io::copy(&mut count, &mut io::sink()).is_err());
    }

    #[test]
    fn refuses_a_zstd_window_that_costs_too_much_memory() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(limit::LAYER_WINDOW_LOG + 1).unwrap();
        encoder.write_all(b"content").unwrap();
        assert!(unpack(&encoder.finish().unwrap()).is_err());
    }
}
