//! The wasmtime engines that all components share, and the slots their calls wait for.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use tokio::sync::Semaphore;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::{
    cache::CompileCache,
    error::PluginError,
    exports::workflow::ReadyInstances,
    limits::{Limits, TABLE_ELEMENTS},
    ticker::Ticker,
};

/// Instances in use at the same time; further calls wait.
const SLOTS: u16 = 64;

/// What one pooled component may have; a larger one runs on the on-demand engine.
const POOLED_CORE_INSTANCES: u32 = 8;
const POOLED_TABLES: u32 = 8;
/// One of the component's own, and one of a document that was baked into it.
const POOLED_MEMORIES: u32 = 2;
const POOLED_STACKS: u32 = 8;
const POOLED_TABLE_ELEMENTS: usize = 20_000;
const POOLED_INSTANCE_BYTES: usize = 1 << 20;

/// What one slot keeps in memory while nobody uses it.
const KEPT_BYTES: usize = 1 << 20;

/// Largest component file, in bytes: an interpreter of another language inside one takes 20 MB.
pub const MAX_COMPONENT_BYTES: usize = 64 << 20;

/// How a [`PluginEngine`] is set up.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Compiled code is kept in `compiled/` below it. Without it every start compiles anew.
    pub cache_dir: Option<PathBuf>,
    /// Limits of components whose source names none.
    pub limits: Limits,
}

/// Compiles and runs components. One per process; cheap while nothing runs.
pub struct PluginEngine {
    /// Absent where the machine does not give the address space for the pool.
    pub(crate) pooling: Option<Engine>,
    pub(crate) on_demand: Engine,
    /// Of workflows, whose calls overlap. That costs every call of an engine something, so decisions are made without it.
    pub(crate) workflows: Engine,
    /// The same with a pool, for as many runs at a time as that has slots.
    pub(crate) pooled_workflows: Option<Engine>,
    pub(crate) workflow_slots: Arc<Semaphore>,
    pub(crate) ready_workflows: Arc<ReadyInstances>,
    pub(crate) cache: CompileCache,
    pub(crate) limits: Limits,
    pub(crate) slots: Slots,
    pub(crate) ticker: Ticker,
}

impl PluginEngine {
    pub fn new(options: EngineOptions) -> Result<Arc<Self>, PluginError> {
        let EngineOptions { cache_dir, limits } = options;
        let engine_error = |source: wasmtime::Error| PluginError::Engine { source: source.into() };
        let on_demand = Engine::new(config().concurrency_support(false)).map_err(engine_error)?;
        let workflows = Engine::new(&config()).map_err(engine_error)?;
        let with_pool = |mut config: Config| match Engine::new(
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool())),
        ) {
            Ok(engine) => Some(engine),
            Err(error) => {
                tracing::warn!("no room for a pool of component instances, each is allocated on its own: {error:#}");
                None
            }
        };
        let mut decisions = config();
        decisions.concurrency_support(false);
        let (pooling, pooled_workflows) = (with_pool(decisions), with_pool(config()));
        let engines = pooling.iter().chain(&pooled_workflows).chain([&on_demand, &workflows]);
        let ticker = Ticker::start(engines.cloned().collect())
            .map_err(|source| PluginError::Engine { source: source.into() })?;
        Ok(Arc::new(Self {
            pooling,
            on_demand,
            workflows,
            pooled_workflows,
            workflow_slots: Arc::new(Semaphore::new(usize::from(SLOTS))),
            ready_workflows: Arc::default(),
            cache: CompileCache::open(cache_dir.as_deref()),
            limits,
            slots: Slots::new(SLOTS),
            ticker,
        }))
    }
}

/// What all engines have in common. Floating point is deterministic, so that a decision is a function of its input.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

/// Reserves address space only: memory that no instance touches costs nothing, and what an instance touched is given back.
fn pool() -> PoolingAllocationConfig {
    let slots = u32::from(SLOTS);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * POOLED_CORE_INSTANCES)
        .total_memories(slots * POOLED_MEMORIES)
        .total_tables(slots * POOLED_TABLES)
        // A run may need more than one, for what its component does side by side.
        .total_stacks(slots * POOLED_STACKS)
        .max_core_instances_per_component(POOLED_CORE_INSTANCES)
        .max_memories_per_component(POOLED_MEMORIES)
        .max_tables_per_component(POOLED_TABLES)
        .max_tables_per_module(POOLED_TABLES)
        .max_component_instance_size(POOLED_INSTANCE_BYTES)
        .max_core_instance_size(POOLED_INSTANCE_BYTES)
        .table_elements(POOLED_TABLE_ELEMENTS.min(TABLE_ELEMENTS));
    // Faulting in the pages of a fresh memory costs more than a small component's work. Where the kernel says which pages an
    // instance wrote to, those are cleared and stay; elsewhere all up to this size would have to be.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(KEPT_BYTES).table_keep_resident(KEPT_BYTES);
    }
    // A component's memory limit is enforced by its meter. The pool's own would be another, silent one below it.
    #[cfg(target_pointer_width = "64")]
    pool.max_memory_size(1 << 32);
    pool
}

/// Names the engine's settings and version: code compiled under one name runs on every engine of that name.
pub(crate) fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A counting semaphore for threads. Whoever waits gets in: every holder is ended by its limits.
pub(crate) struct Slots {
    free: Mutex<u16>,
    freed: Condvar,
}

/// One instance may be in use until it is dropped.
pub(crate) struct Slot(Arc<PluginEngine>);

impl Slots {
    fn new(count: u16) -> Self {
        Self { free: Mutex::new(count), freed: Condvar::new() }
    }
}

impl Slot {
    /// Waits for a free slot.
    pub(crate) fn take(engine: &Arc<PluginEngine>) -> Self {
        let Slots { free, freed } = &engine.slots;
        let free = free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        Self(Arc::clone(engine))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Slots { free, freed } = &self.0.slots;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_compiled_for_one_engine_fits_the_other() {
        let engine = PluginEngine::new(EngineOptions::default()).unwrap();
        let pooling = engine.pooling.as_ref().expect("this machine has the address space");
        assert_eq!(compatibility(pooling), compatibility(&engine.on_demand));
    }
}
