//! Images of every release verify for ever (law of the disk 6); `tests/golden/make.sh` made them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::node::{Answer, answer, flip};

fn verify(dir: &Path, image: &str) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgkit"));
    command.args(["--output", "json", "verify", "--files", "--policy", "policy.yml", image]);
    answer(command.current_dir(dir).env_clear())
}

#[test]
fn images_of_every_release_verify() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let releases = fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path());
    let releases: Vec<_> = releases.filter(|path| path.is_dir()).collect();
    assert!(!releases.is_empty());
    for release in releases {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(&release).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        let raw = zstd::decode_all(fs::File::open(release.join("node-bios.img.zst")).unwrap()).unwrap();
        fs::write(dir.path().join("node-bios.img"), raw).unwrap();
        for image in ["node-bios.img", "node.qcow2", "node.seal", "node.tar.seal"] {
            let Answer { code, json } = verify(dir.path(), image);
            assert_eq!(code, 0, "{} of {}: {json}", image, release.display());
        }
        flip(&dir.path().join("node-bios.img"), 1_100_000, 1);
        assert_eq!(verify(dir.path(), "node-bios.img").code, 1);
    }
}
