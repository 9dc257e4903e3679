//! One request and what comes of it: runs it in the gateway, and hands on what the backend sends before its reply.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;
use vmcp_backend::{EventSender, ServerMessage};
use vmcp_core::{call::Reply, json::RawJson};
use vmcp_gateway::{
    Gateway,
    router::{Caller, Client, Incoming},
};
use vmcp_mcp::{
    envelope::write_notification,
    error::{INVALID_REQUEST, RpcError},
};

/// Events of one call that may wait for its client.
const EVENT_QUEUE: usize = 64;
/// The request was cancelled by its client, which does not wait for this any more.
const CANCELLED: i64 = -32800;

/// A request under way. Dropping it cancels the request.
pub(crate) struct Exchange {
    pub id: RawJson,
    caller: Caller,
    outcome: Pin<Box<dyn Future<Output = Result<Reply, RpcError>> + Send>>,
    events: mpsc::Receiver<ServerMessage>,
    /// The outcome, while events that came before it are still to be handed on.
    done: Option<Result<Reply, RpcError>>,
}

/// What happens next in an exchange.
pub(crate) enum Happening {
    /// A notification for the client, as a whole message.
    Notification(Bytes),
    /// The end.
    Outcome(Result<Reply, RpcError>),
}

impl Exchange {
    pub(crate) fn begin(gateway: Arc<Gateway>, caller: Caller, id: RawJson, incoming: Incoming) -> Self {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let outcome = Box::pin(run(gateway, caller.clone(), id.clone(), incoming, sender));
        Self { id, caller, outcome, events, done: None }
    }

    /// Waits for the next thing to happen. Not to be called again after the outcome.
    pub(crate) async fn next(&mut self) -> Happening {
        loop {
            // What was sent before the reply goes to the client before the reply.
            let event = match self.done.take() {
                Some(outcome) => match self.events.try_recv() {
                    Ok(event) => {
                        self.done = Some(outcome);
                        event
                    }
                    Err(_) => return Happening::Outcome(outcome),
                },
                None => tokio::select! {
                    biased;
                    Some(event) = self.events.recv() => event,
                    outcome = &mut self.outcome => {
                        self.done = Some(outcome);
                        continue;
                    }
                },
            };
            // Requests of servers are not carried to clients: dropped, they are answered with "method not found".
            if let ServerMessage::Notification(notification) = event
                && self.caller.wants(&notification)
            {
                return Happening::Notification(write_notification(&notification.method, notification.params.as_ref()));
            }
        }
    }
}

async fn run(
    gateway: Arc<Gateway>,
    caller: Caller,
    id: RawJson,
    incoming: Incoming,
    events: EventSender,
) -> Result<Reply, RpcError> {
    let Client::Legacy(session) = &caller.client else {
        return gateway.request(&caller, incoming, events).await;
    };
    let in_flight = session.begin(&id).map_err(|refusal| RpcError::new(INVALID_REQUEST, refusal.to_string()))?;
    tokio::select! {
        outcome = gateway.request(&caller, incoming, events) => outcome,
        () = in_flight.cancelled.cancelled() => Err(RpcError::new(CANCELLED, "the request was cancelled")),
    }
}
