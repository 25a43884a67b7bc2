//! Tests that boot QEMU: `cargo nextest run --profile vm`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::path::Path;
use std::process::Command;

use common::images::noise;
use common::node::{Answer, NOW, Node, answer};
use serde_json::Value;

/// The programs of a release: what a user runs, and what runs in the node. `tests/run` builds them.
fn imgkit() -> std::path::PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/imgkit");
    assert!(
        program.is_file(),
        "{} is missing; run `cargo build --release --bins`",
        program.display()
    );
    program
}

#[test]
fn vm_quickstart_does_the_whole_main_job() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(imgkit())
        .args(["quickstart", "--output", "json", "--dir"])
        .arg(dir.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{talk}\n{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "ok");
    let result = &report["result"];
    assert_eq!(result["skipped"], 0, "{talk}");
    let nonce = result["nonce"].as_str().unwrap();
    let evidence = |name: &str| {
        let steps = result["steps"].as_array().unwrap();
        let step = steps
            .iter()
            .find(|step| step["name"].as_str().unwrap().starts_with(name));
        let step = step.unwrap_or_else(|| panic!("no step `{name}`: {said}"));
        assert_eq!(step["outcome"], "OK", "{step}");
        step["evidence"].clone()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert!(text(&evidence("boot the disk")["line"]).contains("all services up"));
    assert_eq!(text(&evidence("metadata:")["hostname"]), format!("node-{nonce}"));
    assert!(text(&evidence("sshd:")["fingerprint"]).starts_with("SHA256:"));
    assert!(text(&evidence("sysctl:")["value"]).ends_with(nonce));
    assert!(text(&evidence("dhcpcd:")["address"]).contains("10.0.2.15"));
    let rngd = text(&evidence("rngd:")["process"]);
    assert!(rngd.contains("/dev/hwrng") && rngd.contains("/dev/random"), "{rngd}");
    assert!(text(&evidence("onboot: an optional")["line"]).contains("onboot optional: FAILED"));
    assert!(text(&evidence("power off")["onshutdown"]).contains(&format!("farewell {nonce}")));
    let tasks = evidence("containerd:");
    assert_ne!(tasks["pidBefore"], tasks["pidAfter"]);
    let tls = evidence("ca-certificates:");
    assert!(text(&tls["withTheTestAuthority"]).ends_with("200"), "{tls}");
    assert!(!text(&tls["shippedAuthoritiesAlone"]).ends_with("200"), "{tls}");
    assert_eq!(evidence("power off")["exit"], 0);
    assert_eq!(
        evidence("build with the tampered component")[0]["code"],
        "DIGEST_MISMATCH"
    );
    let flipped = evidence("flip one bit of the disk");
    let refusal = &evidence("verify the flipped disk")[0];
    assert_eq!(refusal["byte"], flipped["byte"]);
    assert!(text(&refusal["subject"]).contains(&text(&flipped["owner"]["component"])));
}

/// A boot sector that says something on the serial line and stops.
fn boot_sector(says: &str) -> Vec<u8> {
    // mov al, C; mov dx, 0x3f8; out dx, al
    let mut code: Vec<u8> = says.bytes().flat_map(|c| [0xb0, c, 0xba, 0xf8, 0x03, 0xee]).collect();
    // again: hlt; jmp again
    code.extend([0xf4, 0xeb, 0xfd]);
    code.resize(512, 0);
    code
}

/// Runs a verified disk whose boot sector says something, until that is `UP` or the time is over.
fn boots(says: &str) -> Answer {
    let node = Node::new();
    node.component(
        "boot",
        &[("boot.img", &boot_sector(says)), ("core.img", &noise(2, 50_000))],
    );
    node.good(&["trust", "sign", "--at", NOW, "local.test/boot:v1"]);
    node.build_sealed("out");
    assert_eq!(node.verify("out/node.qcow2").code, 0);
    let run = [
        "run",
        "--policy",
        "policy.yml",
        "--exit-on",
        "^UP",
        "--timeout",
        "30",
        "out/node.qcow2",
    ];
    let path = std::env::var_os("PATH").unwrap();
    answer(node.command(&run).env("PATH", path))
}

#[test]
fn vm_a_disk_that_does_not_come_up_is_boot_failed() {
    let good = boots("UP\r\n");
    assert_eq!(
        (good.code, &good.json["result"]["ending"]),
        (0, &"pattern".into()),
        "{}",
        good.json
    );
    for says in ["DOWN\r\n", "Initramfs unpacking failed\r\n"] {
        let Answer { code, json } = boots(says);
        assert_eq!(
            (code, &json["refusals"][0]["code"]),
            (1, &"BOOT_FAILED".into()),
            "{json}"
        );
    }
}
