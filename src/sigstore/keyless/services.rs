//! Which services sign: `signing_config.v0.2.json`, as an instance's TUF repository has it.
//!
//! Of the services that are in their time and speak a version known here, those of the newest version count, the latest first, one for
//! each operator (sigstore's client specification). `ANY` takes one, `EXACT` so many, `ALL` all.

use sigstore_verify::trust_root as theirs;
use sigstore_verify::trust_root::{ServiceEndpoint, ServiceSelector};

use crate::json::{self, JsonError, Limits};
use crate::limit;
use crate::time::Time;

/// The interface of a transparency log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogApi {
    /// Rekor 1: entries have a promise, and a time.
    V1,
    /// Rekor 2: entries have neither.
    V2,
}

/// A transparency log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its URL.
    pub url: String,
    /// Its interface.
    pub api: LogApi,
}

/// The services that take part in a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningConfig {
    /// The certificate authority's URL.
    pub authority: String,
    /// The logs: one at least.
    pub logs: Vec<Service>,
    /// The time-stamp authorities' URLs.
    pub stamps: Vec<String>,
}

impl SigningConfig {
    /// Reads a configuration, and chooses of it what counts at `now`.
    ///
    /// # Errors
    /// [`ServicesError`] when it is none, or has too few services that are in their time and known here.
    pub fn parse(bytes: &[u8], now: Time) -> Result<Self, ServicesError> {
        let value = json::parse(bytes, Limits::integers(limit::TRUSTED_ROOT_BYTES))?;
        let config = theirs::SigningConfig::from_json(&value.to_string());
        let config = config.map_err(|error| ServicesError::Form(error.to_string()))?;
        let one = theirs::ServiceConfiguration::default();
        let authority = choose("certificate authority", &config.ca_urls, &[1], &one, now)?;
        let logs = choose(
            "transparency log",
            &config.rekor_tlog_urls,
            &[2, 1],
            &config.rekor_tlog_config,
            now,
        )?;
        let stamps = match config.tsa_urls.is_empty() {
            true => Vec::new(),
            false => choose("time-stamp authority", &config.tsa_urls, &[1], &config.tsa_config, now)?,
        };
        let api = |service: &ServiceEndpoint| match service.major_api_version {
            2 => LogApi::V2,
            _ => LogApi::V1,
        };
        Ok(Self {
            authority: authority
                .into_iter()
                .next()
                .map(|one| one.url.clone())
                .unwrap_or_default(),
            logs: logs
                .into_iter()
                .map(|log| Service {
                    url: log.url.clone(),
                    api: api(log),
                })
                .collect(),
            stamps: stamps.into_iter().map(|stamp| stamp.url.clone()).collect(),
        })
    }
}

/// Chooses services; one at least.
fn choose<'a>(
    what: &'static str,
    all: &'a [ServiceEndpoint],
    versions: &[u32],
    wanted: &theirs::ServiceConfiguration,
    now: Time,
) -> Result<Vec<&'a ServiceEndpoint>, ServicesError> {
    let few = || ServicesError::TooFew { what };
    let time = sigstore_verify::types::TimeRange::new;
    let now = now.to_string().parse().map_err(|_| few())?;
    let current = |service: &&ServiceEndpoint| time(service.valid_for.start, service.valid_for.end).contains(now);
    let of = |version: u32| -> Vec<&ServiceEndpoint> {
        let known = all.iter().filter(|service| service.major_api_version == version);
        known.filter(current).collect()
    };
    let mut found = versions
        .iter()
        .map(|version| of(*version))
        .find(|found| !found.is_empty());
    let found = found.take().unwrap_or_default();
    let mut latest = found;
    latest.sort_by_key(|service| std::cmp::Reverse(service.valid_for.start));
    let mut chosen: Vec<&ServiceEndpoint> = Vec::new();
    for service in latest {
        let another = chosen
            .iter()
            .all(|other| other.operator.is_none() || other.operator != service.operator);
        if another {
            chosen.push(service);
        }
    }
    let count = match wanted.selector {
        ServiceSelector::Any => 1,
        ServiceSelector::All => chosen.len().max(1),
        ServiceSelector::Exact => wanted.count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0),
        _ => 0,
    };
    if count == 0 || chosen.len() < count || count > limit::SIGNING_SERVICES {
        return Err(few());
    }
    chosen.truncate(count);
    Ok(chosen)
}

/// Bytes that are no signing configuration, or one that names nobody to ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServicesError {
    /// It is none.
    #[error("no signing configuration of sigstore: {0}")]
    Form(String),
    /// It is not the JSON that it should be.
    #[error("no signing configuration of sigstore: {0}")]
    Json(#[from] JsonError),
    /// Services are missing, out of their time, or of versions that are not known here.
    #[error(
        "it names no {what} that can be asked now, or not as many as it wants; fetch a newer one, or name the URLs"
    )]
    TooFew {
        /// Of what.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use serde_json::{Value, json};

    fn service(url: &str, version: u32, start: &str, end: Option<&str>, operator: &str) -> Value {
        let mut times = json!({ "start": start });
        if let Some(end) = end {
            times["end"] = json!(end);
        }
        json!({ "url": url, "majorApiVersion": version, "validFor": times, "operator": operator })
    }

    fn config() -> Value {
        let (old, new) = ("2022-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
        json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service("https://old.example", 1, old, Some(new), "a"), service("https://ca.example", 1, new, None, "a")],
            "rekorTlogUrls": [
                service("https://one.example", 1, old, None, "a"), service("https://two.example", 2, new, None, "a"),
                service("https://b.example", 2, new, None, "b"), service("https://three.example", 3, new, None, "a"),
            ],
            "tsaUrls": [service("https://ts.example/stamp", 1, old, None, "a")],
            "rekorTlogConfig": { "selector": "ANY" }, "tsaConfig": { "selector": "ANY" },
        })
    }

    fn parse(config: &Value) -> Result<SigningConfig, ServicesError> {
        SigningConfig::parse(config.to_string().as_bytes(), "2026-01-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn the_newest_known_version_in_its_time_counts() {
        let found = parse(&config()).unwrap();
        assert_eq!(found.authority, "https://ca.example");
        assert_eq!(
            found.logs,
            [Service {
                url: "https://two.example".to_owned(),
                api: LogApi::V2
            }]
        );
        assert_eq!(found.stamps, ["https://ts.example/stamp"]);
        let public = theirs::SIGSTORE_PRODUCTION_SIGNING_CONFIG.as_bytes();
        let public = SigningConfig::parse(public, "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(public.logs.len(), 1);
    }

    #[test]
    fn as_many_operators_are_asked_as_it_wants() {
        let with = |selector: Value| {
            let mut config = config();
            config["rekorTlogConfig"] = selector;
            parse(&config).map(|found| found.logs.len())
        };
        assert_eq!(with(json!({ "selector": "ALL" })).unwrap(), 2);
        assert_eq!(with(json!({ "selector": "EXACT", "count": 2 })).unwrap(), 2);
        assert!(with(json!({ "selector": "EXACT", "count": 3 })).is_err());
        assert!(with(json!({ "selector": "EXACT" })).is_err());
        assert!(with(json!({ "selector": "SERVICE_SELECTOR_UNDEFINED" })).is_err());
    }

    #[test]
    fn refuses_what_names_nobody_to_ask() {
        for part in ["caUrls", "rekorTlogUrls"] {
            let mut config = config();
            config[part] = json!([]);
            assert!(matches!(parse(&config), Err(ServicesError::TooFew { .. })), "{part}");
        }
        assert!(SigningConfig::parse(b"{}", Time::EPOCH).is_err());
        assert!(SigningConfig::parse(b"[[", Time::EPOCH).is_err());
    }
}
