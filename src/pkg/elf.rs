//! What a program or library needs of other files: its loader and its libraries (System V gABI, "Dynamic Linking").

use elf::ElfBytes;
use elf::abi::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, PT_INTERP, PT_LOAD};
use elf::endian::AnyEndian;

/// What a dynamically linked file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linkage {
    /// The loader's path, for a program.
    pub interpreter: Option<String>,
    /// Names of libraries.
    pub needed: Vec<String>,
    /// Where the file wants libraries to be looked for first; `$ORIGIN` is its own directory.
    pub search: Vec<String>,
}

impl Linkage {
    /// Reads an ELF file; `None` for one that is not linked dynamically, or is no ELF file.
    ///
    /// # Errors
    /// [`ElfError`] when its tables are broken.
    pub fn of(bytes: &[u8]) -> Result<Option<Self>, ElfError> {
        if !bytes.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let file = ElfBytes::<AnyEndian>::minimal_parse(bytes)?;
        let Some(dynamic) = file.dynamic()? else {
            return Ok(None);
        };
        let value = |tag| {
            dynamic
                .iter()
                .find(|entry| entry.d_tag == tag)
                .map(|entry| entry.d_val())
        };
        let table = match (value(DT_STRTAB), value(DT_STRSZ)) {
            (Some(address), Some(size)) => slice(bytes, offset(&file, address)?, size)?,
            _ => return Err(ElfError::NoStrings),
        };
        let mut linkage = Self {
            interpreter: interpreter(&file, bytes)?,
            ..Self::default()
        };
        for entry in dynamic.iter() {
            match entry.d_tag {
                DT_NEEDED => linkage.needed.push(string(table, entry.d_val())?),
                DT_RPATH | DT_RUNPATH => {
                    let paths = string(table, entry.d_val())?;
                    linkage.search.extend(paths.split(':').map(str::to_owned));
                }
                _ => {}
            }
        }
        Ok(Some(linkage))
    }
}

/// Why an ELF file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// A table says that something lies outside the file.
    #[error("its tables point outside the file")]
    Bounds,
    /// It has no table of names.
    #[error("it is linked dynamically and has no table of names")]
    NoStrings,
    /// It is malformed.
    #[error(transparent)]
    Parse(#[from] elf::ParseError),
}

fn interpreter(file: &ElfBytes<'_, AnyEndian>, bytes: &[u8]) -> Result<Option<String>, ElfError> {
    let segment = file
        .segments()
        .and_then(|segments| segments.iter().find(|segment| segment.p_type == PT_INTERP));
    match segment {
        Some(segment) => string(slice(bytes, segment.p_offset, segment.p_filesz)?, 0).map(Some),
        None => Ok(None),
    }
}

/// Finds where in the file an address of the loaded program is.
fn offset(file: &ElfBytes<'_, AnyEndian>, address: u64) -> Result<u64, ElfError> {
    let segments = file.segments().ok_or(ElfError::Bounds)?;
    let found = segments
        .iter()
        .filter(|segment| segment.p_type == PT_LOAD)
        .find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr)?;
            (within < segment.p_filesz).then(|| segment.p_offset.checked_add(within))?
        });
    found.ok_or(ElfError::Bounds)
}

fn slice(bytes: &[u8], offset: u64, size: u64) -> Result<&[u8], ElfError> {
    let start = usize::try_from(offset).map_err(|_| ElfError::Bounds)?;
    let size = usize::try_from(size).map_err(|_| ElfError::Bounds)?;
    let end = start.checked_add(size).ok_or(ElfError::Bounds)?;
    bytes.get(start..end).ok_or(ElfError::Bounds)
}

fn string(table: &[u8], at: u64) -> Result<String, ElfError> {
    let rest = usize::try_from(at)
        .ok()
        .and_then(|at| table.get(at..))
        .ok_or(ElfError::Bounds)?;
    let text = rest.split(|b| *b == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn finds_the_loader_and_the_libraries_of_this_test() {
        let linkage = Linkage::of(&own()).unwrap().unwrap();
        assert!(linkage.interpreter.unwrap().contains("/ld-"));
        assert!(linkage.needed.contains(&"libc.so.6".to_owned()), "{:?}", linkage.needed);
    }

    #[test]
    fn scripts_and_text_need_nothing() {
        assert_eq!(Linkage::of(b"#!/bin/sh\n").unwrap(), None);
        assert_eq!(Linkage::of(b"").unwrap(), None);
    }

    #[test]
    fn a_broken_header_is_an_error_and_never_a_panic() {
        let mut bytes = own();
        bytes.truncate(4096);
        for at in 4..1024 {
            let mut bad = bytes.clone();
            bad[at] ^= 0xff;
            let _ = Linkage::of(&bad);
            let _ = Linkage::of(&bytes[..at]);
        }
        assert!(Linkage::of(&bytes[..40]).is_err());
    }
}
