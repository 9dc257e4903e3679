//! The time of one run. Whatever asks for the time or sleeps is a call of the host and an entry of the run's journal: so the
//! time is read once for all that happens at once, and one sleep stands for the deadlines of all steps.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use crate::world::World;

/// How much too early an alarm may be, in milliseconds. To keep it costs less than to set one for each step, but a run that is
/// laid aside would be taken up for it.
const EARLY: u64 = 60_000;

pub(crate) struct RunTime<'w, W> {
    world: &'w W,
    /// What the clock said since the run went on last, in milliseconds since 1970.
    now: Cell<Option<u64>>,
    /// The deadlines ahead of everything limited that is under way, each with a number of its own.
    deadlines: RefCell<BTreeSet<(u64, u64)>>,
    last_number: Cell<u64>,
}

impl<'w, W: World> RunTime<'w, W> {
    pub(crate) fn new(world: &'w W) -> Self {
        Self { world, now: Cell::default(), deadlines: RefCell::default(), last_number: Cell::default() }
    }

    /// Milliseconds since 1970 in UTC.
    pub(crate) fn now(&self) -> u64 {
        let now = self.now.get().unwrap_or_else(|| self.world.now_millis());
        self.now.set(Some(now));
        now
    }

    /// Runs `run`, in which everything limited happens.
    pub(crate) async fn keep<T>(&self, run: impl Future<Output = T>) -> T {
        let mut run = pin!(run);
        let mut alarm: Option<Alarm> = None;
        poll_fn(|context| {
            loop {
                if let Poll::Ready(result) = run.as_mut().poll(context) {
                    return Poll::Ready(result);
                }
                let Some((first, _)) = self.deadlines.borrow().first().copied() else {
                    self.now.set(None);
                    return Poll::Pending;
                };
                if alarm.as_ref().is_none_or(|alarm| alarm.at > first || first - alarm.at > EARLY) {
                    let left = Duration::from_millis(first.saturating_sub(self.now()));
                    alarm = Some(Alarm { at: first, sleep: Box::pin(self.world.sleep(left)) });
                }
                // Whatever comes next comes later.
                self.now.set(None);
                let ringing = alarm.take_if(|alarm| alarm.sleep.as_mut().poll(context).is_ready());
                let Some(Alarm { at, .. }) = ringing else { return Poll::Pending };
                let mut deadlines = self.deadlines.borrow_mut();
                *deadlines = deadlines.split_off(&(at.saturating_add(1), 0));
            }
        })
        .await
    }

    /// What `future` yields, or `None` if that takes longer than `limit`.
    pub(crate) async fn within<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let deadline = self.now().saturating_add(limit);
        let entry = self.enter(deadline);
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if entry.has_passed() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn enter(&self, deadline: u64) -> Entry<'_> {
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        self.deadlines.borrow_mut().insert((deadline, number));
        Entry { deadlines: &self.deadlines, key: (deadline, number) }
    }
}

/// The sleep until the first deadline, or one that was the first.
struct Alarm<'w> {
    at: u64,
    sleep: Pin<Box<dyn Future<Output = ()> + 'w>>,
}

/// A deadline; dropped, it is none any more.
struct Entry<'t> {
    deadlines: &'t RefCell<BTreeSet<(u64, u64)>>,
    key: (u64, u64),
}

impl Entry<'_> {
    fn has_passed(&self) -> bool {
        !self.deadlines.borrow().contains(&self.key)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.deadlines.borrow_mut().remove(&self.key);
    }
}
