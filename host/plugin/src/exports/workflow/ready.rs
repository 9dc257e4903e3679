//! Instances that are there before their runs: making one takes about as long as a short run itself.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{Store, UpdateDeadline};

use super::{ComponentWorkflow, Runnable};
use crate::{
    bindings::workflow::WorkflowExport,
    call::{CallState, new_store, poll_once},
    limits::Limit,
    ticker::TICK,
};

/// Instances that are ready at a time, of all workflows together: each takes up memory, of an interpreter about half a MiB.
const MAX_READY: usize = 8;
/// Ticks within which one is made ready: an interpreter takes a small part of the first.
const MAX_TICKS: u32 = 10;

/// An instance, or only the store that it will have.
pub(super) struct Ready {
    // In the order in which they are dropped: the instance must be back in the pool before its slot is free.
    pub(super) store: Store<CallState>,
    pub(super) exports: Option<WorkflowExport>,
    /// Whether it is of the engine with the pool.
    pub(super) is_pooled: bool,
    _slot: Option<OwnedSemaphorePermit>,
}

/// All that are ready, the one that was made first at the front.
#[derive(Default)]
pub(crate) struct ReadyInstances {
    list: Mutex<VecDeque<(u64, Ready)>>,
    next_place: AtomicU64,
}

impl ReadyInstances {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Ready)>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the instance of one workflow stands.
pub(crate) struct Place {
    all: Arc<ReadyInstances>,
    number: u64,
    /// One is being made ready; or none ever can be.
    is_closed: AtomicBool,
}

impl Place {
    pub(crate) fn new(all: &Arc<ReadyInstances>) -> Self {
        let number = all.next_place.fetch_add(1, Ordering::Relaxed);
        Self { all: all.clone(), number, is_closed: AtomicBool::default() }
    }

    pub(super) fn take(&self) -> Option<Ready> {
        let mut list = self.all.lock();
        let at = list.iter().position(|(number, _)| *number == self.number)?;
        list.remove(at).map(|(_, ready)| ready)
    }

    fn is_filled(&self) -> bool {
        self.all.lock().iter().any(|(number, _)| *number == self.number)
    }

    /// Whoever stands there longest goes if there are too many.
    fn put(&self, ready: Ready) {
        let mut list = self.all.lock();
        let oldest = if list.len() < MAX_READY { None } else { list.pop_front() };
        list.push_back((self.number, ready));
        // What it holds is dropped outside the lock.
        drop(list);
        drop(oldest);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let ready = self.take();
        drop(ready);
    }
}

impl ComponentWorkflow {
    pub(super) fn runnable(&self, is_pooled: bool) -> &Runnable {
        self.pooled.as_ref().filter(|_| is_pooled).unwrap_or(&self.plain)
    }

    /// An instance that is to run. An interpreter knows its document by then, whether it was made before its run or for it:
    /// what a component does may depend on where things lie in its memory, and a run is told again on another instance.
    pub(super) async fn instantiate(
        &self,
        is_pooled: bool,
        store: &mut Store<CallState>,
    ) -> wasmtime::Result<WorkflowExport> {
        let Runnable { callee, indices } = self.runnable(is_pooled);
        let instance = callee.instance.instantiate_async(&mut *store).await?;
        let exports = indices.load(&mut *store, &instance)?;
        if self.source.document.is_some() {
            // What it says was heard when it was loaded.
            let _ = exports.vmcp_workflow_workflow().call_define(store, &self.source.config.to_string()).await?;
        }
        Ok(exports)
    }

    /// A store for an instance.
    pub(super) fn begin(&self) -> Ready {
        let slots = &self.plain.callee.engine.workflow_slots;
        let slot = self.pooled.as_ref().and_then(|_| slots.clone().try_acquire_owned().ok());
        let is_pooled = slot.is_some();
        let store = new_store(&self.runnable(is_pooled).callee, Some(self.state(None)));
        Ready { store, exports: None, is_pooled, _slot: slot }
    }

    /// Makes the next instance ready, in the place of one that has had its run.
    pub(super) fn make_ready(self: &Arc<Self>, used: Ready) {
        // A component with WASI may wait for something.
        if self.plain.callee.with_wasi || self.place.is_closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let workflow = self.clone();
        // A task, for the answer to be on its way first. It computes for less than a tick, so it needs no thread of its own.
        #[expect(clippy::disallowed_methods, reason = "it ends by itself, soon, and nobody waits for it")]
        tokio::spawn(async move {
            drop(used);
            if workflow.fill_place() {
                workflow.place.is_closed.store(false, Ordering::Release);
            }
        });
    }

    /// False if it cannot be done, now or ever.
    fn fill_place(&self) -> bool {
        if self.place.is_filled() {
            return true;
        }
        match self.one_more() {
            Ok(ready) => {
                ready.into_iter().for_each(|ready| self.place.put(ready));
                true
            }
            Err(error) => {
                tracing::debug!(workflow = self.label, "no instance is kept ready: {error:#}");
                false
            }
        }
    }

    /// An instance, if the pool has one left.
    fn one_more(&self) -> wasmtime::Result<Option<Ready>> {
        let mut ready = self.begin();
        if !ready.is_pooled {
            return Ok(None);
        }
        let store = &mut ready.store;
        let _ticking = self.plain.callee.engine.ticker.run();
        let mut ticks = 0;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            ticks += 1;
            if ticks > MAX_TICKS {
                return Err(wasmtime::Error::new(Limit::RunningTime { allowed: TICK * MAX_TICKS }));
            }
            Ok(UpdateDeadline::Continue(1))
        });
        ready.exports = Some(poll_once(self.instantiate(true, store))?);
        Ok(Some(ready))
    }
}
