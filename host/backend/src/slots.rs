//! How many calls of one backend may be under way at once, and how many wait in line.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Calls that wait in line for each that may be under way.
const WAITING_PER_SLOT: usize = 4;

/// The calls that may be under way at once, and a bounded line before them.
pub(crate) struct Slots {
    semaphore: Semaphore,
    waiting: AtomicUsize,
    pub(crate) limit: usize,
}

impl Slots {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        Self { semaphore: Semaphore::new(limit), waiting: AtomicUsize::new(0), limit }
    }

    /// Waits for a slot; `None` when the line is full or the wait too long.
    pub(crate) async fn enter(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        if let Ok(permit) = self.semaphore.try_acquire() {
            return Some(permit);
        }
        let _place = Place::take(&self.waiting, self.limit.saturating_mul(WAITING_PER_SLOT))?;
        timeout(patience, self.semaphore.acquire()).await.ok()?.ok()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.limit - self.semaphore.available_permits()
    }
}

/// A place in the line.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, limit: usize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < limit).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
