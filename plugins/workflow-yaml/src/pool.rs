//! Several futures under way at once, on one thread.
//!
//! All are polled in the order of their index whenever something happens: at most fifty, and the order in which results are taken
//! then depends on nothing but the world.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// Futures under way; those left are dropped, and so cancelled, with the pool.
pub(crate) struct Pool<'f, T> {
    running: Vec<(usize, Running<'f, T>)>,
}

type Running<'f, T> = Pin<Box<dyn Future<Output = T> + 'f>>;

impl<'f, T> Pool<'f, T> {
    pub(crate) fn new() -> Self {
        Self { running: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn start(&mut self, index: usize, future: impl Future<Output = T> + 'f) {
        let place = self.running.partition_point(|(other, _)| *other < index);
        self.running.insert(place, (index, Box::pin(future)));
    }

    /// The next that ends, of several the one of lowest index; `None` when nothing is under way.
    pub(crate) async fn next(&mut self) -> Option<(usize, T)> {
        poll_fn(|context| {
            for place in 0..self.running.len() {
                let (index, future) = &mut self.running[place];
                if let Poll::Ready(result) = future.as_mut().poll(context) {
                    let index = *index;
                    drop(self.running.remove(place));
                    return Poll::Ready(Some((index, result)));
                }
            }
            if self.running.is_empty() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}
