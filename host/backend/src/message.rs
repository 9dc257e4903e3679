//! What crosses between the gateway and a backend: requests with their context, events on the way, changes, states.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use tokio::sync::{mpsc, oneshot};
use vmcp_core::{call::Reply, capability::Kind, id::Identity, json::RawJson};
use vmcp_mcp::{
    envelope::{Notification, Request},
    meta::RequestMeta,
    object::Object,
};

use crate::{audience::Role, handshake::BackendInfo};

/// One request to a backend.
#[derive(Clone, Debug, Default)]
pub struct BackendRequest {
    pub method: Cow<'static, str>,
    /// Without `_meta`; names and URIs are the backend's own already.
    pub params: Object,
    /// What the client said in `_meta`.
    pub meta: RequestMeta,
    pub client: ClientProfile,
    /// Mirrors of annotated arguments (`Mcp-Param-*`); only modern HTTP backends get them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Instead of the backend's `request_timeout`.
    pub timeout: Option<Duration>,
}

/// For whom a request is made: requests of different profiles share no backend session that holds state.
#[derive(Clone, Debug)]
pub struct ClientProfile {
    pub identity: Identity,
    /// JSON object: what the backend may ask of the client behind this call.
    pub capabilities: RawJson,
    /// The one client whose answers a backend may keep (its roots): sessions with a scope serve nobody else.
    pub scope: Option<Arc<str>>,
}

impl Default for ClientProfile {
    /// Nobody in particular, who can be asked nothing.
    fn default() -> Self {
        Self { identity: Identity::Anonymous, capabilities: empty_object(), scope: None }
    }
}

/// What a client can do that can do everything that the host carries between a server and a client.
const EVERYTHING: &[u8] =
    br#"{"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true},"sampling":{"context":{},"tools":{}}}"#;
/// The same for modern servers, which are not told of changes.
const EVERYTHING_MODERN: &[u8] =
    br#"{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{"context":{},"tools":{}}}"#;
/// The scope of the host's own requests as everyone. It is known by its place in memory, so no client's is taken for it.
static EVERYONE: LazyLock<Arc<str>> = LazyLock::new(|| "everyone".into());

impl ClientProfile {
    /// The host itself when it reads what a backend offers: as a client that can do everything, because some servers show
    /// more to those that can be asked. What a backend does ask is answered by the host: there are no roots, and nobody else.
    pub fn everyone() -> Self {
        let capabilities = RawJson::from_built(EVERYTHING);
        Self { identity: Identity::Anonymous, capabilities, scope: Some(EVERYONE.clone()) }
    }

    pub(crate) fn is_everyone(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| Arc::ptr_eq(scope, &EVERYONE))
    }

    /// The same client as modern backends are to see it.
    pub(crate) fn put_modern(&mut self) {
        if self.is_everyone() {
            self.capabilities = RawJson::from_built(EVERYTHING_MODERN);
        }
    }

    /// For whom the sessions of this client are, at a legacy backend.
    pub(crate) fn role(&self) -> Role {
        let capabilities = self.capabilities.clone();
        match self.is_everyone() {
            true => Role::Everyone { capabilities },
            false => Role::Clients { capabilities, has_scope: self.scope.is_some() },
        }
    }

    /// Whether the client may be asked for its roots, which a server may keep.
    pub(crate) fn has_roots(&self) -> bool {
        Object::parse_lenient(Some(&self.capabilities)).get("roots").is_some()
    }

    /// Whether a server may want something of this client: only such need sessions that serve one call at a time.
    pub(crate) fn can_be_asked(&self) -> bool {
        let text = self.capabilities.as_bytes();
        let asked: [&[u8]; 4] = [b"\"elicitation\"", b"\"sampling\"", b"\"roots\"", b"\"tasks\""];
        !self.is_mute() && asked.iter().any(|name| memchr::memmem::find(text, name).is_some())
    }

    /// Whether the client says nothing at all of itself.
    pub fn is_mute(&self) -> bool {
        is_empty_object(&self.capabilities)
    }
}

pub(crate) fn empty_object() -> RawJson {
    RawJson::from_built(&b"{}"[..])
}

pub(crate) fn is_empty_object(json: &RawJson) -> bool {
    let text = json.as_bytes();
    text.len() >= 2
        && text[0] == b'{'
        && text[text.len() - 1] == b'}'
        && text[1..text.len() - 1].iter().all(u8::is_ascii_whitespace)
}

/// What a backend sends while a call is under way, for the client that made the call.
#[derive(Debug)]
pub enum ServerMessage {
    /// Progress (the token is the client's own again), a log message, or something else.
    Notification(Notification),
    /// Wants an answer, for ten minutes at most; the time of the call stands still meanwhile. Dropping `reply` answers "method
    /// not found". `reply` closes when the server withdraws its request or the call ends.
    Request { request: Request, reply: oneshot::Sender<Reply> },
    /// A question of the host's own, which no backend sends: the client knows it by `number`, today and after a restart.
    Question { number: u64, request: Request, reply: oneshot::Sender<Reply> },
}

/// Where the events of one call go; bounded by its maker.
///
/// A client that does not keep up loses log messages first, then all progress but the latest; everything else waits for it
/// up to [`CLIENT_PATIENCE`](crate::listener::CLIENT_PATIENCE) and is dropped then. Other calls of the backend never wait.
pub type EventSender = mpsc::Sender<ServerMessage>;

/// Something about a backend changed, apart from any call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendChange {
    /// Its list of tools, prompts or resources (templates included).
    ListChanged(Kind),
    ResourceUpdated {
        uri: String,
    },
    /// It is connected again after it was [`Lost`](Self::Lost), or its session had to be made anew: what was learnt from it
    /// may be stale.
    Reconnected,
    Lost,
}

/// Where a backend stands.
#[derive(Clone, Debug)]
pub enum BackendState {
    /// Not running, because nobody needs it; the next call starts it.
    Idle,
    Starting,
    Ready(Arc<BackendInfo>),
    /// The last try to connect failed; the next comes by itself.
    Failed {
        error: String,
        hint: Option<String>,
        retry_in: Duration,
    },
    /// For good.
    Stopped,
}

impl BackendState {
    /// One word for reports.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Starting => "starting",
            Self::Ready(_) => "ready",
            Self::Failed { .. } => "failed",
            Self::Stopped => "stopped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_capabilities_is_mute() {
        let check = |text: &str, expected: bool| {
            assert_eq!(is_empty_object(&RawJson::parse(text.to_owned()).unwrap()), expected, "{text}");
        };
        check("{}", true);
        check("{ \n }", true);
        check(r#"{"roots":{}}"#, false);
        check("[]", false);
        check("1", false);
    }
}
