//! Which runs this process has, and what is left of those that it had.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;
use tracing::{debug, info, warn};
use vmcp_core::{
    journal::RunId,
    json::RawJson,
    with_cause,
    workflow::{Workflow, WorkflowSource},
};
use vmcp_mcp::era::Era;
use vmcp_workflow::{
    now,
    runs::{Ending, RunHead, RunRecord, RunStore},
};

use crate::{authored, live::Live, seat::Expected};

/// Runs that ended without ever having been written, of which it is still known that they were.
const MAX_RECENT: usize = 256;

/// Why a run was cancelled that its owner did not want any more.
pub(super) const BY_OWNER: &str = "its owner cancelled it";

/// Makes the workflow of a run anew: from the tool's name, what it was made of, and the bytes of the component where that is
/// another than the tool's present one.
pub type Revive = dyn Fn(&str, &WorkflowSource, Option<Vec<u8>>) -> Result<Arc<dyn Workflow>, String> + Send + Sync;

/// All runs that this process knows of.
pub(crate) struct Runs {
    pub(crate) store: Arc<dyn RunStore>,
    pub(super) revive: Arc<Revive>,
    /// Those that it has, by their ids.
    lives: Mutex<HashMap<RunId, Arc<Live>>>,
    /// Fires when one was laid aside: it may want to go on at some time.
    pub(super) laid_aside: Notify,
    /// What ends now ends with the process, and goes on in the next.
    is_stopping: AtomicBool,
    /// The last that ended here and that the store never heard of, the oldest first.
    recent: Mutex<VecDeque<RunRecord>>,
}

impl Runs {
    pub(crate) fn new(store: Arc<dyn RunStore>, revive: Arc<Revive>) -> Self {
        Self {
            store,
            revive,
            lives: Mutex::default(),
            laid_aside: Notify::new(),
            is_stopping: AtomicBool::default(),
            recent: Mutex::default(),
        }
    }

    pub(crate) fn find(&self, run: RunId) -> Option<Arc<Live>> {
        self.lives().get(&run).cloned()
    }

    /// A run that this process has, and that is not laid aside before `Expected` is dropped.
    pub(super) fn expect(&self, run: RunId) -> Option<(Arc<Live>, Expected)> {
        let lives = self.lives();
        let live = lives.get(&run)?;
        Some((live.clone(), live.seat.expect()))
    }

    /// Forgets a run; false when it was forgotten before.
    pub(super) fn remove(&self, live: &Arc<Live>) -> bool {
        take_out(&mut self.lives(), live)
    }

    /// Ends a run that this process has.
    pub(crate) fn cancel(&self, live: &Arc<Live>, why: &str) {
        if !self.remove(live) {
            return;
        }
        info!(composite = &*live.head.tool, run = %live.head.id, why, "workflow cancelled");
        live.abort();
        let result = cancelled(why);
        if !(self.is_stopping.load(Ordering::Relaxed) && self.store.is_durable()) {
            self.store.end(&live.head, Ending::Cancelled, result.clone());
        }
        live.is_over_with(result);
    }

    /// From now on a client that leaves does not cancel its run, if that can go on in the next process.
    pub(crate) fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Leaves all runs to the next process, where they outlive this one.
    pub(crate) async fn stop(&self) {
        self.begin_stop();
        if !self.store.is_durable() {
            return;
        }
        let lives: Vec<_> = self.lives().drain().map(|(_, live)| live).collect();
        for live in &lives {
            live.abort();
        }
        // Whatever they were told is written when this returns.
        let settled = lives.iter().map(|live| self.store.settled(live.head.id));
        for result in futures::future::join_all(settled).await {
            if let Err(error) = result {
                warn!(error = with_cause(&error), "a run cannot go on in the next process");
            }
        }
    }

    /// Gives the run up to whoever comes for it, unless its client has come back.
    pub(super) fn lay_aside(&self, live: &Arc<Live>) -> bool {
        let mut lives = self.lives();
        if !live.seat.is_deserted() || live.seat.take_news() {
            return false;
        }
        if take_out(&mut lives, live) {
            self.store.release(live.head.id);
        }
        drop(lives);
        self.laid_aside.notify_one();
        debug!(composite = &*live.head.tool, run = %live.head.id, "laid aside");
        true
    }

    /// Notes how a run ended: where it is kept, or else among the last ones.
    ///
    /// - `unwritten`: see [`RunLog::unwritten`](vmcp_workflow::RunLog::unwritten)
    pub(super) fn end(&self, head: &Arc<RunHead>, unwritten: Option<u64>, ending: Ending, result: RawJson) {
        let Some(told) = unwritten else { return self.store.end(head, ending, result) };
        let mut recent = self.recent();
        if recent.len() >= MAX_RECENT {
            recent.pop_front();
        }
        // Its result is its client's; what people look for is what failed.
        let result = (ending != Ending::Completed).then_some(result);
        let (head, state, changed) = (head.clone(), ending.into(), now());
        recent.push_back(RunRecord { head, state, changed, result, stream: None, told, events: Vec::new() });
    }

    pub(super) fn recent(&self) -> MutexGuard<'_, VecDeque<RunRecord>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lives(&self) -> MutexGuard<'_, HashMap<RunId, Arc<Live>>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the run was there; another one of its id stays.
fn take_out(lives: &mut HashMap<RunId, Arc<Live>>, live: &Arc<Live>) -> bool {
    let is_there = lives.get(&live.head.id).is_some_and(|kept| Arc::ptr_eq(kept, live));
    if is_there {
        lives.remove(&live.head.id);
    }
    is_there
}

/// The result of a run that was cancelled.
pub(super) fn cancelled(why: &str) -> RawJson {
    authored::tool_result(Era::Legacy, &format!("the run was cancelled: {why}"), None, true)
}
