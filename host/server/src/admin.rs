//! What only the owner of the host may ask: the whole catalog with its reasons, and how the backends are. Asked over a
//! socket in the state folder, in the same framing as stdio; MCP itself is answered there too.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};
use vmcp_core::{
    capability::Kind,
    catalog::Catalog,
    journal::{InvalidRunId, RunId},
    json::RawJson,
};
use vmcp_gateway::{Gateway, router::Incoming, runs::CancelError};
use vmcp_mcp::error::{INTERNAL_ERROR, RpcError};

use crate::stream::{self, StreamOptions};

/// Longest wait for requests under way once a command has closed its side.
const GRACE: Duration = Duration::from_secs(2);
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Methods that begin with this are the owner's.
pub const PREFIX: &str = "vmcp/";
/// Every capability: its name, its origin, why it is named so, and what is hidden.
pub const CATALOG: &str = "vmcp/catalog";
/// The tools that clients can find, as files of golden tools describe them.
pub const TOOLS: &str = "vmcp/tools";
/// Every backend and how it is.
pub const STATUS: &str = "vmcp/status";

/// All runs of composite tools that are kept.
pub const RUNS: &str = "vmcp/runs";
/// One run with all that is known of it; `params.id` names it.
pub const RUN: &str = "vmcp/run";
/// Cancels the run that `params.id` names.
pub const CANCEL_RUN: &str = "vmcp/run/cancel";

/// Answers one of the owner's requests.
pub(crate) async fn answer(gateway: &Gateway, incoming: &Incoming) -> Result<RawJson, RpcError> {
    let catalog = async || {
        let catalog = gateway.catalog().await;
        catalog.map_err(|error| RpcError::new(INTERNAL_ERROR, error.to_string()))
    };
    match incoming.method.as_str() {
        CATALOG => Ok(RawJson::of(&describe(&*catalog().await?))),
        TOOLS => Ok(RawJson::of(&tools(&*catalog().await?))),
        STATUS => Ok(RawJson::of(&json!({
            "version": gateway.host.version,
            "title": gateway.host.title,
            "config": gateway.host.config,
            "names": gateway.resolver_label(),
            "sessions": gateway.sessions.len(),
            "search": gateway.tool_search().map(|search| search.status()),
            "backends": gateway.status(),
        }))),
        RUNS => {
            let runs = gateway.run_list().await.map_err(|error| RpcError::new(INTERNAL_ERROR, error))?;
            Ok(RawJson::of(&json!({ "runs": runs })))
        }
        RUN => {
            let run = named_run(incoming)?;
            match gateway.run_view(run).await.map_err(|error| RpcError::new(INTERNAL_ERROR, error))? {
                Some(view) => Ok(RawJson::of(&view)),
                None => Err(RpcError::invalid_params(CancelError::Unknown(run).to_string())),
            }
        }
        CANCEL_RUN => {
            let run = named_run(incoming)?;
            gateway.cancel_run(run).await.map_err(|error| RpcError::invalid_params(error.to_string()))?;
            Ok(RawJson::of(&json!({ "id": run.to_string() })))
        }
        method => Err(RpcError::method_not_found(method)),
    }
}

fn named_run(incoming: &Incoming) -> Result<RunId, RpcError> {
    let id = incoming.params.get_string("id").unwrap_or_default();
    id.parse().map_err(|error: InvalidRunId| RpcError::invalid_params(error.to_string()))
}

/// The catalog for people and scripts.
pub fn describe(catalog: &Catalog) -> Value {
    let shown = Kind::ALL.iter().flat_map(|kind| catalog.listing(*kind).entries()).map(|entry| {
        json!({
            "kind": entry.capability.kind, "name": entry.name, "backend": entry.backend(),
            "original": entry.capability.original_name, "why": entry.why, "by": entry.decided_by,
            "state": "advertised", "description": entry.capability.description,
        })
    });
    let unavailable = catalog.unavailable.iter().map(|entry| {
        json!({
            "kind": entry.capability.kind, "name": entry.name, "backend": entry.backend(),
            "original": entry.capability.original_name, "why": "its backend is down; the name is reserved",
            "by": entry.decided_by, "state": "unavailable", "description": entry.capability.description,
        })
    });
    let hidden = catalog.hidden.iter().map(|hidden| {
        json!({
            "kind": hidden.capability.kind, "name": hidden.capability.name, "backend": hidden.capability.backend,
            "original": hidden.capability.original_name, "why": hidden.reason, "by": hidden.decided_by,
            "state": "hidden", "description": hidden.capability.description,
        })
    });
    json!({
        "generation": catalog.generation,
        "names": { "resolver": catalog.naming.resolver, "renamed": catalog.naming.renamed,
                   "tookMicros": u64::try_from(catalog.naming.took.as_micros()).unwrap_or(u64::MAX) },
        "entries": shown.chain(unavailable).chain(hidden).collect::<Vec<_>>(),
    })
}

/// The tools of the catalog: names before a resolver changed them, and as advertised where that is another.
fn tools(catalog: &Catalog) -> Value {
    let tools = catalog.tools.entries().iter().map(|entry| {
        let definition: Value = serde_json::from_str(entry.definition.as_str()).unwrap_or_default();
        let mut tool = json!({
            "server": entry.capability.backend, "name": entry.capability.name,
            "description": definition["description"], "input_schema": definition["inputSchema"],
        });
        if entry.name != entry.capability.name {
            tool["advertised"] = json!(entry.name);
        }
        tool
    });
    json!({ "tools": tools.collect::<Vec<_>>() })
}

/// Where the socket of a host lies.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("admin.sock")
}

/// The owner's socket, removed again when this is dropped.
#[cfg(unix)]
pub struct AdminSocket {
    listener: tokio::net::UnixListener,
    path: PathBuf,
    /// Held as long as the socket is ours: who has it may remove what lies there.
    _lock: std::fs::File,
}

#[cfg(unix)]
impl AdminSocket {
    /// Opens the socket for its owner alone. `None` when another host already serves it: several may share a state folder,
    /// and the first one answers for it.
    pub fn open(state_dir: &Path) -> io::Result<Option<Self>> {
        use std::os::unix::fs::PermissionsExt as _;
        let lock = std::fs::File::create(state_dir.join("admin.lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        let path = socket_path(state_dir);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = tokio::net::UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Some(Self { listener, path, _lock: lock }))
    }

    /// Serves until `shutdown`.
    pub async fn serve(
        self,
        gateway: Arc<Gateway>,
        message_limit: usize,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) {
        loop {
            let connection = tokio::select! {
                () = shutdown.cancelled() => return,
                connection = self.listener.accept() => connection,
            };
            let socket = match connection {
                Ok((socket, _)) => socket,
                Err(error) => {
                    warn!(%error, "the admin socket refused a connection");
                    // Too many open files, most likely: they do not close faster when it is tried at once.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (gateway, shutdown) = (gateway.clone(), shutdown.clone());
            tasks.spawn(async move {
                let (reader, writer) = socket.into_split();
                let options = StreamOptions { message_limit, admin: true, grace: GRACE };
                if let Err(error) = stream::serve(gateway, reader, writer, options, shutdown).await {
                    debug!(%error, "a connection to the admin socket broke");
                }
            });
        }
    }
}

#[cfg(unix)]
impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
