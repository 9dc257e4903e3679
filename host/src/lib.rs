//! vmcp-host as a library: the same host that the program runs, for programs that embed it.
//!
//! ```no_run
//! # async fn run() -> anyhow::Result<()> {
//! let loaded = vmcp_host::config::load("vmcp.yaml".as_ref())?;
//! let host = vmcp_host::HostBuilder::new(loaded).build().await?;
//! host.start();
//! println!("{} tools", host.gateway().catalog().await?.tools.entries().len());
//! host.stop().await;
//! # Ok(()) }
//! ```

mod assemble;

pub use assemble::{
    CheckedComponents, ComponentRefused, Host, HostBuilder, ToolSource, cache_dir, carried_component, check_calls,
    check_components, engine_for_files, interpreted, state_dir, with_hint, workflow, workflow_name,
};

/// The parts of tool search, for what measures it.
pub mod search {
    pub use crate::assemble::{
        Rankings, rankings_named,
        search::{embedder, optimizer},
    };
}

pub use vmcp_config as config;
pub use vmcp_gateway as gateway;
pub use vmcp_plugin as plugin;
pub use vmcp_server as server;
