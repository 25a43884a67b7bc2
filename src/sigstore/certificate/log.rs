//! What log entries and time stamps prove, in what `sigstore-verify` does not say:
//! - **which** log an entry is in: the checkpoint has to be signed by the log that the entry names, not by any trusted one;
//! - that the proof is for the tree of the checkpoint, whatever its own fields say;
//! - that the log was trusted at every proved time, also where it promises nothing;
//! - that no entry and no time stamp counts twice, and none comes from after `now`;
//! - where an entry is, by what is proved of it;
//! - who witnessed which time.

use sigstore_verify::crypto::{Checkpoint, VerificationKey};
use sigstore_verify::trust_root::TransparencyLog;
use sigstore_verify::types::{SignatureBytes, TimestampToken};

use super::{Logged, TrustedRoot, WitnessedTime};
use crate::failure::Code;
use crate::sigstore::bundle::{Bundle, InclusionProof, LogEntry, NotVerified};
use crate::time::Time;

/// Checks that each entry has a proof by the log that it names.
pub(super) fn prove(bundle: &Bundle, root: &TrustedRoot) -> Result<Vec<Logged>, NotVerified> {
    let mut logged: Vec<Logged> = Vec::new();
    for (at, entry) in bundle.entries().iter().enumerate() {
        let log = log_of(entry, root)?;
        let proof = entry.proof.as_ref();
        let proof = proof.ok_or_else(|| refused("a proof that the entry is in the log", "none"))?;
        check(proof, &entry.log_id, log)?;
        let is_it = |other: &LogEntry| (&other.log_id, &other.body) == (&entry.log_id, &entry.body);
        if bundle.entries().iter().take(at).any(is_it) {
            return Err(refused("each log entry once", "one that occurs twice"));
        }
        // A promise is over the place that the entry names, and in logs of version 2 the proof is; else that is anybody's word.
        let is_bound = is_version_2(entry) || entry.promise.is_some();
        logged.push(Logged {
            log: log.base_url.clone(),
            index: if is_bound { entry.index } else { proof.index },
            kind: format!("{} {}", entry.kind, entry.version),
        });
    }
    Ok(logged)
}

/// Tells whether an entry is of a log of Rekor's version 2, which has no times of its own and promises nothing.
fn is_version_2(entry: &LogEntry) -> bool {
    (entry.kind.as_str(), entry.version.as_str()) == ("hashedrekord", "0.0.2")
}

fn log_of<'a>(entry: &LogEntry, root: &'a TrustedRoot) -> Result<&'a TransparencyLog, NotVerified> {
    let log = root.log(&entry.log_id);
    log.ok_or_else(|| {
        refused(
            "an entry of a trusted log",
            &format!("one of the log {}", hex::encode(&entry.log_id)),
        )
    })
}

/// Checks that the checkpoint is the log's, for the tree that the proof is about.
fn check(proof: &InclusionProof, id: &[u8], log: &TransparencyLog) -> Result<(), NotVerified> {
    let expected = format!("a checkpoint by {}", log.base_url.escape_debug());
    let bad = |found: &dyn std::fmt::Display| refused(&expected, &found.to_string());
    let checkpoint = Checkpoint::from_text(&proof.checkpoint).map_err(|error| bad(&error))?;
    let key = VerificationKey::from_spki(&log.public_key.raw_bytes).map_err(|error| bad(&error))?;
    // C2SP signed-note: a signature names its key by the first four bytes of the key's id.
    let by_log = checkpoint
        .signatures()
        .iter()
        .filter(|signature| id.starts_with(signature.key_id.as_bytes()))
        .any(|signature| key.verify(checkpoint.signed_data(), &signature.signature).is_ok());
    if !by_log {
        return Err(bad(&"one that this log did not sign"));
    }
    if checkpoint.tree_size() != proof.tree_size || checkpoint.root_hash().as_bytes() != &proof.root {
        return Err(bad(&"one for another tree than the proof's"));
    }
    Ok(())
}

/// Returns every proved time; the logs' promises and the time stamps are good already.
pub(super) fn times(
    bundle: &Bundle,
    root: &TrustedRoot,
    logged: &[Logged],
    now: Time,
) -> Result<Vec<WitnessedTime>, NotVerified> {
    let mut times = Vec::new();
    let entries = bundle.entries().iter().zip(logged);
    for (entry, logged) in entries.filter(|(entry, _)| !is_version_2(entry)) {
        if let (Some(seconds), Some(_)) = (entry.integrated_time, &entry.promise) {
            times.push((logged.log.clone(), seconds));
        }
    }
    let signature = SignatureBytes::new(bundle.signature().to_vec());
    for stamp in bundle.timestamps() {
        let token = TimestampToken::new(stamp.clone());
        let witness = root.authorities().find_map(|(name, authority)| {
            let time = sigstore_verify::tsa::verify_timestamp_for_authority(&token, &signature, &authority);
            time.ok().map(|time| (name, time.as_second()))
        });
        times.push(witness.ok_or_else(|| refused_time("a time stamp by a trusted authority", "another"))?);
    }
    for entry in bundle.entries() {
        let log = log_of(entry, root)?;
        if let Some((_, seconds)) = times.iter().find(|(_, seconds)| !was_trusted(log, *seconds)) {
            let found = format!("one whose key was not trusted at {seconds} seconds since 1970");
            return Err(refused("a log that was trusted when the signature was there", &found));
        }
    }
    let witnessed = times.into_iter().map(|(by, seconds)| {
        let time = Time::from_unix(seconds).map_err(|error| refused_time("a time", &error.to_string()))?;
        match time <= now {
            true => Ok(WitnessedTime {
                by,
                time: time.to_string(),
            }),
            false => Err(refused_time(&format!("a time before now, {now}"), &time.to_string())),
        }
    });
    witnessed.collect()
}

/// Tells whether a log's key counted at a time: a key that was given up later proves nothing about later signatures.
fn was_trusted(log: &TransparencyLog, seconds: i64) -> bool {
    log.public_key.valid_for.is_none_or(|window| {
        window.start.as_second() <= seconds && window.end.is_none_or(|end| seconds <= end.as_second())
    })
}

fn refused(expected: &str, found: &str) -> NotVerified {
    NotVerified {
        code: Code::NotLogged,
        expected: expected.to_owned(),
        found: found.to_owned(),
        advice: "check that the trusted root is the signer's; if it is, treat the bundle as forged",
    }
}

fn refused_time(expected: &str, found: &str) -> NotVerified {
    NotVerified {
        code: Code::Timestamp,
        ..refused(expected, found)
    }
}
