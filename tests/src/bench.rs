//! Measures the host as a process among processes: what a call costs more than without it, how fast it starts, and how much
//! one bad backend costs the others. `cargo xtask bench` runs these on the release build.

mod caller;
pub mod faults;
pub mod overhead;
mod pipe;
pub mod start;
pub mod stats;
