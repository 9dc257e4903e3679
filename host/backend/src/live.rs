//! A backend while it is connected: which of its sessions serves which call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::DropGuard;
use tracing::warn;
use vmcp_core::{
    call::{CallError, Reply},
    id::Identity,
};
use vmcp_mcp::era::Era;

use crate::{
    connect::ConnectError,
    handshake::BackendInfo,
    message::{BackendRequest, ClientProfile, EventSender},
    pool::{Lease, Pool},
    session::Session,
};

/// What a suspected backend has to show that it lives.
const VERIFICATION: Duration = Duration::from_secs(5);

/// A connected backend.
pub(crate) struct Live {
    pub(crate) info: Arc<BackendInfo>,
    /// The host's own session, which clients share that can be asked nothing.
    pub(crate) control: Session,
    pub(crate) pool: Pool,
    /// A session for discovery could not be opened.
    refuses_everyone: AtomicBool,
    shares_sessions: bool,
    pub(crate) since: Instant,
    /// A call or stream failed in a way that may mean that the backend is gone.
    pub(crate) suspicion: Arc<Notify>,
    /// Ends what listens on this connection.
    _stop_listening: DropGuard,
}

impl Live {
    pub(crate) fn new(
        info: Arc<BackendInfo>,
        control: Session,
        pool: Pool,
        shares_sessions: bool,
        suspicion: Arc<Notify>,
        stop_listening: DropGuard,
    ) -> Self {
        let (refuses_everyone, since) = (AtomicBool::new(false), Instant::now());
        Self {
            info,
            control,
            pool,
            refuses_everyone,
            shares_sessions,
            since,
            suspicion,
            _stop_listening: stop_listening,
        }
    }

    pub(crate) async fn call(
        &self,
        mut request: BackendRequest,
        events: EventSender,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        if self.shares_sessions {
            request.client.identity = Identity::Anonymous;
        }
        let lease = match self.info.era {
            Era::Modern => None,
            Era::Legacy => self.lease(&request.client, limit).await?,
        };
        if self.info.era == Era::Modern {
            request.client.put_modern();
        }
        let session = lease.as_ref().map_or(&self.control, |lease| &lease.session);
        let outcome = session.call(request, events, limit).await;
        if let Some(lease) = lease
            && !matches!(outcome, Err(CallError::Timeout { .. }))
        {
            lease.give_back();
        }
        outcome
    }

    /// A session for this client; `None` where the host's own will do.
    async fn lease(&self, client: &ClientProfile, limit: Duration) -> Result<Option<Lease>, CallError> {
        if client.is_everyone() {
            return Ok(Box::pin(self.lease_for_everyone(client, limit)).await);
        }
        if client.identity == Identity::Anonymous && client.is_mute() {
            return Ok(None);
        }
        self.pool.acquire(client, limit).await.map(Some)
    }

    /// A session for discovery, unless the backend cannot have one: then it shows what a client without capabilities sees.
    async fn lease_for_everyone(&self, client: &ClientProfile, limit: Duration) -> Option<Lease> {
        if self.refuses_everyone.load(Ordering::Relaxed) {
            return None;
        }
        let why = match timeout(limit, self.pool.acquire(client, limit)).await {
            Ok(Ok(lease)) => return Some(lease),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took longer than {limit:?}"),
        };
        if !self.control.is_closed() {
            let backend = self.pool.backend();
            warn!(%backend, why, "no session with all capabilities can be opened, so tools that need some may be missing");
            self.refuses_everyone.store(true, Ordering::Relaxed);
        }
        None
    }

    /// Has the supervisor look whether the backend is still there. Connections that notice their end need no suspicion.
    pub(crate) fn suspect(&self) {
        if self.control.closed().is_none() {
            self.suspicion.notify_one();
        }
    }

    /// Whether the backend is still there; a slow one is.
    pub(crate) async fn verify(&self) -> Result<(), String> {
        match self.control.verify(VERIFICATION).await {
            Ok(()) | Err(CallError::Timeout { .. }) => Ok(()),
            Err(error) => Err(ConnectError::from(error).to_string()),
        }
    }

    /// When a call last began or ended.
    pub(crate) fn last_used(&self) -> Instant {
        let pool = self.pool.last_used().unwrap_or(self.since);
        self.control.last_used().max(self.since).max(pool)
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.control.pid().into_iter().chain(self.pool.pids()).collect()
    }

    pub(crate) async fn close(&self, grace: Duration) {
        futures::join!(self.control.close(grace), self.pool.close(grace));
    }
}
