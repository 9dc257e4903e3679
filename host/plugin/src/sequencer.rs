//! Hands the results of a workflow's host calls to it one at a time, so that a run is a function of their order.
//!
//! The order in which results come in is not enough to repeat a run: a component is given at once what is ready when it asks, and
//! of several results that are ready it takes first the one that was asked for first. So calls go on
//! beside the component, on tasks of their own while it computes; results queue up; and only when it has nothing left to do it
//! is handed the next one.
//!
//! All of it is taken down, and a run that has a past is told that past again: its calls are not made but compared with those
//! that were, and it is handed their outcomes in the order of then. What was under way when the past ends is made again.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use futures::{
    StreamExt as _,
    future::{AbortHandle, Abortable, Aborted, BoxFuture, abortable},
    stream::FuturesUnordered,
    task::AtomicWaker,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot};
use vmcp_core::{
    journal::{Divergence, Event, HostCall, Outcome, Question, Recorder},
    json::RawJson,
};

use crate::{limits::Limit, ticker::Ticker};

/// What a run does beside making calls, as a [`Divergence`] says it.
const ENDS: &str = "ends";
const WAITS: &str = "waits";

/// The component's side: where its calls begin.
pub(crate) struct Sequencer {
    next_call: u64,
    track: Arc<Mutex<Track>>,
}

/// The driver's side: where results come in and are handed over.
pub(crate) struct HandOver {
    track: Arc<Mutex<Track>>,
    done: mpsc::UnboundedReceiver<(u64, Outcome)>,
    /// Calls that go on here while the component has nothing to do; on tasks of their own while it computes.
    calls: FuturesUnordered<Abortable<Underway>>,
    /// They stay here: time passes by itself.
    sleeps: FuturesUnordered<Abortable<Underway>>,
}

/// A call under way.
type Underway = BoxFuture<'static, (u64, Outcome)>;

/// What both sides know of one run.
struct Track {
    open: HashMap<u64, Open>,
    /// Begun since the component was last idle.
    fresh: Vec<Fresh>,
    done: mpsc::UnboundedSender<(u64, Outcome)>,
    /// What is still to be told again.
    past: VecDeque<Event>,
    /// There is nothing after the past.
    ends_with_past: bool,
    recorder: Option<Arc<dyn Recorder>>,
    divergence: Option<Divergence>,
    /// What is dropped from now on is dropped with the run.
    is_over: bool,
}

/// Makes the call of this number: nothing happens before.
pub(crate) type Make = Box<dyn FnOnce(u64) -> BoxFuture<'static, Outcome> + Send>;

/// A call whose outcome was not handed over.
struct Open {
    outcome: oneshot::Sender<Outcome>,
    /// Of a call that the past has: what makes it, should the past have no outcome.
    unmade: Option<Make>,
    /// Whether it only lets time pass, and need not be looked at while the component computes.
    is_sleep: bool,
    /// Fires when nobody wants the outcome any more.
    cancel: Option<AbortHandle>,
}

/// A call that has just begun.
struct Fresh {
    underway: Abortable<Underway>,
    is_sleep: bool,
}

/// A call under way; dropped, it is cancelled.
pub(crate) struct Pending {
    call: u64,
    outcome: oneshot::Receiver<Outcome>,
    track: Arc<Mutex<Track>>,
}

impl Sequencer {
    /// - `ends_with_past`: whether doing more than the past has is a divergence
    pub(crate) fn new(recorder: Option<Arc<dyn Recorder>>, past: Vec<Event>, ends_with_past: bool) -> (Self, HandOver) {
        let (sender, done) = mpsc::unbounded_channel();
        let past = past.into_iter().filter(|event| !matches!(event, Event::GivenUp { .. })).collect();
        let track = Track {
            open: HashMap::new(),
            fresh: Vec::new(),
            done: sender,
            past,
            ends_with_past,
            recorder,
            divergence: None,
            is_over: false,
        };
        let track = Arc::new(Mutex::new(track));
        (
            Self { next_call: 0, track: track.clone() },
            HandOver { track, done, calls: FuturesUnordered::new(), sleeps: FuturesUnordered::new() },
        )
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, what: HostCall, make: Make) -> Pending {
        let call = self.next_call;
        self.next_call += 1;
        let (sender, outcome) = oneshot::channel();
        let mut track = lock(&self.track);
        let is_sleep = matches!(what, HostCall::Sleep(_));
        let mut open = Open { outcome: sender, unmade: Some(make), is_sleep, cancel: None };
        let event = Event::Began { call, what };
        match track.past.front() {
            None if track.ends_with_past => track.diverge(ENDS.into(), event.to_string()),
            None => {
                track.record(&event);
                open.make(call, &mut track.fresh);
            }
            Some(recorded) if *recorded == event => drop(track.past.pop_front()),
            Some(recorded) => {
                let recorded = recorded.to_string();
                track.diverge(recorded, event.to_string());
            }
        }
        track.open.insert(call, open);
        Pending { call, outcome, track: self.track.clone() }
    }

    /// What is answered at once: by the past, else by `live`.
    ///
    /// `None` when the past has another answer than this kind, or the run did something else than before.
    pub(crate) fn tell<A: Serialize + DeserializeOwned>(
        &self,
        question: Question,
        live: impl FnOnce() -> Option<A>,
    ) -> Option<A> {
        let mut track = lock(&self.track);
        match track.past.pop_front() {
            None if track.ends_with_past => {
                track.diverge(ENDS.into(), question.to_string());
                None
            }
            None => {
                let answer = live()?;
                if track.recorder.is_some() {
                    track.record(&Event::Told { question, answer: RawJson::of(&answer) });
                }
                Some(answer)
            }
            Some(Event::Told { question: recorded, answer }) if recorded == question => answer.to_value().ok(),
            Some(recorded) => {
                track.diverge(recorded.to_string(), question.to_string());
                None
            }
        }
    }
}

impl Track {
    fn record(&self, event: &Event) {
        if let Some(recorder) = &self.recorder {
            recorder.record(event);
        }
    }

    fn rests(&self) {
        if let Some(recorder) = &self.recorder {
            let open: Vec<_> = self.open.keys().copied().collect();
            recorder.rests(&open);
        }
    }

    fn diverge(&mut self, recorded: String, now: String) {
        self.divergence.get_or_insert(Divergence { recorded, now });
    }

    /// The next outcome of the past, if that is what comes next in it.
    ///
    /// # Errors
    /// When the recorded run did something here, and this one waits.
    fn next_of_past(&mut self) -> Result<Option<(u64, Outcome)>, Divergence> {
        match self.past.pop_front() {
            None if self.ends_with_past => Err(Divergence { recorded: ENDS.into(), now: WAITS.into() }),
            None => Ok(None),
            Some(Event::Ended { call, outcome }) => Ok(Some((call, outcome))),
            Some(recorded) => Err(Divergence { recorded: recorded.to_string(), now: WAITS.into() }),
        }
    }

    /// Makes the calls that the past has no outcome of, once it is over.
    fn make_unfinished(&mut self) {
        let Self { open, fresh, .. } = self;
        open.iter_mut().for_each(|(call, open)| open.make(*call, fresh));
    }
}

impl Open {
    fn make(&mut self, call: u64, fresh: &mut Vec<Fresh>) {
        let Some(make) = self.unmade.take() else { return };
        let made = make(call);
        let underway: Underway = Box::pin(async move { (call, made.await) });
        let (underway, cancel) = abortable(underway);
        self.cancel = Some(cancel);
        fresh.push(Fresh { underway, is_sleep: self.is_sleep });
    }
}

impl Pending {
    /// `None` when the run is over.
    pub(crate) async fn outcome(mut self) -> Option<Outcome> {
        (&mut self.outcome).await.ok()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut track = lock(&self.track);
        let Some(open) = track.open.remove(&self.call) else { return };
        if let Some(cancel) = open.cancel {
            cancel.abort();
        }
        // In the past nothing was made, and all of it is taken down already.
        if !track.is_over && track.past.is_empty() {
            track.record(&Event::GivenUp { call: self.call });
        }
    }
}

impl HandOver {
    /// Runs `run` to its end, handing it one result whenever it has nothing left to do.
    ///
    /// - `clock`: told when the component computes and when it waits
    ///
    /// # Errors
    /// That of `run`, or a [`Divergence`].
    pub(crate) async fn drive<R>(
        mut self,
        run: impl Future<Output = wasmtime::Result<R>>,
        clock: &RunClock,
        ticker: &Ticker,
    ) -> wasmtime::Result<R> {
        let mut run = pin!(run);
        let _over = Over(self.track.clone());
        let (guest, calls) = (Gate::woken(), Gate::woken());
        let (guest_waker, calls_waker) = (Waker::from(guest.clone()), Waker::from(calls.clone()));
        let driven = poll_fn(|context| {
            guest.open(context);
            calls.open(context);
            loop {
                while guest.take_woken() {
                    let polled = {
                        let _ticking = ticker.run();
                        clock.start();
                        let polled = run.as_mut().poll(&mut Context::from_waker(&guest_waker));
                        clock.stop();
                        polled
                    };
                    if let Some(divergence) = lock(&self.track).divergence.take() {
                        return Poll::Ready(Err(wasmtime::Error::new(divergence)));
                    }
                    if let Poll::Ready(result) = polled {
                        return Poll::Ready(self.at_its_end(result));
                    }
                    if clock.take_yield() {
                        self.go_on_elsewhere();
                        // It is in the middle of something, whoever polls next; which is when others have had their turn, also
                        // where this run is within another, whose loop would go round at once.
                        guest.note();
                        guest.close();
                        calls.close();
                        let _ = pin!(tokio::task::yield_now()).poll(context);
                        return Poll::Pending;
                    }
                }
                calls.take_woken();
                match self.next(&mut Context::from_waker(&calls_waker)) {
                    Poll::Ready(Ok(())) => guest.note(),
                    Poll::Ready(Err(divergence)) => return Poll::Ready(Err(wasmtime::Error::new(divergence))),
                    Poll::Pending if guest.close() | calls.close() => {
                        guest.open(context);
                        calls.open(context);
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        // A budget of the runtime that is used up must not look as if the component waited; it is interrupted at ticks.
        tokio::task::unconstrained(driven).await
    }

    /// Hands over the next outcome, of the past as long as there is some.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Divergence>> {
        let mut track = lock(&self.track);
        if let Some((call, outcome)) = track.next_of_past()? {
            if let Some(open) = track.open.remove(&call) {
                let _ = open.outcome.send(outcome);
            }
            return Poll::Ready(Ok(()));
        }
        track.make_unfinished();
        take_in(&mut track, &mut self.calls, &mut self.sleeps);
        loop {
            let next = match self.done.poll_recv(context) {
                Poll::Ready(done) => Poll::Ready(done.map(Ok)),
                Poll::Pending => match self.calls.poll_next_unpin(context) {
                    Poll::Ready(Some(done)) => Poll::Ready(Some(done)),
                    Poll::Ready(None) | Poll::Pending => self.sleeps.poll_next_unpin(context),
                },
            };
            match next {
                // Nobody wanted its outcome any more.
                Poll::Ready(Some(Err(Aborted))) => {}
                Poll::Ready(Some(Ok((call, outcome)))) => {
                    // A call that was given up meanwhile is gone.
                    let Some(open) = track.open.remove(&call) else { continue };
                    track.record(&Event::Ended { call, outcome: outcome.clone() });
                    let _ = open.outcome.send(outcome);
                    drop(track);
                    self.go_on_elsewhere();
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(None) | Poll::Pending => {
                    track.rests();
                    return Poll::Pending;
                }
            }
        }
    }

    /// The component is about to compute, or still does: what is under way goes on on tasks of its own.
    fn go_on_elsewhere(&mut self) {
        let mut track = lock(&self.track);
        take_in(&mut track, &mut self.calls, &mut self.sleeps);
        for underway in std::mem::take(&mut self.calls) {
            let done = track.done.clone();
            #[expect(clippy::disallowed_methods, reason = "ended when `Pending` is dropped")]
            tokio::spawn(async move {
                if let Ok(ended) = underway.await {
                    // Nobody listens only when the run is over.
                    let _ = done.send(ended);
                }
            });
        }
    }

    /// The result, unless the recorded run went on.
    fn at_its_end<R>(&self, result: wasmtime::Result<R>) -> wasmtime::Result<R> {
        match (lock(&self.track).past.front(), result) {
            (Some(recorded), Ok(_)) => {
                Err(wasmtime::Error::new(Divergence { recorded: recorded.to_string(), now: ENDS.into() }))
            }
            (_, result) => result,
        }
    }
}

/// Dropped before the run, of which nothing is taken down any more then.
struct Over(Arc<Mutex<Track>>);

impl Drop for Over {
    fn drop(&mut self) {
        lock(&self.0).is_over = true;
    }
}

/// Hands wakes on to the task that polls; not while it does, when it is enough to note them. A task that is woken while it runs
/// is run once more, by another thread perhaps, and a set of futures wakes its task whenever it has polled them all.
struct Gate {
    state: AtomicU8,
    outer: AtomicWaker,
}

/// It is polled.
const OPEN: u8 = 1;
/// There was a wake that nobody has looked at.
const WOKEN: u8 = 2;

impl Gate {
    fn woken() -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(WOKEN), outer: AtomicWaker::new() })
    }

    /// The polling begins, with `context`.
    fn open(&self, context: &Context<'_>) {
        self.outer.register(context.waker());
        self.state.fetch_or(OPEN, Ordering::AcqRel);
    }

    /// There is something to look at.
    fn note(&self) {
        self.state.fetch_or(WOKEN, Ordering::AcqRel);
    }

    /// Whether it was woken since this was asked last.
    fn take_woken(&self) -> bool {
        self.state.fetch_and(!WOKEN, Ordering::AcqRel) & WOKEN != 0
    }

    /// The polling is over. If it was woken meanwhile, nobody else hears of that.
    fn close(&self) -> bool {
        self.state.fetch_and(!OPEN, Ordering::AcqRel) & WOKEN != 0
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Who is awake already need not be woken.
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            self.outer.wake();
        }
    }
}

/// What has begun joins what is under way.
fn take_in(
    track: &mut Track,
    calls: &mut FuturesUnordered<Abortable<Underway>>,
    sleeps: &mut FuturesUnordered<Abortable<Underway>>,
) {
    for Fresh { underway, is_sleep } in track.fresh.drain(..) {
        if is_sleep { sleeps.push(underway) } else { calls.push(underway) }
    }
}

fn lock(track: &Mutex<Track>) -> MutexGuard<'_, Track> {
    track.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a run has computed. Its waits are not counted.
pub(crate) struct RunClock {
    allowed: Duration,
    computed: Mutex<(Duration, Option<Instant>)>,
    /// Whether the component was interrupted only to let others run.
    yielded: AtomicBool,
}

impl RunClock {
    pub(crate) fn new(allowed: Duration) -> Self {
        Self { allowed, computed: Mutex::default(), yielded: AtomicBool::default() }
    }

    /// Called at every tick while the component computes: an error when it has computed for too long.
    pub(crate) fn tick(&self) -> wasmtime::Result<()> {
        let (before, began) = *self.computed();
        let now = began.map(|began| began.elapsed()).unwrap_or_default();
        if before.saturating_add(now) >= self.allowed {
            return Err(wasmtime::Error::new(Limit::RunningTime { allowed: self.allowed }));
        }
        self.yielded.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn start(&self) {
        self.computed().1 = Some(Instant::now());
    }

    fn stop(&self) {
        let mut computed = self.computed();
        if let Some(began) = computed.1.take() {
            computed.0 = computed.0.saturating_add(began.elapsed());
        }
    }

    fn take_yield(&self) -> bool {
        self.yielded.swap(false, Ordering::Relaxed)
    }

    fn computed(&self) -> std::sync::MutexGuard<'_, (Duration, Option<Instant>)> {
        self.computed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
