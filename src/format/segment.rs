//! A segment of an initrd: one cpio archive in one zstd frame, padded with zeros to a multiple of four bytes.
//!
//! Linux stops unpacking at a skippable frame and boots on with half a root, and it unpacks any number of frames and archives in
//! a row; here there is exactly one of each. The frame has a content checksum, no content size and no dictionary.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::cpio::{CpioError, Summary, read_cpio, write_cpio};
use super::malformed_if_other;
use crate::limit;
use crate::tree::contents::Sink;
use crate::tree::{Contents, Entry, Node, Tree, TreePath};

/// The compression level that segments have unless a caller says otherwise.
pub const LEVEL: i32 = 9;

/// Up to this size of their largest file, segments have their level's own window: what repeats in them repeats nearby.
const LEVEL_WINDOW_LOG: u32 = 24;

/// zstd's magic number, and the frame header's descriptor byte: content checksum, nothing else (RFC 8878, 3.1.1.1).
const FRAME: [u8; 5] = [0x28, 0xb5, 0x2f, 0xfd, 0x04];

/// Writes `tree` as one segment and returns its length; a pure function of its arguments.
///
/// # Errors
/// What [`write_cpio`] refuses; `InvalidInput` for a level outside 1–19; what writing gave.
pub fn write_segment(
    tree: &Tree,
    contents: &dyn Contents,
    place: u64,
    level: i32,
    out: &mut dyn Write,
) -> Result<u64, CpioError> {
    if !(1..=19).contains(&level) {
        let what = format!("zstd level {level} is not between 1 and 19");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what).into());
    }
    let mut out = Counted { out, length: 0 };
    let mut encoder = zstd::Encoder::new(&mut out, level)?;
    encoder.include_checksum(true)?;
    encoder.include_contentsize(false)?;
    if let Some(window) = long_window(tree) {
        encoder.long_distance_matching(true)?;
        encoder.window_log(window)?;
    }
    let mut buffered = io::BufWriter::with_capacity(1 << 17, encoder);
    write_cpio(tree, contents, place, &mut buffered)?;
    let encoder = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
    encoder.finish()?;
    let padding = out.length.next_multiple_of(4) - out.length;
    out.write_all([0; 3].get(..padding as usize).unwrap_or_default())?;
    Ok(out.length)
}

/// Returns the window for matches over long distances, which large programs are full of: as long as the largest file, if that is
/// large; memory stays in proportion to the largest file.
fn long_window(tree: &Tree) -> Option<u32> {
    let size = |entry: &Entry| match entry.node {
        Node::File { size, .. } => size,
        _ => 0,
    };
    let largest = tree.iter().map(|(_, entry)| size(entry)).max().unwrap_or(0);
    let log = u64::BITS - largest.saturating_sub(1).leading_zeros();
    (log > LEVEL_WINDOW_LOG).then_some(log.min(limit::SEGMENT_WINDOW_LOG))
}

/// Reads one segment of `length` bytes; see [`read_cpio`].
///
/// # Errors
/// What [`read_cpio`] refuses; `InvalidData` for anything but one frame and its padding in exactly `length` bytes.
pub fn read_segment(
    input: &mut dyn Read,
    length: u64,
    sink: &mut dyn Sink,
    visit: &mut dyn FnMut(TreePath, Entry) -> Result<(), CpioError>,
) -> Result<Summary, CpioError> {
    let mut input = BufReader::with_capacity(1 << 17, input.take(length));
    let mut start = [0; FRAME.len() + 1];
    input.read_exact(&mut start)?;
    let window = start.strip_prefix(&FRAME).and_then(|rest| rest.first());
    // Window descriptor: exponent over 1 KiB in the upper five bits, and no mantissa.
    if !window.is_some_and(|byte| byte & 7 == 0 && u32::from(byte >> 3) + 10 <= limit::SEGMENT_WINDOW_LOG) {
        return Err(malformed("its frame header is not as imgkit writes it"));
    }
    let frame = (&start[..]).chain(input);
    let mut decoder = zstd::Decoder::with_buffer(frame)?.single_frame();
    decoder.window_log_max(limit::SEGMENT_WINDOW_LOG)?;
    let mut unpacked = BufReader::with_capacity(1 << 15, decoder);
    let summary = read_cpio(&mut unpacked, sink, visit).map_err(|error| match error {
        CpioError::Io(error) => CpioError::Io(malformed_if_other(error)),
        error => error,
    })?;
    let mut decoder = unpacked.into_inner();
    decoder.finish_frame().map_err(malformed_if_other)?;
    padding(decoder.finish(), length)?;
    Ok(summary)
}

/// Checks that nothing but zeros, up to a multiple of four, follows the frame.
fn padding(mut rest: impl BufRead, length: u64) -> Result<(), CpioError> {
    let mut padding = Vec::new();
    rest.by_ref().take(4).read_to_end(&mut padding)?;
    if padding.len() > 3 || padding.iter().any(|byte| *byte != 0) {
        return Err(malformed("there are bytes after its frame"));
    }
    if !length.is_multiple_of(4) {
        return Err(malformed("its length is not a multiple of four"));
    }
    Ok(())
}

fn malformed(what: &str) -> CpioError {
    io::Error::new(io::ErrorKind::InvalidData, format!("segment: {what}")).into()
}

struct Counted<'a> {
    out: &'a mut dyn Write,
    length: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.length += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
