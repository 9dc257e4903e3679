//! Calls of a component: a fresh instance under its limits, dropped afterwards whatever came of it.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::runtime::Runtime;
use wasmtime::{
    Store, Trap,
    component::{Instance, InstancePre},
};

use crate::{
    engine::{PluginEngine, Slot},
    error::PluginError,
    imports::{log::CallLog, wasi::Wasi, workflow::WorkflowState},
    limits::{Allowance, HANDLES, Limit, MemoryMeter, RunningTimeMeter},
    ticker::TICK,
};

/// What wasmtime says when a reply is larger than the store's fuel for host calls; its type is private.
const OUTPUT_EXCEEDED: &str = "fuel allocated for hostcalls has been exhausted";

/// What the host keeps for one instance.
pub(crate) struct CallState {
    memory: MemoryMeter,
    time: RunningTimeMeter,
    pub(crate) log: Arc<CallLog>,
    /// Only of components that were granted some.
    pub(crate) wasi: Option<Wasi>,
    /// Only of workflows.
    pub(crate) workflow: Option<WorkflowState>,
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
    /// Runs `call` on an instance of its own and blocks until it is done: at most the allowed running time and one tick,
    /// after waiting for a slot. `during` names the function in errors.
    ///
    /// - `workflow`: what a workflow reaches that is no run
    pub(crate) fn call<R: Send>(
        &self,
        during: &'static str,
        workflow: Option<WorkflowState>,
        call: impl AsyncFnOnce(&mut Store<CallState>, &Instance) -> wasmtime::Result<R> + Send,
    ) -> Result<R, PluginError> {
        let mut running = Running::new(self);
        running.store.data_mut().workflow = workflow;
        running.call(self, during, call)
    }

    /// Turns what wasmtime reports into the error of this component.
    pub(crate) fn explain(&self, during: &'static str, log: &CallLog, error: &wasmtime::Error) -> PluginError {
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

/// One instance of a component and what it takes up. Time and memory are counted over all of its calls.
///
/// It holds one of the engine's slots from its first moment until it is dropped, between calls too: whoever keeps one must
/// not wait for another meanwhile, or holders of all slots could wait for each other. Dropping it frees everything, at
/// whichever point that happens.
pub(crate) struct Running {
    // In the order in which they are dropped: the instance must be back in the pool before its slot is free.
    store: Store<CallState>,
    /// Made by the first call.
    instance: Option<Instance>,
    waiting: Option<WaitingRuntime>,
    _slot: Slot,
}

impl Running {
    /// Waits for a slot.
    pub(crate) fn new(callee: &Callee) -> Self {
        let slot = Slot::take(&callee.engine);
        Self { store: store(callee), instance: None, waiting: None, _slot: slot }
    }

    /// Runs `call` on the instance, which belongs to `callee`, and blocks until it is done. After an error it must not be
    /// called again.
    pub(crate) fn call<R: Send>(
        &mut self,
        callee: &Callee,
        during: &'static str,
        call: impl AsyncFnOnce(&mut Store<CallState>, &Instance) -> wasmtime::Result<R> + Send,
    ) -> Result<R, PluginError> {
        let _ticking = callee.engine.ticker.run();
        let Self { store, instance, waiting, .. } = self;
        store.set_epoch_deadline(1);
        store.data_mut().time.start();
        let (left, exceeded) = (store.data().time.left(), store.data().time.exceeded());
        let run = async || {
            let instance = match instance {
                Some(instance) => instance,
                None => instance.insert(callee.instance.instantiate_async(&mut *store).await?),
            };
            call(store, instance).await
        };
        let result = if callee.with_wasi {
            let longest = left.saturating_add(TICK);
            WaitingRuntime::block_on(waiting, async move || {
                tokio::time::timeout(longest, run()).await.unwrap_or_else(|_| Err(wasmtime::Error::new(exceeded)))
            })
        } else {
            poll_once(run())
        };
        self.store.data_mut().time.stop();
        result.map_err(|error| callee.explain(during, &self.store.data().log, &error))
    }
}

fn store(callee: &Callee) -> Store<CallState> {
    let mut store = new_store(callee, None);
    store.epoch_deadline_callback(|context| context.data().time.tick());
    store
}

/// A store within the allowance of memory and output; time is counted by whoever makes it.
pub(crate) fn new_store(callee: &Callee, workflow: Option<WorkflowState>) -> Store<CallState> {
    let log = Arc::new(CallLog::new(Arc::clone(&callee.name)));
    let state = CallState {
        memory: MemoryMeter::new(callee.allowance),
        time: RunningTimeMeter::new(callee.allowance),
        wasi: callee.with_wasi.then(|| Wasi::new(&log)),
        workflow,
        log,
    };
    let mut store = Store::new(callee.instance.engine(), state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(usize::try_from(callee.allowance.output).unwrap_or(usize::MAX));
    store.set_max_component_handles(HANDLES);
    store
}

/// Runs a future that never waits: a component without WASI can only compute.
pub(crate) fn poll_once<R>(future: impl Future<Output = wasmtime::Result<R>>) -> wasmtime::Result<R> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(wasmtime::Error::msg("the component waits, though it imports nothing to wait for")),
    }
}

/// What a component with WASI waits with. It lives as long as the instance: streams that one call opened have tasks here,
/// and the next call may write to them.
struct WaitingRuntime(Option<Runtime>);

impl WaitingRuntime {
    /// Runs a future that may wait, on a thread of its own: the caller's may belong to another runtime.
    fn block_on<R: Send>(
        kept: &mut Option<Self>,
        call: impl AsyncFnOnce() -> wasmtime::Result<R> + Send,
    ) -> wasmtime::Result<R> {
        let runtime = match kept {
            Some(kept) => kept,
            None => kept.insert(Self(Some(tokio::runtime::Builder::new_current_thread().enable_all().build()?))),
        };
        let runtime = runtime.0.as_ref().expect("it is taken when dropped");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| runtime.block_on(call()));
            thread.join().unwrap_or_else(|_| Err(wasmtime::Error::msg("the thread of the call panicked")))
        })
    }
}

impl Drop for WaitingRuntime {
    /// A runtime that is simply dropped waits for its tasks, and panics inside another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
