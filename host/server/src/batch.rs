//! Several messages in one, as revisions before 2025-06-18 allow: the requests run at the same time, each as if it had come
//! alone.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use vmcp_gateway::{
    Gateway,
    router::{Caller, Incoming},
    session::Session,
};
use vmcp_mcp::{
    envelope::{self, BatchError, Message, Request},
    era::Revision,
    error::{INVALID_REQUEST, PARSE_ERROR, RpcError},
};

use crate::{
    exchange::{Exchange, Happening, take_answer, take_notification},
    reply,
};

type Running = Pin<Box<dyn Future<Output = (Exchange, Happening)> + Send>>;

/// The requests of a batch under way. Dropping it cancels them.
pub(crate) struct Batch {
    running: FuturesUnordered<Running>,
    /// Replies that stood at once: to what is no request that can be run.
    ready: Vec<Bytes>,
}

/// What happens next in a batch.
pub(crate) enum BatchEvent {
    /// Something that a backend sent before its reply.
    Message(Bytes),
    Reply(Bytes),
}

impl Batch {
    /// Starts all requests of `text`, and takes its notifications and responses.
    ///
    /// # Errors
    /// When the client's revision has no batches, or this is none.
    pub(crate) async fn begin(gateway: &Arc<Gateway>, session: &Arc<Session>, text: &Bytes) -> Result<Self, RpcError> {
        if session.revision > Revision::V2025_03_26 {
            let reason =
                format!("revision {} of this session has no batches; send one message at a time", session.revision);
            return Err(RpcError::new(INVALID_REQUEST, reason));
        }
        let members = envelope::parse_batch(text).map_err(|error| {
            let code = match &error {
                BatchError::NotJson(_) => PARSE_ERROR,
                BatchError::TooLong | BatchError::Empty => INVALID_REQUEST,
            };
            RpcError::new(code, error.to_string())
        })?;
        let mut batch = Self { running: FuturesUnordered::new(), ready: Vec::new() };
        for member in members {
            match member {
                Ok(Message::Request(request)) => batch.start(gateway, session, request),
                Ok(Message::Notification(notification)) => take_notification(gateway, session, &notification),
                Ok(Message::Response(response)) => take_answer(gateway, session, response).await,
                Err(error) => batch.ready.push(reply::envelope_error(&error)),
            }
        }
        Ok(batch)
    }

    /// Whether nothing in it wants an answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.ready.is_empty()
    }

    /// Waits for what happens next; `None` once all is answered.
    pub(crate) async fn next(&mut self) -> Option<BatchEvent> {
        if let Some(reply) = self.ready.pop() {
            return Some(BatchEvent::Reply(reply));
        }
        let (exchange, happening) = self.running.next().await?;
        Some(match happening {
            Happening::Message(message) => {
                self.running.push(follow(exchange));
                BatchEvent::Message(message)
            }
            Happening::Outcome(outcome) => BatchEvent::Reply(reply::message(&exchange.id, &outcome)),
        })
    }

    fn start(&mut self, gateway: &Arc<Gateway>, session: &Arc<Session>, request: Request) {
        let id = request.id.clone();
        match admit(request) {
            Ok(incoming) => {
                let caller = Caller::legacy(session.clone());
                self.running.push(follow(Exchange::begin(gateway.clone(), caller, id, incoming)));
            }
            Err(error) => self.ready.push(reply::error_message(Some(&id), &error)),
        }
    }
}

fn follow(mut exchange: Exchange) -> Running {
    Box::pin(async move {
        let happening = exchange.next().await;
        (exchange, happening)
    })
}

/// The request, if it may be a member of a batch.
fn admit(request: Request) -> Result<Incoming, RpcError> {
    let incoming = Incoming::read(request)?;
    if incoming.method == "initialize" {
        return Err(RpcError::new(INVALID_REQUEST, "`initialize` must not be in a batch"));
    }
    match &incoming.meta.protocol_version {
        Some(version) => {
            Err(RpcError::new(INVALID_REQUEST, format!("a request of revision `{version}` must not be in a batch")))
        }
        None => Ok(incoming),
    }
}
