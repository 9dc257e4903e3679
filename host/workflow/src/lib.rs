//! Unstable. The host side of workflows: the tool that one is to clients, what one run may reach of the host, and how much.
//!
//! Knows neither WebAssembly nor the protocol: a workflow is a [`vmcp_core::workflow::Workflow`], calls are made by whoever
//! implements [`Outside`].

mod annotations;
mod budget;
mod composite;
mod desk;
mod grant;
mod log;
mod run;
pub mod runs;

use std::time::{SystemTime, UNIX_EPOCH};

pub use budget::{Budget, BudgetLimits};
pub use composite::Composite;
pub use desk::{Desk, Rests};
pub use grant::ToolGrant;
pub use log::RunLog;
pub use run::{Asked, Outside, Run, Unfinished};

/// Milliseconds since the Unix epoch.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
