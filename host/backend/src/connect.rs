//! Opens sessions with a backend: finds its transport and era, and remembers both until something fails.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::sync::{OnceCell, broadcast};
use tracing::debug;
use vmcp_core::call::CallError;
use vmcp_mcp::{era::Era, object::Object};

use crate::{
    audience::{Audience, Role},
    handshake::{self, BackendInfo, PROBE_PATIENCE, Probe},
    http::HttpClient,
    listen,
    message::BackendChange,
    process::Launch,
    session::Session,
    spec::{BackendContext, BackendSpec, Transport},
    sse,
    stdio::{self, HandshakeError, StdioLink},
    streamable::{Endpoint, LegacySession, SessionError},
};

/// Why a backend could not be connected.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ConnectError {
    message: String,
    hint: Option<String>,
}

impl ConnectError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn refused(status: StatusCode) -> Self {
        let hint = "set the credentials it asks for under `headers` of this backend".to_owned();
        Self { message: format!("it refused access (HTTP {status})"), hint: Some(hint) }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What to do about it.
    pub(crate) fn what_to_do(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<CallError> for ConnectError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unavailable { reason, .. } => Self::new(reason),
            CallError::ConnectionLost { source, .. } => Self::new(format!("the connection broke: {source}")),
            CallError::Timeout { after, .. } => Self::new(format!("it did not answer within {after:?}")),
            CallError::Protocol { what, .. } => Self::new(what),
            CallError::Refused { status, .. } => {
                Self::refused(StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED))
            }
            other => Self::new(other.to_string()),
        }
    }
}

/// A backend that answers: the host's own session with it, and what it is.
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) info: BackendInfo,
}

pub(crate) struct Connector {
    spec: BackendSpec,
    context: Arc<BackendContext>,
    changes: broadcast::Sender<BackendChange>,
    http: OnceCell<Arc<HttpClient>>,
    /// Found by the last probe.
    era: Mutex<Option<Era>>,
    /// The URL of a streamable HTTP backend turned out to be one of HTTP+SSE.
    is_sse: AtomicBool,
}

impl Connector {
    pub(crate) fn new(
        spec: BackendSpec,
        context: Arc<BackendContext>,
        changes: broadcast::Sender<BackendChange>,
    ) -> Self {
        let is_sse = AtomicBool::new(matches!(spec.transport, Transport::Sse { .. }));
        Self { spec, context, changes, http: OnceCell::new(), era: Mutex::new(None), is_sse }
    }

    /// Whether the backend turned out to speak HTTP+SSE.
    pub(crate) fn is_sse(&self) -> bool {
        self.is_sse.load(Ordering::Relaxed)
    }

    /// Opens the session that the host itself uses: it may ask nothing of anybody, and tells of changes.
    pub(crate) async fn open_control(&self) -> Result<Opened, ConnectError> {
        let opened = self.open(self.known_era(), Role::Control).await;
        *self.era.lock().expect("no panic while held") = opened.as_ref().ok().map(|opened| opened.info.era);
        opened
    }

    /// Opens another session with a legacy backend.
    pub(crate) async fn open_for(&self, role: Role) -> Result<Session, ConnectError> {
        let can_be_asked = role.can_be_asked();
        let session = self.open(Some(Era::Legacy), role).await?.session;
        if let Session::LegacyHttp(session) = &session
            && can_be_asked
        {
            listen::attend(session).await;
        }
        Ok(session)
    }

    fn known_era(&self) -> Option<Era> {
        *self.era.lock().expect("no panic while held")
    }

    /// - `era`: what was found before; `None` probes
    async fn open(&self, era: Option<Era>, role: Role) -> Result<Opened, ConnectError> {
        match &self.spec.transport {
            Transport::Stdio { command, args, env, cwd } => {
                let launch = Launch { command, args, env, cwd: cwd.as_ref() };
                self.open_stdio(&launch, era, role).await
            }
            Transport::StreamableHttp { .. } | Transport::Sse { .. } => self.open_http(era, role).await,
        }
    }

    fn patience(&self) -> Duration {
        self.spec.start_timeout
    }

    async fn open_stdio(&self, launch: &Launch<'_>, era: Option<Era>, role: Role) -> Result<Opened, ConnectError> {
        let host_info = &self.context.host_info;
        let begin = || stdio::start(&self.spec, launch, &self.context, role.clone(), self.changes.clone());
        let mut link = EndOnDrop(Some(begin()?));
        let shaken = stdio::shake_hands(link.get(), era, host_info, self.patience()).await;
        let shaken = match shaken {
            // Some servers end when they are asked something before `initialize`.
            Err(HandshakeError::Died { at: handshake::DISCOVER }) if era.is_none() => {
                debug!(backend = %self.spec.id, "the process ended on the probe, starting it again");
                link = EndOnDrop(Some(begin()?));
                stdio::shake_hands(link.get(), Some(Era::Legacy), host_info, self.patience()).await
            }
            shaken => shaken,
        };
        match shaken {
            Ok(info) => {
                let StdioLink { duplex, process } = link.take();
                Ok(Opened { session: Session::Duplex { duplex, era: info.era, process: Some(process) }, info })
            }
            Err(error) => Err(explain(link.get(), launch, error).await),
        }
    }

    async fn open_http(&self, era: Option<Era>, role: Role) -> Result<Opened, ConnectError> {
        let client = self.http_client().await?;
        if self.is_sse.load(Ordering::Relaxed) {
            return self.open_sse(&client, role).await;
        }
        let (host_info, tasks) = (self.context.host_info.clone(), self.context.tasks.clone());
        let endpoint = Endpoint::new(client.clone(), host_info, self.changes.clone(), tasks);
        if era != Some(Era::Legacy) {
            match self.discover(&endpoint).await? {
                Probe::Modern(info) => return Ok(Opened { session: Session::ModernHttp(endpoint), info }),
                Probe::Foreign(why) => return Err(ConnectError::new(why)),
                Probe::Legacy => {}
            }
        }
        let audience = Audience::new(role.clone(), self.context.input_timeout);
        match LegacySession::open(endpoint, audience, self.patience()).await {
            Ok(session) => {
                let info = session.established().info.clone();
                Ok(Opened { session: Session::LegacyHttp(Arc::new(session)), info })
            }
            Err(SessionError::Status(status)) => {
                let opened = self.open_sse(&client, role).await.map_err(|error| {
                    debug!(backend = %self.spec.id, %error, "it is no HTTP+SSE server either");
                    ConnectError::new(format!("it answered `initialize` with HTTP {status}"))
                        .hint("the URL must be that of the MCP endpoint, often ending in `/mcp`, or in `/sse` for old servers")
                })?;
                self.is_sse.store(true, Ordering::Relaxed);
                Ok(opened)
            }
            Err(SessionError::Refused(why)) => Err(ConnectError::new(why)),
            Err(SessionError::Call(fault)) => Err(fault.into_call_error(&self.spec.id).into()),
        }
    }

    /// Asks what the server speaks. Whatever an older server answers to a question that it does not know means: legacy.
    async fn discover(&self, endpoint: &Arc<Endpoint>) -> Result<Probe, ConnectError> {
        let silence = PROBE_PATIENCE.min(self.patience());
        match endpoint.ask_modern(handshake::DISCOVER, Object::default(), silence).await {
            Ok(reply) => Ok(handshake::read_discover(&reply)),
            Err(CallError::Protocol { .. } | CallError::Timeout { .. }) => Ok(Probe::Legacy),
            Err(error) => Err(error.into()),
        }
    }

    async fn open_sse(&self, client: &Arc<HttpClient>, role: Role) -> Result<Opened, ConnectError> {
        let (duplex, info) = sse::open(client, &self.context, role, self.changes.clone(), self.patience()).await?;
        Ok(Opened { session: Session::Duplex { duplex, era: Era::Legacy, process: None }, info })
    }

    async fn http_client(&self) -> Result<Arc<HttpClient>, ConnectError> {
        let make = || async {
            let (Transport::StreamableHttp { url, headers, ca_bundle } | Transport::Sse { url, headers, ca_bundle }) =
                &self.spec.transport
            else {
                return Err(ConnectError::new("a process has no URL"));
            };
            let (id, limit) = (self.spec.id.clone(), self.spec.reply_limit);
            HttpClient::new(id, url.clone(), headers.clone(), ca_bundle.as_deref(), limit).map(Arc::new)
        };
        self.http.get_or_try_init(make).await.cloned()
    }
}

/// A process whose handshake is not done yet: given up, it is ended.
struct EndOnDrop(Option<StdioLink>);

impl EndOnDrop {
    fn get(&self) -> &StdioLink {
        self.0.as_ref().expect("taken only by `take`, which consumes")
    }

    fn take(mut self) -> StdioLink {
        self.0.take().expect("taken only here")
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.duplex.close("the handshake was given up");
            link.process.end(Duration::from_millis(500));
        }
    }
}

/// Says why the first words with a process came to nothing, with what it said itself.
async fn explain(link: &StdioLink, launch: &Launch<'_>, error: HandshakeError) -> ConnectError {
    let line =
        std::iter::once(launch.command).chain(launch.args.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let (message, has_ended) = match error {
        HandshakeError::Died { at } => match link.process.obituary().await {
            Some(how) => (format!("`{line}` {how} before it answered `{at}`"), true),
            None => (format!("`{line}` closed its output before it answered `{at}`"), true),
        },
        HandshakeError::Refused(why) => (format!("`{line}`: {why}"), false),
        HandshakeError::Call(error) => (format!("`{line}`: {}", ConnectError::from(error)), false),
    };
    let last_words = link.process.last_words();
    let hint = has_ended.then(|| hint_for(&last_words, &message)).flatten();
    let message = if last_words.is_empty() {
        message
    } else {
        format!("{message}; its last words:\n    {}", last_words.join("\n    "))
    };
    ConnectError { message, hint }
}

/// What an end tells to those who have seen it before.
fn hint_for(last_words: &[String], message: &str) -> Option<String> {
    let said = |what: &str| last_words.iter().any(|line| line.contains(what));
    if let Some(line) =
        last_words.iter().find(|line| line.contains("command not found") || line.ends_with(": not found"))
    {
        return Some(format!("a program that it starts was not found on PATH ({line})"));
    }
    if message.contains("exited with code 127") {
        return Some("a program that it starts was not found on PATH".to_owned());
    }
    if said("No module named") || said("Cannot find module") {
        return Some("a part of the server is not installed where it looks for it".to_owned());
    }
    (said("EADDRINUSE") || said("Address already in use"))
        .then(|| "another process uses the port that the server wants".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_ends_come_with_a_hint() {
        let check = |line: &str, message: &str, expected: Option<&str>| {
            assert_eq!(hint_for(&[line.to_owned()], message).as_deref(), expected, "{line}");
        };
        check("all well", "exited with code 1", None);
        check("", "exited with code 127", Some("a program that it starts was not found on PATH"));
        check(
            "sh: 1: node: not found",
            "exited with code 127",
            Some("a program that it starts was not found on PATH (sh: 1: node: not found)"),
        );
        check(
            "ModuleNotFoundError: No module named 'mcp'",
            "exited with code 1",
            Some("a part of the server is not installed where it looks for it"),
        );
    }
}
