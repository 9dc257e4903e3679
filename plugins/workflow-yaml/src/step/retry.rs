//! `onError`: how often a failed step is tried again, after which waits, and whether the workflow goes on without it.

use std::time::Duration;

use super::{Failure, FailureKind};
use crate::{
    document::{ErrorAction, ErrorHandling, time_or},
    duration,
    problem::{Place, Problems},
    run::Run,
    world::{Level, World},
};

/// Most tries after the first.
const MAX_RETRIES: u32 = 10;
/// Wait before the second try, when the step does not say.
const DELAY: Duration = Duration::from_secs(1);
/// A wait is so many times the one before, up to `MAX_GROWTH` times the first.
const GROWTH: f64 = 1.5;
const MAX_GROWTH: f64 = 60.0;
/// A wait is spread over its length times 1 ± this, so that many who failed together do not come back together.
const JITTER: f64 = 0.5;
/// No try begins later than this after the first.
const MAX_TOTAL: Duration = Duration::from_mins(15);

/// What happens when a step fails.
#[derive(Debug)]
pub(crate) struct OnError {
    retries: u32,
    delay: Duration,
    /// Whether the workflow goes on after the last failure.
    pub(crate) continues: bool,
}

impl OnError {
    pub(super) fn compile(raw: Option<&ErrorHandling>, place: &Place, problems: &mut Problems) -> Self {
        let action = raw.and_then(|raw| raw.action).unwrap_or(ErrorAction::Abort);
        let retries = raw.and_then(|raw| raw.retry_count).unwrap_or(0);
        if retries > MAX_RETRIES || action == ErrorAction::Retry && retries == 0 {
            problems.add(&place.key("retryCount"), format!("must be 1 to {MAX_RETRIES}"));
        }
        Self {
            retries: if action == ErrorAction::Abort { 0 } else { retries },
            delay: time_or(raw.and_then(|raw| raw.retry_delay), DELAY),
            continues: action == ErrorAction::Continue,
        }
    }

    /// Makes `attempt` until it succeeds, fails for good, or there were enough tries.
    pub(super) async fn attempt<T, W: World>(
        &self,
        step: &str,
        run: &Run<'_, W>,
        attempt: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let started = run.time.now();
        let mut wait = self.delay;
        for retry in 1..=self.retries {
            let failure = match attempt().await {
                Err(failure) if failure.kind == FailureKind::Passing => failure,
                ended => return ended,
            };
            let spread = wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * run.world.random());
            let elapsed = Duration::from_millis(run.time.now().saturating_sub(started));
            if elapsed + spread > MAX_TOTAL {
                return Err(failure);
            }
            let tries = format!("retry {retry} of {} in {}", self.retries, duration::print(spread));
            run.world.log(Level::Info, &format!("step `{step}` failed, {tries}: {}", failure.message));
            run.world.sleep(spread).await;
            wait = wait.mul_f64(GROWTH).min(self.delay.mul_f64(MAX_GROWTH));
        }
        attempt().await
    }
}
