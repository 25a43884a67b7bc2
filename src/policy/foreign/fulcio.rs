//! `fulcio` of `sigstoreSigned`: an identity, by a certificate that an authority issued and a log has.
//!
//! - containers-policy.json(5) names the authority's certificates and the log's keys; they become a trusted root of ours.
//! - It asks for no certificate-transparency log. None is taken here without, so whoever imports names the log's key.

use serde_json::{Map, Value};

use super::sigstore::decoded;
use super::{Beside, Identity, Key};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::policy::Binding;
use crate::sigstore::certificate::Parts;

/// Reads the identity of a requirement with these `members`; the inner error says why one that is well formed is not carried over.
///
/// # Errors
/// What is not in its form.
pub(super) fn read(
    fulcio: &Value,
    members: &Map<String, Value>,
    names: Binding,
    beside: &Beside<'_>,
) -> Result<Result<Key, String>, String> {
    let fulcio = fulcio.as_object().ok_or("fulcio: expected an object")?;
    let known = ["caData", "caPath", "oidcIssuer", "subjectEmail"];
    if let Some(unknown) = fulcio.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("fulcio has an unknown member `{unknown}`"));
    }
    let text = |name: &str| {
        let text = fulcio.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or(format!("fulcio has no `{name}`"))
    };
    let (issuer, email) = (text("oidcIssuer")?, text("subjectEmail")?);
    let authorities = sources(fulcio, "ca", &["Path", "Data"])?;
    let logs = sources(members, "rekorPublicKey", &["Path", "Paths", "Data", "Datas"])?;
    if beside.certificate_logs.is_empty() {
        let why = "by an identity, whose certificate has to be in a certificate-transparency log here; name that log's key with --ct-log-key";
        return Ok(Err(why.to_owned()));
    }
    let made = || -> Result<String, String> {
        let authorities = read_all(&authorities, beside)?.concat();
        let logs = read_all(&logs, beside)?;
        let logs = logs.iter().map(|pem| key(pem)).collect::<Result<Vec<_>, _>>()?;
        let parts = Parts {
            authorities: &authorities,
            logs: &logs,
            certificate_logs: beside.certificate_logs,
        };
        parts.write().map_err(|error| error.to_string())
    };
    Ok(made()
        .map(|root| Key {
            file: format!("trusted-root-{}.json", Digest::sha256(root.as_bytes()).short()),
            content: Some(root),
            names,
            identity: Some(Identity { email, issuer }),
        })
        .map_err(|problem| format!("by an identity, and what it trusts cannot be read: {problem}")))
}

/// Where something is.
enum From {
    File(String),
    Here(Vec<u8>),
}

/// Finds the one member that says where something is: `nameData`, say.
fn sources(members: &Map<String, Value>, name: &str, kinds: &[&str]) -> Result<Vec<From>, String> {
    let mut found = kinds
        .iter()
        .filter_map(|kind| Some((*kind, members.get(&format!("{name}{kind}"))?)));
    let (Some((kind, value)), None) = (found.next(), found.next()) else {
        let all: Vec<String> = kinds.iter().map(|kind| format!("{name}{kind}")).collect();
        return Err(format!("fulcio needs exactly one of {}", all.join(", ")));
    };
    let bad = || format!("`{name}{kind}` is not what it should be");
    let values = match (value, kind.ends_with('s')) {
        (Value::Array(list), true) if !list.is_empty() => list.iter().collect(),
        (Value::String(_), false) => vec![value],
        _ => return Err(bad()),
    };
    let one = |value: &Value| {
        let text = value.as_str().ok_or_else(bad)?;
        match kind.starts_with("Path") {
            true => Ok(From::File(text.to_owned())),
            false => decoded(text).map(From::Here).ok_or_else(bad),
        }
    };
    values.into_iter().map(one).collect()
}

fn read_all(sources: &[From], beside: &Beside<'_>) -> Result<Vec<Vec<u8>>, String> {
    let read = |source: &From| match source {
        From::Here(bytes) => Ok(bytes.clone()),
        From::File(path) if path.starts_with('/') => (beside.file)(path).map_err(|failure| failure.to_string()),
        From::File(path) => Err(format!("{path}, wherever that is; name its whole path")),
    };
    sources.iter().map(read).collect()
}

fn key(pem: &[u8]) -> Result<PublicKey, String> {
    let text = std::str::from_utf8(pem).map_err(|_| "a log's key is not PEM".to_owned())?;
    PublicKey::from_pem(text).map_err(|error| format!("a log's key: {error}"))
}
