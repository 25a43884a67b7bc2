//! Volumes: directories that containers share, each with `lower` (what the image gave), `merged` (what containers bind) and, if they may
//! write, `tmp` (where that goes, in memory).

use std::fs;
use std::path::Path;

use crate::bundle::{Mount, mount};
use crate::error::{Context, Error};

const FOLDER: &str = "/containers/volumes";

/// Mounts every volume; an image without any has nothing to mount.
///
/// # Errors
///
/// The first mount that fails: a container that binds the volume would silently see an empty directory.
pub(crate) fn prepare() -> Result<(), Error> {
    let entries = match fs::read_dir(FOLDER) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).at("list", FOLDER),
    };
    for entry in entries {
        let volume = entry.at("list", FOLDER)?.path();
        for wanted in mounts(&volume, volume.join("tmp").is_dir()) {
            mount(&wanted, Path::new(&wanted.destination))?;
        }
    }
    Ok(())
}

/// Lists the mounts of one volume, in order.
fn mounts(volume: &Path, writable: bool) -> Vec<Mount> {
    let part = |name: &str| volume.join(name).to_string_lossy().into_owned();
    let (lower, tmp, merged) = (part("lower"), part("tmp"), part("merged"));
    if !writable {
        return vec![Mount::new(merged, "", lower, &["bind".to_owned(), "ro".to_owned()])];
    }
    let layers = [
        format!("lowerdir={lower}"),
        format!("upperdir={tmp}/upper"),
        format!("workdir={tmp}/work"),
    ];
    vec![
        Mount::new(tmp, "tmpfs", "tmpfs".to_owned(), &[]),
        Mount::new(merged, "overlay", "overlay".to_owned(), &layers),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lays_a_writable_volume_over_memory() {
        let mounts = mounts(Path::new("/containers/volumes/v"), true);
        let destinations: Vec<&str> = mounts.iter().map(|wanted| wanted.destination.as_str()).collect();
        assert_eq!(
            destinations,
            ["/containers/volumes/v/tmp", "/containers/volumes/v/merged"]
        );
        assert_eq!(
            mounts.last().unwrap().options,
            [
                "lowerdir=/containers/volumes/v/lower",
                "upperdir=/containers/volumes/v/tmp/upper",
                "workdir=/containers/volumes/v/tmp/work"
            ]
        );
    }

    #[test]
    fn binds_a_volume_that_nobody_may_write() {
        let mounts = mounts(Path::new("/v"), false);
        assert_eq!(mounts.len(), 1);
        let only = mounts.first().unwrap();
        assert_eq!(
            (only.destination.as_str(), only.source.as_str()),
            ("/v/merged", "/v/lower")
        );
        assert_eq!(only.options, ["bind", "ro"]);
    }
}
