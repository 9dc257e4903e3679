//! The calls that wait for a reply on one connection, and the way of events to the clients behind them.

use std::{
    collections::HashMap,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{mpsc::error::TrySendError, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::debug;
use vmcp_core::{call::Reply, json::RawJson};
use vmcp_mcp::{envelope::Notification, meta::PROGRESS_TOKEN, object::Object};

use crate::message::{EventSender, ServerMessage};

/// How long an event waits for a client that does not keep up.
pub(crate) const CLIENT_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const PROGRESS: &str = "notifications/progress";
pub(crate) const LOG: &str = "notifications/message";

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

/// The calls under way on one connection, by id.
#[derive(Debug, Default)]
pub(crate) struct PendingCalls {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    calls: HashMap<u64, PendingCall>,
    closed: Option<Arc<str>>,
}

#[derive(Debug)]
struct PendingCall {
    answer: Answer,
    /// Absent for the host's own requests.
    listener: Option<Arc<Listener>>,
}

impl PendingCalls {
    /// Adds a call; the reason when the connection has ended already.
    pub(crate) fn insert(&self, id: u64, answer: Answer, listener: Option<Arc<Listener>>) -> Result<(), Arc<str>> {
        let mut table = self.table();
        match &table.closed {
            Some(why) => Err(why.clone()),
            None => {
                table.calls.insert(id, PendingCall { answer, listener });
                Ok(())
            }
        }
    }

    /// Gives `outcome` to the call `id`; false when there is no such call.
    pub(crate) fn resolve(&self, id: u64, outcome: Result<Reply, Unanswered>) -> bool {
        let call = self.table().calls.remove(&id);
        // The caller may be gone at this very moment; then nobody wants the reply.
        call.map(|call| drop(call.answer.send(outcome))).is_some()
    }

    /// Forgets the call `id`; false when it was answered already.
    pub(crate) fn forget(&self, id: u64) -> bool {
        self.table().calls.remove(&id).is_some()
    }

    /// The listener of call `id`.
    pub(crate) fn listener(&self, id: u64) -> Option<Arc<Listener>> {
        self.table().calls.get(&id).and_then(|call| call.listener.clone())
    }

    /// The listener of the only client call under way: the one a message without address must belong to.
    pub(crate) fn sole_listener(&self) -> Option<Arc<Listener>> {
        let table = self.table();
        let mut listeners = table.calls.values().filter_map(|call| call.listener.as_ref());
        match (listeners.next(), listeners.next()) {
            (Some(listener), None) => Some(listener.clone()),
            _ => None,
        }
    }

    /// Ends all calls and refuses new ones. Only the first reason counts.
    pub(crate) fn close(&self, why: &Arc<str>) {
        let calls = {
            let mut table = self.table();
            table.closed.get_or_insert_with(|| why.clone());
            std::mem::take(&mut table.calls)
        };
        for call in calls.into_values() {
            drop(call.answer.send(Err(Unanswered::Lost(why.clone()))));
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().expect("no panic while held")
    }
}

/// The client behind one call: where its events go, and when it last heard of progress.
#[derive(Debug)]
pub(crate) struct Listener {
    events: EventSender,
    progress_token: Option<RawJson>,
    progressed: Mutex<Instant>,
    /// The latest progress that the client has no room for yet.
    held_progress: Mutex<Option<Notification>>,
}

impl Listener {
    pub(crate) fn new(events: EventSender, progress_token: Option<RawJson>) -> Arc<Self> {
        let (progressed, held_progress) = (Mutex::new(Instant::now()), Mutex::new(None));
        Arc::new(Self { events, progress_token, progressed, held_progress })
    }

    /// A request of the backend, for the client to answer; handed back when the client cannot take it now.
    pub(crate) fn offer(&self, message: ServerMessage) -> Result<(), ServerMessage> {
        self.events.try_send(message).map_err(TrySendError::into_inner)
    }

    /// Passes on progress, with the client's own token. Never waits: what has no room waits on a task of its own.
    pub(crate) fn progress(self: &Arc<Self>, params: Option<&RawJson>, tasks: &TaskTracker) {
        let Some(notification) = self.own_progress(params) else { return };
        let mut held = self.held();
        if held.is_some() {
            *held = Some(notification);
            return;
        }
        let sent = self.events.try_send(ServerMessage::Notification(notification));
        if let Err(TrySendError::Full(ServerMessage::Notification(notification))) = sent {
            *held = Some(notification);
            tasks.spawn(self.clone().release_progress());
        }
    }

    /// Passes on any other notification. Never waits.
    pub(crate) fn notify(&self, notification: Notification, tasks: &TaskTracker) {
        let is_log = notification.method == LOG;
        match self.events.try_send(ServerMessage::Notification(notification)) {
            Err(TrySendError::Full(message)) if !is_log => {
                let events = self.events.clone();
                tasks.spawn(async move {
                    if events.send_timeout(message, CLIENT_PATIENCE).await.is_err() {
                        debug!("dropped a notification, the client does not keep up");
                    }
                });
            }
            _ => {}
        }
    }

    /// As [`progress`](Self::progress), but waits itself: for streams that belong to this call alone.
    pub(crate) async fn progress_patiently(&self, params: Option<&RawJson>) {
        if let Some(notification) = self.own_progress(params) {
            self.send_patiently(ServerMessage::Notification(notification)).await;
        }
    }

    /// As [`notify`](Self::notify), but waits itself.
    pub(crate) async fn notify_patiently(&self, notification: Notification) {
        if notification.method == LOG {
            drop(self.events.try_send(ServerMessage::Notification(notification)));
        } else {
            self.send_patiently(ServerMessage::Notification(notification)).await;
        }
    }

    /// Waits for room up to [`CLIENT_PATIENCE`]; then the message is dropped.
    pub(crate) async fn send_patiently(&self, message: ServerMessage) {
        if self.events.send_timeout(message, CLIENT_PATIENCE).await.is_err() {
            debug!("dropped an event, the client does not keep up or is gone");
        }
    }

    /// Notes the progress; what the client is to see of it, if it asked.
    fn own_progress(&self, params: Option<&RawJson>) -> Option<Notification> {
        *self.progressed.lock().expect("no panic while held") = Instant::now();
        let token = self.progress_token.clone()?;
        let mut params = Object::parse(params?).ok()?;
        params.set(PROGRESS_TOKEN, token);
        Some(Notification { method: PROGRESS.to_owned(), params: Some(params.to_json()) })
    }

    async fn release_progress(self: Arc<Self>) {
        let permit = timeout(CLIENT_PATIENCE, self.events.reserve()).await;
        let notification = self.held().take();
        if let (Ok(Ok(permit)), Some(notification)) = (permit, notification) {
            permit.send(ServerMessage::Notification(notification));
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Notification>> {
        self.held_progress.lock().expect("no panic while held")
    }

    /// Runs `work` until nothing was heard for `limit`: progress starts the time anew. `None` when the time is over.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        let mut sleep = pin!(sleep_until(Instant::now() + limit));
        loop {
            tokio::select! {
                biased;
                output = &mut work => return Some(output),
                () = &mut sleep => {
                    let deadline = *self.progressed.lock().expect("no panic while held") + limit;
                    if deadline <= Instant::now() {
                        return None;
                    }
                    sleep.as_mut().reset(deadline);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(n: u32) -> RawJson {
        RawJson::parse(format!(r#"{{"progressToken":1,"progress":{n}}}"#)).unwrap()
    }

    #[tokio::test]
    async fn a_slow_client_gets_the_latest_progress_and_its_own_token() {
        let (sender, mut events) = tokio::sync::mpsc::channel(1);
        let listener = Listener::new(sender, Some(RawJson::of(&"mine")));
        let tasks = TaskTracker::new();
        for n in 1..=5 {
            listener.progress(Some(&progress(n)), &tasks);
        }
        let mut seen = Vec::new();
        for _ in 0..2 {
            let Some(ServerMessage::Notification(n)) = events.recv().await else { panic!() };
            seen.push(n.params.unwrap().as_str().to_owned());
        }
        assert_eq!(seen, [r#"{"progressToken":"mine","progress":1}"#, r#"{"progressToken":"mine","progress":5}"#]);
    }

    #[tokio::test]
    async fn progress_starts_the_time_anew() {
        let (sender, _events) = tokio::sync::mpsc::channel(1);
        let listener = Listener::new(sender, None);
        let limit = Duration::from_millis(300);
        let work = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                listener.progress_patiently(Some(&progress(1))).await;
            }
        };
        assert!(listener.within(limit, work).await.is_some());
        assert!(listener.within(limit, tokio::time::sleep(Duration::from_millis(400))).await.is_none());
    }

    #[test]
    fn a_reply_reaches_its_call_and_no_other() {
        let pending = PendingCalls::default();
        let (answer, mut answered) = oneshot::channel();
        pending.insert(1, answer, None).unwrap();
        assert!(!pending.resolve(2, Ok(Reply::Result(RawJson::of(&1)))));
        assert!(answered.try_recv().is_err());
        assert!(pending.resolve(1, Ok(Reply::Result(RawJson::of(&1)))));
        assert!(!pending.resolve(1, Ok(Reply::Result(RawJson::of(&2)))));
        pending.close(&"gone".into());
        let (answer, _) = oneshot::channel();
        assert_eq!(pending.insert(3, answer, None).unwrap_err().as_ref(), "gone");
    }
}
