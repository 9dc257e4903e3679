//! One run that this process has: at work, or at rest without an instance of its component.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

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
    runs::{RunHead, RunStoreError},
};

use crate::{gateway::Gateway, parked::Answer, seat::Seat};

/// An outermost run.
pub(crate) struct Live {
    pub(crate) head: Arc<RunHead>,
    pub(crate) seat: Arc<Seat>,
    standing: watch::Sender<Standing>,
    /// Whether it goes on when its client leaves: the client has what it needs to come back.
    is_kept: AtomicBool,
    task: OnceLock<AbortHandle>,
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
            task: OnceLock::new(),
        })
    }

    pub(crate) fn runs_as(&self, task: AbortHandle) {
        // It is begun once.
        let _ = self.task.set(task);
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

    /// It is at rest from now on, or not.
    pub(crate) fn set_rests(&self, rests: bool) {
        self.standing.send_replace(if rests { Standing::Rests } else { Standing::Works });
    }

    pub(crate) fn is_over_with(&self, result: RawJson) {
        self.standing.send_replace(Standing::Over(result));
    }

    /// Ends its task, and all that it has under way.
    pub(crate) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// Its result, once it has one.
    pub(crate) async fn answer(&self) -> Answer {
        let mut standing = self.standing.subscribe();
        let over = standing.wait_for(|standing| matches!(standing, Standing::Over(_))).await;
        let result = match over.as_deref() {
            Ok(Standing::Over(result)) => result.clone(),
            _ => RawJson::default(),
        };
        Ok((Era::Legacy, Reply::Result(result)))
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
        if !live.is_over() && !goes_on {
            gateway.runs.cancel(live, "its client left");
        }
        live.seat.leave();
    }
}

/// What one run needs to run.
pub(crate) struct Running {
    pub(crate) composite: Arc<Composite>,
    pub(crate) workflow: Arc<dyn vmcp_core::workflow::Workflow>,
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
                ended = self.workflow.clone().run(run) => return Some(ended),
                () = self.budget.time_is_up() => return Some(Err(self.out_of_time())),
                () = desk.rests() => {}
            }
            // The instance is gone; what it waits for lies on the desk.
            if let Err(error) = self.log.rest().await {
                return Some(Err(self.not_kept(error)));
            }
            rests(true);
            tokio::select! {
                biased;
                () = desk.any() => {}
                () = self.budget.time_is_up() => return Some(Err(self.out_of_time())),
                () = gives_up() => return None,
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
        WorkflowError::OverBudget { workflow: self.workflow.label().to_owned(), limit }
    }

    fn not_kept(&self, error: RunStoreError) -> WorkflowError {
        let workflow = self.workflow.label().to_owned();
        match error {
            RunStoreError::Full(_) => WorkflowError::OverBudget { workflow, limit: with_cause(&error) },
            error => WorkflowError::Component { workflow, source: Box::new(error) },
        }
    }
}
