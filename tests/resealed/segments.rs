//! Changes to the initrd's segments.

use super::{
    Case, GENERATED, INIT, OF_BOTH, OF_GENERATED, OF_INIT, OF_ROOT, OF_SEAL, OF_SVC, OF_XATTRS, ROOT, SVC, XATTRS,
};
use std::io::Read;

use super::common::images::noise;
use imgkit::seal::statement::SegmentRecord;
use imgkit::tree::{Device, Entry, Node as Kind};

/// Changes inside a segment, each packed again as the builder packs.
pub(crate) const IN_SEGMENTS: &[Case] = &[
    ("a changed program", OF_SVC, |forge| {
        forge.repack(SVC, |segment| {
            let mut program = segment.content("bin/app");
            program[1000] ^= 1;
            segment.write("bin/app", &program);
        });
    }),
    ("a longer program", OF_SVC, |forge| {
        forge.repack(SVC, |segment| segment.write("bin/app", &noise(5, 70_000)));
    }),
    ("an empty program", OF_SVC, |forge| {
        forge.repack(SVC, |segment| segment.write("bin/app", b""));
    }),
    ("an added file", OF_SVC, |forge| {
        forge.repack(SVC, |segment| {
            segment.put_beside("bin/app", "backdoor", Entry::file(0o755, b""))
        });
    }),
    ("an added directory", OF_SVC, |forge| {
        forge.repack(SVC, |segment| {
            segment.put_beside("bin/app", "more", Entry::directory(0o755))
        });
    }),
    ("a removed file", OF_SVC, |forge| {
        forge.repack(SVC, |segment| drop(segment.remove("bin/app")))
    }),
    ("a renamed file", OF_SVC, |forge| {
        forge.repack(SVC, |segment| {
            segment.put_beside(
                "bin/app",
                "other",
                segment.tree.entry(&segment.path("bin/app")).unwrap().clone(),
            );
            segment.remove("bin/app");
        });
    }),
    ("another mode", OF_SVC, |forge| {
        forge.repack(SVC, |segment| segment.entry("bin/app").meta.mode = 0o777)
    }),
    ("a set-uid bit", OF_SVC, |forge| {
        forge.repack(SVC, |segment| segment.entry("bin/app").meta.mode |= 0o4000)
    }),
    ("another owner", OF_SVC, |forge| {
        forge.repack(SVC, |segment| segment.entry("bin/app").meta.uid = 1000)
    }),
    ("another group", OF_SVC, |forge| {
        forge.repack(SVC, |segment| segment.entry("bin/app").meta.gid = 1000)
    }),
    ("a directory that all may write", OF_SVC, |forge| {
        forge.repack(SVC, |segment| {
            let bin = segment.path("bin/app").parent().unwrap();
            segment.tree.entry_mut(&bin).unwrap().meta.mode = 0o777;
        });
    }),
    ("a file that became a link", OF_SVC, |forge| {
        forge.repack(SVC, |segment| {
            segment.entry("bin/app").node = Kind::Symlink(b"/proc/self/exe".to_vec())
        });
    }),
    ("a changed file of the root", OF_ROOT, |forge| {
        forge.repack(ROOT, |segment| segment.write("etc/motd", b"hullo"));
    }),
    ("another link target", OF_ROOT, |forge| {
        forge.repack(ROOT, |segment| {
            segment.entry("opt/link").node = Kind::Symlink(b"fool".to_vec())
        });
    }),
    ("a link that became a file", OF_ROOT, |forge| {
        forge.repack(ROOT, |segment| segment.write("opt/link", b"tool"));
    }),
    ("another device", OF_ROOT, |forge| {
        forge.repack(ROOT, |segment| {
            segment.entry("opt/null").node = Kind::Char(Device { major: 1, minor: 1 })
        });
    }),
    ("a device of another kind", OF_ROOT, |forge| {
        forge.repack(ROOT, |segment| {
            segment.entry("opt/null").node = Kind::Block(Device { major: 1, minor: 3 })
        });
    }),
    ("a moved device node", OF_ROOT, |forge| {
        forge.repack(ROOT, |segment| {
            let device = segment.remove("opt/null");
            segment.put_beside("etc/motd", "null", device);
        });
    }),
    ("a hard link that became a copy", OF_ROOT, |forge| {
        forge.repack(ROOT, |segment| {
            let first = segment.entry("opt/again").clone();
            *segment.entry("opt/tool") = first;
        });
    }),
    ("a file on top of the root", OF_ROOT, |forge| {
        forge.repack(ROOT, |segment| {
            segment.put_beside("etc", "linuxrc", Entry::symlink(0o777, *b"/opt/tool"))
        });
    }),
    ("another init", OF_INIT, |forge| {
        forge.repack(INIT, |segment| segment.write("init", &noise(6, 30_000)));
    }),
    ("an init that may not be executed", OF_INIT, |forge| {
        forge.repack(INIT, |segment| segment.entry("init").meta.mode = 0o600);
    }),
    ("a file before init", OF_INIT, |forge| {
        forge.repack(INIT, |segment| {
            segment.put_beside("init", "early", Entry::directory(0o700))
        });
    }),
    ("another extended attribute", OF_XATTRS, |forge| {
        forge.repack(XATTRS, |segment| {
            let text = String::from_utf8(segment.content("xattrs")).unwrap();
            segment.write("xattrs", text.replace("=0102", "=0103").as_bytes());
        });
    }),
    ("an extended attribute of another file", OF_XATTRS, |forge| {
        forge.repack(XATTRS, |segment| {
            let text = String::from_utf8(segment.content("xattrs")).unwrap();
            segment.write("xattrs", text.replace("opt/capable", "opt/again").as_bytes());
        });
    }),
    ("no extended attributes", OF_XATTRS, |forge| {
        forge.repack(XATTRS, |segment| segment.write("xattrs", b""))
    }),
    ("another file of the specification", OF_GENERATED, |forge| {
        forge.repack(GENERATED, |segment| segment.write("etc/node", b"edon"));
    }),
    ("another config.json", OF_GENERATED, |forge| {
        forge.repack(GENERATED, |segment| {
            let text = String::from_utf8(segment.content("config.json")).unwrap();
            assert!(text.contains("/bin/app"));
            segment.write("config.json", text.replace("/bin/app", "/bin/cat").as_bytes());
        });
    }),
    ("another runtime.json", OF_GENERATED, |forge| {
        forge.repack(GENERATED, |segment| segment.write("runtime.json", b"{}"));
    }),
    ("an added generated file", OF_GENERATED, |forge| {
        forge.repack(GENERATED, |segment| {
            segment.put_beside("etc/node", "passwd", Entry::file(0o644, b""))
        });
    }),
    ("a removed generated file", OF_GENERATED, |forge| {
        forge.repack(GENERATED, |segment| drop(segment.remove("etc/node")));
    }),
    ("another segment's place", OF_SVC, |forge| {
        forge.repack(SVC, |segment| segment.place += 1)
    }),
];

/// Changes to the segments as a whole.
pub(crate) const OF_SEGMENTS: &[Case] = &[
    ("a skippable frame behind", OF_SVC, |forge| {
        forge.segment(SVC).extend(skippable())
    }),
    ("a skippable frame before", OF_SVC, |forge| {
        let segment = forge.segment(SVC);
        *segment = [skippable(), std::mem::take(segment)].concat();
    }),
    ("a second archive behind", OF_ROOT, |forge| {
        let init = forge.segment(INIT).clone();
        forge.segment(ROOT).extend(init);
    }),
    ("more zeros behind", OF_ROOT, |forge| forge.segment(ROOT).extend([0; 4])),
    ("an archive that is not packed", OF_ROOT, |forge| {
        let segment = forge.segment(ROOT);
        let mut plain = Vec::new();
        let mut frame = zstd::Decoder::new(&segment[..]).unwrap().single_frame();
        frame.read_to_end(&mut plain).unwrap();
        plain.resize(plain.len().next_multiple_of(4), 0);
        *segment = plain;
    }),
    ("a cut segment", OF_INIT, |forge| {
        let segment = forge.segment(INIT);
        segment.truncate(segment.len() - 8);
    }),
    ("two segments in each other's place", OF_BOTH, |forge| {
        let (one, two) = (forge.segment(ROOT).clone(), forge.segment(SVC).clone());
        *forge.segment(ROOT) = two;
        *forge.segment(SVC) = one;
    }),
    ("two segments in another order", OF_SEAL, |forge| {
        forge.segments.swap(0, 1)
    }),
    ("a segment twice", OF_SEAL, |forge| {
        let first = forge.segments[0].clone();
        forge.segments.insert(1, first);
    }),
    ("a segment less", OF_SEAL, |forge| drop(forge.segments.remove(1))),
    ("a segment of nothing", OF_SEAL, |forge| {
        forge.lie = Some(|statement| {
            let nothing = SegmentRecord {
                owner: "generated files".into(),
                length: 0,
            };
            statement.predicate.segments.insert(0, nothing);
        });
    }),
    ("a segment under another name", OF_SEAL, |forge| {
        forge.segments[0].0.push('x')
    }),
    ("other lengths of segments", OF_BOTH, |forge| {
        forge.lie = Some(|statement| {
            statement.predicate.segments[0].length += 4;
            statement.predicate.segments[1].length -= 4;
        });
    }),
];

/// A zstd frame that readers skip (RFC 8878, 3.1.2), a multiple of four bytes long.
fn skippable() -> Vec<u8> {
    [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"more"].concat()
}
