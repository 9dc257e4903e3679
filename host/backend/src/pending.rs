//! The requests that wait for a reply on one connection.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::{Notify, oneshot};
use vmcp_core::call::Reply;

/// Cancelled requests whose late replies are still recognised; most servers never send them.
const MAX_ABANDONED: usize = 64;

/// Why a call will see no reply on this connection.
#[derive(Clone, Debug)]
pub(crate) enum Unanswered {
    /// The connection ended.
    Lost(Arc<str>),
    /// The reply came, but was too long to keep.
    TooLong,
    /// The reply came, but the host could not hold it.
    NoRoom,
}

type Answer = oneshot::Sender<Result<Reply, Unanswered>>;

/// The requests under way on one connection, by id.
#[derive(Debug, Default)]
pub(crate) struct PendingCalls {
    table: Mutex<Table>,
    /// The last abandoned request was answered.
    settled: Notify,
}

#[derive(Debug, Default)]
struct Table {
    calls: HashMap<u64, Answer>,
    /// Nobody waits for them any more, the oldest first.
    abandoned: VecDeque<u64>,
    closed: Option<Arc<str>>,
}

impl PendingCalls {
    /// Adds a request; the reason when the connection has ended already.
    pub(crate) fn insert(&self, id: u64, answer: Answer) -> Result<(), Arc<str>> {
        let mut table = self.table();
        match &table.closed {
            Some(why) => Err(why.clone()),
            None => {
                table.calls.insert(id, answer);
                Ok(())
            }
        }
    }

    /// Gives `outcome` to the request `id`, or drops it when the request was abandoned; false when there is no such request.
    pub(crate) fn resolve(&self, id: u64, outcome: Result<Reply, Unanswered>) -> bool {
        let mut table = self.table();
        if let Some(answer) = table.calls.remove(&id) {
            drop(table);
            // The caller may be gone at this very moment; then nobody wants the reply.
            drop(answer.send(outcome));
            return true;
        }
        let Some(at) = table.abandoned.iter().position(|abandoned| *abandoned == id) else { return false };
        table.abandoned.remove(at);
        if table.abandoned.is_empty() {
            self.settled.notify_waiters();
        }
        true
    }

    /// Nobody waits for the reply to request `id` any more; false when it was answered already.
    pub(crate) fn abandon(&self, id: u64) -> bool {
        let mut table = self.table();
        if table.calls.remove(&id).is_none() {
            return false;
        }
        if table.abandoned.len() == MAX_ABANDONED {
            table.abandoned.pop_front();
        }
        table.abandoned.push_back(id);
        true
    }

    /// Waits until every abandoned request has been answered.
    pub(crate) async fn settled(&self) {
        let mut settled = pin!(self.settled.notified());
        settled.as_mut().enable();
        if !self.table().abandoned.is_empty() {
            settled.await;
        }
    }

    /// Waits for no abandoned request any more.
    pub(crate) fn forget_abandoned(&self) {
        self.table().abandoned.clear();
    }

    /// Ends all requests and refuses new ones. Only the first reason counts.
    pub(crate) fn close(&self, why: &Arc<str>) {
        let calls = {
            let mut table = self.table();
            table.closed.get_or_insert_with(|| why.clone());
            std::mem::take(&mut table.calls)
        };
        for answer in calls.into_values() {
            drop(answer.send(Err(Unanswered::Lost(why.clone()))));
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panic while held")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use vmcp_core::json::RawJson;

    use super::*;

    fn reply() -> Reply {
        Reply::Result(RawJson::of(&1))
    }

    #[test]
    fn a_reply_reaches_its_call_and_no_other() {
        let pending = PendingCalls::default();
        let (answer, mut answered) = oneshot::channel();
        pending.insert(1, answer).unwrap();
        assert!(!pending.resolve(2, Ok(reply())));
        assert!(answered.try_recv().is_err());
        assert!(pending.resolve(1, Ok(reply())));
        assert!(!pending.resolve(1, Ok(reply())));
        pending.close(&"gone".into());
        let (answer, _) = oneshot::channel();
        assert_eq!(pending.insert(3, answer).unwrap_err().as_ref(), "gone");
    }

    #[test]
    fn late_replies_to_abandoned_requests_are_recognised_once() {
        let pending = PendingCalls::default();
        assert!(pending.settled().now_or_never().is_some());
        for id in [1, 2] {
            pending.insert(id, oneshot::channel().0).unwrap();
            assert!(pending.abandon(id));
            assert!(!pending.abandon(id));
        }
        assert!(pending.resolve(2, Ok(reply())) && !pending.resolve(2, Ok(reply())));
        assert!(pending.settled().now_or_never().is_none());
        assert!(pending.resolve(1, Ok(reply())));
        assert!(pending.settled().now_or_never().is_some());
    }
}
