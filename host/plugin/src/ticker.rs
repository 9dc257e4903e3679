//! Raises the engines' epoch every 10 ms while a component runs: the moments at which a running call looks at its clock.
//!
//! A thread of its own, not a task: a busy runtime must not delay the end of a component. It sleeps while nothing runs.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use wasmtime::Engine;

/// Time between two looks at the clock.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The thread; ends when this is dropped.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running_calls: usize,
    /// The thread sleeps until somebody wakes it.
    is_asleep: bool,
    stopping: bool,
}

/// Keeps the ticker awake until dropped.
pub(crate) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engines: Vec<Engine>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("component-ticks".into())
            .spawn(move || for_thread.tick_until_stopped(&engines))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Ticks until the guard is dropped.
    pub(crate) fn run(&self) -> Ticking<'_> {
        let mut state = self.shared.lock();
        state.running_calls += 1;
        // Between two ticks it is awake, and must not tick before its time.
        if state.is_asleep {
            state.is_asleep = false;
            self.shared.changed.notify_one();
        }
        Ticking(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already, and there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.lock().running_calls -= 1;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick_until_stopped(&self, engines: &[Engine]) {
        let mut state = self.lock();
        while !state.stopping {
            if state.running_calls == 0 {
                state.is_asleep = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.is_asleep = false;
            } else {
                (state, _) = self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
                for engine in engines {
                    engine.increment_epoch();
                }
            }
        }
    }
}
