//! Linux capabilities by name, as containers ask for them.

use std::fmt;
use std::str::FromStr;

/// Every capability that runc knows, in the order of their numbers (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A capability that Linux knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(&'static str);

impl Capability {
    /// Iterates over all capabilities in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(Self)
    }

    /// Returns the name: `CAP_…`.
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let known = NAMES.into_iter().find(|name| *name == text);
        known.map(Self).ok_or_else(|| UnknownCapability(text.to_owned()))
    }
}

/// A word is no capability's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a capability; expected a name such as CAP_NET_ADMIN, or `all` or `none` alone")]
pub struct UnknownCapability(String);

/// The capabilities that one place asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capabilities {
    /// All that there are.
    All,
    /// These, in the order that they were written.
    Listed(Vec<Capability>),
}

impl Capabilities {
    /// Reads a list as LinuxKit does: a lone `all` or `none`, in any case, or names.
    ///
    /// # Errors
    /// [`UnknownCapability`].
    pub fn parse(words: &[&str]) -> Result<Self, UnknownCapability> {
        match words {
            [word] if word.eq_ignore_ascii_case("all") => Ok(Self::All),
            [word] if word.eq_ignore_ascii_case("none") => Ok(Self::Listed(Vec::new())),
            words => {
                let parsed: Result<_, _> = words.iter().map(|word| word.parse()).collect();
                parsed.map(Self::Listed)
            }
        }
    }

    /// Adds `more` behind these.
    pub fn and(self, more: Self) -> Self {
        match (self, more) {
            (Self::Listed(mut first), Self::Listed(more)) => {
                first.extend(more);
                Self::Listed(first)
            }
            _ => Self::All,
        }
    }

    /// Returns the capabilities in the order that they were written.
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::All => NAMES.to_vec(),
            Self::Listed(listed) => listed.iter().map(|capability| capability.name()).collect(),
        }
    }
}

impl Default for Capabilities {
    /// LinuxKit gives a container none.
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}
