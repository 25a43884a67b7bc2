//! A file that is read at positions.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::cannot;
use crate::disk::ReadAt;
use crate::failure::Failure;

/// A regular file or block device, open for reading at positions from any number of threads.
#[derive(Debug)]
pub struct FileAt {
    file: File,
    len: u64,
}

impl FileAt {
    /// Opens `path`.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when it cannot be opened or has no positions (a pipe, a directory).
    pub fn open(path: &Path) -> Result<Self, Failure> {
        // Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = file.map_err(|error| cannot("open", path, &error))?;
        Self::of(file).map_err(|error| cannot("read", path, &error))
    }

    /// Takes a file that is open already; its length is what it is now.
    ///
    /// # Errors
    /// `InvalidInput` when it is neither a regular file nor a block device.
    pub fn of(mut file: File) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            let problem = "it is neither a regular file nor a block device";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        // A block device's metadata has length 0; its end has a position.
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, len })
    }
}

impl ReadAt for FileAt {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.file, buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_at_positions_and_not_past_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"abcdef").unwrap();
        let file = FileAt::open(&path).unwrap();
        assert_eq!(file.len(), 6);
        let mut buffer = [0; 3];
        file.read_exact_at(&mut buffer, 3).unwrap();
        assert_eq!(&buffer, b"def");
        let past = file.read_exact_at(&mut buffer, 4).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn refuses_a_pipe_without_waiting_for_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(FileAt::open(&path), Err(Failure::Unavailable { .. })));
        assert!(FileAt::open(dir.path()).is_err());
    }
}
