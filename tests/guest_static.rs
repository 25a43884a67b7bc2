//! The guest programs run where no library is: each is an ELF executable without a dynamic loader.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::fs;

const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

/// Returns the types of an executable's segments (64-bit little-endian ELF).
fn segments(path: &str) -> Vec<u32> {
    let elf = fs::read(path).unwrap();
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()));
    assert_eq!(
        &elf[..6],
        b"\x7fELF\x02\x01",
        "{path} is not a 64-bit little-endian ELF file"
    );
    let table = usize::try_from(u64::from_le_bytes(elf[32..40].try_into().unwrap())).unwrap();
    let (size, count) = (u16_at(54), u16_at(56));
    (0..count)
        .map(|n| table + n * size)
        .map(|at| u32::from_le_bytes(elf[at..at + 4].try_into().unwrap()))
        .collect()
}

#[test]
fn guest_programs_need_no_loader_and_no_libraries() {
    for path in [env!("CARGO_BIN_EXE_imgkit-init"), env!("CARGO_BIN_EXE_imgkit-metadata")] {
        let segments = segments(path);
        assert!(!segments.is_empty());
        assert!(!segments.contains(&PT_INTERP), "{path} names a dynamic loader");
        assert!(!segments.contains(&PT_DYNAMIC), "{path} needs shared libraries");
    }
}

#[test]
fn the_command_itself_stays_dynamic() {
    assert!(segments(env!("CARGO_BIN_EXE_imgkit")).contains(&PT_INTERP));
}
