//! The canonical list of a tree, version 1, and the tree digest: SHA-256 of the list.
//!
//! The list is ASCII text. Its first line is `imgkit-tree 1`; then comes one line for each entry, sorted by the bytes of its path:
//!
//! ```text
//! d MODE UID GID PATH [XATTR…]                 directory
//! f MODE UID GID SIZE SHA256 PATH [XATTR…]     regular file
//! l MODE UID GID TARGET PATH [XATTR…]          symbolic link
//! h TARGET PATH                                hard link to the file at TARGET, which stands above it
//! b|c MODE UID GID MAJOR:MINOR PATH [XATTR…]   device
//! p MODE UID GID PATH [XATTR…]                 named pipe
//! a MODE UID GID PATH [XATTR…]                 archive that is unpacked; its members are the entries below PATH
//! ```
//!
//! MODE is four octal digits, numbers are decimal, XATTR is `NAME=HEX`. Bytes outside `!`–`~` and the backslash are `\xNN`;
//! in the name of an attribute `=` is too. Times are not in the list. There is one list for a tree: [`parse`] writes what it
//! read again and refuses anything that differs.

use std::fmt::Write as _;

use super::path::{escape, unescape};
use super::{Device, Entry, Meta, Node, Tree, TreePath, xattrs};
use crate::digest::Digest;
use crate::limit;

const HEADER: &str = "imgkit-tree 1";

/// Returns the tree digest: SHA-256 of the tree's canonical list.
pub fn digest(tree: &Tree) -> Digest {
    Digest::sha256(write(tree).as_bytes())
}

/// Writes the canonical list.
pub fn write(tree: &Tree) -> String {
    let mut text = format!("{HEADER}\n");
    for (path, entry) in tree.iter() {
        write_entry(&mut text, path, entry);
    }
    text
}

/// Reads a canonical list.
///
/// # Errors
/// [`ListError`] naming the first line that is not as [`write()`] writes it.
pub fn parse(bytes: &[u8]) -> Result<Tree, ListError> {
    let bad = |line, what| ListError { line, what };
    let text = std::str::from_utf8(bytes).map_err(|_| bad(1, "the list is not ASCII"))?;
    let body = text
        .strip_prefix(HEADER)
        .and_then(|body| body.strip_prefix('\n'))
        .ok_or_else(|| bad(1, "the first line is not `imgkit-tree 1`"))?;
    let mut tree = Tree::new();
    let mut last: Option<TreePath> = None;
    for (at, line) in body.split_terminator('\n').enumerate() {
        let number = at + 2;
        if at >= limit::TREE_ENTRIES {
            return Err(bad(number, "there are too many entries"));
        }
        let (path, entry) = parse_line(line).ok_or_else(|| bad(number, "the line is not an entry"))?;
        let mut written = String::new();
        write_entry(&mut written, &path, &entry);
        if written.strip_suffix('\n') != Some(line) {
            return Err(bad(number, "the line is not in its canonical form"));
        }
        if last.as_ref().is_some_and(|last| *last >= path) {
            return Err(bad(number, "the path does not sort after the one above"));
        }
        if let Node::HardLink(target) = &entry.node
            && !matches!(
                tree.entry(target),
                Some(Entry {
                    node: Node::File { .. },
                    ..
                })
            )
        {
            return Err(bad(number, "the hard link's target is not a file above it"));
        }
        last = Some(path.clone());
        tree.insert(path, entry);
    }
    if !body.is_empty() && !body.ends_with('\n') {
        return Err(bad(tree.len() + 1, "the last line has no end"));
    }
    Ok(tree)
}

/// A text is not the canonical list of any tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tree list, line {line}: {what}")]
pub struct ListError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

fn write_entry(text: &mut String, path: &TreePath, entry: &Entry) {
    let Meta { mode, uid, gid, xattrs } = &entry.meta;
    let owner = format!("{mode:04o} {uid} {gid}");
    // Writing to a String cannot fail.
    let _ = match &entry.node {
        Node::Archive => write!(text, "a {owner} {path}"),
        Node::Block(device) => write!(text, "b {owner} {}:{} {path}", device.major, device.minor),
        Node::Char(device) => write!(text, "c {owner} {}:{} {path}", device.major, device.minor),
        Node::Directory => write!(text, "d {owner} {path}"),
        Node::Fifo => write!(text, "p {owner} {path}"),
        Node::File { size, digest } => write!(text, "f {owner} {size} {} {path}", digest.hex()),
        Node::HardLink(target) => write!(text, "h {target} {path}"),
        Node::Symlink(target) => write!(text, "l {owner} {} {path}", escape(target)),
    };
    if !matches!(entry.node, Node::HardLink(_)) {
        for (name, value) in xattrs {
            let _ = write!(text, " {}", xattrs::write(name, value));
        }
    }
    text.push('\n');
}

fn parse_line(line: &str) -> Option<(TreePath, Entry)> {
    let mut fields = line.split(' ');
    let kind = fields.next()?;
    let mut next = || fields.next();
    if kind == "h" {
        let node = Node::HardLink(path(next()?)?);
        let meta = Meta::default();
        return Some((path(next()?)?, Entry { meta, node }));
    }
    let mut meta = Meta {
        mode: u16::from_str_radix(next()?, 8).ok().filter(|mode| *mode <= 0o7777)?,
        uid: next()?.parse().ok()?,
        gid: next()?.parse().ok()?,
        ..Meta::default()
    };
    let node = match kind {
        "a" => Node::Archive,
        "b" => Node::Block(device(next()?)?),
        "c" => Node::Char(device(next()?)?),
        "d" => Node::Directory,
        "f" => Node::File {
            size: next()?.parse().ok()?,
            digest: Digest::from_sha256_hex(next()?).ok()?,
        },
        "l" => Node::Symlink(unescape(next()?)?),
        "p" => Node::Fifo,
        _ => return None,
    };
    let path = path(next()?)?;
    for xattr in fields {
        let (name, value) = xattrs::parse(xattr)?;
        meta.xattrs.insert(name, value);
    }
    Some((path, Entry { meta, node }))
}

fn path(text: &str) -> Option<TreePath> {
    TreePath::parse(unescape(text)?).ok()
}

fn device(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some(Device {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample() -> Tree {
        let path = |text: &str| TreePath::parse(text).unwrap();
        let mut file = Entry::file(0o755, b"hello");
        file.meta.xattrs.insert(b"user.a=b".to_vec(), vec![1, 2]);
        [
            (path("bin"), Entry::directory(0o755)),
            (path("bin/a b"), file),
            (
                path("bin/z"),
                Entry {
                    meta: Meta::default(),
                    node: Node::HardLink(path("bin/a b")),
                },
            ),
            (path("dev"), Entry::directory(0o755)),
            (
                path("dev/null"),
                Entry {
                    meta: Meta::root(0o666),
                    node: Node::Char(Device { major: 1, minor: 3 }),
                },
            ),
            (path("lnk"), Entry::symlink(0o777, *b"bin/a b")),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn the_list_is_pinned() {
        let text = "imgkit-tree 1\n\
            d 0755 0 0 bin\n\
            f 0755 0 0 5 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 bin/a\\x20b user.a\\x3db=0102\n\
            h bin/a\\x20b bin/z\n\
            d 0755 0 0 dev\n\
            c 0666 0 0 1:3 dev/null\n\
            l 0777 0 0 bin/a\\x20b lnk\n";
        assert_eq!(write(&sample()), text);
        assert_eq!(parse(text.as_bytes()).unwrap(), sample());
    }

    #[test]
    fn refuses_every_other_spelling() {
        let good = write(&sample());
        for (from, to) in [
            ("imgkit-tree 1", "imgkit-tree 2"),
            ("d 0755", "d 755"),
            ("0 0 bin\n", "0 00 bin\n"),
            ("d 0755 0 0 dev\n", "d 0755 0 0 /dev\n"),
            ("d 0755 0 0 dev\n", "d 0755 0 0 dev \n"),
            ("d 0755 0 0 dev\n", "d 0755 0 0 aaa\n"),
            ("h bin/a\\x20b", "h bin/none"),
            ("user.a\\x3db=0102", "user.a\\x3db=0A"),
        ] {
            assert!(good.contains(from));
            assert!(parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(parse(good.trim_end().as_bytes()).is_err());
        assert!(parse(b"").is_err());
    }
}
