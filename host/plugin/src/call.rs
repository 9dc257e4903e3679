//! One call of a component: a fresh instance under its limits, dropped afterwards whatever came of it.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use wasmtime::{
    Store, Trap,
    component::{Instance, InstancePre},
};

use crate::{
    engine::PluginEngine,
    error::PluginError,
    imports::{log::CallLog, wasi::Wasi},
    limits::{Allowance, HANDLES, Limit, MemoryMeter, RunningTimeMeter},
    ticker::TICK,
};

/// What wasmtime says when a reply is larger than the store's fuel for host calls; its type is private.
const OUTPUT_EXCEEDED: &str = "fuel allocated for hostcalls has been exhausted";

/// What the host keeps for one call.
pub(crate) struct CallState {
    memory: MemoryMeter,
    pub(crate) log: Arc<CallLog>,
    /// Only of components that were granted some.
    pub(crate) wasi: Option<Wasi>,
}

/// A component ready to be called.
#[derive(Clone)]
pub(crate) struct Callee {
    pub(crate) engine: Arc<PluginEngine>,
    pub(crate) name: Arc<str>,
    pub(crate) instance: InstancePre<CallState>,
    pub(crate) allowance: Allowance,
    pub(crate) with_wasi: bool,
}

impl Callee {
    /// Runs `call` on a fresh instance and blocks until it is done: at most the allowed running time and one tick, after
    /// waiting for a slot. `during` names the function in errors.
    pub(crate) fn call<R: Send>(
        &self,
        during: &'static str,
        call: impl AsyncFnOnce(&mut Store<CallState>, &Instance) -> wasmtime::Result<R> + Send,
    ) -> Result<R, PluginError> {
        let _slot = self.engine.slots.take();
        let _ticking = self.engine.ticker.run();
        let log = Arc::new(CallLog::new(Arc::clone(&self.name)));
        let time = RunningTimeMeter::start(self.allowance);
        let exceeded = time.exceeded();
        let mut store = self.store(&log, time);
        let run = async move || {
            let instance = self.instance.instantiate_async(&mut store).await?;
            call(&mut store, &instance).await
        };
        let result = if self.with_wasi {
            let longest = self.allowance.running_time.saturating_add(TICK);
            block_with_runtime(async move || {
                tokio::time::timeout(longest, run()).await.unwrap_or_else(|_| Err(wasmtime::Error::new(exceeded)))
            })
        } else {
            poll_once(run())
        };
        result.map_err(|error| self.explain(during, &log, &error))
    }

    fn store(&self, log: &Arc<CallLog>, time: RunningTimeMeter) -> Store<CallState> {
        let state = CallState {
            memory: MemoryMeter::new(self.allowance),
            log: Arc::clone(log),
            wasi: self.with_wasi.then(|| Wasi::new(log)),
        };
        let mut store = Store::new(self.instance.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(usize::try_from(self.allowance.output).unwrap_or(usize::MAX));
        store.set_max_component_handles(HANDLES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| time.tick());
        store
    }

    /// Turns what wasmtime reports into the error of this component.
    fn explain(&self, during: &'static str, log: &CallLog, error: &wasmtime::Error) -> PluginError {
        tracing::debug!(component = &*self.name, during, "{error:?}");
        let component = self.name.to_string();
        if let Some(limit) = error.downcast_ref::<Limit>() {
            return PluginError::LimitExceeded { component, during, limit: *limit };
        }
        let cause = error.root_cause().to_string();
        if cause.contains(OUTPUT_EXCEEDED) {
            let limit = Limit::Output { allowed: self.allowance.output };
            return PluginError::LimitExceeded { component, during, limit };
        }
        let trap = error.downcast_ref::<Trap>().map_or(cause, ToString::to_string);
        PluginError::Trapped { component, during, said: log.errors(), trap }
    }
}

/// Runs a future that never waits: a component without WASI can only compute.
fn poll_once<R>(future: impl Future<Output = wasmtime::Result<R>>) -> wasmtime::Result<R> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(wasmtime::Error::msg("the component waits, though it imports nothing to wait for")),
    }
}

/// Runs a future that may wait, on a thread of its own: the caller's may belong to another runtime.
fn block_with_runtime<R: Send>(call: impl AsyncFnOnce() -> wasmtime::Result<R> + Send) -> wasmtime::Result<R> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let result = runtime.block_on(call());
            runtime.shutdown_background();
            result
        });
        thread.join().unwrap_or_else(|_| Err(wasmtime::Error::msg("the thread of the call panicked")))
    })
}
