//! Keys behind a program: one JSON document in, one out (docs/signer-plugin.md).
//!
//! - The program is started once for each question, without a shell and without imgkit's own secrets in its environment.
//! - What it signs is checked with the public key before anybody sees it.
//! - Its answer is bounded in size and in time: what came when the program has ended, whoever it started holds its pipes.

use std::fmt;
use std::io::{self, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384};

use crate::failure::Failure;
use crate::json::{self, Limits};
use crate::key::{KeyError, PluginKey, PublicKey, Scheme, Signer};
use crate::limit;

const VERSION: u32 = 1;

/// A key that a program signs with.
#[derive(Debug)]
pub struct PluginSigner {
    key: PluginKey,
    public: PublicKey,
}

impl PluginSigner {
    /// Asks the program for the public key.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the program cannot be asked, or does not answer as it should.
    pub fn open(key: &PluginKey) -> Result<Self, Failure> {
        let about = |error: &dyn fmt::Display| Failure::unavailable(key, error);
        let answer: Public = ask(key, "public", json!({})).map_err(|error| about(&error))?;
        let public = PublicKey::from_pem(&answer.public).map_err(|error| about(&error))?;
        Ok(Self {
            key: key.clone(),
            public,
        })
    }
}

impl Signer for PluginSigner {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign_with(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        if scheme.key_type() != self.public.key_type() {
            let key = self.public.key_type();
            return Err(KeyError::Scheme { scheme, key });
        }
        let digest = match scheme {
            Scheme::Ed25519 => Value::Null,
            Scheme::EcdsaP384Sha384 => json!({ "sha384": hex::encode(Sha384::digest(message)) }),
            _ => json!({ "sha256": hex::encode(Sha256::digest(message)) }),
        };
        let question = json!({ "scheme": scheme.name(), "message": STANDARD.encode(message), "digest": digest });
        let bad = |error: &dyn fmt::Display| KeyError::Signer(format!("{}: {error}", self.key));
        let answer: Signature = ask(&self.key, "sign", question).map_err(|error| bad(&error))?;
        let signature = STANDARD.decode(&answer.signature).map_err(|error| bad(&error))?;
        self.public
            .verify(scheme, message, &signature)
            .map_err(|error| bad(&error))?;
        Ok(signature)
    }
}

#[derive(Deserialize)]
struct Public {
    public: String,
}

#[derive(Deserialize)]
struct Signature {
    signature: String,
}

/// Asks one question.
fn ask<T: for<'de> Deserialize<'de>>(key: &PluginKey, operation: &str, mut question: Value) -> Result<T, String> {
    if let Some(question) = question.as_object_mut() {
        question.insert("imgkitSigner".to_owned(), VERSION.into());
        question.insert("operation".to_owned(), operation.into());
        question.insert("key".to_owned(), key.name().into());
    }
    let mut child = Command::new(key.command())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env_remove("IMGKIT_NEW_PASSPHRASE")
        .env_remove("IMGKIT_PASSPHRASE")
        .env_remove("IMGKIT_PKCS11_PIN")
        .spawn()
        .map_err(|error| format!("the program cannot be started: {error}"))?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let question = question.to_string();
    // It may answer before it has read everything, or read everything before it answers: both at once.
    thread::spawn(move || {
        if let Some(mut input) = input {
            // A program that does not read its question says why in its answer.
            let _ = input.write_all(question.as_bytes());
        }
    });
    let (pieces, came) = mpsc::channel();
    thread::spawn(move || {
        if let Some(output) = output {
            hand_on(output.take(limit::PLUGIN_ANSWER_BYTES as u64 + 1), &pieces);
        }
    });
    let success = wait(&mut child)?;
    // Neither thread is joined: whom the program started may hold its ends of the pipes after it.
    let answer = answer(&came).map_err(|error| format!("its answer could not be read: {error}"))?;
    let value = json::parse(&answer, Limits::integers(limit::PLUGIN_ANSWER_BYTES));
    if let Some(error) = value
        .as_ref()
        .ok()
        .and_then(|value| value.get("error"))
        .and_then(Value::as_str)
    {
        let error: String = error.chars().take(1000).collect();
        return Err(format!("the program says: {}", error.escape_debug()));
    }
    if !success {
        return Err("the program failed without saying why in its answer".to_owned());
    }
    let value = value.map_err(|error| format!("its answer is no JSON: {error}"))?;
    serde_json::from_value(value).map_err(|error| format!("its answer is not as expected: {error}"))
}

/// Reads to the end, and hands on what comes as it comes.
fn hand_on(mut output: impl Read, pieces: &Sender<io::Result<Vec<u8>>>) {
    let mut piece = [0; 4096];
    loop {
        let read = match output.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => Ok(piece.get(..count).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let ended = read.is_err();
        if pieces.send(read).is_err() || ended {
            return;
        }
    }
}

/// Puts together what came of an answer whose writer has ended, and what is left in the pipe.
fn answer(came: &Receiver<io::Result<Vec<u8>>>) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let looks = limit::PLUGIN_REST.as_millis() / limit::PLUGIN_POLL.as_millis().max(1);
    for _ in 0..looks {
        match came.recv_timeout(limit::PLUGIN_POLL) {
            Ok(piece) => answer.extend(piece?),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        for piece in came.try_iter() {
            answer.extend(piece?);
        }
    }
    Ok(answer)
}

/// Waits for the program's end; tells whether it was a success.
fn wait(child: &mut Child) -> Result<bool, String> {
    let mut looks = limit::PLUGIN_PATIENCE.as_millis() / limit::PLUGIN_POLL.as_millis().max(1);
    loop {
        looks = looks.saturating_sub(1);
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if looks > 0 => thread::sleep(limit::PLUGIN_POLL),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                let patience = limit::PLUGIN_PATIENCE.as_secs();
                return Err(format!("the program gave no answer within {patience} seconds"));
            }
            Err(error) => return Err(format!("the program cannot be waited for: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    const PUBLIC: &str = include_str!("../key/testdata/ed25519.pem");

    /// Asks a plugin of these lines of shell for its public key; more than `most` is a hang.
    fn open(lines: &str, most: Duration) -> Result<PublicKey, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let program: PathBuf = dir.path().join("signer");
        let answer = json!({ "public": PUBLIC }).to_string();
        std::fs::write(dir.path().join("answer"), answer).unwrap();
        std::fs::write(&program, format!("#!/bin/sh\ncd {}\n{lines}\n", dir.path().display())).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let key: PluginKey = format!("plugin:{}:k", program.display()).parse().unwrap();
        let (done, result) = mpsc::channel();
        thread::spawn(move || {
            let _ = done.send(PluginSigner::open(&key).map(|signer| signer.public));
        });
        result.recv_timeout(most).unwrap()
    }

    #[test]
    fn the_answer_is_what_came_when_the_program_ended_whoever_holds_its_pipes() {
        let public = PublicKey::from_pem(PUBLIC).unwrap();
        let within = limit::PLUGIN_REST + Duration::from_secs(20);
        assert_eq!(open("cat answer", within).unwrap(), public);
        assert_eq!(open("sleep 30 0<&0 2>/dev/null &\ncat answer", within).unwrap(), public);
        let silent = open("sleep 30 0<&0 2>/dev/null &", within).unwrap_err();
        assert!(silent.to_string().contains("no JSON"), "{silent}");
    }
}
