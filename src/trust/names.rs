//! Names of roles, targets and metadata files.

use super::TrustError;
use crate::limit;

/// The top-level roles that every root has.
pub(super) const TOP_LEVEL: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// Tells whether a root gives this role its keys.
pub(super) fn is_top_level(role: &str) -> bool {
    role == "mirrors" || TOP_LEVEL.contains(&role)
}

/// Tells whether a text can name a role.
pub(super) fn is_role(name: &str) -> bool {
    (1..=limit::ROLE_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Returns the name of a metadata file: `VERSION.ROLE.json`, or `ROLE.json` without a version.
///
/// Characters other than letters, digits, `-`, `.`, `_` and `~` of the role are percent-encoded, so that the name is one
/// path component; a role's name never begins with what would make the file hidden or a parent.
pub fn file_name(role: &str, version: Option<u64>) -> String {
    match version {
        // After the version a point hides nothing.
        Some(version) => format!("{version}.{}.json", percent_encoded(role)),
        None => format!("{}.json", encoded(role)),
    }
}

/// Returns the version of a root by its file's name; `None` for other files, also those of a delegated role that is called `x.root`.
pub fn root_version(file: &str) -> Option<u64> {
    let version = file.strip_suffix(".root.json")?;
    let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
    version.parse().ok().filter(|_| is_number)
}

/// Encodes a name so that it is one visible component of a path, and never a parent.
pub fn encoded(name: &str) -> String {
    let name = percent_encoded(name);
    match name.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => name,
    }
}

fn percent_encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Refuses names that could mean another place or hide something when they are shown or written.
///
/// # Errors
/// [`TrustError::Malformed`] for a name that is empty, too long, absolute, or has `.`, `..` or empty parts, backslashes or
/// control characters.
pub fn check_target_name(name: &str) -> Result<(), TrustError> {
    let part_is_good = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    // Control characters beyond ASCII are looked for where there is anything beyond ASCII.
    let is_bad = |byte: u8| byte.is_ascii_control() || byte == b'\\';
    let good = name.len() <= limit::TARGET_NAME_BYTES
        && name.as_bytes().split(|byte| *byte == b'/').all(part_is_good)
        && !name.bytes().any(is_bad)
        && (name.is_ascii() || !name.chars().any(char::is_control));
    match good {
        true => Ok(()),
        false => Err(TrustError::malformed(
            format!(
                "the target `{}`",
                name.chars().take(80).collect::<String>().escape_debug()
            ),
            "its name is empty, too long, absolute, or has `.`, `..` or empty parts, backslashes or control characters",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_name_is_one_path_component() {
        assert_eq!(file_name("targets", Some(3)), "3.targets.json");
        assert_eq!(file_name("timestamp", None), "timestamp.json");
        assert_eq!(file_name("../a/b?é", Some(1)), "1...%2Fa%2Fb%3F%C3%A9.json");
        assert_eq!(file_name("..", None), "%2E..json");
    }

    #[test]
    fn a_delegated_role_is_no_root_whatever_it_is_called() {
        assert_eq!(root_version("12.root.json"), Some(12));
        for other in [
            "root.json",
            "1.x.root.json",
            "1.2.root.json",
            "+1.root.json",
            "1.root",
            "targets.json",
        ] {
            assert_eq!(root_version(other), None, "{other}");
        }
    }

    #[test]
    fn target_names_stay_where_they_are() {
        for good in ["docker.io/library/alpine:3", "spec/node.yml", "a b"] {
            assert!(check_target_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "a/../b",
            "..",
            "./a",
            "a\\b",
            "a\nb",
            &"a".repeat(2000),
        ] {
            assert!(check_target_name(bad).is_err(), "{bad}");
        }
    }
}
