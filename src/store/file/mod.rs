//! Files as the rest of the house uses them: whole or absent, read within bounds, locked against other processes.

mod at;
mod lock;
mod new;

pub use at::FileAt;
pub use lock::Lock;
pub use new::{NewFile, remove_stale};

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, Timespec, fcntl_setfl, fstatfs};

use crate::failure::Failure;
use crate::limit;

/// The file system of pipes without names (`<(…)` of shells, standard input), as `statfs` names it (linux/magic.h).
const PIPEFS: u64 = 0x5049_5045;

/// Copies a file to one without a name in `scratch`, sharing its blocks where the file system can: nobody else can change it.
///
/// # Errors
/// [`Failure::Unavailable`] when it cannot be read or copied.
pub fn private_copy(path: &Path, scratch: &Path) -> Result<File, Failure> {
    let mut original = File::open(path).map_err(|error| cannot("open", path, &error))?;
    let mut copy =
        tempfile::tempfile_in(scratch).map_err(|error| cannot("make a temporary file in", scratch, &error))?;
    if rustix::fs::ioctl_ficlone(&copy, &original).is_err() {
        io::copy(&mut original, &mut copy).map_err(|error| cannot("copy", path, &error))?;
    }
    Ok(copy)
}

/// Opens a file, pipe or device that is read to its end. A named pipe to which nobody writes is not waited for without end.
///
/// # Errors
/// As of opening; `TimedOut` where nothing came through a named pipe within [`limit::PIPE_PATIENCE`].
pub fn open_to_end(path: &Path) -> io::Result<File> {
    open_within(path, limit::PIPE_PATIENCE)
}

fn open_within(path: &Path, patience: Duration) -> io::Result<File> {
    // Without it, opening a named pipe would wait for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    // Who made a pipe without a name holds its other end: that one is waited for, whatever it takes.
    if kind.is_fifo() && u64::try_from(fstatfs(&file)?.f_type).is_ok_and(|kind| kind != PIPEFS) {
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        if poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&patience))? == 0 {
            let problem = "it is a named pipe, and nobody writes to it";
            return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
        }
    }
    fcntl_setfl(&file, OFlags::empty())?;
    Ok(file)
}

/// Reads a whole file (or pipe) of at most `max` bytes.
///
/// # Errors
/// [`Failure::Unavailable`] when it cannot be read; [`Failure::Malformed`] when it is longer.
pub fn read_limited(path: &Path, max: usize) -> Result<Vec<u8>, Failure> {
    let file = open_to_end(path).map_err(|error| cannot("open", path, &error))?;
    // Room for what the file says it has, and no more than may be read.
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = Vec::with_capacity(
        usize::try_from(length)
            .map_or(max, |length| length.min(max))
            .saturating_add(1),
    );
    // One byte more than allowed tells "too long" from "exactly full".
    file.take(max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot("read", path, &error))?;
    if bytes.len() > max {
        let problem = format!("is longer than {max} bytes, the most that is read of its kind");
        return Err(Failure::malformed(path.display(), problem));
    }
    Ok(bytes)
}

/// Reads a file of at most `max` bytes at a path inside a directory; links may not lead out of it.
///
/// # Errors
/// As [`read_limited`]; [`Failure::Malformed`] when the file lies elsewhere.
pub fn read_inside(dir: &Path, inner: &str, max: usize) -> Result<Vec<u8>, Failure> {
    let path = dir.join(inner);
    let real = |path: &Path| path.canonicalize().map_err(|error| cannot("open", path, &error));
    let base = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let (base, found) = (real(base)?, real(&path)?);
    match found.starts_with(&base) {
        true => read_limited(&found, max),
        false => {
            let problem = format!(
                "leads to {}, outside of {}; put a copy there",
                found.display(),
                base.display()
            );
            Err(Failure::malformed(path.display(), problem))
        }
    }
}

/// Makes a directory and those above it, if they are missing.
///
/// # Errors
/// [`Failure::Unavailable`] when it cannot be made.
pub fn make_dir(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).map_err(|error| cannot("make the directory", path, &error))
}

/// Writes `dir/ID.EXTENSION`; only letters and digits of the id become part of the path, whatever else it holds.
///
/// # Errors
/// [`Failure::Unavailable`] when the directory or the file cannot be written.
pub fn write_named(dir: &Path, id: &str, extension: &str, bytes: &[u8]) -> Result<(), Failure> {
    make_dir(dir)?;
    let name: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    let path = dir.join(format!("{name}.{extension}"));
    std::fs::write(&path, bytes).map_err(|error| cannot("write", &path, &error))
}

/// Makes the failure of an operation on a path.
pub(crate) fn cannot(action: &str, path: &Path, error: &dyn Display) -> Failure {
    Failure::unavailable(path.display(), format!("cannot {action}: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::ReadAt;

    #[test]
    fn a_private_copy_has_no_name_and_stays_as_it_was() {
        let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = dir.path().join("disk");
        std::fs::write(&path, b"as verified").unwrap();
        let copy = FileAt::of(private_copy(&path, scratch.path()).unwrap()).unwrap();
        std::fs::write(&path, b"overwritten").unwrap();
        let mut bytes = [0; 11];
        copy.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"as verified");
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        let absent = private_copy(&dir.path().join("absent"), scratch.path());
        assert!(matches!(absent, Err(Failure::Unavailable { .. })));
    }

    #[test]
    fn reads_up_to_the_bound_and_refuses_one_byte_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        assert!(matches!(read_limited(&path, 4), Err(Failure::Malformed { .. })));
        let absent = read_limited(&dir.path().join("g"), 4);
        assert!(matches!(absent, Err(Failure::Unavailable { .. })));
    }

    #[test]
    fn pipes_are_read_to_their_end() {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let dir = tempfile::tempdir().unwrap();
        let named = dir.path().join("p");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &named, mode).unwrap();
        // Whoever writes begins after it is opened, and makes a pause.
        let path = named.clone();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            let mut pipe = File::create(path).unwrap();
            pipe.write_all(b"123").unwrap();
            std::thread::sleep(Duration::from_millis(300));
            pipe.write_all(b"45").unwrap();
        });
        assert_eq!(read_limited(&named, 5).unwrap(), b"12345");
        writer.join().unwrap();
        let given_up = open_within(&named, Duration::from_millis(200));
        assert_eq!(given_up.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // As a shell hands over `<(…)`.
        let (reader, mut writer) = io::pipe().unwrap();
        let unnamed = format!("/dev/fd/{}", reader.as_raw_fd());
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            writer.write_all(b"12345").unwrap();
        });
        assert_eq!(read_limited(Path::new(&unnamed), 5).unwrap(), b"12345");
        writer.join().unwrap();
    }

    #[test]
    fn what_has_no_end_is_not_read_without_end() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read_limited(dir.path(), 5), Err(Failure::Unavailable { .. })));
        assert!(matches!(
            read_limited(Path::new("/dev/zero"), 5),
            Err(Failure::Malformed { .. })
        ));
        assert_eq!(read_limited(Path::new("/dev/null"), 5).unwrap(), b"");
    }
}
