//! What a run waits for: answers of people, times to come, and other runs that wait. It lies here and not with the
//! component, so that the run can be laid aside meanwhile and be told later what came.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, select_all},
};
use tokio::sync::Notify;
use vmcp_core::journal::Outcome;

/// The outcome of a call that may be waited for by more than one instance of its run, one after the other.
pub(crate) type Awaited = Shared<BoxFuture<'static, Outcome>>;

/// The waits of one run, by the numbers of their calls.
#[derive(Default)]
pub struct Desk {
    table: Mutex<Table>,
    rests: Notify,
    works: Notify,
}

#[derive(Default)]
struct Table {
    waits: HashMap<u64, Wait>,
    /// The calls that were open when the component had nothing left to do; `None` while it has.
    idle: Option<Vec<u64>>,
}

/// What a run may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// Another run, which rests or does not.
    Run,
    /// An answer or only a time: it is over by itself then, in milliseconds since the Unix epoch.
    Until(u64),
}

struct Wait {
    outcome: Awaited,
    what: WaitsFor,
    /// Whether nothing is lost if the run is laid aside now.
    is_resting: bool,
    /// When it is over by itself, in milliseconds since the Unix epoch.
    wake: Option<u64>,
}

impl Desk {
    /// The wait of `call`, begun by `begin` if it is not there yet.
    pub(crate) fn wait(
        &self,
        call: u64,
        what: WaitsFor,
        begin: impl FnOnce() -> BoxFuture<'static, Outcome>,
    ) -> Awaited {
        let mut table = self.lock();
        let wait = table.waits.entry(call).or_insert_with(|| {
            let (is_resting, wake) = match what {
                WaitsFor::Run => (false, None),
                WaitsFor::Until(time) => (true, Some(time)),
            };
            Wait { outcome: begin().shared(), what, is_resting, wake }
        });
        wait.outcome.clone()
    }

    /// Whether `call` waits already.
    pub(crate) fn has(&self, call: u64) -> bool {
        self.lock().waits.contains_key(&call)
    }

    /// The run was told the outcome of `call`, or does not want it any more; what it waited for here.
    pub(crate) fn forget(&self, call: u64) -> Option<WaitsFor> {
        let forgotten = self.lock().waits.remove(&call);
        // What it holds is dropped outside the lock.
        forgotten.map(|wait| wait.what)
    }

    /// The wait of `call`, if it is there.
    pub(crate) fn find(&self, call: u64) -> Option<Awaited> {
        self.lock().waits.get(&call).map(|wait| wait.outcome.clone())
    }

    /// The component has nothing to do until one of `open` ends.
    pub(crate) fn is_idle(&self, open: &[u64]) {
        let mut table = self.lock();
        table.idle = Some(open.to_vec());
        self.look(&table);
    }

    /// The component has something to do.
    pub fn is_busy(&self) {
        self.lock().idle = None;
    }

    /// Returns once the run has nothing but waits.
    pub async fn rests(&self) {
        loop {
            let rests = self.rests.notified();
            if self.lock().is_resting() {
                return;
            }
            rests.await;
        }
    }

    /// Returns once a run within this one has something to do, or a wait is over.
    pub async fn works(&self) {
        loop {
            let works = self.works.notified();
            if !self.lock().is_resting() {
                return;
            }
            works.await;
        }
    }

    /// When the first wait is over by itself.
    pub fn wake(&self) -> Option<u64> {
        self.lock().waits.values().filter_map(|wait| wait.wake).min()
    }

    /// Returns once a wait is over.
    pub async fn any(&self) {
        let waits: Vec<_> = self.lock().waits.values().map(|wait| wait.outcome.clone()).collect();
        if waits.is_empty() {
            return;
        }
        select_all(waits).await;
    }

    fn look(&self, table: &Table) {
        if table.is_resting() {
            self.rests.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn is_resting(&self) -> bool {
        // What is over already is about to be told.
        let is_resting =
            |call| self.waits.get(call).is_some_and(|wait| wait.is_resting && wait.outcome.peek().is_none());
        self.idle.as_ref().is_some_and(|open| !open.is_empty() && open.iter().all(is_resting))
    }
}

/// By which a run within another tells that one whether it rests.
#[derive(Clone)]
pub struct Rests {
    desk: Weak<Desk>,
    call: u64,
}

impl Rests {
    pub(crate) fn new(desk: &Arc<Desk>, call: u64) -> Self {
        Self { desk: Arc::downgrade(desk), call }
    }

    /// - `wake`: when it wants to go on by itself
    pub fn set(&self, is_resting: bool, wake: Option<u64>) {
        let Some(desk) = self.desk.upgrade() else { return };
        let mut table = desk.lock();
        if let Some(wait) = table.waits.get_mut(&self.call) {
            (wait.is_resting, wait.wake) = (is_resting, wake);
        }
        if !is_resting {
            desk.works.notify_one();
        }
        desk.look(&table);
    }
}
