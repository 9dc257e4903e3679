//! Everything that the host promises to those outside, tested through its outer door. One binary, because linking is slow.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aggregation;
mod assembled;
mod authoring;
mod bridge;
mod cli;
mod clients;
mod commands;
mod documents;
mod embedding;
mod evaluation;
mod faults;
mod fidelity;
mod front;
mod lifecycle;
mod matrix;
mod plugins;
mod quickstart;
mod real_servers;
mod routing;
mod serving;
mod sessions;
mod stdio;
mod tool_search;
mod validation;
mod workflow;
