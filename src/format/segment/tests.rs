#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::digest::Digest;
use crate::tree::TreePath;
use crate::tree::contents::{HashOnly, Memory};

fn sample() -> (Tree, Memory) {
    let mut contents = Memory::default();
    let content: Vec<u8> = (0..3000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
    let entries = [
        ("bin", Entry::directory(0o755)),
        ("bin/program", Entry::file(0o755, &content)),
        ("init", Entry::file(0o755, b"start")),
    ];
    contents.add(content);
    contents.add(b"start".to_vec());
    let tree = entries.map(|(path, entry)| (TreePath::parse(path).unwrap(), entry));
    (tree.into_iter().collect(), contents)
}

fn write() -> (Tree, Vec<u8>) {
    let (tree, contents) = sample();
    let mut segment = Vec::new();
    let length = write_segment(&tree, &contents, 3, LEVEL, &mut segment).unwrap();
    assert_eq!(length, segment.len() as u64);
    (tree, segment)
}

fn read(segment: &[u8]) -> Result<Tree, CpioError> {
    let mut tree = Tree::new();
    let mut visit = |path, entry| {
        tree.insert(path, entry);
        Ok(())
    };
    read_segment(&mut &*segment, segment.len() as u64, &mut HashOnly, &mut visit)?;
    Ok(tree)
}

#[test]
fn reads_what_it_writes_and_the_bytes_are_pinned() {
    let (tree, segment) = write();
    assert_eq!(read(&segment).unwrap(), tree);
    assert!(segment.len().is_multiple_of(4));
    let digest = "sha256:968ba864a6c21fb534954a77d892bf5ad0ac02b5841014a3e3ba77e91f5b9950";
    assert_eq!(Digest::sha256(&segment).to_string(), digest);
}

#[test]
fn reads_every_level_and_refuses_others() {
    let (tree, contents) = sample();
    for level in 1..=19 {
        let mut segment = Vec::new();
        write_segment(&tree, &contents, 3, level, &mut segment).unwrap();
        assert_eq!(read(&segment).unwrap(), tree, "level {level}");
    }
    for level in [-1, 0, 20] {
        assert!(write_segment(&tree, &contents, 3, level, &mut io::sink()).is_err());
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let (tree, segment) = write();
    for bit in 0..segment.len() * 8 {
        let mut flipped = segment.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A bit that the decoder ignores changes nothing that is unpacked; the segment's own hash tells.
        assert!(read(&flipped).map_or(true, |other| other == tree), "bit {bit}");
    }
    for end in 0..segment.len() {
        assert!(read(&segment[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn refuses_what_the_kernel_would_stop_at_or_go_on_with() {
    let (_, segment) = write();
    let frame_end = segment.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let frame = &segment[..frame_end];
    let pad = |mut bytes: Vec<u8>| {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
    let unpacked = zstd::decode_all(frame).unwrap();
    let packed = |checksum, content: &[u8]| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 9).unwrap();
        encoder.include_checksum(checksum).unwrap();
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    read(&pad(packed(true, &unpacked))).unwrap();
    let half = zstd::Encoder::new(Vec::new(), 9).and_then(|mut encoder| {
        encoder.include_checksum(true)?;
        encoder.write_all(&unpacked[..unpacked.len() / 2])?;
        encoder.finish()
    });
    let second = packed(true, &unpacked[unpacked.len() / 2..]);
    for (why, bad) in [
        ("a skippable frame before", [&skippable, &*segment].concat()),
        ("a skippable frame after", pad([frame, &skippable].concat())),
        ("a second frame", pad([frame, frame].concat())),
        ("one archive in two frames", pad([half.unwrap(), second].concat())),
        ("an archive that is not compressed", unpacked.clone()),
        ("no checksum", pad(packed(false, &unpacked))),
        ("a content size", pad(zstd::bulk::compress(&unpacked, 9).unwrap())),
        ("gzip", vec![0x1f, 0x8b, 8, 0]),
        ("four zeros more", [&*segment, &[0; 4]].concat()),
        (
            "padding that is not zero",
            [&pad(frame.to_vec()), &b"xxxx"[..]].concat(),
        ),
        ("two archives", pad(packed(true, &[&*unpacked, &*unpacked].concat()))),
        (
            "an archive and zeros",
            pad(packed(true, &[&*unpacked, &[0; 512]].concat())),
        ),
        ("nothing", Vec::new()),
    ] {
        assert!(read(&bad).is_err(), "{why}");
    }
}

#[test]
fn refuses_missing_padding() {
    let (tree, mut contents) = sample();
    let path = TreePath::parse("x").unwrap();
    for length in 0..40 {
        let content = vec![b'x'; length * 7];
        let mut tree = tree.clone();
        tree.insert(path.clone(), Entry::file(0o644, &content));
        contents.add(content);
        let mut segment = Vec::new();
        write_segment(&tree, &contents, 3, LEVEL, &mut segment).unwrap();
        let frame = segment.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        if frame < segment.len() {
            assert!(read(&segment[..frame]).is_err());
            return;
        }
    }
    unreachable!("a segment whose frame needs padding");
}

#[test]
fn reads_no_further_than_its_length() {
    let (tree, segment) = write();
    let two = [&*segment, b"next segment"].concat();
    let mut seen = 0;
    let mut visit = |_, _| {
        seen += 1;
        Ok(())
    };
    read_segment(&mut &*two, segment.len() as u64, &mut HashOnly, &mut visit).unwrap();
    assert_eq!(seen, tree.len());
    assert!(read_segment(&mut &*two, two.len() as u64, &mut HashOnly, &mut |_, _| Ok(())).is_err());
}
