//! Extended attributes that the initrd's archives have no room for, given to their files before anything uses them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use imgkit::limit;
use imgkit::tree::xattrs::{self, Attribute};
use rustix::fs::{XattrFlags, lsetxattr};
use rustix::io::Errno;

use crate::error::{Context, Error};

/// Applies the lines of [`xattrs::FILE`] below `root`; returns how many there are, 0 where the file is missing.
///
/// # Errors
///
/// The first line that is not as the builder writes it or that the file system refuses: a program without its capability, or a file
/// without its label, must not be used.
pub(crate) fn apply(root: &Path) -> Result<usize, Error> {
    let path = root.join(xattrs::FILE);
    let mut file = match File::open(&path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).at("open", path),
    };
    let mut count = 0;
    let mut last = None;
    while let Some(line) = next_line(&mut file).at("read", &path)? {
        count += 1;
        let applied = read(&line, last.as_ref()).and_then(|attribute| {
            set(root, &attribute)?;
            Ok(attribute)
        });
        last = Some(applied.map_err(|what| Error::Line {
            path: path.clone(),
            number: count,
            what,
        })?);
    }
    Ok(count)
}

/// Reads up to the end of a line, or one byte more than a line may have.
fn next_line(file: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let most = limit::XATTR_LINE_BYTES as u64 + 1;
    let length = file.take(most).read_until(b'\n', &mut line)?;
    Ok((length > 0).then_some(line))
}

/// Reads a line that sorts after the one above.
fn read(line: &[u8], last: Option<&Attribute>) -> Result<Attribute, String> {
    let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    let text = text.ok_or_else(|| {
        let most = limit::XATTR_LINE_BYTES;
        format!("expected a line of ASCII with its end, at most {most} bytes")
    })?;
    let attribute = Attribute::parse(text).map_err(|error| error.to_string())?;
    let key = |attribute: &Attribute| (attribute.path.clone(), attribute.name.clone());
    if last.is_some_and(|last| key(last) >= key(&attribute)) {
        return Err("it does not sort after the line above".to_owned());
    }
    Ok(attribute)
}

/// Gives the attribute to its file, or to a symbolic link itself.
fn set(root: &Path, attribute: &Attribute) -> Result<(), String> {
    let Attribute { path, name, value } = attribute;
    let bytes = [root.as_os_str().as_encoded_bytes(), b"/", path.as_bytes()].concat();
    lsetxattr(bytes.as_slice(), name.as_slice(), value, XattrFlags::empty()).map_err(|error| {
        let hint = match error {
            Errno::OPNOTSUPP => "; the root file system holds no such attribute (a tmpfs: user.* since Linux 6.6)",
            _ => "",
        };
        format!("cannot set {} of {path}: {error}{hint}", name.escape_ascii())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use rustix::fs::lgetxattr;

    use super::*;

    /// A root with two files, and these lines for them.
    fn root(lines: &[u8]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/imgkit")).unwrap();
        fs::write(root.path().join(xattrs::FILE), lines).unwrap();
        for name in ["a", "b c"] {
            fs::write(root.path().join(name), name).unwrap();
        }
        root
    }

    fn refusal(lines: &[u8]) -> String {
        let root = root(lines);
        apply(root.path()).unwrap_err().to_string()
    }

    #[test]
    fn gives_each_file_its_attributes() {
        let root = root(b"a user.one=01ff\na user.two=\nb\\x20c user.one=02\n");
        assert_eq!(apply(root.path()).unwrap(), 3);
        let value = |path: &str, name: &str| {
            let mut value = [0; 8];
            let length = lgetxattr(root.path().join(path), name, &mut value).unwrap();
            value.get(..length).unwrap().to_vec()
        };
        assert_eq!(value("a", "user.one"), [1, 0xff]);
        assert!(value("a", "user.two").is_empty());
        assert_eq!(value("b c", "user.one"), [2]);
    }

    #[test]
    fn an_image_without_attributes_has_nothing_to_apply() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(apply(root.path()).unwrap(), 0);
    }

    #[test]
    fn refuses_a_bad_line_by_its_number() {
        for (lines, expected) in [
            (&b"a user.one=01\na user.two\n"[..], "line 2: expected `PATH NAME=HEX`"),
            (b"a user.one=01\n\n", "line 2: expected `PATH NAME=HEX`"),
            (b"a user.one=01", "line 1: expected a line of ASCII with its end"),
            (b"a user.\xff=01\n", "line 1: expected a line of ASCII"),
            (b"a user.one=01\na user.one=01\n", "line 2: it does not sort after"),
            (
                b"b\\x20c user.one=01\na user.one=01\n",
                "line 2: it does not sort after",
            ),
            (b"../a user.one=01\n", "line 1: path `../a` has a `..` component"),
        ] {
            let refusal = refusal(lines);
            assert!(refusal.contains(expected), "{refusal}");
        }
    }

    #[test]
    fn refuses_a_line_that_does_not_end() {
        let refusal = refusal(&vec![b'a'; limit::XATTR_LINE_BYTES + 2]);
        assert!(
            refusal.contains("line 1: expected a line of ASCII with its end"),
            "{refusal}"
        );
    }

    #[test]
    fn refuses_what_the_file_system_does_not_take() {
        let refusal = refusal(b"a user.one=01\nmissing user.one=01\n");
        assert!(
            refusal.contains("line 2: cannot set user.one of missing: No such file"),
            "{refusal}"
        );
        let refusal = self::refusal(b"a nonsense=01\n");
        assert!(
            refusal.contains("the root file system holds no such attribute"),
            "{refusal}"
        );
    }
}
