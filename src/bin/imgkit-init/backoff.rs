//! How long to wait before something that died is started again.

use std::time::Duration;

/// The first wait: a service that crashes once is back before anybody notices.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait: a service that always crashes must not fill the log or the processor.
const LONGEST: Duration = Duration::from_secs(60);
/// What ran this long was well; its next end counts as its first.
const HEALTHY: Duration = Duration::from_secs(60);

/// The waits of one service.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    /// Returns how long to wait after a run of that length; each short run doubles the wait.
    pub(crate) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_minute_and_starts_over_after_a_healthy_run() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let waits: Vec<u128> = (0..11).map(|_| backoff.after(short).as_millis()).collect();
        assert_eq!(
            waits,
            [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]
        );
        assert_eq!(backoff.after(Duration::from_secs(61)), FIRST);
    }
}
