//! One open way to a backend, whatever the transport and era, as the pool and the supervisor handle it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use vmcp_core::call::{CallError, Reply};
use vmcp_mcp::{era::Era, object::Object};

use crate::{
    audience::Audience,
    duplex::Duplex,
    handshake,
    message::{BackendRequest, EventSender},
    process::Process,
    streamable::{Endpoint, LegacySession},
};

/// What is left of the grace after a process should have ended by itself.
const KILL_MARGIN: Duration = Duration::from_millis(700);

/// What a server that does not read has to take a notification.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) enum Session {
    /// stdio and HTTP+SSE.
    Duplex {
        duplex: Arc<Duplex>,
        era: Era,
        process: Option<Arc<Process>>,
    },
    LegacyHttp(Arc<LegacySession>),
    /// Nothing is kept between calls.
    ModernHttp(Arc<Endpoint>),
}

impl Session {
    pub(crate) async fn call(
        &self,
        request: BackendRequest,
        events: EventSender,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        match self {
            Self::Duplex { duplex, era, .. } => duplex.call(request, *era, events, limit).await,
            Self::LegacyHttp(session) => session.call(request, events, limit).await,
            Self::ModernHttp(endpoint) => endpoint.call(request, events, limit).await,
        }
    }

    /// Whether the backend still answers, in its era: for transports that do not notice the end of the other side.
    pub(crate) async fn verify(&self, limit: Duration) -> Result<(), CallError> {
        match self {
            Self::Duplex { .. } => Ok(()),
            Self::LegacyHttp(session) => session.ask("ping", &Object::default(), limit).await.map(drop),
            Self::ModernHttp(endpoint) => {
                let reply = endpoint.ask_modern(handshake::DISCOVER, Object::default(), limit).await?;
                match handshake::read_discover(&reply) {
                    handshake::Probe::Modern(_) => Ok(()),
                    _ => Err(CallError::Protocol {
                        backend: endpoint.client.backend().clone(),
                        what: "it speaks another era than before".to_owned(),
                    }),
                }
            }
        }
    }

    /// Fires when the connection ends; `None` where there is none that could.
    pub(crate) fn closed(&self) -> Option<&CancellationToken> {
        match self {
            Self::Duplex { duplex, .. } => Some(duplex.closed()),
            _ => None,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed().is_some_and(CancellationToken::is_cancelled)
    }

    pub(crate) fn why_closed(&self) -> Option<Arc<str>> {
        match self {
            Self::Duplex { duplex, .. } => duplex.why_closed(),
            _ => None,
        }
    }

    fn audience(&self) -> Option<&Arc<Audience>> {
        match self {
            Self::Duplex { duplex, .. } => Some(duplex.audience()),
            Self::LegacyHttp(session) => Some(&session.audience),
            Self::ModernHttp(_) => None,
        }
    }

    /// Whether the server knows something of one client that makes the session useless for others.
    pub(crate) fn is_tainted(&self) -> bool {
        self.audience().is_some_and(|audience| audience.is_tainted())
    }

    /// Waits until no call that was given up goes on, at most for `patience`; whether that is known.
    pub(crate) async fn settled(&self, patience: Duration) -> bool {
        match self {
            Self::Duplex { duplex, .. } => duplex.settled(patience).await,
            // The stream that would tell is closed.
            Self::LegacyHttp(_) | Self::ModernHttp(_) => false,
        }
    }

    /// Passes a client's notification on. What the server asks because of it may come before the next call.
    pub(crate) async fn notify(&self, message: Bytes) {
        if let Some(audience) = self.audience() {
            audience.open();
        }
        match self {
            Self::Duplex { duplex, .. } => drop(timeout(PATIENCE, duplex.notify(message)).await),
            Self::LegacyHttp(session) => session.post(message).await,
            Self::ModernHttp(_) => {}
        }
    }

    /// When a call last began or ended.
    pub(crate) fn last_used(&self) -> Instant {
        match self {
            Self::Duplex { duplex, .. } => duplex.last_used(),
            Self::LegacyHttp(session) => session.last_used(),
            Self::ModernHttp(_) => Instant::now(),
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Duplex { process: Some(process), .. } if !process.has_exited() => Some(process.pid),
            _ => None,
        }
    }

    /// Ends the session within `grace`; calls under way end at once.
    pub(crate) async fn close(&self, grace: Duration) {
        match self {
            Self::Duplex { duplex, process, .. } => {
                duplex.close("the host ended the session");
                if let Some(process) = process {
                    process.end(grace);
                    drop(timeout(grace + KILL_MARGIN, process.gone()).await);
                }
            }
            Self::LegacyHttp(session) => session.end(grace).await,
            Self::ModernHttp(_) => {}
        }
    }
}
