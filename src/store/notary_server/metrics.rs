//! What the server counts, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in microseconds.
const BUCKETS: [u64; 9] = [100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000];

/// An endpoint, by the name that the original's metrics give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Base,
    Changefeed,
    DeleteTuf,
    GetKey,
    GetRole,
    GetRoleByHash,
    GetRoleByVersion,
    Other,
    RotateKey,
    UpdateTuf,
}

impl Operation {
    const ALL: [Self; 10] = [
        Self::Base,
        Self::Changefeed,
        Self::DeleteTuf,
        Self::GetKey,
        Self::GetRole,
        Self::GetRoleByHash,
        Self::GetRoleByVersion,
        Self::Other,
        Self::RotateKey,
        Self::UpdateTuf,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Base => "Base",
            Self::Changefeed => "Changefeed",
            Self::DeleteTuf => "DeleteTUF",
            Self::GetKey => "GetKey",
            Self::GetRole => "GetRole",
            Self::GetRoleByHash => "GetRoleByHash",
            Self::GetRoleByVersion => "GetRoleByVersion",
            Self::Other => "Other",
            Self::RotateKey => "RotateKey",
            Self::UpdateTuf => "UpdateTUF",
        }
    }
}

/// Counters of one server.
#[derive(Debug)]
pub(super) struct Metrics {
    operations: BTreeMap<Operation, Histogram>,
    /// Connections that are open.
    pub(super) connections: AtomicI64,
    /// Collections whose timestamp or snapshot was renewed before it expired.
    pub(super) renewals: AtomicU64,
    /// Renewals that failed.
    pub(super) failed_renewals: AtomicU64,
    /// Requests for current metadata that memory answered, and that the store had to.
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

#[derive(Debug, Default)]
struct Histogram {
    /// By the first digit of the status: 2xx, 3xx, 4xx, 5xx.
    statuses: [AtomicU64; 4],
    buckets: [AtomicU64; BUCKETS.len()],
    microseconds: AtomicU64,
}

impl Metrics {
    pub(super) fn new() -> Self {
        Self {
            operations: Operation::ALL.map(|operation| (operation, Histogram::default())).into(),
            connections: AtomicI64::new(0),
            renewals: AtomicU64::new(0),
            failed_renewals: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Counts a request.
    pub(super) fn count(&self, operation: Operation, status: u16, took: Duration) {
        let Some(histogram) = self.operations.get(&operation) else {
            return;
        };
        let class = usize::from(status / 100).saturating_sub(2);
        if let Some(counter) = histogram.statuses.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        histogram.microseconds.fetch_add(took, Ordering::Relaxed);
        // Buckets are summed up when they are read.
        let bucket = BUCKETS
            .iter()
            .zip(&histogram.buckets)
            .find(|(bound, _)| took <= **bound);
        if let Some((_, counter)) = bucket {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes everything (Prometheus text format 0.0.4).
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let _ = writeln!(
            out,
            "# HELP notary_server_http_requests_total Requests by operation and status."
        );
        let _ = writeln!(out, "# TYPE notary_server_http_requests_total counter");
        for (operation, histogram) in &self.operations {
            for (class, counter) in (2..).zip(&histogram.statuses) {
                let (name, count) = (operation.name(), get(counter));
                let _ = writeln!(
                    out,
                    "notary_server_http_requests_total{{operation=\"{name}\",code=\"{class}xx\"}} {count}"
                );
            }
        }
        let metric = "notary_server_http_request_duration_seconds";
        let _ = writeln!(out, "# HELP {metric} Time from a request's head to its answer.");
        let _ = writeln!(out, "# TYPE {metric} histogram");
        for (operation, histogram) in &self.operations {
            let name = operation.name();
            let total: u64 = histogram.statuses.iter().map(get).sum();
            let mut below = 0;
            for (bound, counter) in BUCKETS.iter().zip(&histogram.buckets) {
                below += get(counter);
                let bound = seconds(*bound);
                let _ = writeln!(out, "{metric}_bucket{{operation=\"{name}\",le=\"{bound}\"}} {below}");
            }
            let sum = seconds(get(&histogram.microseconds));
            let _ = writeln!(out, "{metric}_bucket{{operation=\"{name}\",le=\"+Inf\"}} {total}");
            let _ = writeln!(out, "{metric}_sum{{operation=\"{name}\"}} {sum}");
            let _ = writeln!(out, "{metric}_count{{operation=\"{name}\"}} {total}");
        }
        let single = [
            (
                "renewals_total",
                "Metadata renewed before they expired.",
                get(&self.renewals),
            ),
            (
                "failed_renewals_total",
                "Renewals that failed.",
                get(&self.failed_renewals),
            ),
            (
                "cache_hits_total",
                "Current metadata answered from memory.",
                get(&self.hits),
            ),
            (
                "cache_misses_total",
                "Current metadata read from the store.",
                get(&self.misses),
            ),
        ];
        for (name, help, count) in single {
            let _ = writeln!(out, "# HELP notary_server_{name} {help}");
            let _ = writeln!(out, "# TYPE notary_server_{name} counter\nnotary_server_{name} {count}");
        }
        let open = self.connections.load(Ordering::Relaxed);
        let _ = writeln!(out, "# HELP notary_server_connections Connections that are open.");
        let _ = writeln!(
            out,
            "# TYPE notary_server_connections gauge\nnotary_server_connections {open}"
        );
        out
    }
}

fn seconds(microseconds: u64) -> String {
    format!("{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_operation_and_status() {
        let metrics = Metrics::new();
        metrics.count(Operation::GetRole, 200, Duration::from_micros(300));
        metrics.count(Operation::GetRole, 404, Duration::from_secs(2));
        let text = metrics.text();
        for line in [
            "notary_server_http_requests_total{operation=\"GetRole\",code=\"2xx\"} 1",
            "notary_server_http_requests_total{operation=\"GetRole\",code=\"4xx\"} 1",
            "notary_server_http_request_duration_seconds_bucket{operation=\"GetRole\",le=\"0.000100\"} 0",
            "notary_server_http_request_duration_seconds_bucket{operation=\"GetRole\",le=\"0.000500\"} 1",
            "notary_server_http_request_duration_seconds_bucket{operation=\"GetRole\",le=\"1.000000\"} 1",
            "notary_server_http_request_duration_seconds_bucket{operation=\"GetRole\",le=\"+Inf\"} 2",
            "notary_server_http_request_duration_seconds_sum{operation=\"GetRole\"} 2.000300",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
