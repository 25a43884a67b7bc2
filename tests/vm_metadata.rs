//! What OpenStack tells a booted node: over its link-local address, and on a config drive that brings the host key.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;
use std::process::Command;

use common::guest::{NODE, Workshop, boot};
use common::succeed;

const COMPONENTS: &[&str] = &["boot-bios", "init", "kernel", "runc", "dhcpcd", "metadata", "sshd"];

const METADATA: &str = "  - name: metadata
    image: imgkit.local/components/metadata
";

/// The metadata service: QEMU starts it for each connection of the guest, with the connection as its input and output.
const SERVICE: &str = r#"
read -r method path protocol
while read -r header && [ "$header" != "$(printf '\r')" ]; do :; done
answer() { printf 'HTTP/1.1 %s\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' "$1" "${#2}" "$2"; }
case $path in
  /openstack/latest/meta_data.json)
    answer '200 OK' '{"uuid": "i-1", "hostname": "node-over-http", "public_keys": {"k": "ssh-ed25519 AAAAkey me"}}' ;;
  /openstack/latest/user_data) answer '200 OK' 'data of the user' ;;
  *) answer '404 Not Found' '' ;;
esac
"#;

/// A container that runs a line of shell, as the component of sshd has one.
fn shell(name: &str, line: &str) -> String {
    format!(
        "  - name: {name}\n    image: imgkit.local/components/sshd\n    command: [/bin/busybox, sh, -c, \"{line}\"]\n"
    )
}

/// The last container cannot start, which powers the machine off.
fn node(workshop: &Workshop, onboot: &str) -> String {
    let end = "  - name: end\n    image: imgkit.local/components/runc\n    command: [/bin/missing]\n";
    workshop.build("node", &format!("{NODE}{onboot}{end}"), "raw-bios");
    let disk = workshop.path("out/node-bios.img");
    format!("file={},format=raw,if=none,snapshot=on,id=boot", disk.display())
}

#[test]
fn vm_metadata_come_from_the_link_local_service() {
    let workshop = Workshop::new(COMPONENTS);
    let service = workshop.path("service");
    fs::write(&service, SERVICE).unwrap();
    let dhcpcd = "  - name: dhcpcd
    image: imgkit.local/components/dhcpcd
    command: [/usr/sbin/dhcpcd, --nobackground, --oneshot]
";
    let config = "cd /run/config; busybox hostname; for f in provider ssh/authorized_keys userdata; do busybox cat $f; busybox echo; done";
    let disk = node(&workshop, &format!("{dhcpcd}{METADATA}{}", shell("show", config)));
    let network = format!(
        "user,id=net,net=169.254.0.0/16,dhcpstart=169.254.0.15,host=169.254.0.2,dns=169.254.0.3,restrict=on,\
         guestfwd=tcp:169.254.169.254:80-cmd:sh {}",
        service.display()
    );
    let card = "virtio-net-pci,netdev=net,romfile=";
    let boot_drive = ["-drive", &disk, "-device", "virtio-blk-pci,drive=boot"];
    let console = boot(&[&["-m", "512"], &boot_drive[..], &["-netdev", &network, "-device", card]].concat());
    let shown = [
        "node-over-http",
        "openstack",
        "ssh-ed25519 AAAAkey me",
        "data of the user",
    ];
    let expected = shown.map(|line| format!("show| {line}"));
    let lines: Vec<&str> = console.lines().map(str::trim_end).collect();
    let missing = expected
        .iter()
        .find(|line| !lines.iter().any(|found| found.contains(line.as_str())));
    assert_eq!(missing, None, "{console}");
}

#[test]
fn vm_sshd_takes_its_host_key_from_the_config_drive() {
    let workshop = Workshop::new(COMPONENTS);
    let key = workshop.path("host_key");
    succeed(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "host", "-f"])
            .arg(&key),
    );
    let listed = succeed(Command::new("ssh-keygen").arg("-lf").arg(&key));
    let fingerprint = listed.split(' ').nth(1).unwrap();
    let drive = workshop.path("config.img");
    fs::write(&drive, config_drive(&key)).unwrap();
    // sshd goes on for ever; what starts at boot has to end.
    let sshd = "/usr/sbin/sshd & busybox sleep 5";
    let disk = node(&workshop, &format!("{METADATA}{}", shell("sshd", sshd)));
    // First in order, as `imgkit run` has it, and not what the BIOS starts.
    let drive = format!("file={},format=raw,if=none,readonly=on,id=config", drive.display());
    let config = ["-drive", &drive, "-device", "virtio-blk-pci,drive=config"];
    let boot_drive = ["-drive", &disk, "-device", "virtio-blk-pci,drive=boot,bootindex=0"];
    let console = boot(&[&["-m", "512"], &config[..], &boot_drive].concat());
    let line = format!("sshd: host key ed25519 {fingerprint}");
    assert!(console.contains(&line), "expected `{line}`: {console}");
}

/// A config drive that brings a host key, as `nova boot --file` makes them.
fn config_drive(key: &Path) -> Vec<u8> {
    let metadata = r#"{"uuid": "i-2", "hostname": "keyed",
        "files": [{"path": "/etc/ssh/ssh_host_ed25519_key", "content_path": "/content/0000"}]}"#;
    let mut volume = Cursor::new(vec![0; 1 << 20]);
    let options = fatfs::FormatVolumeOptions::new().volume_label(*b"config-2   ");
    fatfs::format_volume(&mut volume, options).unwrap();
    {
        let system = fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new()).unwrap();
        let openstack = system.root_dir().create_dir("openstack").unwrap();
        let file = |dir: &str, name: &str, content: &[u8]| {
            let mut file = openstack.create_dir(dir).unwrap().create_file(name).unwrap();
            file.write_all(content).unwrap();
        };
        file("latest", "meta_data.json", metadata.as_bytes());
        file("content", "0000", &fs::read(key).unwrap());
    }
    volume.into_inner()
}
