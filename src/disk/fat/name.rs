//! File names on FAT: eight letters, a dot and three, and a long name beside that where a file's own name is another.

use std::collections::BTreeSet;

/// Longest name in characters.
const LONGEST: usize = 255;

/// Characters that neither kind of name has.
const FORBIDDEN: &[u8] = b"\"*/:<>?\\|";

/// What a short name has beside letters and digits.
const SHORT: &[u8] = b"!#$%&'()-@^_`{}~";

/// The names of a directory's files, each with the short name that stands for it.
pub(super) struct Names {
    list: Vec<(String, [u8; 11])>,
}

/// A name that a file on FAT cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` {what}")]
pub struct NameError {
    name: String,
    what: &'static str,
}

impl Names {
    /// Takes the names of one directory.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, NameError> {
        let mut seen = BTreeSet::new();
        let mut taken = BTreeSet::new();
        let mut list = Vec::new();
        for name in names {
            let bad = |what| NameError {
                name: name.chars().take(LONGEST).collect(),
                what,
            };
            let plain = |b: u8| (b' '..=b'~').contains(&b) && !FORBIDDEN.contains(&b);
            if name.is_empty() || name.len() > LONGEST {
                return Err(bad("is empty or longer than 255 characters"));
            }
            if !name.bytes().all(plain) || name.starts_with([' ', '.']) || name.ends_with([' ', '.']) {
                return Err(bad("has characters that a file on FAT cannot have"));
            }
            if !seen.insert(name.to_ascii_uppercase()) {
                return Err(bad("is there twice, upper and lower case being the same on FAT"));
            }
            let short = match short(name) {
                Some(short) if taken.insert(short) => short,
                _ => numbered(name, &mut taken).ok_or(bad("is like too many other names"))?,
            };
            list.push((name.to_owned(), short));
        }
        Ok(Self { list })
    }

    /// Counts the directory entries that the files need.
    pub(super) fn entries(&self) -> u64 {
        let long = (0..self.list.len()).map(|index| self.long(index).len() as u64 / super::ENTRY);
        long.sum::<u64>() + self.list.len() as u64
    }

    /// Returns a file's short name.
    pub(super) fn short(&self, index: usize) -> &[u8; 11] {
        const NONE: &[u8; 11] = b"           ";
        self.list.get(index).map_or(NONE, |(_, short)| short)
    }

    /// Writes the entries of a file's long name, last part first; nothing when the short name says it all.
    pub(super) fn long(&self, index: usize) -> Vec<u8> {
        let Some((name, alias)) = self.list.get(index) else {
            return Vec::new();
        };
        if short(name).as_ref() == Some(alias) {
            return Vec::new();
        }
        let checksum = alias
            .iter()
            .fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        // Thirteen characters an entry; after the name a NUL, then 0xffff.
        let mut units: Vec<u16> = name.encode_utf16().collect();
        if !units.len().is_multiple_of(13) {
            units.push(0);
        }
        units.resize(units.len().next_multiple_of(13), 0xffff);
        let parts: Vec<&[u16]> = units.chunks(13).collect();
        let mut entries = Vec::new();
        for (number, part) in parts.iter().enumerate().rev() {
            let bytes: Vec<u8> = part.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let (first, rest) = bytes.split_at_checked(10).unwrap_or_default();
            let (second, third) = rest.split_at_checked(12).unwrap_or_default();
            let last = if number + 1 == parts.len() { 0x40 } else { 0 };
            let number = number as u8 + 1;
            entries.extend([&[number | last], first, &[0x0f, 0, checksum], second, &[0; 2], third].concat());
        }
        entries
    }
}

/// Writes a name as a short one; `None` when it is not one.
fn short(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || SHORT.contains(&b);
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3 && !name.ends_with('.');
    let mut short = *b"           ";
    place(&mut short, base, extension);
    (fits && base.bytes().chain(extension.bytes()).all(plain)).then_some(short)
}

/// Makes a short name of another: six letters, a tilde and a number.
fn numbered(name: &str, taken: &mut BTreeSet<[u8; 11]>) -> Option<[u8; 11]> {
    let letters = |text: &str| -> String {
        let kept = text.bytes().filter(u8::is_ascii_alphanumeric);
        kept.map(|b| char::from(b.to_ascii_uppercase())).collect()
    };
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let (base, extension) = (letters(base), letters(extension));
    (1..100_000u32).find_map(|number| {
        let tail = format!("~{number}");
        let base: String = base.chars().take(8 - tail.len()).collect();
        let mut short = *b"           ";
        place(&mut short, &(base + &tail), &extension);
        taken.insert(short).then_some(short)
    })
}

fn place(short: &mut [u8; 11], base: &str, extension: &str) {
    let (first, last) = short.split_at_mut(8);
    first.iter_mut().zip(base.bytes()).for_each(|(to, from)| *to = from);
    last.iter_mut().zip(extension.bytes()).for_each(|(to, from)| *to = from);
}
