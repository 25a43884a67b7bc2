//! User data as LinuxKit's metadata package reads it: JSON that describes a tree of files, or anything else.
//!
//! `{"ssh": {"entries": {"sshd_config": {"perm": "0600", "content": "…"}}}}`: an entry with `content` is a file (mode 0644 unless `perm`
//! says otherwise), one with `entries` a directory (0755). The whole document is checked before anything is written.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::Error;
use crate::limit;

/// A checked file or directory, by its path below the configuration directory.
#[derive(Debug, PartialEq)]
pub(crate) struct Item {
    /// Names from the top; none is empty, `.`, `..` or holds a slash.
    pub(crate) path: Vec<String>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// A file's content; `None` for a directory.
    pub(crate) content: Option<String>,
}

/// An entry as it is written.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    perm: String,
    content: Option<String>,
    entries: Option<BTreeMap<String, Entry>>,
}

/// Reads user data; `None` when it is no JSON tree of files, which is no error: it may be for something else.
///
/// Directories come before what is in them.
///
/// # Errors
///
/// [`Error::Malformed`] when it is such a tree, but with a name, a mode or a size that it may not have.
pub(crate) fn parse(data: &[u8]) -> Result<Option<Vec<Item>>, Error> {
    let Ok(top) = serde_json::from_slice::<BTreeMap<String, Entry>>(data) else {
        return Ok(None);
    };
    if top
        .values()
        .any(|entry| entry.content.is_some() == entry.entries.is_some())
    {
        return Ok(None);
    }
    let mut items = Vec::new();
    collect(top, &mut Vec::new(), &mut items)?;
    Ok(Some(items))
}

/// Checks the entries of one directory and those below it.
fn collect(entries: BTreeMap<String, Entry>, folder: &mut Vec<String>, items: &mut Vec<Item>) -> Result<(), Error> {
    for (name, entry) in entries {
        check_name(&name)?;
        folder.push(name);
        let path = folder.clone();
        let shown = path.join("/");
        if path.len() > limit::DEPTH {
            return Err(malformed(&shown, "a deeper directory".to_owned(), "at most 16 levels"));
        }
        if items.len() == limit::ENTRIES {
            return Err(malformed(&shown, "one entry more".to_owned(), "at most 4096 entries"));
        }
        match (entry.content, entry.entries) {
            (Some(content), None) => items.push(Item {
                path,
                mode: mode(&shown, &entry.perm, 0o644)?,
                content: Some(content),
            }),
            (None, Some(below)) => {
                items.push(Item {
                    path,
                    mode: mode(&shown, &entry.perm, 0o755)?,
                    content: None,
                });
                collect(below, folder, items)?;
            }
            _ => {
                return Err(malformed(
                    &shown,
                    "both or none of content and entries".to_owned(),
                    "one of them",
                ));
            }
        }
        folder.pop();
    }
    Ok(())
}

/// Refuses a name that would lead out of its directory.
fn check_name(name: &str) -> Result<(), Error> {
    let fine = !matches!(name, "" | "." | "..")
        && name.len() <= limit::NAME_BYTES
        && !name.contains(|c: char| c == '/' || c.is_control());
    if fine {
        Ok(())
    } else {
        Err(malformed(
            &format!("{name:?}"),
            "this name".to_owned(),
            "a file name without slashes",
        ))
    }
}

/// Reads an octal mode.
fn mode(shown: &str, perm: &str, default: u32) -> Result<u32, Error> {
    if perm.is_empty() {
        return Ok(default);
    }
    let read = u32::from_str_radix(perm, 8).ok().filter(|mode| *mode <= 0o777);
    read.ok_or_else(|| malformed(shown, format!("perm {perm:?}"), "octal permission bits up to 0777"))
}

fn malformed(entry: &str, found: String, expected: &'static str) -> Error {
    Error::Malformed {
        what: format!("user data: {entry}"),
        found,
        expected,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn item(path: &str, mode: u32, content: Option<&str>) -> Item {
        Item {
            path: path.split('/').map(str::to_owned).collect(),
            mode,
            content: content.map(str::to_owned),
        }
    }

    #[test]
    fn reads_linuxkits_example() {
        let data = br#"{"ssh": {"entries": {"sshd_config": {"perm": "0600", "content": "PermitRootLogin yes"}}}, "foo": {"entries": {"bar": {"content": "foobar"}}}, "empty": {"content": ""}}"#;
        let items = parse(data).unwrap().unwrap();
        assert_eq!(
            items,
            [
                item("empty", 0o644, Some("")),
                item("foo", 0o755, None),
                item("foo/bar", 0o644, Some("foobar")),
                item("ssh", 0o755, None),
                item("ssh/sshd_config", 0o600, Some("PermitRootLogin yes")),
            ]
        );
    }

    #[test]
    fn leaves_other_user_data_alone() {
        for data in [
            "#cloud-config\n",
            "#!/bin/sh\n",
            "[]",
            "7",
            r#"{"ignition": {"version": "3.4.0"}}"#,
            "",
        ] {
            assert_eq!(parse(data.as_bytes()).unwrap(), None, "{data}");
        }
    }

    #[test]
    fn refuses_names_that_lead_out() {
        for name in ["..", ".", "", "a/b", "/etc", "../../etc/passwd", "a\\u0000b"] {
            let data = format!(r#"{{"ok": {{"entries": {{"{name}": {{"content": "x"}}}}}}}}"#);
            assert!(matches!(parse(data.as_bytes()), Err(Error::Malformed { .. })), "{name}");
        }
    }

    #[test]
    fn refuses_modes_beyond_permission_bits() {
        for perm in ["4755", "999", "rw", "-1"] {
            let data = format!(r#"{{"f": {{"perm": "{perm}", "content": "x"}}}}"#);
            assert!(matches!(parse(data.as_bytes()), Err(Error::Malformed { .. })), "{perm}");
        }
    }

    #[test]
    fn refuses_more_or_deeper_entries_than_it_may_have() {
        let deep = (0..20).fold(r#"{"content": ""}"#.to_owned(), |below, _| {
            format!(r#"{{"entries": {{"d": {below}}}}}"#)
        });
        assert!(parse(format!(r#"{{"d": {deep}}}"#).as_bytes()).is_err());
        let many: Vec<String> = (0..5000).map(|n| format!(r#""{n}": {{"content": ""}}"#)).collect();
        assert!(parse(format!("{{{}}}", many.join(",")).as_bytes()).is_err());
    }
}
