//! Resource limits of a process: `NAME,SOFT,HARD`.

use std::str::FromStr;

use serde::Serialize;

const KINDS: [&str; 16] = [
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
];

/// One limit, as the OCI runtime specification writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rlimit {
    /// `RLIMIT_…`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What the process cannot exceed.
    pub hard: u64,
    /// What it starts with.
    pub soft: u64,
}

impl FromStr for Rlimit {
    type Err = RlimitError;

    fn from_str(text: &str) -> Result<Self, RlimitError> {
        let bad = || RlimitError(text.to_owned());
        let mut parts = text.split(',').map(str::trim);
        let (Some(kind), Some(soft), Some(hard), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        let kind = kind.to_ascii_uppercase();
        let kind = kind.strip_prefix("RLIMIT_").unwrap_or(&kind);
        let known = KINDS
            .into_iter()
            .find(|known| known.strip_prefix("RLIMIT_") == Some(kind));
        let limit = |text: &str| match text.eq_ignore_ascii_case("unlimited") {
            true => Ok(u64::MAX),
            false => text.parse().map_err(|_| bad()),
        };
        Ok(Self {
            kind: known.ok_or_else(bad)?,
            hard: limit(hard)?,
            soft: limit(soft)?,
        })
    }
}

/// A text is no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a limit; expected NAME,SOFT,HARD, for example nofile,1024,unlimited")]
pub struct RlimitError(String);
