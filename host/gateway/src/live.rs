//! One run that this process has: at work, or at rest without an instance of its component.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use futures::future::BoxFuture;
use tokio::{sync::watch, task::AbortHandle};
use vmcp_core::{
    call::Reply,
    json::RawJson,
    with_cause,
    workflow::{NewRun, WorkflowError},
};
use vmcp_mcp::era::Era;
use vmcp_workflow::{
    Budget, Composite, Run, RunLog,
    runs::{RunHead, RunStore, RunStoreError, RunStream},
};

use crate::{gateway::Gateway, parked::Answer, seat::Seat};

/// An outermost run.
pub(crate) struct Live {
    pub(crate) head: Arc<RunHead>,
    pub(crate) seat: Arc<Seat>,
    standing: watch::Sender<Standing>,
    /// Whether it goes on when its client leaves: the client has what it needs to come back.
    is_kept: AtomicBool,
    /// Where it is taken down; absent before it is prepared.
    log: OnceLock<Arc<RunLog>>,
    /// What makes it go on, as long as its client's request does that; then it has a task of its own.
    driver: Mutex<Driver>,
    task: OnceLock<AbortHandle>,
}

/// What makes a run go on.
#[derive(Default)]
struct Driver {
    future: Option<BoxFuture<'static, ()>>,
    /// Of the request that makes it go on.
    waker: Option<Waker>,
    /// It is not wanted any more, wherever it is now.
    is_aborted: bool,
}

/// How far a run is.
#[derive(Clone, Debug)]
enum Standing {
    Works,
    /// It waits, and nothing is lost if it is taken up elsewhere.
    Rests,
    /// Its result.
    Over(RawJson),
}

impl Live {
    pub(crate) fn new(head: Arc<RunHead>, seat: Seat) -> Arc<Self> {
        Arc::new(Self {
            head,
            seat: Arc::new(seat),
            standing: watch::Sender::new(Standing::Works),
            is_kept: AtomicBool::default(),
            log: OnceLock::new(),
            driver: Mutex::default(),
            task: OnceLock::new(),
        })
    }

    /// `driver` makes it go on, once its client waits for it; taken down in `log`.
    pub(crate) fn is_driven_by(&self, driver: BoxFuture<'static, ()>, log: Arc<RunLog>) {
        // It comes to this once.
        let _ = self.log.set(log);
        self.driver().future = Some(driver);
    }

    /// From now on it goes on by itself.
    pub(crate) fn go_on_alone(&self) {
        let (driver, waker) = {
            let mut driver = self.driver();
            (driver.future.take(), driver.waker.take())
        };
        let Some(driver) = driver else { return };
        #[expect(clippy::disallowed_methods, reason = "it ends with its run, or is aborted by whoever cancels that")]
        let task = tokio::spawn(driver).abort_handle();
        // It comes to this once; who aborts it meanwhile sees the one or the other.
        let _ = self.task.set(task.clone());
        if self.driver().is_aborted {
            task.abort();
        }
        // Who made it go on before only waits from now on.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Lets it go on a bit; false when it does so by itself, or has ended.
    fn go_on(&self, context: &mut Context<'_>) -> bool {
        // Taken out meanwhile: what it does may look here.
        let mut future = {
            let mut driver = self.driver();
            let Some(future) = driver.future.take() else { return false };
            if driver.waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
                driver.waker = Some(context.waker().clone());
            }
            future
        };
        if future.as_mut().poll(context).is_ready() {
            return false;
        }
        let mut driver = self.driver();
        let goes_on = !driver.is_aborted;
        if goes_on {
            driver.future = Some(future);
        } else {
            // What it holds is dropped outside the lock.
            drop(driver);
        }
        goes_on
    }

    fn driver(&self) -> MutexGuard<'_, Driver> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rests(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Rests)
    }

    fn is_over(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Over(_))
    }

    /// From now on it goes on without its client.
    pub(crate) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// Notes in `store` where its client hears of it.
    pub(crate) fn note_stream(&self, store: &dyn RunStore, stream: RunStream) {
        match self.log.get() {
            Some(log) => log.note_stream(stream),
            // It was claimed from the store, which knows it.
            None => store.note_stream(self.head.id, stream),
        }
    }

    /// It is at rest from now on, or not.
    pub(crate) fn set_rests(&self, rests: bool) {
        self.standing.send_if_modified(|standing| {
            // Who cancelled it may have been quicker.
            let is_under_way = !matches!(standing, Standing::Over(_));
            if is_under_way {
                *standing = if rests { Standing::Rests } else { Standing::Works };
            }
            is_under_way
        });
    }

    pub(crate) fn is_over_with(&self, result: RawJson) {
        self.standing.send_replace(Standing::Over(result));
    }

    /// Ends it, with all that it has under way.
    pub(crate) fn abort(&self) {
        let (future, waker) = {
            let mut driver = self.driver();
            driver.is_aborted = true;
            (driver.future.take(), driver.waker.take())
        };
        // What it holds is dropped outside the lock.
        drop(future);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// Its result, once it has one.
    ///
    /// - `drives`: whether the one who waits makes it go on, unless it does so by itself; one at a time does
    pub(crate) async fn answer(&self, drives: bool) -> Answer {
        let mut standing = self.standing.subscribe();
        let mut over = pin!(standing.wait_for(|standing| matches!(standing, Standing::Over(_))));
        poll_fn(|context| {
            let goes_on = drives && self.go_on(context);
            // Who made the run go on to its end need not be woken by that; who ends it otherwise aborts the driver first.
            if !goes_on && !self.is_over() {
                let _ = ready!(over.as_mut().poll(context));
            }
            match &*self.standing.borrow() {
                Standing::Over(result) => Poll::Ready(Ok((Era::Legacy, Reply::Result(result.clone())))),
                Standing::Works | Standing::Rests => Poll::Pending,
            }
        })
        .await
    }
}

/// The client in its place; dropped, it leaves.
pub(crate) struct Seated {
    gateway: Arc<Gateway>,
    live: Arc<Live>,
    /// Whether it can come back to a run that rests: by the stream that its session remembers.
    may_return: bool,
}

impl Seated {
    pub(crate) fn new(gateway: Arc<Gateway>, live: Arc<Live>, may_return: bool) -> Self {
        live.is_kept.store(false, Ordering::Relaxed);
        Self { gateway, live, may_return }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let Self { gateway, live, may_return } = self;
        let goes_on = live.is_kept.load(Ordering::Relaxed) || (*may_return && live.rests());
        if goes_on {
            live.go_on_alone();
        } else if !live.is_over() {
            gateway.runs.cancel(live, "its client left");
        }
        live.seat.leave();
    }
}

/// What one run needs to run.
pub(crate) struct Running {
    pub(crate) composite: Arc<Composite>,
    pub(crate) log: Arc<RunLog>,
    pub(crate) world: Arc<Run>,
    pub(crate) budget: Arc<Budget>,
}

impl Running {
    /// Runs it to its end; again from its journal after each rest. `None` when it is laid aside instead.
    ///
    /// - `past`: what it was told before
    /// - `rests`: is told whenever that changes
    /// - `gives_up`: returns once it is to be laid aside; asked anew at each rest
    pub(crate) async fn to_its_end<G: Future<Output = ()>>(
        &self,
        mut past: Vec<vmcp_core::journal::Event>,
        rests: impl Fn(bool),
        gives_up: impl Fn() -> G,
    ) -> Option<Result<RawJson, WorkflowError>> {
        let desk = self.log.desk();
        loop {
            let run = NewRun {
                arguments: self.log.head.arguments.clone(),
                world: Some(self.world.clone()),
                recorder: Some(self.log.clone()),
                past,
            };
            tokio::select! {
                biased;
                ended = self.composite.workflow.clone().run(run) => return Some(ended),
                () = self.budget.time_is_up() => return Some(Err(self.out_of_time())),
                () = desk.rests() => {}
            }
            // The instance is gone; what it waits for lies on the desk.
            if let Err(error) = self.log.rest().await {
                return Some(Err(self.not_kept(error)));
            }
            loop {
                rests(true);
                tokio::select! {
                    biased;
                    () = desk.any() => break,
                    () = self.budget.time_is_up() => return Some(Err(self.out_of_time())),
                    () = desk.works() => {}
                    () = gives_up() => return None,
                }
                // A run within this one has something to do: it must not be laid aside meanwhile.
                rests(false);
                tokio::select! {
                    biased;
                    () = desk.any() => break,
                    () = self.budget.time_is_up() => return Some(Err(self.out_of_time())),
                    () = desk.rests() => {}
                }
            }
            rests(false);
            desk.is_busy();
            past = match self.log.take_up().await {
                Ok(past) => past,
                Err(error) => return Some(Err(self.not_kept(error))),
            };
        }
    }

    fn out_of_time(&self) -> WorkflowError {
        let limit = format!("it may take {:?}, waits for answers not counted", self.composite.limits.wall_time);
        WorkflowError::OverBudget { workflow: self.composite.workflow.label().to_owned(), limit }
    }

    fn not_kept(&self, error: RunStoreError) -> WorkflowError {
        let workflow = self.composite.workflow.label().to_owned();
        match error {
            RunStoreError::Full(_) => WorkflowError::OverBudget { workflow, limit: with_cause(&error) },
            error => WorkflowError::Component { workflow, source: Box::new(error) },
        }
    }
}
