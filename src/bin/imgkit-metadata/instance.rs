//! `meta_data.json`, what OpenStack tells an instance about itself: the members that a node can use, checked.

use serde::Deserialize;

use crate::error::Error;
use crate::limit;

/// The instance's metadata, ready to be written: every text is one line, every key plausible.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Instance {
    /// The instance's identifier.
    pub(crate) id: Option<String>,
    /// The host name, short enough for the kernel.
    pub(crate) hostname: Option<String>,
    /// The availability zone.
    pub(crate) availability_zone: Option<String>,
    /// Lines of `authorized_keys`.
    pub(crate) ssh_keys: Vec<String>,
    /// Files that the instance was created with: their path on the instance, and where the drive has them.
    pub(crate) files: Vec<(String, String)>,
}

/// The document's members as OpenStack writes them; it may have any others.
#[derive(Deserialize)]
struct Document {
    uuid: Option<String>,
    hostname: Option<String>,
    availability_zone: Option<String>,
    #[serde(default)]
    public_keys: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default)]
    files: Option<Vec<File>>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    content_path: String,
}

impl Instance {
    /// Reads and checks the document.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], or [`Error::Malformed`] with the member that is not what it should be.
    pub(crate) fn parse(document: &[u8]) -> Result<Instance, Error> {
        let document: Document = serde_json::from_slice(document).map_err(|source| Error::Json {
            what: "meta_data.json",
            source,
        })?;
        let mut ssh_keys = Vec::new();
        for lines in document.public_keys.unwrap_or_default().into_values() {
            for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
                ssh_keys.push(key(line)?);
            }
        }
        if ssh_keys.len() > limit::KEYS {
            return Err(malformed(
                "public_keys",
                format!("{} keys", ssh_keys.len()),
                "at most 256",
            ));
        }
        Ok(Instance {
            id: document.uuid.map(|value| line("uuid", value)).transpose()?,
            hostname: document.hostname.map(|name| hostname(&name)).transpose()?,
            availability_zone: document
                .availability_zone
                .map(|value| line("availability_zone", value))
                .transpose()?,
            ssh_keys,
            files: document
                .files
                .unwrap_or_default()
                .into_iter()
                .map(|file| (file.path, file.content_path))
                .collect(),
        })
    }
}

/// Checks a line of `authorized_keys`: printable, with a type and a key at least.
fn key(line: &str) -> Result<String, Error> {
    let plausible = line.len() <= limit::KEY_BYTES
        && !line.contains(char::is_control)
        && line.split_ascii_whitespace().count() >= 2;
    if plausible {
        Ok(line.to_owned())
    } else {
        Err(malformed(
            "public_keys",
            shortened(line),
            "an OpenSSH public key on one line",
        ))
    }
}

/// Checks a host name; a qualified one that is too long for the kernel is cut to its first label.
fn hostname(name: &str) -> Result<String, Error> {
    let chosen = if name.len() > limit::HOSTNAME_BYTES {
        name.split('.').next().unwrap_or(name)
    } else {
        name
    };
    let label_is_fine = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
    };
    if chosen.len() <= limit::HOSTNAME_BYTES && chosen.split('.').all(label_is_fine) {
        Ok(chosen.to_owned())
    } else {
        Err(malformed(
            "hostname",
            shortened(name),
            "letters, digits, hyphens and dots, at most 64 of them",
        ))
    }
}

/// Checks a value that becomes a file of one line.
fn line(member: &'static str, value: String) -> Result<String, Error> {
    if value.len() <= limit::NAME_BYTES && !value.contains(char::is_control) {
        Ok(value)
    } else {
        Err(malformed(
            member,
            shortened(&value),
            "one printable line of at most 255 bytes",
        ))
    }
}

fn malformed(member: &str, found: String, expected: &'static str) -> Error {
    Error::Malformed {
        what: format!("meta_data.json: {member}"),
        found,
        expected,
    }
}

/// Quotes the beginning of a value for a message.
fn shortened(value: &str) -> String {
    format!("{:?}", value.chars().take(60).collect::<String>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As nova writes it, less members that are not read.
    const NOVAS: &str = r#"{
        "uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "name": "test", "hostname": "test.novalocal", "launch_index": 0,
        "availability_zone": "nova", "project_id": "f7ac", "meta": {"priority": "low"},
        "public_keys": {"mykey": "ssh-ed25519 AAAAC3Nza me@here\n", "other": "ssh-rsa AAAAB3Nza"},
        "keys": [{"name": "mykey", "type": "ssh", "data": "ssh-ed25519 AAAAC3Nza me@here\n"}],
        "files": [{"path": "/etc/ssh/ssh_host_ed25519_key", "content_path": "/content/0000"}]
    }"#;

    #[test]
    fn reads_novas_document() {
        let instance = Instance::parse(NOVAS.as_bytes()).unwrap();
        assert_eq!(instance.hostname.as_deref(), Some("test.novalocal"));
        assert_eq!(instance.id.as_deref(), Some("83679162-1378-4288-a2d4-70e13ec132aa"));
        assert_eq!(
            instance.ssh_keys,
            ["ssh-ed25519 AAAAC3Nza me@here", "ssh-rsa AAAAB3Nza"]
        );
        assert_eq!(
            instance.files,
            [("/etc/ssh/ssh_host_ed25519_key".to_owned(), "/content/0000".to_owned())]
        );
    }

    #[test]
    fn takes_an_empty_document_for_an_instance_without_anything() {
        assert_eq!(
            Instance::parse(br#"{"public_keys": null, "files": null}"#).unwrap(),
            Instance::default()
        );
    }

    #[test]
    fn cuts_a_host_name_that_the_kernel_would_not_take() {
        let long = format!("node.{}.example", "x".repeat(60));
        assert_eq!(hostname(&long).unwrap(), "node");
    }

    #[test]
    fn refuses_host_names_that_would_not_stay_one_word() {
        for name in ["", "a b", "a\nb", "../x", "-rf", "a..b", &"x".repeat(65)] {
            assert!(hostname(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn refuses_keys_that_are_none() {
        for document in [
            r#"{"public_keys": {"a": "ssh-rsa"}}"#,
            r#"{"public_keys": {"a": "ssh-rsa AAAA \u001b[2J"}}"#,
        ] {
            let error = Instance::parse(document.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("meta_data.json: public_keys: "), "{error}");
        }
        let many = format!(r#"{{"public_keys": {{"a": "{}"}}}}"#, "ssh-rsa AAAA\\n".repeat(257));
        assert!(
            Instance::parse(many.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("257 keys")
        );
    }
}
