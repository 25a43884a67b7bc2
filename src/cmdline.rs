//! The kernel's command line: words of a safe alphabet, and parameters that only a policy may allow (law of the disk 8).
//!
//! - Words are separated by white space and stand in the sealed command line with one space between them, so that it means the
//!   same to a boot loader's parser, to the kernel's and to a reader. Quotes, `$`, `\` and control characters are refused.
//! - The kernel takes `-` and `_` in names for the same; so does every comparison here.
//! - [`Cmdline::refusals`] names parameters that start another system than the one that was verified, or that switch off what
//!   protects it.

use std::fmt;
use std::str::FromStr;

use crate::failure::{Code, Place, Refusal};
use crate::limit;

/// Characters of a word, beside letters and digits.
const PUNCTUATION: &str = "-_.,:;=/+@%~!?*()[]{}^#";

/// Parameters that are refused unless a policy lists them: name, value (`None`: any), and why.
const REFUSED: &[(&str, Option<&str>, &str)] = &[
    ("acpi_rsdp", None, "hands the kernel firmware tables that nobody signed"),
    ("apparmor", Some("0"), "switches a security module off"),
    ("dm_mod.create", None, "makes block devices that were not verified"),
    ("firmware_class.path", None, "loads firmware from elsewhere"),
    ("ima_appraise", None, "changes how files are appraised"),
    ("ima_policy", None, "changes how files are appraised"),
    ("init", None, "starts another init"),
    ("initcall_blacklist", None, "keeps parts of the kernel from starting"),
    ("initrd", None, "loads another initrd"),
    ("iomem", Some("relaxed"), "opens the kernel's memory"),
    ("kgdboc", None, "opens the kernel's debugger"),
    ("kgdbwait", None, "opens the kernel's debugger"),
    ("lockdown", Some("none"), "switches lockdown off"),
    ("lsm", None, "changes which security modules run"),
    ("mitigations", Some("off"), "switches protections of the processor off"),
    ("module.sig_enforce", Some("0"), "loads modules without a signature"),
    ("noinitrd", None, "skips the verified initrd"),
    ("nokaslr", None, "makes the kernel's addresses known"),
    ("nosmap", None, "switches a protection of the processor off"),
    ("nosmep", None, "switches a protection of the processor off"),
    ("rdinit", None, "starts another init"),
    ("root", None, "mounts another root file system"),
    ("rootflags", None, "mounts another root file system"),
    ("rootfstype", None, "mounts another root file system"),
    ("security", None, "changes which security modules run"),
    ("selinux", Some("0"), "switches a security module off"),
];

/// Names with these beginnings are refused as [`REFUSED`] are.
const REFUSED_PREFIXES: &[(&str, &str)] = &[("sysctl.", "changes kernel settings outside the specification")];

/// A command line whose characters are safe; its parameters may still be refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cmdline {
    words: Vec<String>,
}

impl Cmdline {
    /// Iterates over the words in order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    /// Lists a refusal for each parameter that changes what boots and that `allowed` (a policy's list) does not name.
    ///
    /// `place` is where the command line was written.
    pub fn refusals(&self, allowed: &[Parameter], place: Option<&Place>) -> Vec<Refusal> {
        let refusal = |word: &str| {
            let why = refused(word).filter(|_| !allowed.iter().any(|parameter| parameter.admits(word)))?;
            let expected =
                "parameters that leave the verified system as it is, or that the policy's `image: cmdline:` lists";
            let found = format!("`{word}`, which {why}");
            let advice = format!("remove `{word}` from `kernel: cmdline:`");
            let refusal = Refusal::new(Code::Cmdline, "kernel command line", expected, found, advice);
            Some(match place {
                Some(place) => refusal.at(place.clone()),
                None => refusal,
            })
        };
        self.words().filter_map(refusal).collect()
    }
}

impl fmt::Display for Cmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

impl FromStr for Cmdline {
    type Err = CmdlineError;

    fn from_str(text: &str) -> Result<Self, CmdlineError> {
        let words: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
        let line = words.join(" ");
        if line.len() > limit::CMDLINE_BYTES {
            return Err(CmdlineError::TooLong { found: line.len() });
        }
        let odd = |c: &char| !(c.is_ascii_alphanumeric() || *c == ' ' || PUNCTUATION.contains(*c));
        match line.chars().find(odd) {
            Some(character) => Err(CmdlineError::Character { character }),
            None => Ok(Self { words }),
        }
    }
}

/// Why a text is no command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CmdlineError {
    /// A character is outside the alphabet.
    #[error(
        "character {character:?} is refused in a kernel command line; expected letters, digits, spaces and {PUNCTUATION}"
    )]
    Character {
        /// The first such character.
        character: char,
    },
    /// One parameter was to be named.
    #[error("`{found}` is not one parameter; write each by itself, without spaces")]
    NotOne {
        /// What is named.
        found: String,
    },
    /// It is longer than the kernel takes.
    #[error(
        "the kernel command line has {found} bytes; expected at most {}",
        limit::CMDLINE_BYTES
    )]
    TooLong {
        /// How many bytes it has.
        found: usize,
    },
}

/// A parameter that a policy allows: `NAME` with any value, or exactly `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    name: String,
    value: Option<String>,
}

impl Parameter {
    fn admits(&self, word: &str) -> bool {
        let (name, value) = split(word);
        name == self.name && self.value.as_deref().is_none_or(|wanted| value == Some(wanted))
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for Parameter {
    type Err = CmdlineError;

    fn from_str(text: &str) -> Result<Self, CmdlineError> {
        text.parse::<Cmdline>()?;
        let (name, value) = split(text);
        if name.is_empty() || text.contains(|c: char| c.is_ascii_whitespace()) {
            return Err(CmdlineError::NotOne { found: text.to_owned() });
        }
        Ok(Self {
            name,
            value: value.map(str::to_owned),
        })
    }
}

/// Says why `word` is refused by default; `None` when it is not.
fn refused(word: &str) -> Option<&'static str> {
    // The kernel hands what follows to init as its arguments.
    if word == "--" {
        return Some("gives init other arguments");
    }
    let (name, value) = split(word);
    let listed = REFUSED.iter().find(|(refused, bad, _)| {
        *refused == name && bad.is_none_or(|bad| value.is_none_or(|value| means(value, bad)))
    });
    let prefixed = REFUSED_PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
    listed.map(|(.., why)| *why).or(prefixed.map(|(_, why)| *why))
}

/// Compares values as the kernel does: for a truth value `0`, `n`, `N` and `off` are one.
fn means(value: &str, bad: &str) -> bool {
    let off = |text: &str| text.starts_with(['0', 'n', 'N', 'f', 'F']) || text.eq_ignore_ascii_case("off");
    value == bad || (bad == "0" && off(value)) || (bad == "off" && off(value))
}

fn split(word: &str) -> (String, Option<&str>) {
    match word.split_once('=') {
        Some((name, value)) => (name.replace('-', "_"), Some(value)),
        None => (word.replace('-', "_"), None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refused_words(line: &str, allowed: &[&str]) -> Vec<String> {
        let allowed: Vec<Parameter> = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let refusals = line.parse::<Cmdline>().unwrap().refusals(&allowed, None);
        refusals.into_iter().map(|refusal| refusal.found).collect()
    }

    #[test]
    fn usual_parameters_pass() {
        let line = "console=tty0 console=ttyS0,115200n8 page_poison=1 ip=dhcp panic=10 module.sig_enforce=1 lockdown=integrity";
        assert_eq!(refused_words(line, &[]), [] as [&str; 0]);
    }

    #[test]
    fn a_policy_allows_parameters_one_by_one() {
        for text in ["nokaslr lsm=x", " nokaslr", "=1", ""] {
            let found = text.to_owned();
            assert_eq!(text.parse::<Parameter>(), Err(CmdlineError::NotOne { found }), "{text}");
        }
        assert!("lsm=x".parse::<Parameter>().is_ok());
    }

    #[test]
    fn what_boots_something_else_is_refused() {
        for word in [
            "init=/bin/sh",
            "rdinit=/bin/sh",
            "root=/dev/sda",
            "module.sig_enforce=0",
            "module.sig-enforce=0",
            "module.sig_enforce=n",
            "module.sig_enforce",
            "apparmor=0",
            "mitigations=off",
            "sysctl.kernel.modprobe=/tmp/x",
            "--",
            "lsm=",
        ] {
            assert_eq!(refused_words(word, &[]).len(), 1, "{word}");
        }
    }

    #[test]
    fn a_policy_widens_only_what_it_lists() {
        assert_eq!(refused_words("root=/dev/sda init=/x", &["root=/dev/sda"]).len(), 1);
        assert_eq!(refused_words("root=/dev/sdb", &["root=/dev/sda"]).len(), 1);
        assert_eq!(refused_words("root=/dev/sdb nokaslr", &["root", "nokaslr"]).len(), 0);
    }

    #[test]
    fn characters_that_a_parser_could_take_otherwise_are_refused() {
        for line in [
            "a=\"b c\"",
            "a='b'",
            "a=$b",
            "a=\\b",
            "a=`b`",
            "a=b;\u{7f}",
            "a=é",
            "a\0",
            "a=<b>",
            "a|b",
            "a&b",
        ] {
            assert!(line.parse::<Cmdline>().is_err(), "{line}");
        }
        assert!("x".repeat(limit::CMDLINE_BYTES + 1).parse::<Cmdline>().is_err());
    }

    #[test]
    fn white_space_is_one_space() {
        assert_eq!(" a=1 \n b\t".parse::<Cmdline>().unwrap().to_string(), "a=1 b");
    }
}
