//! Measures the host as a process among processes: what a call costs more than without it, how fast it starts, how much one
//! bad backend costs the others, and what sessions and searches cost. `cargo xtask bench` runs these on the release build.

pub mod able;
mod caller;
pub mod faults;
pub mod overhead;
mod pipe;
pub mod search;
pub mod sessions;
pub mod start;
pub mod stats;
pub mod workflows;
