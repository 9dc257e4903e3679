//! The client behind one call: where its events go, and the clock of the call, which starts anew with progress and stands
//! still while the client is asked something.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc::error::TrySendError},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::debug;
use vmcp_core::json::RawJson;
use vmcp_mcp::{envelope::Notification, meta::PROGRESS_TOKEN, object::Object};

use crate::message::{EventSender, ServerMessage};

/// How long an event waits for a client that does not keep up.
pub(crate) const CLIENT_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const PROGRESS: &str = "notifications/progress";
pub(crate) const LOG: &str = "notifications/message";

#[derive(Debug)]
pub(crate) struct Listener {
    events: EventSender,
    progress_token: Option<RawJson>,
    clock: Mutex<Clock>,
    /// The latest progress that the client has no room for yet.
    held_progress: Mutex<Option<Notification>>,
    has_ended: AtomicBool,
    ending: Notify,
}

#[derive(Debug)]
struct Clock {
    /// When the call began, or last showed that it goes on.
    since: Instant,
    /// Questions that the client has before it.
    questions: usize,
}

impl Listener {
    pub(crate) fn new(events: EventSender, progress_token: Option<RawJson>) -> Arc<Self> {
        Arc::new(Self {
            events,
            progress_token,
            clock: Mutex::new(Clock { since: Instant::now(), questions: 0 }),
            held_progress: Mutex::new(None),
            has_ended: AtomicBool::new(false),
            ending: Notify::new(),
        })
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
        self.clock().since = Instant::now();
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

    fn held(&self) -> MutexGuard<'_, Option<Notification>> {
        self.held_progress.lock().expect("no panic while held")
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().expect("no panic while held")
    }

    /// Stops the call's clock until the pause is dropped.
    pub(crate) fn pause(self: &Arc<Self>) -> Pause {
        self.clock().questions += 1;
        Pause(self.clone())
    }

    /// Runs `work` until nothing was heard for `limit`: progress starts the time anew, and so does the answer to a question.
    /// `None` when the time is over.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        let mut sleep = pin!(sleep_until(Instant::now() + limit));
        loop {
            tokio::select! {
                biased;
                output = &mut work => return Some(output),
                () = &mut sleep => {
                    let now = Instant::now();
                    let deadline = self.running_since(now) + limit;
                    if deadline <= now {
                        return None;
                    }
                    sleep.as_mut().reset(deadline);
                }
            }
        }
    }

    /// Since when the time runs: not before `now` while the client is asked.
    fn running_since(&self, now: Instant) -> Instant {
        let clock = self.clock();
        if clock.questions > 0 { now } else { clock.since }
    }

    /// The call is over, in whatever way: questions that belong to it are off.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        self.ending.notify_waiters();
    }

    /// Waits until the call is over.
    pub(crate) async fn ended(&self) {
        let mut ending = pin!(self.ending.notified());
        ending.as_mut().enable();
        if !self.has_ended.load(Ordering::SeqCst) {
            ending.await;
        }
    }
}

/// While it lives, a call's clock stands still.
#[derive(Debug)]
pub(crate) struct Pause(Arc<Listener>);

impl Drop for Pause {
    fn drop(&mut self) {
        let mut clock = self.0.clock();
        clock.questions -= 1;
        clock.since = Instant::now();
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

    #[tokio::test(start_paused = true)]
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

    #[tokio::test(start_paused = true)]
    async fn the_time_stands_still_while_the_client_is_asked() {
        let (sender, _events) = tokio::sync::mpsc::channel(1);
        let listener = Listener::new(sender, None);
        let limit = Duration::from_millis(200);
        let asked_for_long = async {
            let (one, other) = (listener.pause(), listener.pause());
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(one);
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(other);
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert!(listener.within(limit, asked_for_long).await.is_some());
        let silent_afterwards = async {
            drop(listener.pause());
            tokio::time::sleep(Duration::from_millis(400)).await;
        };
        assert!(listener.within(limit, silent_afterwards).await.is_none());
    }
}
