//! Writes a tree as a tar archive; the same tree gives the same bytes.
//!
//! - Members stand in path order, directories with a slash at the end of their names, all with one modification time.
//! - Plain ustar; an extended header comes before a member only for what ustar cannot say.
//! - A hard link stands after the file that it names; an archive entry is written as the nested archive that it came from.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use ::tar::{EntryType, Header};

use super::pax::write_record;
use super::{BLOCK, XATTR_PREFIX};
use crate::format::copy_content;
use crate::time::Time;
use crate::tree::{Contents, Device, Entry, Meta, Node, Tree, TreePath};

/// Largest value of a seven-digit octal field: owners, device numbers.
const OCTAL_7: u64 = 0o7_777_777;

/// Largest value of an eleven-digit octal field: sizes, times.
const OCTAL_11: u64 = 0o77_777_777_777;

/// Writes `tree` as a tar archive, with two blocks of zeros at its end.
///
/// # Errors
/// What writing gave; what `contents` gave; `InvalidData` when a content's length is not the entry's, or the nested archive
/// of an archive entry would hold another archive entry.
pub fn write_tar(tree: &Tree, contents: &dyn Contents, mtime: Time, out: &mut dyn Write) -> io::Result<()> {
    let archive = Archive { tree, mtime };
    for (path, entry) in tree.iter() {
        let archived = |above: TreePath| tree.entry(&above).is_some_and(|entry| entry.node == Node::Archive);
        if !path.ancestors().any(archived) {
            archive.member(path, path, entry, Some(contents), out)?;
        }
    }
    end(out)
}

struct Archive<'a> {
    tree: &'a Tree,
    mtime: Time,
}

/// What a header says beside name and owner.
struct Shape<'a> {
    kind: EntryType,
    size: u64,
    link: &'a [u8],
    device: Device,
}

impl Shape<'_> {
    const fn of(kind: EntryType) -> Self {
        Self {
            kind,
            size: 0,
            link: &[],
            device: Device { major: 0, minor: 0 },
        }
    }
}

impl Archive<'_> {
    /// Writes one entry under `name`; without `contents`, writes as many zeros as its content has bytes.
    fn member(
        &self,
        path: &TreePath,
        name: &TreePath,
        entry: &Entry,
        contents: Option<&dyn Contents>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let meta = &entry.meta;
        let (kind, device) = match &entry.node {
            Node::Archive => {
                let mut size = Count(0);
                self.nested(path, None, &mut size)?;
                let shape = Shape {
                    size: size.0,
                    ..Shape::of(EntryType::Regular)
                };
                self.header(name, meta, shape, out)?;
                self.nested(path, contents, out)?;
                return pad(size.0, out);
            }
            Node::File { size, digest } => {
                let shape = Shape {
                    size: *size,
                    ..Shape::of(EntryType::Regular)
                };
                self.header(name, meta, shape, out)?;
                match contents {
                    Some(contents) => copy_content(contents, digest, *size, out)?,
                    None => drop(io::copy(&mut io::repeat(0).take(*size), out)?),
                }
                return pad(*size, out);
            }
            Node::HardLink(target) => {
                let root = path.as_bytes().len() - name.as_bytes().len();
                let shape = Shape {
                    link: target.as_bytes().get(root..).unwrap_or_default(),
                    ..Shape::of(EntryType::Link)
                };
                // Owner and mode are the file's; extended attributes stand with the file alone.
                let file = self.tree.entry(target).map_or(meta, |file| &file.meta);
                let meta = Meta {
                    xattrs: BTreeMap::new(),
                    ..file.clone()
                };
                return self.header(name, &meta, shape, out);
            }
            Node::Symlink(target) => {
                let shape = Shape {
                    link: target,
                    ..Shape::of(EntryType::Symlink)
                };
                return self.header(name, meta, shape, out);
            }
            Node::Directory => (EntryType::Directory, None),
            Node::Fifo => (EntryType::Fifo, None),
            Node::Block(device) => (EntryType::Block, Some(device)),
            Node::Char(device) => (EntryType::Char, Some(device)),
        };
        let mut shape = Shape::of(kind);
        if let Some(device) = device {
            if u64::from(device.major.max(device.minor)) > OCTAL_7 {
                return Err(unfit(path, "its device number is out of range"));
            }
            shape.device = *device;
        }
        self.header(name, meta, shape, out)
    }

    /// Writes the archive whose members are the entries below `root`.
    fn nested(&self, root: &TreePath, contents: Option<&dyn Contents>, out: &mut dyn Write) -> io::Result<()> {
        for (path, entry) in self.tree.below(root) {
            let name = path.relative_to(root).filter(|_| entry.node != Node::Archive);
            let name = name.ok_or_else(|| unfit(path, "it is an archive inside an archive"))?;
            self.member(path, &name, entry, contents, out)?;
        }
        end(out)
    }

    fn header(&self, name: &TreePath, meta: &Meta, shape: Shape<'_>, out: &mut dyn Write) -> io::Result<()> {
        let mut name = name.as_bytes().to_vec();
        if shape.kind == EntryType::Directory {
            name.push(b'/');
        }
        let mtime = self.mtime.unix().unsigned_abs();
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        let octal = |records: &mut Vec<u8>, key: &str, value: u64, most: u64| {
            if value <= most {
                return value;
            }
            write_record(records, key.as_bytes(), value.to_string().as_bytes());
            0
        };
        // The records are sorted by their keys.
        header.set_gid(octal(&mut records, "gid", meta.gid.into(), OCTAL_7));
        if !fill(&mut header.as_old_mut().linkname, shape.link) {
            write_record(&mut records, b"linkpath", shape.link);
        }
        header.set_mtime(octal(&mut records, "mtime", mtime, OCTAL_11));
        if !fill(&mut header.as_old_mut().name, &name) {
            write_record(&mut records, b"path", &name);
        }
        header.set_size(octal(&mut records, "size", shape.size, OCTAL_11));
        header.set_uid(octal(&mut records, "uid", meta.uid.into(), OCTAL_7));
        for (xattr, value) in &meta.xattrs {
            write_record(&mut records, &[XATTR_PREFIX, xattr].concat(), value);
        }
        header.set_entry_type(shape.kind);
        header.set_mode(u32::from(meta.mode));
        header.set_device_major(shape.device.major)?;
        header.set_device_minor(shape.device.minor)?;
        header.set_cksum();
        if !records.is_empty() {
            write_extended(&records, out)?;
        }
        out.write_all(header.as_bytes())
    }
}

fn unfit(path: &TreePath, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("`{path}` cannot be written to a tar archive: {what}"),
    )
}

/// Writes an extended header with these records.
fn write_extended(records: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let mut header = Header::new_ustar();
    fill(&mut header.as_old_mut().name, b"PaxHeaders/records");
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    header.set_device_major(0)?;
    header.set_device_minor(0)?;
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    out.write_all(records)?;
    pad(records.len() as u64, out)
}

/// Copies `value` into a field, cut to its length; tells whether it fits.
fn fill(field: &mut [u8], value: &[u8]) -> bool {
    field.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
    value.len() <= field.len()
}

fn pad(size: u64, out: &mut dyn Write) -> io::Result<()> {
    let padding = size.next_multiple_of(BLOCK as u64) - size;
    out.write_all([0; BLOCK].get(..padding as usize).unwrap_or_default())
}

fn end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// Counts what is written.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::digest::Digest;
    use crate::format::layers::flatten;
    use crate::tree::contents::{HashOnly, Memory};

    fn path(path: &str) -> TreePath {
        TreePath::parse(path).unwrap()
    }

    fn kernel_image() -> (Tree, Memory) {
        let mut contents = Memory::default();
        let mut module = Entry::file(0o640, b"module");
        contents.add(b"module".to_vec());
        module
            .meta
            .xattrs
            .insert(b"security.selinux".to_vec(), b"a\n\0".to_vec());
        let archive = Entry {
            meta: Meta::root(0o644),
            node: Node::Archive,
        };
        let link = Entry {
            meta: Meta::default(),
            node: Node::HardLink(path("kernel.tar/lib/a")),
        };
        let device = Entry {
            meta: Meta::root(0o600),
            node: Node::Block(Device {
                major: 259,
                minor: 65_537,
            }),
        };
        let entries = [
            (path("dev"), Entry::directory(0o755)),
            (path("dev/disk"), device),
            (path("kernel.tar"), archive),
            (path("kernel.tar-x"), Entry::symlink(0o777, [b'y'; 300])),
            (path("kernel.tar/lib"), Entry::directory(0o755)),
            (path("kernel.tar/lib/a"), module),
            (path(&format!("kernel.tar/lib/{}", "b".repeat(120))), link),
        ];
        (entries.into_iter().collect(), contents)
    }

    #[test]
    fn archives_nest_and_the_bytes_are_pinned() {
        let (tree, contents) = kernel_image();
        let mut archive = Vec::new();
        write_tar(&tree, &contents, Time::from_unix(1_492_533_000).unwrap(), &mut archive).unwrap();
        assert_eq!(flatten([&*archive], &mut HashOnly).unwrap(), tree);
        let digest = "sha256:02dc62855ee6d8c493184446dfb8968bf24a50afc2718e28f34c2530559cf433";
        assert_eq!(Digest::sha256(&archive).to_string(), digest);
    }

    #[test]
    fn refuses_what_a_tar_archive_cannot_say() {
        let (mut tree, contents) = kernel_image();
        let write = |tree: &Tree| write_tar(tree, &contents, Time::from_unix(0).unwrap(), &mut io::sink());
        write(&tree).unwrap();
        let replaced = tree.insert(path("kernel.tar/lib/a"), Entry::file(0o644, b"unknown content"));
        assert_eq!(write(&tree).unwrap_err().kind(), io::ErrorKind::NotFound);
        tree.insert(path("kernel.tar/lib/a"), replaced.unwrap());
        if let Node::File { size, .. } = &mut tree.entry_mut(&path("kernel.tar/lib/a")).unwrap().node {
            *size += 1;
        }
        assert_eq!(write(&tree).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
