//! Puts the functions of a release's everyday commands beside each other (src/main.ld, made by benches/order.sh).
//!
//! Links the guest programs statically, beside the dynamic `imgkit`, in one plain `cargo build`; of that only libgcc is static: a
//! library less to load, and to ask the processor what it is, whenever a command starts.
//!
//! `-static` alone leaves libgcc_s and the dynamic libc on the linker's command line, and the program crashes. So a folder of linker
//! scripts under the names of the shared libraries goes first in the search path, and each points to the static one.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

const STATIC_PROGRAMS: &[&str] = &["imgkit-init", "imgkit-metadata"];

const LIBGCC: (&str, &str) = ("libgcc_s.so", "INPUT(-l:libgcc_eh.a -l:libgcc.a)");

/// Shared libraries that rustc names for a glibc target, and what stands in for each.
const STAND_INS: &[(&str, &str)] = &[
    LIBGCC,
    ("libc.so", "INPUT(-l:libc.a)"),
    ("libm.so", "INPUT(-l:libm.a)"),
    ("libutil.so", "INPUT(-l:libutil.a)"),
    ("librt.so", "INPUT(-l:librt.a)"),
    ("libpthread.so", "INPUT(-l:libpthread.a)"),
    ("libdl.so", "INPUT(-l:libdl.a)"),
];

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let folder = stand_ins(&Path::new(&out).join("static"), STAND_INS)?;
    let libgcc = stand_ins(&Path::new(&out).join("libgcc"), &[LIBGCC])?;
    println!("cargo:rustc-link-arg-bin=imgkit=-L{libgcc}");
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let order = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.ld");
        println!("cargo:rerun-if-changed={}", order.display());
        println!("cargo:rustc-link-arg-bin=imgkit=-Wl,-T,{}", order.display());
        if loads_packed_relocations() {
            println!("cargo:rustc-link-arg-bin=imgkit=-Wl,-z,pack-relative-relocs");
        }
    }
    let programs = STATIC_PROGRAMS.iter().map(|program| format!("bin={program}"));
    // The one example is the tests' own guest program; without symbols it is small enough to be unpacked in no time.
    println!("cargo:rustc-link-arg-examples=-s");
    for target in programs.chain(["examples".to_owned()]) {
        println!("cargo:rustc-link-arg-{target}=-static");
        println!("cargo:rustc-link-arg-{target}=-no-pie");
        println!("cargo:rustc-link-arg-{target}=-L{folder}");
    }
    Ok(())
}

/// Tells whether programs are for this machine, and its C library relocates them by DT_RELR (glibc 2.36): that takes a few pages of
/// each process, where the older form takes 170.
fn loads_packed_relocations() -> bool {
    let parts = |version: &str| -> Vec<u32> { version.split('.').map_while(|part| part.parse().ok()).collect() };
    let answer = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let answer = answer
        .map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned())
        .unwrap_or_default();
    let version = answer.trim().strip_prefix("glibc ").map(parts);
    env::var("TARGET") == env::var("HOST") && version.is_some_and(|version| version >= parts("2.36"))
}

/// Writes the linker scripts into a folder, and returns its name.
fn stand_ins(folder: &Path, scripts: &[(&str, &str)]) -> io::Result<String> {
    fs::create_dir_all(folder)?;
    for (name, script) in scripts {
        fs::write(folder.join(name), script)?;
    }
    Ok(folder.display().to_string())
}
