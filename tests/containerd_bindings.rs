//! Regenerates the bindings of containerd's API and compares them with the committed ones, so that the two cannot drift.
//!
//! The `.proto` files beside the bindings are containerd's own (Apache-2.0), unchanged. After a change of them, of prost or of
//! tonic, `IMGKIT_BLESS=1 cargo test --test containerd_bindings` writes the bindings anew.

#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::Path;

const API: &str = "github.com/containerd/containerd/api";

const SERVICES: &[&str] = &[
    "services/containers/v1/containers.proto",
    "services/namespaces/v1/namespace.proto",
    "services/tasks/v1/tasks.proto",
];

#[test]
fn committed_bindings_are_what_the_proto_files_give() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/imgkit-init/containerd");
    let protos = SERVICES.iter().map(|name| format!("{API}/{name}"));
    let descriptors = protox::compile(protos, [home.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();

    let bless = std::env::var_os("IMGKIT_BLESS").is_some();
    let mut names: Vec<_> = fs::read_dir(out.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for name in &names {
        let fresh = fs::read_to_string(out.path().join(name)).unwrap();
        let committed = home.join("bindings").join(name);
        if bless {
            fs::create_dir_all(home.join("bindings")).unwrap();
            fs::write(&committed, &fresh).unwrap();
        }
        assert_eq!(
            fs::read_to_string(&committed).unwrap_or_default(),
            fresh,
            "{} differs from what its .proto gives",
            committed.display()
        );
    }
    let committed = fs::read_dir(home.join("bindings")).unwrap().count();
    assert_eq!(committed, names.len(), "bindings/ holds a file that no .proto gives");
}
