//! `imgkit quickstart`: the main job from end to end, each step a command that the user can repeat.
//!
//! Components are made of Debian packages, signed with fresh keys, assembled under a policy, verified, and booted until their services
//! run; then a component is tampered with and the build refuses it, and a bit of the disk is flipped and the verifier names it.

mod guest;
mod journal;
mod node;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{Context, Report};
use crate::failure::Failure;
use crate::store::file::make_dir;
use journal::{Journal, Outcome, text};

/// Does the whole main job in a directory of its own.
#[derive(Debug, Args)]
pub(super) struct Quickstart {
    /// Where everything is made; each run takes a new directory below it
    #[arg(long, value_name = "DIR", default_value = "quickstart")]
    dir: PathBuf,
    /// The recipes of the components
    #[arg(long, value_name = "DIR", default_value = "components")]
    components: PathBuf,
    /// Take packages from this folder of .deb files, and nothing from the network
    #[arg(long, value_name = "DIR")]
    package_dir: Option<PathBuf>,
    /// How many seconds the node may take until its services run
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    boot_timeout: u64,
}

/// The components of the quickstart's node.
const COMPONENTS: [&str; 13] = [
    "boot-bios",
    "kernel",
    "init",
    "runc",
    "containerd",
    "ca-certificates",
    "sysctl",
    "dhcpcd",
    "metadata",
    "rngd",
    "sshd",
    "getty",
    "debug",
];

/// What stands before the components' names.
const PREFIX: &str = "imgkit.local/components";

impl Quickstart {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        if !self.components.is_dir() {
            let problem = "there are no recipes; run this in imgkit's repository, or name them with --components";
            return Err(Failure::malformed(self.components.display(), problem));
        }
        let nonce = random_hex(8)?;
        let dir = self.dir.join(&nonce);
        make_dir(&dir)?;
        let dir = fs::canonicalize(&dir).map_err(|error| Failure::unavailable(dir.display(), error))?;
        private_file(&dir.join("passphrase"), random_hex(16)?.as_bytes())?;
        let mut journal = Journal::new(context, &dir)?;
        journal.explain(&nonce);
        self.guest_programs(&mut journal, context)?;
        self.make_components(&mut journal)?;
        sign(&mut journal)?;
        let node = node::Node::write(&dir, &nonce)?;
        build(&mut journal)?;
        let verified = journal.must(
            "verify every byte",
            &["verify", "--policy", "policy.yml", "--files", "out/node.qcow2"],
        )?;
        guest::boot(&mut journal, &node, self.boot_timeout)?;
        tamper(&mut journal, &dir)?;
        flip(&mut journal, &dir, &verified)?;
        Ok(journal.report(&nonce))
    }

    /// Builds the programs of this repository that run in the node, where they do not stand beside imgkit yet.
    fn guest_programs(&self, journal: &mut Journal, context: &Context) -> Result<(), Failure> {
        let beside = context.program_dir()?;
        let there = ["imgkit-init", "imgkit-metadata"]
            .iter()
            .all(|name| beside.join(name).is_file());
        match there {
            true => journal.note("guest programs", Outcome::Ok, json!({ "programs": beside })),
            false => journal.cargo("guest programs", &["build", "--release", "--bins"]),
        }
    }

    fn make_components(&self, journal: &mut Journal) -> Result<(), Failure> {
        let recipes = absolute(&self.components)?;
        let mut args = vec!["pkg".to_owned(), "build".to_owned()];
        if let Some(folder) = &self.package_dir {
            args.extend(["--package-dir".to_owned(), absolute(folder)?.display().to_string()]);
        }
        args.extend(COMPONENTS.iter().map(|name| recipes.join(name).display().to_string()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        journal.must("make components from Debian packages", &args).map(drop)
    }
}

fn sign(journal: &mut Journal) -> Result<(), Failure> {
    journal.must("make a collection with fresh keys", &["trust", "init", "platform"])?;
    let images: Vec<String> = COMPONENTS
        .iter()
        .map(|name| format!("{PREFIX}/{name}:latest"))
        .collect();
    let mut args = vec!["trust", "sign"];
    args.extend(images.iter().map(String::as_str));
    journal.must("sign the components", &args).map(drop)
}

fn build(journal: &mut Journal) -> Result<(), Failure> {
    let spec = ["trust", "sign", "--file", "node.yml", "--name", "spec/node.yml"];
    journal.must("sign the specification", &spec)?;
    journal.must("check the policy", &["policy", "check", "policy.yml"])?;
    journal.must("lock", &["lock", "node.yml"])?;
    let key = journal.seal_key()?;
    let build = [
        "build",
        "--release",
        "--locked",
        "--offline",
        "--policy",
        "policy.yml",
        "--seal-key",
        &key,
        "--epoch",
        "1",
        "--format",
        "qcow2-bios",
        "--format",
        "raw-bios",
        "--out",
        "out",
        "node.yml",
    ];
    journal.must("build a sealed, bootable disk", &build).map(drop)
}

/// Puts other bytes under a signed name, and has the build refuse them.
fn tamper(journal: &mut Journal, dir: &Path) -> Result<(), Failure> {
    let rootfs = dir.join("evil/etc");
    make_dir(&rootfs)?;
    let evil = rootfs.join("evil.conf");
    fs::write(&evil, "surprise\n").map_err(|error| Failure::unavailable(evil.display(), error))?;
    let victim = format!("{PREFIX}/rngd:latest");
    journal.must(
        "put other bytes under a signed name",
        &["pkg", "pack", "evil", "--tag", &victim],
    )?;
    let build = [
        "build",
        "--offline",
        "--policy",
        "policy.yml",
        "--out",
        "evil-out",
        "--epoch",
        "1",
        "node.yml",
    ];
    let refused = journal.must_refuse("build with the tampered component", &build)?;
    journal.expect(&refused, |refusal| {
        text(refusal, "code") == "DIGEST_MISMATCH" && text(refusal, "subject").contains("/rngd")
    })
}

/// Flips one bit of a component's segment, and has the verifier name component and byte.
fn flip(journal: &mut Journal, dir: &Path, verified: &Value) -> Result<(), Failure> {
    let extents = verified
        .pointer("/result/extents")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let of_containerd = |extent: &&Value| {
        let owner = extent.pointer("/owner/component").and_then(Value::as_str);
        owner.is_some_and(|component| component.contains("/containerd"))
    };
    let extent = extents
        .iter()
        .find(of_containerd)
        .ok_or_else(|| Failure::malformed("quickstart", "no extent of containerd"))?;
    let number = |name: &str| extent.get(name).and_then(Value::as_u64);
    let (offset, length) = (number("offset").unwrap_or(0), number("length").unwrap_or(1));
    let random = u64::from_str_radix(&random_hex(8)?, 16).unwrap_or(0);
    let byte = offset + random % length;
    let bit = u8::try_from(random >> 60 & 7).unwrap_or(0);
    let (from, to) = (dir.join("out/node-bios.img"), dir.join("out/flipped.img"));
    let cannot = |error: std::io::Error| Failure::unavailable(to.display(), error);
    fs::copy(&from, &to).map_err(cannot)?;
    flip_bit(&to, byte, bit).map_err(cannot)?;
    journal.note(
        "flip one bit of the disk",
        Outcome::Ok,
        json!({ "byte": byte, "bit": bit, "owner": extent.get("owner") }),
    )?;
    let refused = journal.must_refuse(
        "verify the flipped disk",
        &["verify", "--policy", "policy.yml", "out/flipped.img"],
    )?;
    journal.expect(&refused, |refusal| {
        let named = refusal.get("byte").and_then(Value::as_u64);
        text(refusal, "subject").contains("/containerd") && named == Some(byte)
    })
}

fn flip_bit(path: &Path, byte: u64, bit: u8) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
    let mut value = [0];
    file.read_exact_at(&mut value, byte)?;
    file.write_all_at(&value.map(|value| value ^ 1 << bit), byte)
}

fn random_hex(bytes: usize) -> Result<String, Failure> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| Failure::unavailable("random numbers", error))?;
    Ok(hex::encode(random))
}

/// Writes a file that only its owner may read.
fn private_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(content));
    written.map_err(|error| Failure::unavailable(path.display(), error))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::unavailable(path.display(), error))
}
