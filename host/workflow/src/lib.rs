//! Unstable. The host side of workflows: the tool that one is to clients, what one run may reach of the host, and how much.
//!
//! Knows neither WebAssembly nor the protocol: a workflow is a [`vmcp_core::workflow::Workflow`], calls are made by whoever
//! implements [`Outside`].

mod annotations;
mod budget;
mod composite;
mod grant;
mod run;

pub use budget::{Budget, BudgetLimits};
pub use composite::Composite;
pub use grant::ToolGrant;
pub use run::{Asked, Outside, Run};
