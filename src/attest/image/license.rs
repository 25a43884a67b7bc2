//! Licences: Debian's short names (DEP-5) in SPDX's terms (SPDX 2.3, annexes A and D).

use crate::digest::Digest;

/// Short names that mean exactly one licence of SPDX's list, sorted. Debian's `MIT`, `BSD` and `Artistic` stand for several, and are none.
const SAME: &[(&str, &str)] = &[
    ("AGPL-3", "AGPL-3.0-only"),
    ("AGPL-3+", "AGPL-3.0-or-later"),
    ("Apache-2.0", "Apache-2.0"),
    ("BSD-2-clause", "BSD-2-Clause"),
    ("BSD-3-clause", "BSD-3-Clause"),
    ("CC0-1.0", "CC0-1.0"),
    ("Expat", "MIT"),
    ("GFDL-1.3+", "GFDL-1.3-or-later"),
    ("GPL-1", "GPL-1.0-only"),
    ("GPL-1+", "GPL-1.0-or-later"),
    ("GPL-2", "GPL-2.0-only"),
    ("GPL-2+", "GPL-2.0-or-later"),
    ("GPL-3", "GPL-3.0-only"),
    ("GPL-3+", "GPL-3.0-or-later"),
    ("ISC", "ISC"),
    ("LGPL-2", "LGPL-2.0-only"),
    ("LGPL-2+", "LGPL-2.0-or-later"),
    ("LGPL-2.1", "LGPL-2.1-only"),
    ("LGPL-2.1+", "LGPL-2.1-or-later"),
    ("LGPL-3", "LGPL-3.0-only"),
    ("LGPL-3+", "LGPL-3.0-or-later"),
    ("MPL-2.0", "MPL-2.0"),
    ("Zlib", "Zlib"),
];

/// Returns the identifier in SPDX's list, for a name that means exactly one.
pub(super) fn spdx_id(debian: &str) -> Option<&'static str> {
    let found = SAME.binary_search_by_key(&debian, |(name, _)| name).ok()?;
    SAME.get(found).map(|(_, id)| *id)
}

/// Returns an identifier for a licence that is not in SPDX's list: another for each name.
pub(super) fn reference(debian: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let plain: String = debian
        .chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .take(60)
        .collect();
    match plain == debian {
        true => format!("LicenseRef-Debian-{plain}"),
        false => format!(
            "LicenseRef-Debian-{plain}-{}",
            Digest::sha256(debian.as_bytes()).short()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted_and_found() {
        assert!(SAME.is_sorted());
        assert_eq!(spdx_id("GPL-2+"), Some("GPL-2.0-or-later"));
        assert_eq!(spdx_id("MIT"), None);
    }

    #[test]
    fn other_names_have_identifiers_of_their_own() {
        assert_eq!(reference("public-domain"), "LicenseRef-Debian-public-domain");
        assert_ne!(reference("GPL-2+ or X"), reference("GPL-2  or X"));
    }
}
