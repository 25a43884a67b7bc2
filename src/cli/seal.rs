//! `imgkit seal sign` and `imgkit seal attach`: sealing in two phases, so that the build host never holds the key.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::disk::{DiskArg, DiskFormat, Opened};
use super::passphrase::PassphraseOptions;
use super::seal_key::SealKey;
use super::{Context, Report};
use crate::digest::Digest;
use crate::disk::assembly::Patched;
use crate::failure::{Code, Failure, Refusal};
use crate::format::qcow2;
use crate::json;
use crate::key::{KeyId, TufKey};
use crate::limit;
use crate::seal::{Envelope, Sealed, Statement};
use crate::store::file::{NewFile, read_limited};
use crate::verify::disk::read_seal;

const VERSION: u32 = 1;

/// Seals in two phases.
#[derive(Debug, Args)]
pub(super) struct SealCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Put signatures into an image's seal
    Attach(Attach),
    /// Sign a seal request, on the machine that holds the key
    Sign(Box<Sign>),
}

#[derive(Debug, Args)]
struct Sign {
    /// The request that `build --seal-request` wrote
    request: PathBuf,
    /// The private key: FILE, pkcs11:URI or plugin:COMMAND:KEYNAME
    #[arg(long, value_name = "KEY")]
    seal_key: SealKey,
    /// The signature [default: the request's name with .sig behind it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseOptions,
}

#[derive(Debug, Args)]
struct Attach {
    #[command(flatten)]
    disk: DiskArg,
    /// The signatures that `seal sign` wrote
    #[arg(required = true, value_name = "FILE.sig")]
    signatures: Vec<PathBuf>,
}

impl SealCommand {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        match &self.action {
            Action::Attach(command) => command.run(),
            Action::Sign(command) => command.run(context),
        }
    }
}

/// What waits for signatures.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Requests {
    seal_request: u32,
    name: String,
    payloads: Vec<String>,
}

impl Requests {
    /// Collects the payloads of seals.
    pub(super) fn of(name: &str, seals: &[Sealed]) -> Self {
        Self {
            seal_request: VERSION,
            name: name.to_owned(),
            payloads: seals
                .iter()
                .map(|sealed| STANDARD.encode(sealed.envelope.payload()))
                .collect(),
        }
    }
}

/// Signatures over payloads.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Signatures {
    seal_signatures: u32,
    signatures: Vec<Signed>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Signed {
    payload: Digest,
    /// The public key as TUF metadata write it; its hash is the key id.
    key: Value,
    sig: String,
}

impl Signed {
    /// Adds the signature to an envelope, if it is good by the key that it names; returns the key's id.
    fn attach_to(&self, envelope: &mut Envelope, file: &Path) -> Result<KeyId, Failure> {
        let bad = |error: &dyn std::fmt::Display| Failure::malformed(file.display(), error);
        let key = TufKey::from_json(&self.key).map_err(|error| bad(&error))?;
        let sig = STANDARD.decode(&self.sig).map_err(|error| bad(&error))?;
        envelope.attach_by(&key, sig).map_err(|error| {
            let expected = format!("a good signature over this image's statement by key {}", key.id());
            let advice = "sign the request again with `imgkit seal sign`; the image is as it was";
            Refusal::new(Code::WrongKey, file.display(), expected, error, advice)
        })?;
        Ok(key.id())
    }
}

/// Writes a seal request.
pub(super) fn write_requests(path: &Path, requests: &Requests) -> Result<(), Failure> {
    write_json(path, requests)
}

impl Sign {
    fn run(&self, context: &Context) -> Result<Report, Failure> {
        let requests: Requests = read_json(&self.request)?;
        if requests.seal_request != VERSION {
            return Err(Failure::malformed(
                self.request.display(),
                "it is a request of another version; use a newer imgkit",
            ));
        }
        let decode = |payload: &String| {
            let bytes = STANDARD
                .decode(payload)
                .map_err(|error| Failure::malformed(self.request.display(), error))?;
            // Who seals reads what is sealed: only a statement is signed, never any bytes.
            let statement =
                Statement::decode(&bytes).map_err(|error| Failure::malformed(self.request.display(), error))?;
            Ok((bytes, statement))
        };
        let payloads = requests
            .payloads
            .iter()
            .map(decode)
            .collect::<Result<Vec<_>, Failure>>()?;
        let mut text = String::new();
        for (_, statement) in &payloads {
            let about = &statement.predicate;
            let _ = writeln!(
                text,
                "{} {} epoch {}, evaluated {}, {} components",
                about.name,
                about.arch,
                about.epoch,
                about.evaluated_at,
                about.components.len()
            );
            if about.unsafe_accept_unsigned {
                text.push_str("  built with --unsafe-accept-unsigned: every policy refuses it\n");
            }
            for subject in &statement.subject {
                let _ = writeln!(text, "  {} {}", subject.name, json!(subject.digest));
            }
        }
        let key = self.seal_key.open(context, &self.passphrase)?;
        let sign = |(payload, _): (Vec<u8>, Statement)| {
            let digest = Digest::sha256(&payload);
            let signature = crate::build::sign(key.as_ref(), &Envelope::unsigned(payload));
            let signature = signature.map_err(|error| Failure::unavailable(&self.seal_key, error))?;
            Ok(Signed {
                payload: digest,
                key: key.tuf_key().to_json().clone(),
                sig: STANDARD.encode(signature.sig),
            })
        };
        let signatures = Signatures {
            seal_signatures: VERSION,
            signatures: payloads.into_iter().map(sign).collect::<Result<_, Failure>>()?,
        };
        let out = self.out.clone().unwrap_or_else(|| {
            let mut name = self.request.clone().into_os_string();
            name.push(".sig");
            name.into()
        });
        write_json(&out, &signatures)?;
        let _ = writeln!(text, "signed by {}: {}", key.id(), out.display());
        Ok(Report::new(
            text,
            json!({ "out": out, "keyid": key.id(), "signatures": signatures }),
        ))
    }
}

impl Attach {
    fn run(&self) -> Result<Report, Failure> {
        let subject = self.disk.subject();
        let opened = self.disk.open()?;
        let (mut sealed, place) = match &opened {
            Opened::Files(sealed, _) => ((**sealed).clone(), None),
            Opened::Disk(guest) => {
                let (place, sealed) = read_seal(&subject, guest)?;
                (sealed, Some(place))
            }
        };
        let payload = Digest::sha256(sealed.envelope.payload());
        let mut attached = Vec::new();
        for path in &self.signatures {
            let signatures: Signatures = read_json(path)?;
            let of_this = signatures
                .signatures
                .into_iter()
                .filter(|signed| signed.payload == payload);
            let before = attached.len();
            for signed in of_this {
                attached.push(signed.attach_to(&mut sealed.envelope, path)?);
            }
            if signatures.seal_signatures != VERSION || attached.len() == before {
                let problem =
                    format!("it has no signature over this image's statement {payload}; sign this build's request");
                return Err(Failure::malformed(path.display(), problem));
            }
        }
        let cannot = |error: std::io::Error| Failure::unavailable(&subject, error);
        let mut file = NewFile::beside(&self.disk.path)?;
        match (opened, place) {
            (Opened::Disk(guest), Some(place)) => {
                let length = usize::try_from(place.length).unwrap_or(usize::MAX);
                let bytes = sealed
                    .encode(length)
                    .map_err(|error| Failure::malformed(&subject, error))?;
                let disk = Patched::new(guest, place.offset, bytes);
                match self.disk.format()? {
                    DiskFormat::Qcow2 => {
                        let layout = qcow2::Layout::of(&disk).map_err(cannot)?;
                        layout.write(&disk, &mut file).map_err(cannot)?;
                    }
                    DiskFormat::Raw | DiskFormat::Seal => {
                        std::io::copy(&mut crate::disk::Stream::new(&disk), &mut file).map_err(cannot)?;
                    }
                }
            }
            _ => {
                let bytes = sealed
                    .encode(sealed.len())
                    .map_err(|error| Failure::malformed(&subject, error))?;
                file.write_all(&bytes).map_err(cannot)?;
            }
        }
        file.finish(&self.disk.path)?;
        let keys: Vec<&str> = sealed
            .envelope
            .signatures()
            .iter()
            .map(|signature| signature.keyid.as_str())
            .collect();
        let names: Vec<&str> = attached.iter().map(KeyId::as_str).collect();
        let text = format!(
            "{subject}: attached signatures by {}, each good by that key; the seal now has {}\nwhether these keys may seal is for a \
             policy to say: `imgkit verify`\n",
            names.join(", "),
            keys.len()
        );
        Ok(Report::new(
            text,
            json!({ "disk": self.disk.path, "attached": attached, "signatures": keys }),
        ))
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let limits = json::Limits {
        bytes: limit::ENVELOPE_BYTES,
        depth: 8,
        numbers: json::Numbers::Integers,
    };
    let bytes = read_limited(path, limit::ENVELOPE_BYTES)?;
    json::decode(&bytes, limits).map_err(|error| Failure::malformed(path.display(), error))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::unavailable(path.display(), error);
    let mut file = NewFile::beside(path)?;
    serde_json::to_writer_pretty(&mut file, value).map_err(|error| cannot(error.into()))?;
    file.write_all(b"\n").map_err(cannot)?;
    file.finish(path)
}
