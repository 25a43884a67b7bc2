//! What a booted node keeps of its components, and which drive it boots from.

#![allow(clippy::unwrap_used)]

mod common;

use common::guest::{NODE, Workshop, boot, lister};
use common::images::{put_layer, reference};
use common::store_in;
use imgkit::digest::Digest;
use imgkit::store::layout::Layout;

/// `cap_net_raw+ep`, as the kernel keeps it (struct vfs_cap_data, revision 2).
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What every node of these tests is made of.
const COMPONENTS: &[&str] = &["boot-bios", "init", "kernel", "runc"];

/// A node whose first container lists its tree. The last one cannot start, which stops the boot and powers the machine off.
const ONBOOT: &str = "  - name: lister
    image: imgkit.local/test/lister
    command: [/bin/lister]
  - name: readonly
    image: imgkit.local/test/lister
    readonly: true
    command: [/bin/lister]
  - name: end
    image: imgkit.local/test/lister
    command: [/bin/missing]
";

/// Puts an image of the lister into the store, with a file that has an extended attribute.
fn put_lister(workshop: &Workshop, attribute: &str, value: &[u8]) {
    let program = lister();
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        if path == "bin/ping" {
            let name = format!("SCHILY.xattr.{attribute}");
            archive.append_pax_extensions([(name.as_str(), value)]).unwrap();
        }
        archive.append_data(&mut header, path, content).unwrap();
    };
    add("bin/lister", &program);
    add("bin/ping", b"ping");
    let archive = archive.into_inner().unwrap();
    let layout = Layout::open_or_create(store_in(&workshop.path(""))).unwrap();
    let writer = layout.writer().unwrap();
    let blob = ("application/vnd.oci.image.layer.v1.tar", archive.as_slice());
    let manifest = put_layer(&writer, "amd64", blob, Digest::sha256(&archive));
    writer
        .tag(&reference("imgkit.local/test/lister:latest"), &manifest)
        .unwrap();
}

/// Boots what `imgkit build --format kernel+initrd` made.
fn boot_kernel(workshop: &Workshop, name: &str) -> String {
    let file = |end: &str| workshop.path("out").join(format!("{name}-{end}")).display().to_string();
    let (kernel, initrd) = (file("kernel"), file("initrd.img"));
    let append = std::fs::read_to_string(file("cmdline")).unwrap();
    boot(&[
        "-m",
        "512",
        "-kernel",
        &kernel,
        "-initrd",
        &initrd,
        "-append",
        append.trim(),
    ])
}

#[test]
fn vm_a_components_file_capability_arrives_in_its_container() {
    let workshop = Workshop::new(COMPONENTS);
    put_lister(&workshop, "security.capability", &NET_RAW);
    workshop.build("node", &format!("{NODE}{ONBOOT}"), "kernel+initrd");
    let console = boot_kernel(&workshop, "node");
    assert!(console.contains("root file system: done"), "{console}");
    // The container that cannot start stops the boot, and the console says which.
    let failed = console.lines().find(|line| line.contains("boot: FAILED: ")).unwrap();
    assert!(failed.contains("onboot end"), "{failed}");
    assert!(!console.contains("all services up"), "{console}");
    let digest = Digest::sha256(b"ping");
    let line = format!(
        "tree: f 0755 0 0 4 {} bin/ping security.capability={}",
        digest.hex(),
        hex::encode(NET_RAW)
    );
    for container in ["lister", "readonly"] {
        assert!(console.contains(&format!("{container}| {line}")), "{console}");
    }
}

#[test]
fn vm_an_attribute_that_the_root_cannot_hold_stops_the_boot() {
    let workshop = Workshop::new(COMPONENTS);
    put_lister(&workshop, "user.note", b"x");
    workshop.build("node", &format!("{NODE}{ONBOOT}"), "kernel+initrd");
    let console = boot_kernel(&workshop, "node");
    let line =
        "boot: FAILED: /etc/imgkit/xattrs, line 1: cannot set user.note of containers/onboot/000-lister/lower/bin/ping";
    assert!(console.contains(line), "{console}");
    assert!(!console.contains("onboot lister: started"), "{console}");
}

#[test]
fn vm_the_node_boots_from_its_own_drive_though_another_bootable_one_comes_first() {
    let workshop = Workshop::new(COMPONENTS);
    put_lister(&workshop, "security.capability", &NET_RAW);
    workshop.build("node", &format!("{NODE}{ONBOOT}"), "raw-bios");
    let decoy = ONBOOT.replace("name: lister", "name: decoy");
    workshop.build("decoy", &format!("{NODE}{decoy}"), "raw-bios");
    let drive = |id: &str, name: &str| {
        let file = workshop.path("out").join(format!("{name}-bios.img"));
        format!("file={},format=raw,if=none,snapshot=on,id={id}", file.display())
    };
    // The order of `imgkit run`: what brings metadata first, and the BIOS told to start the other one.
    let boot_second = |first: &str, second: &str| {
        let (first, second) = (drive("config", first), drive("boot", second));
        let first = ["-drive", &first, "-device", "virtio-blk-pci,drive=config"];
        let second = ["-drive", &second, "-device", "virtio-blk-pci,drive=boot,bootindex=0"];
        boot(&[&["-m", "512"], &first[..], &second].concat())
    };
    for (first, second) in [("decoy", "node"), ("node", "decoy")] {
        let console = boot_second(first, second);
        let started = |name: &str| console.contains(&format!("onboot {name}: started"));
        assert_eq!(
            (started("lister"), started("decoy")),
            (second == "node", second == "decoy"),
            "{console}"
        );
    }
}
