//! `sigstoreSigned` of containers-policy.json(5).
//!
//! A signature has to name the image there, so it has to here (`names:`). What demands more of a key than its signature, or another
//! name than the image's own, is not carried over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Beside, Key, fulcio};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::policy::Binding;

/// A requirement that can be carried over.
pub(super) struct SignedBy {
    /// The keys of which one has to sign.
    pub(super) keys: Vec<Key>,
    /// The one repository that signatures have to name, where it is not the image's own.
    pub(super) repository: Option<String>,
}

/// Reads a requirement; the inner error says why one that is well formed is not carried over.
///
/// # Errors
/// What is not in its form.
pub(super) fn read(requirement: &Value, beside: &Beside<'_>) -> Result<Result<SignedBy, String>, String> {
    let members = requirement.as_object().ok_or("expected an object")?;
    const KEYS: [&str; 4] = ["keyPath", "keyPaths", "keyData", "keyDatas"];
    const OTHERS: [&str; 2] = ["fulcio", "pki"];
    let mut sources = members
        .iter()
        .filter(|(name, _)| KEYS.contains(&name.as_str()) || OTHERS.contains(&name.as_str()));
    let (Some((source, value)), None) = (sources.next(), sources.next()) else {
        return Err(
            "sigstoreSigned has exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki".to_owned(),
        );
    };
    for name in members.keys() {
        let known = ["type", "signedIdentity"].contains(&name.as_str()) || name.starts_with("rekorPublicKey");
        if !known && name != source {
            return Err(format!("sigstoreSigned has an unknown member `{name}`"));
        }
    }
    let identity = members.get("signedIdentity");
    let (names, repository) = match binding(identity)? {
        Ok(binding) => binding,
        Err(why) => return Ok(Err(why)),
    };
    match source.as_str() {
        "fulcio" => {
            let read = fulcio::read(value, members, names, beside)?;
            return Ok(read.map(|key| SignedBy {
                keys: vec![key],
                repository,
            }));
        }
        "pki" => {
            let why = "by a certificate of an authority that is none of sigstore's, which is not taken here";
            return Ok(Err(why.to_owned()));
        }
        _ => {}
    }
    if members.keys().any(|name| name.starts_with("rekorPublicKey")) {
        let why = "that a log has, which is not asked of a key's here";
        return Ok(Err(why.to_owned()));
    }
    let texts = match value {
        Value::String(text) => vec![text.as_str()],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let expected = match value {
        Value::Array(list) => list.len(),
        _ => 1,
    };
    if texts.is_empty() || texts.len() != expected || value.is_array() != source.ends_with('s') {
        return Err(format!("sigstoreSigned: `{source}` is not what it should be"));
    }
    let mut keys = Vec::new();
    for text in texts {
        let (file, pem) = match source.starts_with("keyPath") {
            true if text.starts_with('/') => (text.to_owned(), None),
            true => return Ok(Err(format!("by the key {text}, wherever that is; name its whole path"))),
            false => {
                let pem = decoded(text).and_then(|bytes| String::from_utf8(bytes).ok());
                let pem = pem.ok_or("sigstoreSigned: a key is not base64 of PEM")?;
                if let Err(error) = PublicKey::from_pem(&pem) {
                    return Ok(Err(format!("by a key that imgkit does not read: {error}")));
                }
                (format!("key-{}.pub", Digest::sha256(pem.as_bytes()).short()), Some(pem))
            }
        };
        let key = Key {
            file,
            content: pem,
            names,
            identity: None,
        };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(Ok(SignedBy { keys, repository }))
}

/// Decodes what a member holds in base64.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Reads which name a signature has to give, and of which repository, where that is named.
fn binding(identity: Option<&Value>) -> Result<Result<(Binding, Option<String>), String>, String> {
    let kind = match identity {
        // What is said where nothing is.
        None => "matchRepoDigestOrExact",
        Some(identity) => {
            let kind = identity.get("type").and_then(Value::as_str);
            kind.ok_or("a signedIdentity has no `type`")?
        }
    };
    match kind {
        "matchRepoDigestOrExact" => Ok(Ok((Binding::Tag, None))),
        "matchRepository" => Ok(Ok((Binding::Repository, None))),
        "exactRepository" => {
            let repository = identity.and_then(|identity| identity.get("dockerRepository"));
            let repository = repository.and_then(Value::as_str);
            let repository = repository.ok_or("exactRepository has no `dockerRepository`")?;
            Ok(Ok((Binding::Repository, Some(repository.to_owned()))))
        }
        "matchExact" | "exactReference" | "remapIdentity" => Ok(Err(format!(
            "whose signedIdentity is `{kind}`, which cannot be asked for here"
        ))),
        other => Err(format!("unknown signedIdentity `{other}`")),
    }
}
