//! The changefeed of a directory.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::record::{Change, ChangeQuery};
use super::log::{CHECK_DIGITS, line, whole_lines};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::store::file::cannot;
use crate::time::Time;

/// The changefeed's file, where its lines begin, and which are whose.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) file: Arc<File>,
    pub(super) starts: Vec<u64>,
    end: u64,
    /// The ids of each collection's lines, rising: where it is asked for, others' lines are not read.
    of: HashMap<String, Vec<u64>>,
}

/// Where a line of the changefeed stands, and its id.
pub(super) type Place = (u64, Range<u64>);

/// A line of the changefeed's file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ChangeLine {
    pub(super) at: Time,
    pub(super) gun: String,
    /// The timestamp's version and hash; `None` for a deletion.
    pub(super) timestamp: Option<(u64, Digest)>,
}

impl Changes {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(|error| cannot("open", path, &error))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|error| cannot("read", path, &error))?;
        let (lines, whole) = whole_lines(&bytes).map_err(|problem| Failure::unavailable(path.display(), problem))?;
        file.set_len(whole).map_err(|error| cannot("write", path, &error))?;
        let mut of: HashMap<String, Vec<u64>> = HashMap::new();
        for (id, (_, json)) in (1..).zip(&lines) {
            let line: Result<ChangeLine, _> = serde_json::from_slice(json);
            let line = line.map_err(|error| Failure::unavailable(path.display(), error))?;
            of.entry(line.gun).or_default().push(id);
        }
        Ok(Self {
            file: Arc::new(file),
            starts: lines.into_iter().map(|(start, _)| start).collect(),
            end: whole,
            of,
        })
    }

    pub(super) fn append(&mut self, change: &ChangeLine) -> Result<(), Failure> {
        let bad =
            |error: &dyn std::fmt::Display| Failure::unavailable("the changefeed", format!("cannot write: {error}"));
        let line = line(change).map_err(|error| bad(&error))?;
        let written = self
            .file
            .write_all_at(&line, self.end)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let _ = self.file.set_len(self.end);
            return Err(bad(&error));
        }
        self.starts.push(self.end);
        self.end += line.len() as u64;
        let id = self.starts.len() as u64;
        self.of.entry(change.gun.clone()).or_default().push(id);
        Ok(())
    }

    pub(super) fn drop_last(&mut self) -> Result<(), Failure> {
        let last = self.starts.len() as u64;
        let Some(start) = self.starts.pop() else { return Ok(()) };
        self.end = start;
        for ids in self.of.values_mut() {
            ids.pop_if(|id| *id == last);
        }
        let cut = self.file.set_len(start).and_then(|()| self.file.sync_data());
        cut.map_err(|error| Failure::unavailable("the changefeed", format!("cannot write: {error}")))
    }

    /// Returns where the lines stand that are asked for, oldest first.
    pub(super) fn places(&self, query: &ChangeQuery) -> Vec<Place> {
        let last = self.starts.len() as u64;
        // Ids count from 1.
        let (first, last) = match query.back {
            true => (1, query.from.map_or(last, |from| from.saturating_sub(1).min(last))),
            false => (query.from.unwrap_or(0).saturating_add(1), last),
        };
        let pick = |ids: &mut dyn DoubleEndedIterator<Item = u64>| match query.back {
            true => {
                let mut ids: Vec<_> = ids.rev().take(query.count).collect();
                ids.reverse();
                ids
            }
            false => ids.take(query.count).collect(),
        };
        let ids = match &query.gun {
            None => pick(&mut (first..=last)),
            Some(gun) => {
                let ids = self.of.get(gun.as_str()).map_or(&[][..], Vec::as_slice);
                let (from, to) = (
                    ids.partition_point(|id| *id < first),
                    ids.partition_point(|id| *id <= last),
                );
                pick(&mut ids.get(from..to).unwrap_or_default().iter().copied())
            }
        };
        ids.into_iter().filter_map(|id| Some((id, self.place(id)?))).collect()
    }

    /// Returns where the line of an id stands.
    pub(super) fn place(&self, id: u64) -> Option<Range<u64>> {
        let at = usize::try_from(id.checked_sub(1)?).ok()?;
        let start = *self.starts.get(at)?;
        Some(start..self.starts.get(at + 1).copied().unwrap_or(self.end))
    }
}

pub(super) fn read_change(file: &File, place: Range<u64>) -> Result<ChangeLine, Failure> {
    let bad =
        |problem: &dyn std::fmt::Display| Failure::unavailable("the changefeed", format!("cannot read: {problem}"));
    let mut bytes = vec![0; usize::try_from(place.end - place.start).map_err(|error| bad(&error))?];
    file.read_exact_at(&mut bytes, place.start)
        .map_err(|error| bad(&error))?;
    let text = bytes.get(CHECK_DIGITS + 1..).unwrap_or_default();
    serde_json::from_slice(text).map_err(|error| bad(&error))
}

pub(super) fn change(id: u64, line: ChangeLine) -> Change {
    let (version, sha256) = line
        .timestamp
        .map_or((0, String::new()), |(version, digest)| (version, digest.hex()));
    Change {
        id: id.to_string(),
        at: line.at,
        gun: line.gun,
        version,
        category: if sha256.is_empty() {
            Change::DELETION
        } else {
            Change::UPDATE
        },
        sha256,
    }
}
