//! `imgkit trust ls|lookup|verify --server URL`: what a collection on a Notary server says, verified before it is shown.
//!
//! Only the trust directory is read and written: what was trusted before is not gone back on, and what is trusted now is
//! remembered there once all of it has been verified.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::session::{Files, Session};
use crate::cli::trust::verify::describe_evidence;
use crate::cli::{OutputFormat, Report};
use crate::failure::Failure;
use crate::store::file::open_to_end;
use crate::trust::TrustError;
use crate::trust::notary::{Listed, NotaryClient, NotaryTarget};

/// Bytes of a usual line in a list: a SHA-256, a tag, and what is between.
const USUAL_LINE: usize = 128;

/// How much of a file is compared at a time, in bytes.
const BUFFER: usize = 64 << 10;

/// Lists what a collection signs.
#[derive(Debug, Args)]
pub(super) struct Ls {
    /// The collection: HOST/PATH
    gun: String,
    /// Only what this role signs: `targets`, or a delegated role such as `targets/releases`
    #[arg(long)]
    role: Option<String>,
}

impl Ls {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let collection = Collection::open_whole(session, &self.gun)?;
        let mut targets = collection.list()?;
        targets.retain(|target| self.role.as_ref().is_none_or(|only| *only == target.role()));
        let unsigned = collection.unsigned_roles(session)?;
        let (mut text, mut json) = (String::new(), Value::Null);
        // Thousands of names are written in one way only.
        match session.context.output() {
            OutputFormat::Text => {
                text.reserve(USUAL_LINE * targets.len());
                for target in &targets {
                    collection.describe_briefly(target, &mut text)?;
                }
            }
            OutputFormat::Json => json = json!({ "targets": targets, "unsignedRoles": unsigned }),
        }
        drop(targets);
        collection.report(session, text, json)
    }
}

/// Shows what a collection says of a name.
#[derive(Debug, Args)]
pub(super) struct Lookup {
    /// The collection: HOST/PATH
    gun: String,
    /// The name: a tag, where docker signed
    name: String,
}

impl Lookup {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let mut collection = Collection::open(session, &self.gun)?;
        let target = collection.target(&self.name)?;
        let text = describe(&self.gun, &target, "");
        collection.report(
            session,
            text,
            json!({
                "name": target.name(), "signed": target.signed(), "evidence": target.evidence(),
            }),
        )
    }
}

/// Checks a collection, a name, or a file.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The collection: HOST/PATH
    gun: String,
    /// The name [default: everything that the collection signs]
    name: Option<String>,
    /// A file to compare with what the collection says of NAME
    #[arg(long, value_name = "PATH", requires = "name")]
    file: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let Some(name) = &self.name else {
            return self.whole(session);
        };
        let mut collection = Collection::open(session, &self.gun)?;
        let target = collection.target(name)?;
        if let Some(path) = &self.file {
            compare(&target, path)?;
        }
        let text = describe(&self.gun, &target, "verified ");
        let json = json!({
            "name": target.name(), "signed": target.signed(), "found": { "file": self.file }, "evidence": target.evidence(),
        });
        collection.report(session, text, json)
    }

    fn whole(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let collection = Collection::open_whole(session, &self.gun)?;
        let targets = collection.list()?;
        let chain = collection.client.chain();
        let mut text = format!("verified {}\n  names       {}\n", self.gun, targets.len());
        let _ = writeln!(text, "  roles       {}", chain.roles().count() + 1);
        let _ = writeln!(
            text,
            "  metadata    root {}, timestamp {}, snapshot {}, targets {}",
            chain.newest_root().version(),
            chain.timestamp().version(),
            chain.snapshot().version(),
            chain.targets().version()
        );
        let unsigned = collection.unsigned_roles(session)?;
        let json = match session.context.output() {
            OutputFormat::Text => Value::Null,
            OutputFormat::Json => json!({ "targets": targets, "unsignedRoles": unsigned }),
        };
        drop(targets);
        collection.report(session, text, json)
    }
}

/// A collection as it is on the server now.
struct Collection<'a> {
    gun: &'a str,
    subject: String,
    client: NotaryClient<Files<'a>>,
}

impl<'a> Collection<'a> {
    fn open(session: &'a Session<'_>, gun: &'a str) -> Result<Self, Failure> {
        Ok(Self {
            client: session.client(gun)?,
            subject: session.subject(gun),
            gun,
        })
    }

    /// Opens a collection with all of its roles; one that cannot be trusted is an error for the whole.
    fn open_whole(session: &'a Session<'_>, gun: &'a str) -> Result<Self, Failure> {
        let mut collection = Self::open(session, gun)?;
        let bad = collection
            .client
            .fetch_roles()
            .map_err(|error| error.about(&collection.subject))?;
        let mut refusals = Vec::new();
        for (role, error) in bad {
            match error.about(&format!("{role} of {}", collection.subject)) {
                Failure::Refused(more) => refusals.extend(more),
                other => return Err(other),
            }
        }
        match refusals.is_empty() {
            true => Ok(collection),
            false => Err(Failure::Refused(refusals)),
        }
    }

    fn target(&mut self, name: &str) -> Result<NotaryTarget, Failure> {
        let target = self.client.target(name);
        target.map_err(|error| error.about(&format!("{name} in {}", self.subject)))
    }

    fn list(&self) -> Result<Vec<Listed<'_>>, Failure> {
        self.client.chain().list().map_err(|error| error.about(&self.subject))
    }

    fn describe_briefly(&self, target: &Listed<'_>, text: &mut String) -> Result<(), Failure> {
        let brief = target.brief().map_err(|error| error.about(&self.subject))?;
        for digest in brief.digests() {
            let _ = write!(text, "{digest} ");
        }
        let _ = write!(text, "{} ", brief.length());
        let is_shown = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
        match target.name().bytes().all(is_shown) {
            true => text.push_str(target.name()),
            false => text.extend(target.name().escape_debug()),
        }
        let _ = writeln!(text, " {}", target.role());
        Ok(())
    }

    /// Names the roles that are delegated to and that nobody has signed, and says so.
    fn unsigned_roles(&self, session: &Session<'_>) -> Result<Vec<String>, Failure> {
        let roles = self
            .client
            .chain()
            .unlisted()
            .map_err(|error: TrustError| error.about(&self.subject))?;
        for role in &roles {
            session
                .context
                .say(&format!("{role} is delegated to, and nobody has signed it yet"));
        }
        Ok(roles)
    }

    /// Remembers what is trusted now, and makes the report.
    fn report(self, session: &Session<'_>, text: String, mut json: Value) -> Result<Report, Failure> {
        let chain = self.client.chain();
        let files = chain.files();
        // Where nothing is news, nothing is written, and nothing read again.
        if !files.iter().all(|(role, bytes)| chain.was_known(role, bytes)) {
            session.trust.remember(self.gun, &files)?;
        }
        if let Some(members) = json.as_object_mut() {
            members.insert("collection".to_owned(), self.gun.into());
            members.insert("server".to_owned(), session.server.url().into());
        }
        Ok(Report::new(text, json))
    }
}

/// Compares a file, of whatever size, with what was signed.
fn compare(target: &NotaryTarget, path: &Path) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::unavailable(path.display(), format!("cannot read: {error}"));
    let about = |error: TrustError| error.about(&path.display().to_string());
    let most = target.length();
    // One byte more tells "too long" from "as long as signed".
    let mut file = open_to_end(path).map_err(cannot)?.take(most.saturating_add(1));
    let mut check = target.check();
    let mut buffer = vec![0; BUFFER];
    let mut length = 0;
    loop {
        match file.read(&mut buffer).map_err(cannot)? {
            0 => break,
            read => {
                length += read as u64;
                check.update(buffer.get(..read).unwrap_or_default());
            }
        }
    }
    if length > most {
        // How much longer it is was not read.
        return Err(about(TrustError::Digest {
            subject: format!("target {}", target.name()),
            expected: format!("{most} bytes"),
            found: format!("more than {most} bytes"),
        }));
    }
    check.finish().map_err(about)
}

fn describe(gun: &str, target: &NotaryTarget, verb: &str) -> String {
    let mut text = format!("{verb}{}\n", target.name().escape_debug());
    for digest in target.digests() {
        let _ = writeln!(text, "  digest      {digest}");
    }
    let _ = writeln!(text, "  length      {}", target.length());
    if let Some(custom) = target.custom() {
        let _ = writeln!(text, "  custom      {custom}");
    }
    describe_evidence(&mut text, gun, target.evidence());
    text
}
