//! The services of a sigstore instance: a signature by an identity, certified, logged and stamped.
//!
//! - The identity token goes to the certificate authority and nobody else; no redirection is followed, and no error shows it.
//! - A bundle leaves here only when it was verified as anybody else would verify it.

use bytes::Bytes;

use super::http::{Answer, Web, WebOptions};
use crate::attest::Statement;
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::key::{Algorithm, SigningKey};
use crate::limit;
use crate::sigstore::bundle::{Artifact, Bundle, Content, LogEntry, Material};
use crate::sigstore::certificate::{CertificateEvidence, Demand, Signer, TrustedRoot};
use crate::sigstore::keyless::log::Proposal;
use crate::sigstore::keyless::{AnswerError, IdentityToken, LogApi, SigningConfig, authority, stamp};
use crate::time::Time;

/// Who certifies, logs and stamps.
#[derive(Debug)]
pub struct SigstoreServices {
    authority: Web,
    logs: Vec<(Web, LogApi)>,
    stamps: Vec<(Web, String)>,
}

/// What is to be signed.
#[derive(Clone, Copy, Debug)]
pub enum Unsigned<'a> {
    /// The bytes of a file.
    File(&'a [u8]),
    /// A statement, and the digest of what it is about.
    Statement(&'a Statement, &'a Digest),
}

/// Who signs, and by what it is verified that they did.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The token that proves who it is.
    pub token: &'a IdentityToken,
    /// Whom the certificate has to name.
    pub signer: &'a Signer,
    /// Whom to trust.
    pub root: &'a TrustedRoot,
    /// How many logs and witnesses of the time there have to be.
    pub demand: Demand,
}

impl SigstoreServices {
    /// Names the services; nothing is contacted yet.
    ///
    /// # Errors
    /// As [`Web::new`].
    pub fn new(config: &SigningConfig, options: &WebOptions) -> Result<Self, Failure> {
        let options = WebOptions {
            no_redirections: true,
            ..options.clone()
        };
        let logs = config.logs.iter();
        let stamps = config.stamps.iter();
        Ok(Self {
            authority: Web::new(&config.authority, &options)?,
            logs: logs
                .map(|log| Ok((Web::new(&log.url, &options)?, log.api)))
                .collect::<Result<_, Failure>>()?,
            stamps: stamps
                .map(|url| {
                    // The URL of an authority is that of one document, not of a directory.
                    let scheme = url.find("://").map_or(0, |at| at + 3);
                    let (dir, name) = match url.rfind('/').filter(|at| *at >= scheme) {
                        Some(at) => url.split_at(at + 1),
                        None => (url.as_str(), ""),
                    };
                    Ok((Web::new(dir, &options)?, name.to_owned()))
                })
                .collect::<Result<_, Failure>>()?,
        })
    }

    /// Signs with a new key that the authority certifies, and verifies the bundle at what `now` then says; `subject` is its name for people.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when a service does not do its part, or refuses the token; a refusal when what came out does not verify.
    pub fn sign(
        &self,
        subject: &str,
        what: Unsigned<'_>,
        signing: Signing<'_>,
        now: &dyn Fn() -> Result<Time, Failure>,
    ) -> Result<(Bundle, CertificateEvidence), Failure> {
        let key = SigningKey::generate_as(Algorithm::P256).map_err(|error| Failure::unavailable(subject, error))?;
        let certificate = self.certificate(signing.token, &key)?;
        let issued = authority::check_issued(&certificate, key.public(), signing.signer);
        issued.map_err(|refused| refused.refusal(self.authority.base()))?;
        let content = match what {
            Unsigned::File(bytes) => Content::file(bytes, &key),
            Unsigned::Statement(statement, _) => Content::statement(statement, &key),
        };
        let content = content.map_err(|error| Failure::unavailable(subject, error))?;
        // The stamps first: what cannot be stamped is not made public in a log.
        let stamps = self.stamps.iter().map(|(web, name)| stamped(web, name, &content));
        let stamps = stamps.collect::<Result<Vec<_>, _>>()?;
        let entries = self
            .logs
            .iter()
            .map(|(web, api)| logged(web, *api, &content, &certificate));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let made = Bundle::new(Material::Certificate(certificate), content, entries, stamps);
        // What is verified is what somebody else will read.
        let bundle = Bundle::parse(&made.encode());
        let bundle = bundle.map_err(|error| malformed(subject, &error.to_string()))?;
        let artifact = match what {
            Unsigned::File(bytes) => Artifact::Bytes(bytes),
            Unsigned::Statement(_, digest) => Artifact::Digest(digest),
        };
        let verified = bundle.verify_with_certificate(artifact, signing.root, signing.signer, signing.demand, now()?);
        let evidence = verified.map_err(|refused| Refusal {
            advice: format!(
                "nothing was written; check that the trusted root is that of these services, and that this machine's clock is right ({})",
                refused.advice
            ),
            ..refused.refusal(subject)
        })?;
        Ok((bundle, evidence))
    }

    /// Has the authority certify a key.
    fn certificate(&self, token: &IdentityToken, key: &SigningKey) -> Result<Vec<u8>, Failure> {
        let url = self.authority.base();
        let request = authority::request(token, key).map_err(|error| Failure::unavailable(url, error))?;
        let body = Bytes::from_owner(request);
        let answer = self
            .authority
            .post(authority::PATH, "application/json", body, limit::SIGSTORE_ANSWER_BYTES);
        match answer.map_err(without_secrets)? {
            Answer::Found(bytes) => authority::issued(&bytes).map_err(|error| nonsense(&self.authority, &error)),
            Answer::Missing => Err(Failure::unavailable(
                url,
                format!(
                    "there is nothing at {}; is this a certificate authority of sigstore?",
                    authority::PATH
                ),
            )),
            Answer::Forbidden(status) => Err(Failure::unavailable(
                url,
                format!(
                    "the certificate authority refuses the identity token ({status}); get one that is for it: of an issuer that it knows, \
                     with the audience `sigstore`, unused and not past its time"
                ),
            )),
        }
    }
}

/// Has a log take a signature.
fn logged(web: &Web, api: LogApi, content: &Content, certificate: &[u8]) -> Result<LogEntry, Failure> {
    let proposal = Proposal::new(api, content, certificate).map_err(|error| nonsense(web, &error))?;
    let body = Bytes::from(proposal.body.clone());
    let answer = web.post(proposal.path, "application/json", body, limit::SIGSTORE_ANSWER_BYTES)?;
    let bytes = found(web, proposal.path, answer)?;
    proposal.entry(&bytes).map_err(|error| nonsense(web, &error))
}

/// Has an authority stamp a signature.
fn stamped(web: &Web, name: &str, content: &Content) -> Result<Vec<u8>, Failure> {
    let query = stamp::query(content.signature()).map_err(|error| nonsense(web, &error))?;
    let answer = web.post(name, stamp::QUERY, Bytes::from(query), limit::SIGSTORE_ANSWER_BYTES)?;
    found(web, name, answer)
}

fn found(web: &Web, path: &str, answer: Answer<Vec<u8>>) -> Result<Vec<u8>, Failure> {
    let problem = match answer {
        Answer::Found(bytes) if bytes.len() <= limit::SIGSTORE_ANSWER_BYTES => return Ok(bytes),
        Answer::Found(_) => "the answer is longer than any that makes sense".to_owned(),
        Answer::Missing => format!("there is nothing at `{path}`; check the URL, and the version of its interface"),
        Answer::Forbidden(status) => format!("the server answers {status}"),
    };
    Err(Failure::unavailable(web.base(), problem))
}

fn nonsense(web: &Web, error: &AnswerError) -> Failure {
    Failure::unavailable(web.base(), format!("the answer makes no sense: {error}"))
}

fn malformed(subject: &str, found: &str) -> Failure {
    Refusal::new(
        Code::Malformed,
        subject,
        "a bundle of a certificate, a signature, log entries and time stamps",
        found,
        "nothing was written; check the URLs of the services",
    )
    .into()
}

/// Takes out of an error what a server may have quoted of the token.
fn without_secrets(failure: Failure) -> Failure {
    /// Longer words than these are in no message for people.
    const WORD: usize = 40;
    let Failure::Unavailable { subject, problem } = failure else {
        return failure;
    };
    let is_secret = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '=' | '+' | '/');
    let mut shown = String::new();
    let mut word = String::new();
    for c in problem.chars().chain([' ']) {
        if is_secret(c) {
            word.push(c);
            continue;
        }
        match word.len() > WORD {
            true => shown.push('…'),
            false => shown.push_str(&word),
        }
        word.clear();
        shown.push(c);
    }
    Failure::unavailable(subject, shown.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_token_is_left_out_of_errors() {
        let token = format!("eyJhbGciOiJ.{}.c2ln", "x".repeat(400));
        let problem = format!(
            "the server answers 400 Bad Request: no `{token}` here, nor {}",
            &token[..60]
        );
        let failure = without_secrets(Failure::unavailable("https://ca.example/", problem));
        assert_eq!(
            failure.to_string(),
            "could not find out: https://ca.example/: the server answers 400 Bad Request: no `…` here, nor …"
        );
    }
}
