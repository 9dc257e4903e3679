//! Latencies and what is said about them.

use std::time::Duration;

/// Latencies of calls made one after the other on some connections.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    nanos: Vec<u64>,
    /// Wall time of the measurement.
    pub took: Duration,
}

impl Latencies {
    pub fn push(&mut self, latency: Duration) {
        self.nanos.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds what was measured at the same time.
    pub fn merge(&mut self, other: &Self) {
        self.nanos.extend(&other.nanos);
    }

    pub fn len(&self) -> usize {
        self.nanos.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nanos.is_empty()
    }

    /// The latency that a share of all calls stays below.
    ///
    /// - `share`: 0 to 1, e.g. 0.99
    /// - returns the nearest rank; zero when nothing was measured
    pub fn percentile(&self, share: f64) -> Duration {
        let mut sorted = self.nanos.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among some millions"
        )]
        let rank = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        Duration::from_nanos(sorted.get(rank).copied().unwrap_or(0))
    }

    pub fn p50(&self) -> Duration {
        self.percentile(0.5)
    }

    pub fn p99(&self) -> Duration {
        self.percentile(0.99)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
    pub fn per_second(&self) -> f64 {
        self.nanos.len() as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Microseconds with one digit, for tables and JSON.
pub fn micros(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e7).round() / 10.0
}

pub fn ratio(of: f64, to: f64) -> f64 {
    (of / to * 100.0).round() / 100.0
}
