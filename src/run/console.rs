//! The guest's serial console: copied line by line, watched for what ends a run.

use std::io::{self, Read, Write};

use regex_lite::Regex;

/// What the kernel prints when a part of the initrd could not be unpacked; it boots on with half a root.
const UNPACKING_FAILED: &str = "Initramfs unpacking failed";

/// Longest line that is watched; the rest of a longer one is copied only.
const LINE_BYTES: usize = 4096;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The console showed the pattern that was waited for.
    Pattern,
    /// The machine powered off or was reset.
    PowerOff,
    /// The time given was over.
    Timeout,
    /// The kernel said that the initrd did not unpack.
    UnpackingFailed,
}

/// A console being watched.
#[derive(Debug)]
pub struct Console {
    pattern: Option<Regex>,
    line: Vec<u8>,
}

impl Console {
    /// Watches for `pattern`, if one is given, and for the kernel's complaint about the initrd.
    pub fn new(pattern: Option<Regex>) -> Self {
        Self {
            pattern,
            line: Vec::new(),
        }
    }

    /// Copies `from` to `to` until something ends the run; the end of `from` is a power-off.
    ///
    /// # Errors
    /// What reading or writing gave.
    pub fn copy(&mut self, from: &mut dyn Read, to: &mut dyn Write) -> io::Result<Ending> {
        let mut buffer = [0; 4096];
        loop {
            let n = match from.read(&mut buffer) {
                Ok(0) => return Ok(Ending::PowerOff),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let chunk = buffer.get(..n).unwrap_or_default();
            to.write_all(chunk)?;
            to.flush()?;
            if let Some(ending) = self.watch(chunk) {
                return Ok(ending);
            }
        }
    }

    fn watch(&mut self, chunk: &[u8]) -> Option<Ending> {
        for &byte in chunk {
            // A prompt has no newline behind it, so a line is looked at as it grows, where a word may have ended.
            if !byte.is_ascii_alphanumeric()
                && let Some(ending) = self.judge()
            {
                return Some(ending);
            }
            if byte == b'\n' {
                self.line.clear();
            } else if self.line.len() < LINE_BYTES {
                self.line.push(byte);
            }
        }
        self.judge()
    }

    fn judge(&self) -> Option<Ending> {
        let line = String::from_utf8_lossy(&self.line);
        if line.contains(UNPACKING_FAILED) {
            return Some(Ending::UnpackingFailed);
        }
        let seen = self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(&line));
        seen.then_some(Ending::Pattern)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ending(console: &str, pattern: &str) -> (Ending, String) {
        let mut copied = Vec::new();
        let mut watcher = Console::new(Some(Regex::new(pattern).unwrap()));
        let ending = watcher.copy(&mut console.as_bytes(), &mut copied).unwrap();
        (ending, String::from_utf8(copied).unwrap())
    }

    #[test]
    fn ends_at_the_pattern_even_without_a_newline() {
        assert_eq!(ending("boot\r\nlogin: ", "^login:").0, Ending::Pattern);
        assert_eq!(ending("boot\nall services up\n", "all services up").0, Ending::Pattern);
    }

    #[test]
    fn a_console_that_closes_is_a_power_off() {
        assert_eq!(ending("bye\n", "login").0, Ending::PowerOff);
    }

    #[test]
    fn an_initrd_that_does_not_unpack_is_noticed() {
        let console = "[ 1.0] Initramfs unpacking failed: junk\nlogin: ";
        assert_eq!(ending(console, "login").0, Ending::UnpackingFailed);
    }
}
