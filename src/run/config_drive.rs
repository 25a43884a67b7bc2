//! OpenStack's config drive: a small FAT volume labelled `config-2` (OpenStack Nova, "Config drives").

use std::io::{self, Cursor, Write};

use crate::failure::Failure;
use crate::limit;

/// Size of the volume: room for user data up to Nova's limit of 64 KiB, many times over.
const VOLUME_BYTES: usize = 4 << 20;

/// What the drive holds.
#[derive(Clone, Debug, Default)]
pub struct ConfigDrive {
    /// `openstack/latest/meta_data.json`.
    pub meta_data: Vec<u8>,
    /// `openstack/latest/user_data`, if there is any.
    pub user_data: Option<Vec<u8>>,
}

impl ConfigDrive {
    /// Makes the drive's bytes, a raw disk image.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when a document is larger than 1 MiB or the metadata are not a JSON object.
    pub fn image(&self) -> Result<Vec<u8>, Failure> {
        let user_data = self.user_data.as_deref();
        if self.meta_data.len() > limit::METADATA_BYTES
            || user_data.is_some_and(|data| data.len() > limit::METADATA_BYTES)
        {
            return Err(Failure::malformed("metadata", "a document is larger than 1 MiB"));
        }
        let parsed: Result<serde_json::Map<_, _>, _> = serde_json::from_slice(&self.meta_data);
        if let Err(error) = parsed {
            let problem = format!("expected OpenStack's meta_data.json, a JSON object: {error}");
            return Err(Failure::malformed("metadata", problem));
        }
        let mut documents = vec![("meta_data.json", self.meta_data.as_slice())];
        documents.extend(user_data.map(|data| ("user_data", data)));
        volume(&documents).map_err(|error| Failure::unavailable("config drive", error))
    }
}

fn volume(documents: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0; VOLUME_BYTES]);
    let options = fatfs::FormatVolumeOptions::new()
        .volume_label(*b"config-2   ")
        .volume_id(0x1a6b_1702);
    fatfs::format_volume(&mut volume, options)?;
    {
        let fs = fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new())?;
        let latest = fs.root_dir().create_dir("openstack")?.create_dir("latest")?;
        for (name, document) in documents {
            latest.create_file(name)?.write_all(document)?;
        }
    }
    Ok(volume.into_inner())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Read as _;

    #[test]
    fn holds_the_documents_where_openstack_puts_them() {
        let drive = ConfigDrive {
            meta_data: br#"{"hostname":"n1"}"#.to_vec(),
            user_data: Some(b"#!data".to_vec()),
        };
        let fs = fatfs::FileSystem::new(Cursor::new(drive.image().unwrap()), fatfs::FsOptions::new()).unwrap();
        assert_eq!(fs.volume_label(), "config-2");
        let mut text = String::new();
        let mut file = fs.root_dir().open_file("openstack/latest/meta_data.json").unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, r#"{"hostname":"n1"}"#);
        assert!(fs.root_dir().open_file("openstack/latest/user_data").is_ok());
    }

    #[test]
    fn refuses_metadata_that_are_no_json_object() {
        for bad in [&b"[]"[..], b"", b"{"] {
            let drive = ConfigDrive {
                meta_data: bad.to_vec(),
                user_data: None,
            };
            assert!(drive.image().is_err());
        }
    }
}
