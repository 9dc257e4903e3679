//! Trying again.

use std::{future::Future, time::Duration};

use super::{clock, random};

/// How often something is tried, and how long is waited in between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Tries after the first.
    pub retries: u32,
    /// Before the second try.
    pub delay: Duration,
    /// What the delay is multiplied by after each try.
    pub factor: f64,
    /// Longest delay.
    pub longest: Duration,
}

impl Default for Backoff {
    /// Three more tries, after one second, two and four.
    fn default() -> Self {
        Self { retries: 3, delay: Duration::from_secs(1), factor: 2.0, longest: Duration::from_mins(1) }
    }
}

/// Tries `work` until it succeeds. Delays vary by a quarter, so that many that failed together do not come back together.
///
/// # Errors
/// That of the last try.
pub async fn retry<T, E, F: Future<Output = Result<T, E>>>(
    backoff: Backoff,
    mut work: impl FnMut() -> F,
) -> Result<T, E> {
    let mut delay = backoff.delay;
    for _ in 0..backoff.retries {
        if let Ok(done) = work().await {
            return Ok(done);
        }
        clock::sleep(delay.mul_f64(0.75 + random::unit() / 2.0)).await;
        delay = delay.mul_f64(backoff.factor).min(backoff.longest);
    }
    work().await
}
