//! How much a component may use, and the meter that stops it.

use std::{
    fmt,
    time::{Duration, Instant},
};

use wasmtime::{ResourceLimiter, UpdateDeadline};

/// Longest time of one call, guest code and its waits together: what is asked while nobody waits.
pub(crate) const RUNNING_TIME: Duration = Duration::from_secs(2);
/// The same for one search through a ranking, both of its functions together: a client waits for it.
pub(crate) const RANKING_TIME: Duration = Duration::from_millis(100);
/// Computing time of one run of a workflow; its waits are not counted.
pub(crate) const WORKFLOW_TIME: Duration = Duration::from_secs(10);
/// What one run of a workflow may hand over in one piece.
pub(crate) const WORKFLOW_OUTPUT: u64 = 10 << 20;
/// Linear memory of all memories of one instance.
const MEMORY: u64 = 64 << 20;
/// What one call may hand back: ten thousand resolutions need about two MiB.
const OUTPUT: u64 = 64 << 20;

/// Table entries of one table: what large interpreters need for their function pointers.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;
/// Core instances of one component: a Rust one has 1 to 4, one of a composed interpreter up to 20.
const CORE_INSTANCES: usize = 64;
const TABLES: usize = 64;
const MEMORIES: usize = 8;
/// Handles of resources, which only WASI has.
pub(crate) const HANDLES: usize = 10_000;

/// Limits of a component's calls. What is `None` has the default of the engine, and then of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory of one instance; 64 MiB.
    pub memory: Option<u64>,
    /// How long one call may take; 2 s, for both calls of one ranking 100 ms.
    pub running_time: Option<Duration>,
    /// Bytes that one call may hand back; 64 MiB.
    pub output: Option<u64>,
}

impl Limits {
    /// These limits where they say something, else the ones of `defaults`.
    pub(crate) fn or(self, defaults: Self) -> Self {
        Self {
            memory: self.memory.or(defaults.memory),
            running_time: self.running_time.or(defaults.running_time),
            output: self.output.or(defaults.output),
        }
    }

    /// These limits where they say something, else the host's own: `running_time`, which depends on what is asked.
    pub(crate) fn allowance(self, running_time: Duration) -> Allowance {
        Allowance {
            memory: self.memory.unwrap_or(MEMORY),
            running_time: self.running_time.unwrap_or(running_time),
            output: self.output.unwrap_or(OUTPUT),
        }
    }
}

/// [`Limits`] with every default filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) memory: u64,
    pub(crate) running_time: Duration,
    pub(crate) output: u64,
}

/// The limit that stopped a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    #[error("{} memory", Bytes(*.allowed))]
    Memory { allowed: u64 },
    #[error("{allowed:?} running time")]
    RunningTime { allowed: Duration },
    #[error("{} output", Bytes(*.allowed))]
    Output { allowed: u64 },
    #[error("{allowed} entries in one table")]
    TableElements { allowed: usize },
}

impl Limit {
    /// The key under `limits` in the configuration, if it has one.
    pub(crate) fn key(self) -> Option<&'static str> {
        match self {
            Self::Memory { .. } => Some("memory"),
            Self::RunningTime { .. } => Some("runningTime"),
            Self::Output { .. } => Some("outputSize"),
            Self::TableElements { .. } => None,
        }
    }
}

/// A number of bytes for people: `64 MiB`, `1000 bytes`.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 20) => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 10) => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// Counts the memory of one store. What asks for more traps: a guest that could go on would fail later and less clearly.
pub(crate) struct MemoryMeter {
    used: u64,
    allowed: u64,
}

impl MemoryMeter {
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self { used: 0, allowed: allowance.memory }
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = (desired - current) as u64;
        if self.used.saturating_add(more) > self.allowed {
            return Err(wasmtime::Error::new(Limit::Memory { allowed: self.allowed }));
        }
        self.used += more;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if desired > TABLE_ELEMENTS {
            return Err(wasmtime::Error::new(Limit::TableElements { allowed: TABLE_ELEMENTS }));
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

/// Looks at the clock at every tick and stops an instance that is over its time.
///
/// Ticks only say when to look. The time is that on the wall: a component of a synchronous world never waits for anything
/// but its own computing, and one that waits through WASI must not hold its caller longer either. It is counted over all
/// calls of the instance; what passes between two of them is the host's.
pub(crate) struct RunningTimeMeter {
    allowed: Duration,
    /// By the calls that are over.
    used: Duration,
    /// When the current call began.
    began: Instant,
}

impl RunningTimeMeter {
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self { allowed: allowance.running_time, used: Duration::ZERO, began: Instant::now() }
    }

    /// A call begins.
    pub(crate) fn start(&mut self) {
        self.began = Instant::now();
    }

    /// The call is over.
    pub(crate) fn stop(&mut self) {
        self.used = self.used();
    }

    pub(crate) fn left(&self) -> Duration {
        self.allowed.saturating_sub(self.used())
    }

    pub(crate) fn exceeded(&self) -> Limit {
        Limit::RunningTime { allowed: self.allowed }
    }

    pub(crate) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.left().is_zero() {
            return Err(wasmtime::Error::new(self.exceeded()));
        }
        Ok(UpdateDeadline::Continue(1))
    }

    fn used(&self) -> Duration {
        self.used.saturating_add(self.began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_over_all_memories_of_a_store() {
        let limits = Limits { memory: Some(100), ..Limits::default() };
        let mut meter = MemoryMeter::new(limits.allowance(RUNNING_TIME));
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.memory_growing(0, 30, Some(30)).unwrap());
        assert!(!meter.memory_growing(30, 31, Some(30)).unwrap(), "beyond the memory's own maximum");
        let error = meter.memory_growing(30, 41, None).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Limit::Memory { allowed: 100 }));
        assert!(meter.memory_growing(30, 40, None).unwrap());
    }

    #[test]
    fn a_component_s_limit_goes_before_the_engine_s_and_the_host_s() {
        let own = Limits { memory: Some(1), ..Limits::default() };
        let engine = Limits { memory: Some(2), output: Some(3), running_time: None };
        let expected = Allowance { memory: 1, output: 3, running_time: RUNNING_TIME };
        assert_eq!(own.or(engine).allowance(RUNNING_TIME), expected);
    }

    #[test]
    fn a_time_limit_without_end_is_no_panic() {
        let limits = Limits { running_time: Some(Duration::MAX), ..Limits::default() };
        assert!(RunningTimeMeter::new(limits.allowance(RUNNING_TIME)).tick().is_ok());
    }

    #[test]
    fn time_is_counted_over_all_calls_but_not_between_them() {
        let limits = Limits { running_time: Some(Duration::from_secs(10)), ..Limits::default() };
        let mut meter = RunningTimeMeter::new(limits.allowance(RANKING_TIME));
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        meter.began = ago(6);
        meter.stop();
        meter.began = ago(60); // between two calls
        meter.start();
        assert!(meter.left() > Duration::from_secs(3) && meter.tick().is_ok());
        meter.began = ago(6);
        assert!(meter.tick().is_err());
    }

    #[test]
    fn limits_are_shown_with_their_unit() {
        let check = |limit: Limit, expected: &str| assert_eq!(limit.to_string(), expected);
        check(Limit::Memory { allowed: 64 << 20 }, "64 MiB memory");
        check(Limit::Output { allowed: 3 << 10 }, "3 KiB output");
        check(Limit::Output { allowed: 1000 }, "1000 bytes output");
        check(Limit::RunningTime { allowed: Duration::from_secs(2) }, "2s running time");
        check(Limit::RunningTime { allowed: Duration::from_millis(150) }, "150ms running time");
    }
}
