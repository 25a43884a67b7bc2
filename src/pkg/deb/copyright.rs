//! The licences that a package's copyright file names (Debian's machine-readable copyright format 1.0, "DEP-5").

use std::collections::BTreeSet;

/// Licences kept of one file: the largest files in Debian name some fifty.
const MOST: usize = 100;

/// Bytes of a licence's short name.
const NAME_BYTES: usize = 200;

/// Returns the short names after `License:`, sorted, each once; none for a file that is not of this format.
pub fn licenses(file: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(file);
    let mut lines = text.lines().skip_while(|line| line.trim().is_empty());
    if !lines.next().is_some_and(|line| line.starts_with("Format:")) {
        return Vec::new();
    }
    let names = lines.filter_map(|line| line.strip_prefix("License:")).map(str::trim);
    let good = |name: &&str| (1..=NAME_BYTES).contains(&name.len()) && !name.contains(char::is_control);
    let names: BTreeSet<&str> = names.filter(good).take(MOST).collect();
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_licence_once() {
        let file = b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+\n text\n\n\
            Files: x\nLicense: Expat\n\nLicense: GPL-2+\n License: no field\n\nLicense:\n";
        assert_eq!(licenses(file), ["Expat", "GPL-2+"]);
    }

    #[test]
    fn files_for_people_name_none() {
        assert_eq!(licenses(b"This is GPL.\nLicense: GPL-2\n"), [""; 0]);
        assert_eq!(licenses(b"\xff\xfe"), [""; 0]);
        assert_eq!(licenses(b""), [""; 0]);
    }
}
