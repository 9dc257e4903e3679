//! How long to wait before the next try: longer each time, and never the same for two hosts.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// Waits that double from 200 ms to 30 s, with jitter.
pub(crate) struct Delays(ExponentialBackoff);

impl Delays {
    pub(crate) fn new() -> Self {
        let growing = ExponentialBuilder::new().with_min_delay(FIRST).with_max_delay(LONGEST).without_max_times();
        Self(growing.with_jitter().build())
    }

    /// Only long ones.
    pub(crate) fn longest() -> Self {
        let growing = ExponentialBuilder::new().with_min_delay(LONGEST).with_max_delay(LONGEST).without_max_times();
        Self(growing.build())
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let mut delays = Delays::new();
        let first = delays.next();
        assert!(first >= FIRST && first <= FIRST * 2, "{first:?}");
        let late = (0..40).map(|_| delays.next()).last().unwrap();
        assert_eq!(late, LONGEST);
    }
}
