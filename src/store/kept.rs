//! A source whose answers are kept: who asks again gets what was got, and the place is asked once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;
use crate::trust::Source;

/// A source with the answers that it gave.
#[derive(Debug)]
pub struct Kept<S> {
    source: S,
    answers: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl<S> Kept<S> {
    /// Keeps what `source` will answer.
    pub fn new(source: S) -> Self {
        Self {
            source,
            answers: Mutex::default(),
        }
    }

    /// Returns the source itself.
    pub fn source(&self) -> &S {
        &self.source
    }
}

impl<S> Source for &Kept<S>
where
    for<'a> &'a S: Source,
{
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answers.get(name) {
            return Ok(answer.clone());
        }
        let answer = (&self.source).file(name, max)?;
        // Of one that is too long only the beginning was read.
        if answer.as_ref().is_none_or(|bytes| bytes.len() <= max) {
            answers.insert(name.to_owned(), answer.clone());
        }
        Ok(answer)
    }
}
