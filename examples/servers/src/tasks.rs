//! The MCP server `tasks`: tools over a [`TaskList`].

mod list;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use rmcp::{
    Json, ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    model::{Implementation, ServerCapabilities, ServerConfig},
    tool, tool_handler, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::list::{Task, TaskError, TaskList};
use crate::storage::on_disk;

/// Arguments of `add`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewTask {
    /// What to do, in one line.
    text: String,
}

/// Arguments of `list`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhichTasks {
    /// Show the tasks that are done too.
    #[serde(default)]
    all: bool,
}

/// Arguments of `search`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Words to look for as they stand, in any case.
    query: String,
}

/// Arguments of `done`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhichTask {
    /// Number of the task as `list` gives it.
    id: u64,
}

/// Result of `list` and `search`.
#[derive(Serialize, JsonSchema)]
struct Tasks {
    tasks: Vec<Task>,
}

pub(crate) struct TasksServer {
    list: TaskList,
    tool_router: ToolRouter<Self>,
}

impl TasksServer {
    /// Serves the list in `file`, which is made with the first task.
    pub(crate) fn open(file: PathBuf) -> Result<Self, TaskError> {
        Ok(Self { list: TaskList::open(file)?, tool_router: Self::tool_router() })
    }

    async fn with_list<T: Send + 'static>(
        &self,
        work: impl FnOnce(&TaskList) -> Result<T, TaskError> + Send + 'static,
    ) -> Result<T, String> {
        let list = self.list.clone();
        on_disk(move || work(&list)).await
    }
}

#[tool_router]
impl TasksServer {
    /// Put a task on the list.
    #[tool(annotations(
        title = "Add a task",
        read_only_hint = false,
        destructive_hint = false,
        open_world_hint = false
    ))]
    async fn add(&self, Parameters(new): Parameters<NewTask>) -> Result<Json<Task>, String> {
        self.with_list(move |list| list.add(&new.text)).await.map(Json)
    }

    /// List the open tasks.
    #[tool(annotations(title = "List tasks", read_only_hint = true, open_world_hint = false))]
    async fn list(&self, Parameters(which): Parameters<WhichTasks>) -> Result<Json<Tasks>, String> {
        let tasks = self.with_list(move |list| list.list(which.all)).await?;
        Ok(Json(Tasks { tasks }))
    }

    /// Find the tasks, open or done, that contain some words.
    #[tool(annotations(title = "Search tasks", read_only_hint = true, open_world_hint = false))]
    async fn search(&self, Parameters(query): Parameters<Query>) -> Result<Json<Tasks>, String> {
        let tasks = self.with_list(move |list| list.search(&query.query)).await?;
        Ok(Json(Tasks { tasks }))
    }

    /// Mark a task as done.
    #[tool(annotations(
        title = "Finish a task",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn done(&self, Parameters(which): Parameters<WhichTask>) -> Result<Json<Task>, String> {
        self.with_list(move |list| list.finish(which.id)).await.map(Json)
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for TasksServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("tasks", env!("CARGO_PKG_VERSION")))
            .with_instructions("A to-do list. Tasks are known by their number.")
    }
}
