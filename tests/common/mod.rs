//! What several tests share: small images, a real registry, a registry that lies, a line that breaks.

// Each test uses a part of it, from its own crate.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod forge;
pub mod guest;
pub mod home;
pub mod images;
pub mod line;
pub mod newc;
pub mod node;
pub mod notary;
pub mod notary_user;
pub mod owner;
pub mod places;
pub mod publisher;
pub mod registry;
pub mod serve;
pub mod server;
pub mod sigstore;
pub mod sigstore_operator;
pub mod token;
pub mod users;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The command under test, in an environment of its own: nothing of the user's is read or written.
pub fn imgkit(home: &Path) -> Command {
    in_home(Path::new(env!("CARGO_BIN_EXE_imgkit")), home)
}

/// A command that runs behind another one (`unshare`, `strace` …), in its own environment and directory.
pub fn behind(outer: &[&str], inner: &Command) -> Command {
    let mut command = Command::new(outer[0]);
    command
        .args(&outer[1..])
        .arg(inner.get_program())
        .args(inner.get_args());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = inner.get_current_dir() {
        command.current_dir(dir);
    }
    command
}

/// A command whose home, cache and credentials lie in `home`.
pub fn in_home(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("TMPDIR", std::env::temp_dir());
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command
}

/// A command that runs its arguments where mounts are its own, and gone with it; without root in a user namespace of its own.
pub fn in_mounts_of_its_own(home: &Path) -> Command {
    let mut command = in_home(Path::new("unshare"), home);
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

/// Where `imgkit` keeps its store for one who lives in `home`.
pub fn store_in(home: &Path) -> PathBuf {
    home.join(".cache/imgkit/store")
}

/// Runs to the end; returns the exit code and everything printed.
pub fn run(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [stdout, stderr].concat();
    (
        status.code().expect("ended by a signal"),
        String::from_utf8(text).unwrap(),
    )
}

/// Runs a command that must succeed.
pub fn succeed(command: &mut Command) -> String {
    let (code, text) = run(command);
    assert_eq!(code, 0, "{command:?}: {text}");
    text
}

/// Returns a directory of a name, with packages in it, that `install` puts there when they are not.
pub fn installed(name: &str, packages: &[&str], install: impl FnOnce(&Path, &[&str])) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir).unwrap();
    let lock = fs::File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let done = dir.join("installed");
    if fs::read_to_string(&done).ok().as_deref() != Some(&packages.join(" ")) {
        install(&dir, packages);
        fs::write(done, packages.join(" ")).unwrap();
    }
    dir
}

/// Returns a Python that has packages, in a virtual environment of a name; the first test that needs it makes it.
pub fn python(name: &str, packages: &[&str]) -> PathBuf {
    let dir = installed(name, packages, |dir, packages| {
        let mut venv = Command::new("python3");
        succeed(venv.args(["-m", "venv", "--clear"]).arg(dir.join("venv")));
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        succeed(Command::new(dir.join("venv/bin/python")).args(install).args(packages));
    });
    dir.join("venv/bin/python")
}
