//! What a command may know of its surroundings, read once.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::report::{colour, printable};
use super::{OutputFormat, Outputs};
use crate::failure::Failure;
use crate::time::Time;

/// The clock, the environment and the terminal, as one command sees them.
#[derive(Clone, Debug)]
pub struct Context {
    outputs: Outputs,
}

impl Context {
    /// Makes the context of this process.
    pub fn new(outputs: Outputs) -> Self {
        Self { outputs }
    }

    /// Returns whether people alone read the results, or machines too.
    pub fn output(&self) -> OutputFormat {
        self.outputs.format()
    }

    /// Returns where results go.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Reads the clock.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the clock stands before 1970 or after 9999.
    pub fn now(&self) -> Result<Time, Failure> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map(|past| past.as_secs());
        let seconds = seconds.ok().and_then(|seconds| i64::try_from(seconds).ok());
        seconds
            .and_then(|seconds| Time::from_unix(seconds).ok())
            .ok_or_else(|| Failure::unavailable("the time", "the system clock is not set; set it"))
    }

    /// Returns imgkit's directory of kind `XDG_{kind}_HOME` (`CACHE`, `DATA`, `STATE`, `CONFIG`), which may not exist yet.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when neither that variable nor `HOME` is set.
    pub fn xdg_dir(&self, kind: &str, below_home: &str) -> Result<PathBuf, Failure> {
        let variable = format!("XDG_{kind}_HOME");
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute(&variable)
            .or_else(|| absolute("HOME").map(|home| home.join(below_home)))
            .map(|base| base.join("imgkit"))
            .ok_or_else(|| Failure::malformed(variable, "neither it nor HOME is set to an absolute path; set one"))
    }

    /// Returns the passphrase that the environment gives, if it does.
    pub fn passphrase(&self) -> Option<Zeroizing<String>> {
        std::env::var("IMGKIT_PASSPHRASE").ok().map(Zeroizing::new)
    }

    /// Returns the first secret that one of these variables holds.
    pub fn first_secret(&self, variables: &[&str]) -> Option<Zeroizing<String>> {
        let set = variables.iter().find_map(|variable| std::env::var(variable).ok());
        set.map(Zeroizing::new)
    }

    /// Returns the directory in which docker and notary keep keys and what they trusted.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when neither `DOCKER_CONFIG` nor `HOME` is set.
    pub fn docker_trust_dir(&self) -> Result<PathBuf, Failure> {
        let at = |variable: &str, below: &str| Some(PathBuf::from(std::env::var_os(variable)?).join(below));
        at("DOCKER_CONFIG", "trust")
            .or_else(|| at("HOME", ".docker/trust"))
            .ok_or_else(|| {
                Failure::malformed(
                    "DOCKER_CONFIG",
                    "neither it nor HOME is set; set one, or name --trust-dir",
                )
            })
    }

    /// Returns the passphrase for keys that are written, if the environment gives another one than for those that exist.
    pub fn new_passphrase(&self) -> Option<Zeroizing<String>> {
        std::env::var("IMGKIT_NEW_PASSPHRASE").ok().map(Zeroizing::new)
    }

    /// Returns the PIN of a PKCS#11 token that the environment gives, if it does.
    pub fn pin(&self) -> Option<Zeroizing<String>> {
        std::env::var("IMGKIT_PKCS11_PIN").ok().map(Zeroizing::new)
    }

    /// Returns the directory of the running program, where its sisters are.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the system does not say where the program is.
    pub fn program_dir(&self) -> Result<PathBuf, Failure> {
        let program = std::env::current_exe().ok();
        let dir = program.as_deref().and_then(Path::parent).map(PathBuf::from);
        dir.ok_or_else(|| Failure::unavailable("this program's own path", "it is not known; name --programs"))
    }

    /// Returns the cargo that runs this program, if one does, else the one on the path.
    pub fn cargo(&self) -> PathBuf {
        std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
    }

    /// Returns the time that `SOURCE_DATE_EPOCH` gives, if it does (reproducible-builds.org).
    ///
    /// # Errors
    /// [`Failure::Malformed`] when it is no number of seconds.
    pub fn source_date_epoch(&self) -> Result<Option<Time>, Failure> {
        let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else {
            return Ok(None);
        };
        let seconds = text.to_str().and_then(|text| text.parse().ok());
        let time = seconds.and_then(|seconds| Time::from_unix(seconds).ok());
        time.map(Some)
            .ok_or_else(|| Failure::malformed("SOURCE_DATE_EPOCH", "expected seconds since 1970"))
    }

    /// Tells the user something on standard error.
    pub fn say(&self, text: &str) {
        tell(&printable(text));
    }

    /// Warns the user on standard error, in red where that is a terminal.
    pub fn warn(&self, text: &str) {
        match colour(std::io::stderr().is_terminal()) {
            true => tell(&format!("\x1b[1;31m{}\x1b[0m", printable(text))),
            false => self.say(text),
        }
    }

    /// Returns where temporary files go.
    pub fn scratch_dir(&self) -> PathBuf {
        std::env::temp_dir()
    }

    /// Returns the files in which registry credentials are looked for: podman's and docker's, in the order of their say.
    pub fn credential_files(&self) -> Vec<PathBuf> {
        let at = |variable: &str, below: &str| Some(PathBuf::from(std::env::var_os(variable)?).join(below));
        let chosen = std::env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from);
        let podman = at("XDG_RUNTIME_DIR", "containers/auth.json");
        let docker = at("DOCKER_CONFIG", "config.json").or_else(|| at("HOME", ".docker/config.json"));
        let kept = at("XDG_CONFIG_HOME", "containers/auth.json").or_else(|| at("HOME", ".config/containers/auth.json"));
        [chosen, podman, kept, docker].into_iter().flatten().collect()
    }
}

fn tell(text: &str) {
    // Talk that nobody reads is no reason to fail.
    let _ = writeln!(std::io::stderr(), "imgkit: {text}");
}
