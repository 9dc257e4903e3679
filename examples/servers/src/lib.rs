//! Two small MCP servers, `notes` and `tasks`, so that the quickstart has something real behind the host without Node or
//! Python. Called by the `example-server` subcommand; each serves one client on standard input and output.
//!
//! STABILITY: internal; the servers are examples and may change with any release.
//!
//! Both have tools named `add`, `list` and `search`: behind one endpoint these names clash, which is what a conflict
//! resolver is for. `notes` has resources, a resource template, a prompt and completions too.

mod notes;
mod storage;
mod tasks;

use std::{error::Error, fmt, path::PathBuf, str::FromStr};

use anyhow::Context as _;
use rmcp::{
    RoleServer, ServerHandler, ServiceExt as _,
    transport::{IntoTransport, stdio_pipes},
};

use crate::{notes::NotesServer, storage::state_folder, tasks::TasksServer};

/// One of the example servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// A folder of Markdown notes: `NOTES_DIR`.
    Notes,
    /// A to-do list in a JSON file: `TASKS_FILE`.
    Tasks,
}

/// No example server has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no example server `{0}`, only {list}", list = Server::names().join(" and "))]
pub struct UnknownServer(pub String);

impl Server {
    pub const ALL: [Self; 2] = [Self::Notes, Self::Tasks];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notes => "notes",
            Self::Tasks => "tasks",
        }
    }

    /// All names, for usage texts.
    pub fn names() -> [&'static str; 2] {
        Self::ALL.map(Self::name)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Server {
    type Err = UnknownServer;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|server| server.name() == name).ok_or_else(|| UnknownServer(name.into()))
    }
}

/// Serves `server` on standard input and output until the client closes them.
pub async fn serve_stdio(server: Server) -> anyhow::Result<()> {
    match server {
        Server::Notes => {
            let folder = place_from("NOTES_DIR", "notes")?;
            serve(NotesServer::open(folder).context("NOTES_DIR names the folder to use")?, stdio_pipes()).await
        }
        Server::Tasks => {
            let file = place_from("TASKS_FILE", "tasks.json")?;
            serve(TasksServer::open(file).context("TASKS_FILE names the file to use")?, stdio_pipes()).await
        }
    }
}

async fn serve<T, E, A>(server: impl ServerHandler, transport: T) -> anyhow::Result<()>
where
    T: IntoTransport<RoleServer, E, A>,
    E: Error + Send + Sync + 'static,
{
    let running = server.serve(transport).await.context("the client did not open an MCP session")?;
    running.waiting().await?;
    Ok(())
}

/// The path in `variable`; where that is not set, `default_name` in the user's state folder.
fn place_from(variable: &str, default_name: &str) -> anyhow::Result<PathBuf> {
    match std::env::var_os(variable) {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Ok(state_folder().with_context(|| format!("set {variable} to say where to store"))?.join(default_name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_by_name_and_an_unknown_name_lists_them() {
        for server in Server::ALL {
            assert_eq!(server.to_string().parse(), Ok(server));
        }
        let unknown = "note".parse::<Server>().unwrap_err().to_string();
        assert_eq!(unknown, "there is no example server `note`, only notes and tasks");
    }
}
