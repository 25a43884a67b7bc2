//! A collection's log, and what all files of lines have in common.
//!
//! A line is a part of the hash of its JSON, a space, and the JSON: what was half written is seen.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::route::Gun;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::key::KeyId;
use crate::limit;
use crate::store::file::cannot;
use crate::time::Time;

/// Where a line begins, and its JSON.
type Line<'a> = (u64, &'a [u8]);

/// How many hexadecimal digits of its hash a line begins with.
pub(super) const CHECK_DIGITS: usize = 16;

/// A collection's log, and where what is whole of it ends.
pub(super) type Log = (Arc<Vec<Entry>>, u64);

/// A log that is open for one more line.
pub(super) struct OpenLog {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Where what is whole of it ends.
    pub(super) whole: u64,
}

/// Logs that were read: whoever asks for what is not current needs all of one.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) of: HashMap<Gun, Log>,
    pub(super) files: usize,
    /// Counts changes: what was read before one does not come in after it.
    pub(super) changed: u64,
}

/// A line of a collection's log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) gun: String,
    pub(super) at: Time,
    pub(super) files: Vec<EntryFile>,
    /// The server's keys that the root names from here on.
    pub(super) keys: Vec<KeyId>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EntryFile {
    pub(super) role: String,
    pub(super) version: u64,
    pub(super) sha256: Digest,
}

impl OpenLog {
    /// Appends the line: from then on it is published.
    pub(super) fn append(&self, entry: &Entry) -> Result<(), Failure> {
        let bad = |error: &dyn std::fmt::Display| cannot("write", &self.path, error);
        let line = line(entry).map_err(|error| bad(&error))?;
        let (file, whole) = (&self.file, self.whole);
        let written = file
            .set_len(whole)
            .and_then(|()| file.write_all_at(&line, whole))
            .and_then(|()| file.sync_data());
        written.map_err(|error| {
            let _ = file.set_len(whole);
            bad(&error)
        })
    }
}

impl Logs {
    /// Takes a log whose reading began when `changed` changes had been.
    pub(super) fn put(&mut self, gun: &Gun, log: &Log, changed: u64) {
        let files = files_in(log);
        let is_new = !log.0.is_empty() && !self.of.contains_key(gun);
        if !is_new || self.changed != changed || files > limit::SERVER_LOGGED_FILES {
            return;
        }
        if self.files + files > limit::SERVER_LOGGED_FILES {
            (self.files, self.of) = (0, HashMap::new());
        }
        self.files += files;
        self.of.insert(gun.clone(), (Arc::clone(&log.0), log.1));
    }

    pub(super) fn forget(&mut self, gun: &Gun) {
        self.changed += 1;
        if let Some(log) = self.of.remove(gun) {
            self.files = self.files.saturating_sub(files_in(&log));
        }
    }
}

/// Counts a log's files, and itself.
fn files_in((entries, _): &Log) -> usize {
    1 + entries.iter().map(|entry| entry.files.len()).sum::<usize>()
}

/// Writes a line: a part of the hash of its JSON, a space, the JSON.
pub(super) fn line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_string(value)?;
    let mut line = check_digits(json.as_bytes());
    line.push(' ');
    line.push_str(&json);
    line.push('\n');
    Ok(line.into_bytes())
}

fn check_digits(json: &[u8]) -> String {
    Digest::sha256(json).hex().chars().take(CHECK_DIGITS).collect()
}

/// Returns where each whole line begins, its JSON, and where the last one ends; only what follows the last may be damaged.
pub(super) fn whole_lines(bytes: &[u8]) -> Result<(Vec<Line<'_>>, u64), String> {
    let mut lines = Vec::new();
    let mut end = 0;
    let mut damaged = false;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let json = line.strip_suffix(b"\n").and_then(|line| line.get(CHECK_DIGITS + 1..));
        let json = json.filter(|json| line.starts_with(check_digits(json).as_bytes()));
        match json {
            Some(_) if damaged => return Err(format!("the line before byte {end} is damaged")),
            Some(json) => {
                lines.push((end, json));
                end += line.len() as u64;
            }
            None => damaged = true,
        }
    }
    Ok((lines, end))
}

pub(super) fn read_log(path: &Path) -> Result<(Vec<Entry>, u64), String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error.to_string()),
    };
    let (lines, whole) = whole_lines(&bytes)?;
    let entries = lines.into_iter().map(|(_, json)| serde_json::from_slice(json));
    let entries: Result<_, _> = entries.collect();
    Ok((entries.map_err(|error| error.to_string())?, whole))
}
