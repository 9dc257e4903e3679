//! Takes down one run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmcp_core::journal::{Event, Recorder};

use crate::{
    desk::{Desk, WaitsFor},
    now,
    runs::{RunHead, RunStore, RunStoreError, RunStream, TimedEvent},
};

/// The journal of one run. Where runs outlive the process each event is written when it happens, and a call is made only
/// after that; elsewhere nothing is written before the run is laid aside, or its client hears of it on a stream.
pub struct RunLog {
    pub head: Arc<RunHead>,
    pub(crate) desk: Arc<Desk>,
    store: Arc<dyn RunStore>,
    /// Is told the same.
    also: Option<Arc<dyn Recorder>>,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    /// Whether the store knows the run.
    head: bool,
    /// How many events it has.
    events: u64,
    unwritten: Vec<TimedEvent>,
}

impl RunLog {
    /// - `told`: how many events the store has already; `None` where it does not know the run
    pub fn new(
        head: Arc<RunHead>,
        store: Arc<dyn RunStore>,
        told: Option<u64>,
        also: Option<Arc<dyn Recorder>>,
    ) -> Self {
        let written = Written { head: told.is_some(), events: told.unwrap_or_default(), unwritten: Vec::new() };
        let log = Self { head, desk: Arc::default(), store, also, written: Mutex::new(written) };
        if log.store.is_durable() {
            log.write(&mut log.lock());
        }
        log
    }

    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Returns once all that happened outlives what the store outlives.
    pub(crate) fn settled(&self) -> impl Future<Output = Result<(), RunStoreError>> + Send + 'static {
        let settled = self.store.is_durable().then(|| self.store.settled(self.head.id));
        async move {
            match settled {
                Some(settled) => settled.await,
                None => Ok(()),
            }
        }
    }

    /// Lays the run aside.
    pub async fn rest(&self) -> Result<(), RunStoreError> {
        self.write(&mut self.lock());
        self.store.rest(self.head.id, self.desk.wake()).await
    }

    /// Takes the run up again: all that it was told.
    pub async fn take_up(&self) -> Result<Vec<Event>, RunStoreError> {
        self.store.wake(self.head.id);
        let events = self.store.events(self.head.id).await?;
        Ok(events.into_iter().map(|timed| timed.event).collect())
    }

    /// Notes on which stream the client hears of the run.
    pub fn note_stream(&self, stream: RunStream) {
        self.write(&mut self.lock());
        self.store.note_stream(self.head.id, stream);
    }

    /// How many events there were, of a run that the store need not know of: none of it was written.
    pub fn unwritten(&self) -> Option<u64> {
        let written = self.lock();
        (!written.head).then_some(written.unwritten.len() as u64)
    }

    fn write(&self, written: &mut Written) {
        if !written.head {
            written.head = true;
            self.store.begin(&self.head);
        }
        if !written.unwritten.is_empty() {
            let events = std::mem::take(&mut written.unwritten);
            let first = written.events;
            written.events += events.len() as u64;
            self.store.append(self.head.id, first, events);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for RunLog {
    fn record(&self, event: &Event) {
        if let Some(also) = &self.also {
            also.record(event);
        }
        self.desk.is_busy();
        match event {
            Event::Ended { call, .. } => _ = self.desk.forget(*call),
            Event::GivenUp { call } => {
                if self.desk.forget(*call) == Some(WaitsFor::Run) {
                    self.store.give_up_child(self.head.id, *call);
                }
            }
            Event::Began { .. } | Event::Told { .. } => {}
        }
        let mut written = self.lock();
        written.unwritten.push(TimedEvent { at: now(), event: event.clone() });
        if self.store.is_durable() {
            self.write(&mut written);
        }
    }

    fn rests(&self, open: &[u64]) {
        self.desk.is_idle(open);
    }
}
