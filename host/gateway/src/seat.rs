//! Where the client of a run sits: it may leave while the run waits, and come back, or another of its requests in its place.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};
use vmcp_backend::{EventSender, ServerMessage};
use vmcp_core::{call::Reply, json::RawJson, workflow::InteractionError};
use vmcp_mcp::{
    bridge::input,
    envelope::{Notification, Request},
    meta::PROGRESS_TOKEN,
    object::Object,
};
use vmcp_workflow::Asked;

/// The place of one client.
pub(crate) struct Seat {
    guest: watch::Sender<Option<Guest>>,
    /// Clients that are about to sit down.
    expected: AtomicU32,
    /// Whether answers came since somebody wanted to lay the run aside last.
    has_news: AtomicBool,
    /// Answers that came before their questions were put again, by the numbers of those.
    early: Mutex<HashMap<u64, Reply>>,
    /// Fires when one came.
    came: Notify,
}

/// A client in its place.
#[derive(Clone)]
struct Guest {
    events: EventSender,
    /// Where progress goes, if anywhere.
    token: Option<RawJson>,
}

impl Seat {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            guest: watch::Sender::new(None),
            expected: AtomicU32::new(0),
            has_news: AtomicBool::new(false),
            early: Mutex::default(),
            came: Notify::new(),
        }
    }

    /// Takes the place, unless somebody has it; with answers that it brings.
    pub(crate) fn take(&self, events: EventSender, token: Option<RawJson>, answers: HashMap<u64, Reply>) -> bool {
        let taken = self.guest.send_if_modified(|guest| {
            let is_free = guest.is_none();
            if is_free {
                *guest = Some(Guest { events, token });
            }
            is_free
        });
        if taken {
            self.has_news.fetch_or(!answers.is_empty(), Ordering::Release);
            self.early.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
            self.came.notify_waiters();
        }
        taken
    }

    /// An answer that comes before its question is put again, or to one that was put to somebody who is gone.
    pub(crate) fn answer_early(&self, number: u64, reply: Reply) {
        self.early.lock().unwrap_or_else(PoisonError::into_inner).insert(number, reply);
        self.has_news.store(true, Ordering::Release);
        self.came.notify_waiters();
    }

    pub(crate) fn leave(&self) {
        self.guest.send_replace(None);
    }

    pub(crate) fn is_free(&self) -> bool {
        self.guest.borrow().is_none()
    }

    /// Keeps the run from being laid aside until the guard is dropped.
    pub(crate) fn expect(self: &Arc<Self>) -> Expected {
        self.expected.fetch_add(1, Ordering::Relaxed);
        Expected(self.clone())
    }

    /// Whether nobody is there or about to come.
    pub(crate) fn is_deserted(&self) -> bool {
        self.is_free() && self.expected.load(Ordering::Acquire) == 0
    }

    /// Whether answers came since this was asked last: the run may not have seen them yet.
    pub(crate) fn take_news(&self) -> bool {
        self.has_news.swap(false, Ordering::AcqRel)
    }

    /// Returns once nobody sits there.
    pub(crate) async fn left(&self) {
        // The sender lives as long as this borrow.
        let _ = self.guest.subscribe().wait_for(Option::is_none).await;
    }

    /// Where the events of a backend's call go: to the client that sits there now, or to nobody.
    pub(crate) fn events(&self) -> EventSender {
        let guest = self.guest.borrow();
        guest.as_ref().map_or_else(|| mpsc::channel(1).0, |guest| guest.events.clone())
    }

    /// Puts a question to the client, again to each who takes the place before it is answered.
    ///
    /// - `patience`: how long it waits
    pub(crate) async fn ask(
        &self,
        number: u64,
        asked: &input::Asked,
        patience: Duration,
    ) -> Result<Asked, InteractionError> {
        // An answer that comes too late is none.
        if patience.is_zero() {
            return Ok(Asked::TimedOut);
        }
        let reply = match timeout(patience, self.answer(number, asked)).await {
            Ok(Some(reply)) => reply,
            Ok(None) => {
                let message = format!("the client cannot be asked for `{}` now", asked.method);
                return Err(InteractionError::Unsupported(message));
            }
            Err(_) => return Ok(Asked::TimedOut),
        };
        match reply {
            Reply::Result(answer) => Ok(Asked::Answered(answer)),
            Reply::Error(error) => {
                let said = Object::parse_lenient(Some(&error)).get_string("message").unwrap_or_default();
                Err(InteractionError::Other(format!("the client answered `{}` with an error: {said}", asked.method)))
            }
        }
    }

    /// One that fits the question.
    fn early_answer(&self, number: u64, asked: &input::Asked) -> Option<Reply> {
        let early = self.early.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        early.filter(|reply| match reply {
            Reply::Result(answer) => asked.fits(answer),
            Reply::Error(_) => true,
        })
    }

    /// `None` when the client that sits there cannot be asked.
    async fn answer(&self, number: u64, asked: &input::Asked) -> Option<Reply> {
        let mut guests = self.guest.subscribe();
        loop {
            let came = self.came.notified();
            if let Some(reply) = self.early_answer(number, asked) {
                return Some(reply);
            }
            let events = guests.borrow_and_update().as_ref().map(|guest| guest.events.clone());
            let (reply, answered) = oneshot::channel();
            let request =
                Request { id: RawJson::of(&number), method: asked.method.clone(), params: asked.params.clone() };
            let putting = async {
                let Some(events) = &events else { return std::future::pending().await };
                // Who listens no more is about to leave.
                let _ = events.send(ServerMessage::Question { number, request, reply }).await;
                answered.await
            };
            tokio::select! {
                biased;
                changed = guests.changed() => changed.ok()?,
                () = came => {}
                reply = putting => match reply {
                    Ok(reply) => return Some(reply),
                    Err(_) if events.as_ref().is_some_and(EventSender::is_closed) => guests.changed().await.ok()?,
                    Err(_) => return None,
                },
            }
        }
    }

    /// Tells the client how far the run is.
    pub(crate) fn progress(&self, done: f64, total: Option<f64>, message: &str) {
        let guest = self.guest.borrow();
        let Some(Guest { events, token: Some(token) }) = &*guest else { return };
        let mut params = Object::from([(PROGRESS_TOKEN, token.clone()), ("progress", number(done))]);
        if let Some(total) = total {
            params.set("total", number(total));
        }
        params.set("message", RawJson::of(&message));
        let notification = Notification { method: "notifications/progress".into(), params: Some(params.to_json()) };
        // A client that does not keep up hears of later progress.
        let _ = events.try_send(ServerMessage::Notification(notification));
    }
}

/// A client, or an answer, on its way to the seat.
pub(crate) struct Expected(Arc<Seat>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.expected.fetch_sub(1, Ordering::Release);
    }
}

/// A whole number without a fraction.
#[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is within range")]
fn number(value: f64) -> RawJson {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= LARGEST { RawJson::of(&(value as i64)) } else { RawJson::of(&value) }
}
