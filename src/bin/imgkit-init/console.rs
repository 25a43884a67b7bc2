//! The boot's account on the console: one line when a step begins and one when it ends.
//!
//! A line is `imgkit-init: [SECONDS] TEXT`, seconds since power-on with three decimals (`CLOCK_BOOTTIME`, the kernel's own count), and
//! is written by one call, so that lines of parallel steps do not mix. A step's text is `NAME: started`, `NAME: done in S s` or
//! `NAME: FAILED: REASON`.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Most lines of a container's log that are repeated on the console: enough for a message, too few to flood a serial line.
const QUOTED_LINES: usize = 40;

/// The node's console; clones write to the same place.
#[derive(Clone)]
pub(crate) struct Console {
    out: Option<Arc<File>>,
}

/// A step that has begun and not ended yet.
pub(crate) struct Step {
    console: Console,
    name: String,
    began: Duration,
}

impl Console {
    /// Opens `/dev/console` without making it the controlling terminal; where there is none, lines are dropped.
    pub(crate) fn open() -> Console {
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32)
            .open("/dev/console");
        Console {
            out: file.ok().map(Arc::new),
        }
    }

    /// Writes one line with the time since power-on.
    pub(crate) fn line(&self, text: impl Display) {
        self.write(&format!(
            "imgkit-init: [{:.3}] {}\n",
            since_boot().as_secs_f64(),
            printable(&text.to_string())
        ));
    }

    /// Writes that a step has begun.
    pub(crate) fn begin(&self, name: impl Into<String>) -> Step {
        let name = name.into();
        self.line(format_args!("{name}: started"));
        Step {
            console: self.clone(),
            name,
            began: since_boot(),
        }
    }

    /// Repeats the last lines of a log under the name of its container.
    pub(crate) fn quote(&self, name: &str, log: &str) {
        let lines: Vec<&str> = log.lines().collect();
        let dropped = lines.len().saturating_sub(QUOTED_LINES);
        if dropped > 0 {
            self.write(&format!("{name}| ({dropped} earlier lines are in the log)\n"));
        }
        for line in lines.iter().skip(dropped) {
            self.write(&format!("{name}| {}\n", printable(line)));
        }
    }

    /// Writes in one call; a console that cannot be written to must not stop a boot.
    fn write(&self, text: &str) {
        if let Some(mut out) = self.out.as_deref() {
            let _ = out.write_all(text.as_bytes());
        }
    }
}

impl Step {
    /// Writes that the step has ended well, and how long it took.
    pub(crate) fn done(self) {
        let took = since_boot().saturating_sub(self.began);
        self.console
            .line(format_args!("{}: done in {:.2} s", self.name, took.as_secs_f64()));
    }

    /// Writes that the step has ended well, how long it took, and what came of it.
    pub(crate) fn done_with(self, result: impl Display) {
        let took = since_boot().saturating_sub(self.began);
        self.console.line(format_args!(
            "{}: done in {:.2} s, {result}",
            self.name,
            took.as_secs_f64()
        ));
    }

    /// Writes why the step has failed.
    pub(crate) fn failed(self, reason: impl Display) {
        self.console.line(format_args!("{}: FAILED: {reason}", self.name));
    }
}

/// Returns the time since power-on.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// Replaces what would move a terminal's cursor: a container's output must not forge init's lines.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\t' { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_characters_that_could_forge_a_line() {
        assert_eq!(printable("a\u{1b}[2Kb\nimgkit-init:\tc"), "a?[2Kb?imgkit-init:\tc");
    }
}
