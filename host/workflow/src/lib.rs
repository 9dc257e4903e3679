//! Unstable. The host side of workflows: what one run may reach of the host, and how much of it.
//!
//! Knows neither WebAssembly nor the protocol: a workflow is a [`vmcp_core::workflow::Workflow`], calls are made by whoever
//! implements [`Outside`].

mod budget;
mod grant;
mod run;

pub use budget::{Budget, BudgetLimits};
pub use grant::ToolGrant;
pub use run::{Outside, Run};
