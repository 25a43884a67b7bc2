//! Nodes of real components, and the machines that they run on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{imgkit, run, succeed};

/// What a machine of this age is given up after, in seconds: booting takes some 10 on an idle host.
const PATIENCE: &str = "240";

/// A node without services, to which lines of `onboot:` are added.
pub const NODE: &str = "\
boot:
  image: imgkit.local/components/boot-bios
kernel:
  image: imgkit.local/components/kernel
  cmdline: console=ttyS0 quiet
init:
  - imgkit.local/components/init
  - imgkit.local/components/runc
onboot:
";

/// A directory with a store of components made from Debian's packages.
pub struct Workshop {
    dir: tempfile::TempDir,
}

impl Workshop {
    /// Makes components of this repository's recipes.
    pub fn new(components: &[&str]) -> Self {
        let workshop = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("components");
        let mut command = workshop.command();
        command.args(["pkg", "build"]);
        command.args(components.iter().map(|name| recipes.join(name)));
        succeed(&mut command);
        workshop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of imgkit in this directory, with its store.
    pub fn command(&self) -> Command {
        let mut command = imgkit(self.dir.path());
        command.current_dir(self.dir.path());
        command
    }

    /// Builds a node of unsigned components: what is booted here is judged elsewhere.
    pub fn build(&self, name: &str, spec: &str, format: &str) {
        let file = format!("{name}.yml");
        fs::write(self.path(&file), spec).unwrap();
        let fixed = [
            "build",
            "--unsafe-accept-unsigned",
            "--offline",
            "--out",
            "out",
            "--name",
            name,
        ];
        let at = ["--at", super::node::NOW, "--format", format, &file];
        succeed(self.command().args(fixed).args(at));
    }
}

/// Runs a machine until it powers off; returns its console.
pub fn boot(arguments: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", PATIENCE, "qemu-system-x86_64"]);
    command.args([
        "-accel",
        "tcg",
        "-machine",
        "q35,usb=off",
        "-cpu",
        "max",
        "-smp",
        "1",
        "-nic",
        "none",
    ]);
    command.args([
        "-display",
        "none",
        "-vga",
        "none",
        "-monitor",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
    ]);
    let (code, console) = run(command.args(arguments).stdin(std::process::Stdio::null()));
    assert_eq!(code, 0, "the machine did not power off: {console}");
    console
}

/// The program that prints a guest's tree, linked statically; cargo builds it with the tests.
pub fn lister() -> Vec<u8> {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/guest-lister");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo build --examples`", path.display()))
}

/// The lines of a tree that the lister printed; `None` when it did not reach the end.
pub fn listed(console: &str, prefix: &str) -> Option<String> {
    let lines = console.lines().filter_map(|line| line.strip_prefix(prefix));
    let (end, tree): (Vec<&str>, Vec<&str>) = lines.map(str::trim_end).partition(|line| *line == "end");
    (end.len() == 1).then(|| tree.iter().map(|line| format!("{line}\n")).collect())
}
