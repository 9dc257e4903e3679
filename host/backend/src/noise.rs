//! Keeps a noisy backend from drowning the log: a burst of lines passes, then a few a second; the rest is counted.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// Lines logged in one window.
const BURST: u32 = 100;
const WINDOW: Duration = Duration::from_secs(5);

/// Lets through [`BURST`] events per [`WINDOW`].
#[derive(Debug)]
pub(crate) struct NoiseGate {
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    passed: u32,
    held: u64,
}

impl NoiseGate {
    pub(crate) fn new() -> Self {
        Self { window: Mutex::new(Window { began: Instant::now(), passed: 0, held: 0 }) }
    }

    /// Whether the next event may pass; `Some(n)` when so, with the number of events held back since the last that passed.
    pub(crate) fn pass(&self) -> Option<u64> {
        let mut window = self.window.lock().expect("no panic while held");
        if window.began.elapsed() >= WINDOW {
            window.began = Instant::now();
            window.passed = 0;
        }
        if window.passed == BURST {
            window.held += 1;
            return None;
        }
        window.passed += 1;
        Some(std::mem::take(&mut window.held))
    }

    /// Whether nothing passes for now.
    pub(crate) fn is_closed(&self) -> bool {
        let window = self.window.lock().expect("no panic while held");
        window.passed == BURST && window.began.elapsed() < WINDOW
    }

    /// Counts events that were not even offered.
    pub(crate) fn hold(&self, events: usize) {
        self.window.lock().expect("no panic while held").held += events as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_instead_of_logged() {
        let gate = NoiseGate::new();
        let passed = (0..10_000).filter(|_| gate.pass().is_some()).count();
        assert_eq!(passed, BURST as usize);
        gate.window.lock().unwrap().began -= WINDOW;
        assert_eq!(gate.pass(), Some(10_000 - u64::from(BURST)));
        assert_eq!(gate.pass(), Some(0));
    }
}
