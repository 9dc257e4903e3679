//! How a command speaks to a host: over the socket of the one that runs, else to one that is started for the command alone.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio_util::sync::CancellationToken;
use vmcp_config::Loaded;
use vmcp_host::{Host, HostBuilder, state_dir};
use vmcp_server::{
    admin,
    stream::{self, StreamOptions},
};

use super::answers::Answers;
use crate::exit::Failure;

/// Longest message of a command, in bytes.
const MESSAGE_LIMIT: usize = 512 << 20;
/// Before a call is made again that says not yet, and asks nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// A conversation with a host.
pub(crate) struct HostSession {
    reader: Box<dyn AsyncBufRead + Unpin + Send>,
    writer: Box<dyn AsyncWrite + Unpin + Send>,
    next_id: u64,
    /// What the host may ask of this client.
    capabilities: Value,
    /// The host that was started for this conversation, if none ran.
    own: Option<Host>,
}

impl HostSession {
    /// Speaks to the host that serves the configuration at `path`, or starts one for as long as the command runs.
    pub(crate) async fn open(path: &Path) -> anyhow::Result<Self> {
        let loaded = super::load(path)?;
        if let Some((reader, writer)) = attach(&loaded).await? {
            let mut session = Self::over(reader, writer, None);
            session.check_config(path).await?;
            return Ok(session);
        }
        Self::start(loaded, |host| host).await
    }

    /// Speaks to the host that serves the configuration at `path`.
    ///
    /// # Errors
    /// When none does.
    pub(crate) async fn attach(path: &Path) -> anyhow::Result<Self> {
        let loaded = super::load(path)?;
        let Some((reader, writer)) = attach(&loaded).await? else { return Err(not_running(path)) };
        let mut session = Self::over(reader, writer, None);
        session.check_config(path).await?;
        Ok(session)
    }

    /// Speaks to a host of its own that serves `loaded`.
    ///
    /// - `change`: what the host has beyond the configuration
    pub(crate) async fn start(loaded: Loaded, change: impl FnOnce(HostBuilder) -> HostBuilder) -> anyhow::Result<Self> {
        // Every backend gets its time to start: nothing is served meanwhile.
        let patience = loaded.config.backends.iter().map(|backend| backend.start_timeout.as_duration()).max();
        let host = change(HostBuilder::new(loaded).patience(patience.unwrap_or_default())).build().await?;
        host.start();
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (gateway, shutdown) = (host.gateway().clone(), host.stopping().clone());
        host.fronts().spawn(async move {
            let (reader, writer) = tokio::io::split(theirs);
            let options = StreamOptions { message_limit: MESSAGE_LIMIT, admin: true, grace: Duration::ZERO };
            // It ends with the command; there is nobody left to tell.
            let _ = stream::serve(gateway, reader, writer, options, shutdown).await;
        });
        let (reader, writer) = tokio::io::split(ours);
        Ok(Self::over(reader, writer, Some(host)))
    }

    /// A client that cannot be asked anything.
    fn over(
        reader: impl AsyncRead + Unpin + Send + 'static,
        writer: impl AsyncWrite + Unpin + Send + 'static,
        own: Option<Host>,
    ) -> Self {
        let reader = Box::new(BufReader::new(reader));
        Self { reader, writer: Box::new(writer), next_id: 0, capabilities: json!({}), own }
    }

    /// Hosts of one `name` share a state folder: makes sure that the one that answers serves this very file.
    async fn check_config(&mut self, path: &Path) -> anyhow::Result<()> {
        let status = self.ask(admin::STATUS, json!({})).await?;
        let served = status["config"].as_str().unwrap_or_default();
        if std::fs::canonicalize(path).is_ok_and(|path| path == Path::new(served)) {
            return Ok(());
        }
        bail!(
            "the host that runs under this name serves {served}, not {}\nhint: give the configurations different names",
            path.display()
        )
    }

    /// Whether this host was started for the command.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The `result` that answers `method`.
    ///
    /// # Errors
    /// Names the JSON-RPC error, if that is the answer.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.ask_watching(method, params, |_| {}).await
    }

    /// The same; `watch` is told of the progress meanwhile, as the `params` of its notifications.
    pub(crate) async fn ask_watching(
        &mut self,
        method: &str,
        mut params: Value,
        watch: impl Fn(&Value),
    ) -> anyhow::Result<Value> {
        self.next_id += 1;
        params["_meta"] = json!({
            "progressToken": self.next_id,
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            "io.modelcontextprotocol/clientInfo": { "name": "vmcp-host", "version": env!("CARGO_PKG_VERSION") },
        });
        let mut line = json!({ "jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params }).to_string();
        line.push('\n');
        self.writer.write_all(line.as_bytes()).await.context("the host is gone")?;
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).await.context("the host is gone")? == 0 {
                bail!("the host is gone");
            }
            let mut message: Value = serde_json::from_str(&line).context("the host sent no JSON")?;
            if message["method"] == "notifications/progress" {
                watch(&message["params"]);
            }
            if message["id"] != self.next_id {
                continue;
            }
            if let Some(error) = message.get("error") {
                let text = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
                return Err(anyhow!("{text}"));
            }
            return Ok(message["result"].take());
        }
    }

    /// The same; what is asked meanwhile gets its `answers`, with which the request is made again.
    pub(crate) async fn ask_answering(
        &mut self,
        method: &str,
        params: Value,
        watch: impl Fn(&Value),
        answers: &mut Answers,
    ) -> anyhow::Result<Value> {
        self.capabilities = answers.capabilities();
        let mut result = self.ask_watching(method, params.clone(), &watch).await?;
        while result["resultType"] == "input_required" {
            let mut again = params.clone();
            let given = answers.to(&result["inputRequests"]).await?;
            match given.is_empty() {
                true => tokio::time::sleep(PAUSE).await,
                false => again["inputResponses"] = Value::Object(given),
            }
            if let Some(state) = result.get_mut("requestState") {
                again["requestState"] = state.take();
            }
            result = self.ask_watching(method, again, &watch).await?;
        }
        Ok(result)
    }

    /// Ends the conversation, and the host if it was started for it.
    pub(crate) async fn close(self) {
        if let Some(host) = self.own {
            host.stop().await;
        }
    }
}

#[cfg(unix)]
type Attached = (tokio::net::unix::OwnedReadHalf, tokio::net::unix::OwnedWriteHalf);

/// The socket of the host that serves `loaded`, if one runs.
#[cfg(unix)]
async fn attach(loaded: &Loaded) -> anyhow::Result<Option<Attached>> {
    let path = admin::socket_path(&state_dir(&loaded.config)?);
    Ok(tokio::net::UnixStream::connect(path).await.ok().map(tokio::net::UnixStream::into_split))
}

#[cfg(not(unix))]
async fn attach(_: &Loaded) -> anyhow::Result<Option<(tokio::io::Empty, tokio::io::Sink)>> {
    Ok(None)
}

fn not_running(path: &Path) -> anyhow::Error {
    anyhow!(
        "no host is running for {0}\nhint: start it with 'vmcp-host serve -c {0}', or let the client start its own with \
         'vmcp-host serve --stdio -c {0}'",
        path.display()
    )
    .context(Failure::NotRunning)
}

/// Passes standard input and output through to the running host.
pub(crate) async fn pass_through(path: &Path) -> anyhow::Result<ExitCode> {
    let loaded = super::load(path)?;
    let Some((mut reader, mut writer)) = attach(&loaded).await? else { return Err(not_running(path)) };
    let closed = CancellationToken::new();
    let to_host = async {
        let copied = tokio::io::copy(&mut tokio::io::stdin(), &mut writer).await;
        // The host answers what it was asked, then closes its side.
        let _ = writer.shutdown().await;
        copied.map(|_| ())
    };
    let from_host = async {
        let copied = tokio::io::copy(&mut reader, &mut tokio::io::stdout()).await;
        closed.cancel();
        copied.map(|_| ())
    };
    let to_host = async {
        tokio::select! {
            copied = to_host => copied,
            () = closed.cancelled() => Ok(()),
        }
    };
    tokio::try_join!(to_host, from_host).context("the connection to the host broke")?;
    Ok(ExitCode::SUCCESS)
}
