//! How much one run may use of the host, beside its memory and its computing time.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use vmcp_core::journal::{Event, HostCall};

use crate::{run::Unfinished, runs::TimedEvent};

/// What one run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// On the wall, waits for a person not counted; 30 minutes.
    pub wall_time: Duration,
    /// Calls of tools; 5,000.
    pub calls: u32,
    /// Calls under way at a time; further ones wait. 100.
    pub parallel_calls: u32,
    /// Questions to the client; 100.
    pub questions: u32,
}

impl Default for BudgetLimits {
    fn default() -> Self {
        Self { wall_time: Duration::from_mins(30), calls: 5_000, parallel_calls: 100, questions: 100 }
    }
}

/// What one run has left.
#[derive(Debug)]
pub struct Budget {
    limits: BudgetLimits,
    used: Arc<Used>,
    parallel: Arc<Semaphore>,
    clock: Arc<WallClock>,
    /// Those of the runs that this one is within, which stand still with it.
    outer: Vec<Arc<WallClock>>,
}

#[derive(Debug, Default)]
struct Used {
    calls: AtomicU32,
    questions: AtomicU32,
}

impl Budget {
    pub fn new(limits: BudgetLimits) -> Self {
        Self { limits, used: Arc::default(), parallel: parallel(limits), clock: Arc::default(), outer: Vec::new() }
    }

    /// For a run that was told `events` before: what it used then counts; of the time, all but what passed while somebody
    /// was asked.
    pub fn resumed(limits: BudgetLimits, events: &[TimedEvent]) -> Self {
        let budget = Self::new(limits);
        budget.charge(events);
        let mut time = Duration::ZERO;
        let (mut questions, mut last) = (HashSet::new(), None);
        for TimedEvent { at, event } in events {
            if let Some(last) = last.filter(|_| questions.is_empty()) {
                time += Duration::from_millis(at.saturating_sub(last));
            }
            last = Some(*at);
            match event {
                Event::Began { call, what: HostCall::Elicit { .. } | HostCall::Sample { .. } } => {
                    questions.insert(*call);
                }
                Event::Ended { call, .. } | Event::GivenUp { call } => drop(questions.remove(call)),
                _ => {}
            }
        }
        budget.clock.lock().used_before = time;
        budget
    }

    /// Counts the calls that `events` tell of, as far as they have ended: the others are counted when they are made again.
    pub fn charge(&self, events: &[TimedEvent]) {
        let (mut calls, mut questions) = (0, 0);
        let unfinished = Unfinished::of(events);
        for TimedEvent { event, .. } in events {
            match event {
                Event::Began { call, .. } if unfinished.contains(*call) => {}
                Event::Began { what: HostCall::Tool { .. }, .. } => calls += 1,
                Event::Began { what: HostCall::Elicit { .. } | HostCall::Sample { .. }, .. } => questions += 1,
                _ => {}
            }
        }
        self.used.calls.fetch_add(calls, Ordering::Relaxed);
        self.used.questions.fetch_add(questions, Ordering::Relaxed);
    }

    /// For a run that another run begins: what it uses counts for both. It has turns of its own, since the other keeps one
    /// while it waits.
    #[must_use]
    pub fn nested(&self, limits: BudgetLimits) -> Self {
        let outer = self.outer.iter().chain([&self.clock]).cloned().collect();
        Self { limits, used: self.used.clone(), parallel: parallel(limits), clock: Arc::default(), outer }
    }

    /// Takes one call.
    ///
    /// # Errors
    /// What to say when there is none left.
    pub(crate) fn take_call(&self) -> Result<(), String> {
        take(&self.used.calls, self.limits.calls, "tool calls")
    }

    /// Takes one question.
    ///
    /// # Errors
    /// What to say when there is none left.
    pub(crate) fn take_question(&self) -> Result<(), String> {
        take(&self.used.questions, self.limits.questions, "questions to the client")
    }

    /// Returns once the wall time is used up.
    pub async fn time_is_up(&self) {
        loop {
            let Some(left) = self.clock.left(self.limits.wall_time) else {
                self.clock.goes_on.notified().await;
                continue;
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// The wall time stands still until the pause is dropped.
    pub fn pause(&self) -> Pause {
        let clocks: Vec<_> = self.outer.iter().chain([&self.clock]).cloned().collect();
        for clock in &clocks {
            let mut paused = clock.lock();
            paused.pauses += 1;
            paused.since.get_or_insert_with(Instant::now);
        }
        Pause(clocks)
    }

    /// Waits until one more call may be under way.
    pub(crate) fn turn(&self) -> impl Future<Output = OwnedSemaphorePermit> + Send + 'static {
        let parallel = self.parallel.clone();
        async move { parallel.acquire_owned().await.expect("the semaphore is never closed") }
    }
}

/// Time since a run began, without its pauses.
#[derive(Debug)]
struct WallClock {
    began: Instant,
    paused: Mutex<Paused>,
    goes_on: Notify,
}

#[derive(Debug, Default)]
struct Paused {
    pauses: u32,
    /// By the run before it was taken up.
    used_before: Duration,
    /// Of the present pauses, the first.
    since: Option<Instant>,
    before: Duration,
}

impl Default for WallClock {
    fn default() -> Self {
        Self { began: Instant::now(), paused: Mutex::default(), goes_on: Notify::new() }
    }
}

impl WallClock {
    /// What is left of `allowed`; none while it stands still.
    fn left(&self, allowed: Duration) -> Option<Duration> {
        let paused = self.lock();
        let used = (paused.used_before + self.began.elapsed()).saturating_sub(paused.before);
        paused.since.is_none().then(|| allowed.saturating_sub(used))
    }

    fn lock(&self) -> MutexGuard<'_, Paused> {
        self.paused.lock().expect("no panic while locked")
    }
}

/// A time that is not counted.
#[derive(Debug)]
pub struct Pause(Vec<Arc<WallClock>>);

impl Drop for Pause {
    fn drop(&mut self) {
        for clock in &self.0 {
            let mut paused = clock.lock();
            paused.pauses -= 1;
            if paused.pauses == 0
                && let Some(since) = paused.since.take()
            {
                paused.before += since.elapsed();
                clock.goes_on.notify_one();
            }
        }
    }
}

fn parallel(limits: BudgetLimits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits.parallel_calls.max(1) as usize))
}

fn take(used: &AtomicU32, limit: u32, what: &str) -> Result<(), String> {
    let before = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used < limit).then_some(used + 1));
    before.map(drop).map_err(|_| format!("a run may make {limit} {what}, and has"))
}
