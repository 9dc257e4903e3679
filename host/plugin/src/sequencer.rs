//! Hands the results of a workflow's host calls to it one at a time, so that a run is a function of their order.
//!
//! The order in which results come in is not enough to repeat a run: a component is given at once what is ready when it asks, and
//! of several results that are ready it takes first the one that was asked for first. So every call waits at first, on a task
//! of its own; results queue up; and only when the component has nothing left to do it is handed the next one.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use vmcp_core::{
    json::RawJson,
    workflow::{Elicited, InteractionError, ToolCallError},
};

use crate::{limits::Limit, ticker::Ticker};

/// What a host call came to.
pub(crate) enum Outcome {
    Called(Result<RawJson, ToolCallError>),
    Elicited(Result<Elicited, InteractionError>),
    Sampled(Result<RawJson, InteractionError>),
    Slept,
    /// The run is over.
    Ended,
}

type Open = Arc<Mutex<HashMap<u64, oneshot::Sender<Outcome>>>>;

/// The component's side: where its calls begin.
pub(crate) struct Sequencer {
    next_id: u64,
    open: Open,
    done: mpsc::UnboundedSender<(u64, Outcome)>,
}

/// The driver's side: where results come in and are handed over.
pub(crate) struct HandOver {
    open: Open,
    done: mpsc::UnboundedReceiver<(u64, Outcome)>,
}

/// A call under way; dropped, it is cancelled.
pub(crate) struct Pending {
    outcome: oneshot::Receiver<Outcome>,
    _task: Cancelled,
}

struct Cancelled(JoinHandle<()>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Sequencer {
    pub(crate) fn new() -> (Self, HandOver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let open = Open::default();
        (Self { next_id: 0, open: open.clone(), done: sender }, HandOver { open, done: receiver })
    }

    /// Begins a call, on a task of its own: it goes on while the component computes.
    pub(crate) fn begin(&mut self, call: impl Future<Output = Outcome> + Send + 'static) -> Pending {
        let id = self.next_id;
        self.next_id += 1;
        let (sender, outcome) = oneshot::channel();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        let done = self.done.clone();
        #[expect(clippy::disallowed_methods, reason = "ended by `Cancelled`")]
        let task = tokio::spawn(async move {
            // Nobody listens only when the run is over.
            let _ = done.send((id, call.await));
        });
        Pending { outcome, _task: Cancelled(task) }
    }
}

impl Pending {
    pub(crate) async fn outcome(self) -> Outcome {
        self.outcome.await.unwrap_or(Outcome::Ended)
    }
}

impl HandOver {
    /// Runs `run` to its end, handing it one result whenever it has nothing left to do.
    ///
    /// - `clock`: told when the component computes and when it waits
    pub(crate) async fn drive<R>(
        mut self,
        run: impl Future<Output = wasmtime::Result<R>>,
        clock: &RunClock,
        ticker: &Ticker,
    ) -> wasmtime::Result<R> {
        let mut run = pin!(run);
        poll_fn(|context| {
            loop {
                let polled = {
                    let _ticking = ticker.run();
                    clock.start();
                    let polled = run.as_mut().poll(context);
                    clock.stop();
                    polled
                };
                if let Poll::Ready(result) = polled {
                    return Poll::Ready(result);
                }
                if clock.take_yield() {
                    return Poll::Pending;
                }
                let Poll::Ready(Some((id, outcome))) = self.done.poll_recv(context) else { return Poll::Pending };
                let waiting = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                if let Some(waiting) = waiting {
                    // A call that was given up meanwhile wants no result.
                    let _ = waiting.send(outcome);
                }
            }
        })
        .await
    }
}

/// How long a run has computed. Its waits are not counted.
pub(crate) struct RunClock {
    allowed: Duration,
    computed: Mutex<(Duration, Option<Instant>)>,
    /// Whether the component was interrupted only to let others run.
    yielded: AtomicBool,
}

impl RunClock {
    pub(crate) fn new(allowed: Duration) -> Self {
        Self { allowed, computed: Mutex::default(), yielded: AtomicBool::default() }
    }

    /// Called at every tick while the component computes: an error when it has computed for too long.
    pub(crate) fn tick(&self) -> wasmtime::Result<()> {
        let (before, began) = *self.computed();
        let now = began.map(|began| began.elapsed()).unwrap_or_default();
        if before.saturating_add(now) >= self.allowed {
            return Err(wasmtime::Error::new(Limit::RunningTime { allowed: self.allowed }));
        }
        self.yielded.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn start(&self) {
        self.computed().1 = Some(Instant::now());
    }

    fn stop(&self) {
        let mut computed = self.computed();
        if let Some(began) = computed.1.take() {
            computed.0 = computed.0.saturating_add(began.elapsed());
        }
    }

    fn take_yield(&self) -> bool {
        self.yielded.swap(false, Ordering::Relaxed)
    }

    fn computed(&self) -> std::sync::MutexGuard<'_, (Duration, Option<Instant>)> {
        self.computed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
