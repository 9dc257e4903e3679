//! Workflows run in a fake world with virtual time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::needless_pass_by_value, reason = "`json!` as an argument reads better than a reference to it")]

mod checks;
mod elicitation;
mod failures;
mod loops;
mod model;
mod nesting;
mod outputs;
mod rounds;
mod scheduling;
mod switches;
mod transforms;
mod undo;
mod world;
