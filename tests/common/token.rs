//! A PKCS#11 token of SoftHSM in a directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The token's PIN.
pub const PIN: &str = "1234-secret";

const LABEL: &str = "my token";

/// A token, and the variables with which a process finds it.
pub struct Token {
    dir: PathBuf,
    keys: std::cell::Cell<u8>,
}

impl Token {
    /// Makes an empty token below `dir`.
    pub fn new(dir: &Path) -> Self {
        let tokens = dir.join("tokens");
        fs::create_dir(&tokens).unwrap();
        let config = format!("directories.tokendir = {}\n", tokens.display());
        fs::write(dir.join("softhsm2.conf"), config).unwrap();
        let token = Self {
            dir: dir.to_owned(),
            keys: std::cell::Cell::new(0),
        };
        let init = [
            "--init-token",
            "--free",
            "--label",
            LABEL,
            "--so-pin",
            "5678",
            "--pin",
            PIN,
        ];
        token.tool("softhsm2-util", &init);
        token
    }

    /// Makes a token with a key of each kind: `p256`, `p384`, `rsa`, `ed25519`.
    pub fn with_keys(dir: &Path) -> Self {
        let token = Self::new(dir);
        for kind in ["p256", "p384", "rsa", "ed25519"] {
            token.add(kind, kind);
        }
        token
    }

    /// Makes a key of a kind with openssl, in `NAME.p8`, and puts it into the token under that name.
    pub fn add(&self, name: &str, kind: &str) {
        let options: &[&str] = match kind {
            "p256" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "p384" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            "rsa" => &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            _ => &["ED25519"],
        };
        let file = format!("{name}.p8");
        self.tool(
            "openssl",
            &[&["genpkey", "-out", &file, "-algorithm"], options].concat(),
        );
        self.keys.set(self.keys.get() + 1);
        let id = format!("{:02x}", self.keys.get());
        let import = [
            "--import", &file, "--token", LABEL, "--label", name, "--id", &id, "--pin", PIN,
        ];
        self.tool("softhsm2-util", &import);
    }

    /// How a command line names a key in the token.
    pub fn key(&self, name: &str) -> String {
        format!(
            "pkcs11:token=my%20token;object={name}?module-path={}",
            library().display()
        )
    }

    /// How a command line names the token.
    pub fn place(&self) -> String {
        format!("pkcs11:token=my%20token?module-path={}", library().display())
    }

    /// The files of the objects in the token: two for each key.
    pub fn objects(&self) -> Vec<PathBuf> {
        let tokens = fs::read_dir(self.dir.join("tokens")).unwrap().flatten();
        let files = tokens.flat_map(|token| fs::read_dir(token.path()).unwrap().flatten());
        let files = files.map(|file| file.path());
        files
            .filter(|file| file.extension().is_some_and(|ending| ending == "object") && !file.ends_with("token.object"))
            .collect()
    }

    /// What SoftHSM wrote of an object: the values of the attributes that are true or false.
    pub fn attributes(&self, object: &Path) -> BTreeMap<String, bool> {
        // It ends with 1 also where all went well.
        let dump = Command::new("softhsm2-dump-file").arg(object).output().unwrap();
        let dump = String::from_utf8(dump.stdout).unwrap();
        let lines: Vec<_> = dump.lines().collect();
        let values = lines.windows(3).filter_map(|lines| {
            let name = lines[0]
                .split_whitespace()
                .last()
                .filter(|name| name.starts_with("CKA_"))?;
            let value = lines[2].split_whitespace().last()?;
            lines[1]
                .ends_with("boolean attribute")
                .then(|| (name.to_owned(), value == "TRUE"))
        });
        values.collect()
    }

    /// The file that tells SoftHSM where the token is: the variable SOFTHSM2_CONF.
    pub fn config(&self) -> PathBuf {
        self.dir.join("softhsm2.conf")
    }

    /// Runs a program that sees the token; it must succeed.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = super::in_home(Path::new(program), &self.dir);
        command.current_dir(&self.dir).args(arguments);
        command.env("SOFTHSM2_CONF", self.config());
        succeed(&mut command)
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs what is missing"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// Debian's library of SoftHSM; where it lies depends on the architecture.
pub fn library() -> PathBuf {
    let places = ["/usr/lib/softhsm/libsofthsm2.so"].map(PathBuf::from).into_iter();
    let libraries = fs::read_dir("/usr/lib").unwrap().flatten();
    let places = places.chain(libraries.map(|dir| dir.path().join("softhsm/libsofthsm2.so")));
    let found = places.into_iter().find(|path| path.exists());
    found.expect("SoftHSM is not installed: sudo apt-get install softhsm2")
}
