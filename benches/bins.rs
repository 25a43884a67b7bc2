//! What signing and looking up one name cost in collections of growing size, with hashed bins: bytes moved and CPU time.
//!
//! `cargo bench --bench bins [-- SIZE…]` makes each collection in memory, publishes it in a temporary directory, and then runs
//! whole processes on it: `imgkit trust lookup`, and a process that loads, changes, signs and publishes the collection with a key
//! that lies open. Opening a key file derives its key from a passphrase (scrypt), at the same cost at any size: it is told beside.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use imgkit::key::{Passphrase, SigningKey};
use imgkit::store::TrustDir;
use imgkit::time::Time;
use imgkit::trust::edit::{Collection, RoleSpec, bins_for};
use imgkit::trust::plain_file;

/// How often each command runs; the figures are means.
const RUNS: u32 = 20;

/// The clock's ticks in a second, in which the kernel counts the time of children (`USER_HZ`).
const TICKS: f64 = 100.0;

const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Bytes moved and milliseconds of CPU time of one run.
#[derive(Clone, Copy)]
struct Cost {
    kib: f64,
    cpu: f64,
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [child, dir, name] = arguments.as_slice()
        && child == "sign"
    {
        return sign(Path::new(dir), name);
    }
    let sizes: Vec<u64> = arguments.iter().filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    println!(
        "opening one encrypted key file: {:.0} ms of CPU time, at any size\n",
        opening()
    );
    println!(
        "{:>9} {:>6}  {:>22}  {:>22}",
        "targets", "bins", "look up (goal 220, 20)", "sign (goal 450, 60)"
    );
    for size in sizes {
        let dir = tempfile::tempdir().unwrap();
        let bits = bins_for(size);
        publish(&dir.path().join("c"), size, bits);
        let pin = dir.path().join("c/1.root.json");
        let name = |run: u32| format!("registry.example/team/app-{:07}:v1", u64::from(run) * 7919 % size);
        let lookup = measure(|run| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_imgkit"));
            command
                .args(["trust", "lookup", "--collection", "c", "--pin"])
                .arg(&pin);
            command.arg("--trust-dir").arg(dir.path()).arg(name(run));
            command.env("HOME", dir.path()).env("XDG_STATE_HOME", dir.path());
            command
        });
        let sign = measure(|run| {
            let mut command = Command::new(env::current_exe().unwrap());
            command.arg("sign").arg(dir.path().join("c")).arg(name(run));
            command
        });
        let cell = |cost: Cost| format!("{:.0} KB, {:.1} ms", cost.kib * 1.024, cost.cpu);
        println!(
            "{size:>9} {:>6}  {:>22}  {:>22}",
            1_u64 << bits,
            cell(lookup),
            cell(sign)
        );
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).unwrap()
}

/// Returns the milliseconds of CPU time that opening a key file takes.
fn opening() -> f64 {
    let passphrase = Passphrase::new("correct horse battery").unwrap();
    let pem = key().to_encrypted_pem(&passphrase).unwrap();
    let before = own_ticks();
    for _ in 0..5 {
        SigningKey::from_encrypted_pem(&pem, &passphrase).unwrap();
    }
    (own_ticks() - before) / TICKS * 1000.0 / 5.0
}

fn now() -> Time {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Time::from_unix(seconds.as_secs() as i64).unwrap()
}

/// Makes a collection of `size` names and publishes it.
fn publish(dir: &Path, size: u64, bits: u32) {
    let spec = RoleSpec {
        keys: vec![key().tuf_key()],
        threshold: 1,
    };
    let mut collection = Collection::new(&spec, &spec, &spec, &spec, now()).unwrap();
    collection.make_bins(bits, now()).unwrap();
    for number in 0..size {
        let name = format!("registry.example/team/app-{number:07}:v1");
        let file = plain_file(&name, name.as_bytes()).unwrap();
        collection.put_target("targets", &name, file, now()).unwrap();
    }
    let publication = collection.sign(&[&key()], now()).unwrap();
    TrustDir::at(dir).publisher().unwrap().publish(&publication).unwrap();
}

/// What the child does: signs a name anew, from the files to the files.
fn sign(dir: &Path, name: &str) {
    let trust = TrustDir::at(dir);
    let publisher = trust.publisher().unwrap();
    let pin = fs::read(dir.join("1.root.json")).unwrap();
    let mut collection = Collection::load(&pin, &trust).unwrap();
    let file = plain_file(name, b"another").unwrap();
    collection.put_target("targets", name, file, now()).unwrap();
    publisher.publish(&collection.sign(&[&key()], now()).unwrap()).unwrap();
}

/// Runs commands to their ends; what they cost is what the kernel adds to this process's accounts for its children.
fn measure(command: impl Fn(u32) -> Command) -> Cost {
    let before = (moved(), ticks());
    for run in 0..RUNS {
        let mut command = command(run);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Cost {
        kib: (moved() - before.0) / 1024.0 / f64::from(RUNS),
        cpu: (ticks() - before.1) / TICKS * 1000.0 / f64::from(RUNS),
    }
}

/// Bytes read and written so far, those of children that ended included (proc(5), `/proc/PID/io`).
fn moved() -> f64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let field = |name: &str| {
        io.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
    };
    field("rchar:").unwrap() + field("wchar:").unwrap()
}

/// Ticks of CPU time of children that ended (proc(5), `/proc/PID/stat`, cutime and cstime).
fn ticks() -> f64 {
    ticks_of(13)
}

/// Ticks of this process's own CPU time (utime and stime).
fn own_ticks() -> f64 {
    ticks_of(11)
}

fn ticks_of(first: usize) -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[first..first + 2]
        .iter()
        .map(|field| field.parse::<f64>().unwrap())
        .sum()
}
