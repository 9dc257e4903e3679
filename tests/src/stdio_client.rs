//! A client over stdin and stdout: of the host's `--stdio`, and of a backend without the host between.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
    time::timeout,
};

use crate::{
    era::{Era, add_modern_meta, initialize_params},
    mcp::{Mcp, Reply},
    process::PATIENCE,
};

/// Speaks MCP to a child process; killed when dropped.
#[derive(Debug)]
pub struct StdioClient {
    pub child: Child,
    pub era: Era,
    pub capabilities: Value,
    /// Result of `initialize`; null in the modern era.
    pub initialized: Value,
    /// Everything that is not a response.
    pub notifications: AsyncMutex<mpsc::UnboundedReceiver<Value>>,
    stdin: Arc<AsyncMutex<Option<ChildStdin>>>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<String>>>>,
    next_id: AtomicU64,
    stderr: Arc<Mutex<String>>,
}

impl StdioClient {
    /// Starts `command` and initializes it in the legacy era.
    pub async fn start(command: &mut Command, era: Era, capabilities: Value) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = Arc::new(AsyncMutex::new(child.stdin.take()));
        let waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<String>>>> = Arc::default();
        let stderr: Arc<Mutex<String>> = Arc::default();
        let (sender, notifications) = mpsc::unbounded_channel();
        #[expect(clippy::disallowed_methods, reason = "both readers end with the child")]
        {
            tokio::spawn(read_messages(child.stdout.take().unwrap(), Arc::clone(&waiting), sender, Arc::clone(&stdin)));
            tokio::spawn(keep_stderr(child.stderr.take().unwrap(), Arc::clone(&stderr)));
        }
        let mut client = Self {
            child,
            era,
            capabilities,
            initialized: Value::Null,
            notifications: AsyncMutex::new(notifications),
            stdin,
            waiting,
            next_id: AtomicU64::new(1),
            stderr,
        };
        if era == Era::Legacy {
            let reply = client.request("initialize", initialize_params(&client.capabilities)).await;
            client.initialized = reply.result().clone();
            client.notify("notifications/initialized", json!({})).await;
        }
        client
    }

    pub async fn notify(&self, method: &str, params: Value) {
        self.write(&json!({ "jsonrpc": "2.0", "method": method, "params": params })).await;
    }

    /// Waits for a notification of `method`; others are skipped.
    pub async fn wait_for(&self, method: &str) -> Value {
        let mut notifications = self.notifications.lock().await;
        let found = async {
            loop {
                let message = notifications.recv().await.expect("the child runs");
                if message["method"] == method {
                    return message;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {method}"))
    }

    /// EOF on its stdin.
    pub async fn close_stdin(&self) {
        self.stdin.lock().await.take();
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    async fn write(&self, message: &Value) {
        write_line(&self.stdin, message).await;
    }
}

impl Mcp for StdioClient {
    async fn request(&self, method: &str, mut params: Value) -> Reply {
        if self.era == Era::Modern {
            add_modern_meta(&mut params, &self.capabilities);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, sender);
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        match timeout(PATIENCE, receiver).await {
            Ok(Ok(raw)) => Reply::new(raw, 200, Vec::new()),
            _ => panic!("no reply to {method} {params}; stderr:\n{}", self.stderr()),
        }
    }
}

async fn write_line(stdin: &AsyncMutex<Option<ChildStdin>>, message: &Value) {
    let line = format!("{message}\n");
    if let Some(stdin) = stdin.lock().await.as_mut() {
        // A child that is gone shows in the missing reply.
        let _ = stdin.write_all(line.as_bytes()).await;
    }
}

async fn read_messages(
    stdout: tokio::process::ChildStdout,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<String>>>>,
    notifications: mpsc::UnboundedSender<Value>,
    stdin: Arc<AsyncMutex<Option<ChildStdin>>>,
) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        if message.get("method").is_none() {
            let caller = message["id"].as_u64().and_then(|id| waiting.lock().unwrap().remove(&id));
            if let Some(caller) = caller {
                drop(caller.send(line));
            }
            continue;
        }
        if let Some(id) = message.get("id") {
            write_line(&stdin, &answer_server(id, &message["method"])).await;
        }
        drop(notifications.send(message));
    }
    waiting.lock().unwrap().clear();
}

/// A server's request gets an answer, so that it does not wait: no roots, and no to everything else.
fn answer_server(id: &Value, method: &Value) -> Value {
    if method == "roots/list" {
        return json!({ "jsonrpc": "2.0", "id": id, "result": { "roots": [] } });
    }
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "the test answers nothing" } })
}

async fn keep_stderr(mut stderr: tokio::process::ChildStderr, kept: Arc<Mutex<String>>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        kept.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}
