//! Keys behind a program: one JSON document in, one out (docs/signer-plugin.md).
//!
//! - The program is started once for each question, without a shell and without imgkit's own secrets in its environment.
//! - What it signs is checked with the public key before anybody sees it.
//! - Its answer is bounded in size and in time.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
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
    let writer = thread::spawn(move || {
        if let Some(mut input) = input {
            // A program that does not read its question says why in its answer.
            let _ = input.write_all(question.as_bytes());
        }
    });
    let reader = thread::spawn(move || {
        let mut answer = Vec::new();
        let limited = output.map(|output| output.take(limit::PLUGIN_ANSWER_BYTES as u64 + 1));
        let read = limited.map(|mut output| output.read_to_end(&mut answer));
        read.transpose().map(|_| answer)
    });
    let status = wait(&mut child);
    // With the program gone its ends of the pipes are closed, so that both threads come to their ends.
    let _ = writer.join();
    let answer = reader.join().map_err(|_| "its answer could not be read".to_owned())?;
    let answer = answer.map_err(|error| format!("its answer could not be read: {error}"))?;
    let success = status?;
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
