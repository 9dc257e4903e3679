//! The HTTP+SSE transport of 2024-11-05: one long stream of events from the server, and a URL, named by the first of them, to
//! which the client posts.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use tokio::{sync::broadcast, time::timeout};
use url::Url;
use vmcp_core::json::RawJson;

use crate::{
    audience::{Audience, Role},
    budget::EXHAUSTED,
    connect::ConnectError,
    duplex::{Duplex, Outbox},
    event_stream::{EventStream, StreamError},
    handshake::{self, BackendInfo},
    http::{HttpClient, PostError},
    message::BackendChange,
    spec::BackendContext,
};

/// Opens the stream and introduces the host.
///
/// - `role`: for whom the session is
pub(crate) async fn open(
    client: &Arc<HttpClient>,
    context: &BackendContext,
    role: Role,
    changes: broadcast::Sender<BackendChange>,
    patience: Duration,
) -> Result<(Arc<Duplex>, BackendInfo), ConnectError> {
    let (url, events) = match timeout(patience, find_endpoint(client)).await {
        Ok(found) => found?,
        Err(_) => return Err(ConnectError::new("the server's stream of events names no endpoint")),
    };
    let duplex = Duplex::new(
        client.backend().clone(),
        context.host_info.clone(),
        Outbox::Post { client: client.clone(), url },
        Audience::new(role, context.input_timeout),
        changes,
        context.tasks.clone(),
        client.body_limit(),
    );
    context.tasks.spawn(read_until_the_end(events, duplex.clone()));
    match introduce(&duplex, &context.host_info, patience).await {
        Ok(info) => Ok((duplex, info)),
        Err(error) => {
            duplex.close("the handshake failed");
            Err(error)
        }
    }
}

async fn introduce(duplex: &Arc<Duplex>, host_info: &RawJson, patience: Duration) -> Result<BackendInfo, ConnectError> {
    let params = handshake::initialize_params(&duplex.audience().role.capabilities(), host_info);
    let reply = duplex.ask(handshake::INITIALIZE, &params, patience).await?;
    let info = handshake::read_initialize(&reply).map_err(ConnectError::new)?;
    duplex.begin(handshake::INITIALIZED).await?;
    Ok(info)
}

async fn find_endpoint(client: &HttpClient) -> Result<(Url, EventStream), ConnectError> {
    let answer = match client.get(client.stream_headers()).await {
        Ok(answer) => answer,
        Err(PostError::NotSent(why)) => return Err(ConnectError::new(why)),
        Err(error) => return Err(ConnectError::new(error.into_source().to_string())),
    };
    match answer.status() {
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => return Err(ConnectError::refused(status)),
        status if !status.is_success() => return Err(ConnectError::new(format!("GET is answered with HTTP {status}"))),
        _ if !answer.is_event_stream() => return Err(ConnectError::new("GET is not answered with a stream of events")),
        _ => {}
    }
    let mut events = answer.events();
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| ConnectError::new(format!("the stream broke: {}", describe(error))))?;
        if event.kind.as_deref() == Some("endpoint") {
            let target = String::from_utf8_lossy(&event.data);
            return Ok((resolve(client.url(), target.trim())?, events));
        }
    }
    Err(ConnectError::new("the server's stream of events ended before it named an endpoint"))
}

/// Where to post to. Another origin must not see the credentials meant for this one.
fn resolve(base: &Url, target: &str) -> Result<Url, ConnectError> {
    let url =
        base.join(target).map_err(|error| ConnectError::new(format!("it named the endpoint `{target}`: {error}")))?;
    if url.origin() == base.origin() {
        Ok(url)
    } else {
        Err(ConnectError::new(format!("it named an endpoint of another origin, `{target}`")))
    }
}

async fn read_until_the_end(mut events: EventStream, duplex: Arc<Duplex>) {
    let why = loop {
        let event = tokio::select! {
            biased;
            () = duplex.closed().cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(event)) => {
                if let Some(text) = event.into_message() {
                    hear(text, &duplex).await;
                }
            }
            Some(Err(error)) => break describe(error),
            None => break "the server closed its stream of events".to_owned(),
        }
    };
    duplex.close(why);
}

async fn hear(text: Bytes, duplex: &Arc<Duplex>) {
    if !duplex.accept(text).await {
        duplex.complain("an event that is no JSON");
    }
}

fn describe(error: StreamError) -> String {
    match error {
        StreamError::NoRoom => EXHAUSTED.to_owned(),
        StreamError::TooLong => "the server sent a message that is too long".to_owned(),
        StreamError::Broken(source) => format!("the server's stream of events broke: {source}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_stays_within_the_origin() {
        let base: Url = "http://localhost:8080/a/sse".parse().unwrap();
        let check = |target: &str, expected: Option<&str>| {
            assert_eq!(resolve(&base, target).ok().as_ref().map(Url::as_str), expected, "{target}");
        };
        check("/messages?id=1", Some("http://localhost:8080/messages?id=1"));
        check("messages", Some("http://localhost:8080/a/messages"));
        check("http://localhost:8080/x", Some("http://localhost:8080/x"));
        check("http://evil.example/x", None);
        check("//evil.example/x", None);
    }
}
