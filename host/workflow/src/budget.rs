//! How much one run may use of the host, beside its memory and its computing time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// On the wall, waits for a person not counted; 30 minutes.
    pub wall_time: Duration,
    /// Calls of tools; 5,000.
    pub calls: u32,
    /// Calls under way at a time; further ones wait. 50.
    pub parallel_calls: u32,
    /// Questions to the client; 100.
    pub questions: u32,
}

impl Default for BudgetLimits {
    fn default() -> Self {
        Self { wall_time: Duration::from_mins(30), calls: 5_000, parallel_calls: 50, questions: 100 }
    }
}

/// What one run has left.
#[derive(Debug)]
pub struct Budget {
    limits: BudgetLimits,
    calls: AtomicU32,
    questions: AtomicU32,
    parallel: Arc<Semaphore>,
}

impl Budget {
    pub fn new(limits: BudgetLimits) -> Self {
        let parallel = Arc::new(Semaphore::new(limits.parallel_calls.max(1) as usize));
        Self { limits, calls: AtomicU32::new(0), questions: AtomicU32::new(0), parallel }
    }

    pub fn limits(&self) -> BudgetLimits {
        self.limits
    }

    /// Takes one call.
    ///
    /// # Errors
    /// What to say when there is none left.
    pub(crate) fn take_call(&self) -> Result<(), String> {
        take(&self.calls, self.limits.calls, "tool calls")
    }

    /// Takes one question.
    ///
    /// # Errors
    /// What to say when there is none left.
    pub(crate) fn take_question(&self) -> Result<(), String> {
        take(&self.questions, self.limits.questions, "questions to the client")
    }

    /// Waits until one more call may be under way.
    pub(crate) async fn turn(parallel: Arc<Semaphore>) -> OwnedSemaphorePermit {
        parallel.acquire_owned().await.expect("the semaphore is never closed")
    }

    pub(crate) fn parallel(&self) -> Arc<Semaphore> {
        self.parallel.clone()
    }
}

fn take(used: &AtomicU32, limit: u32, what: &str) -> Result<(), String> {
    let before = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used < limit).then_some(used + 1));
    before.map(drop).map_err(|_| format!("a run may make {limit} {what}, and has"))
}
