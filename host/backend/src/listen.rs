//! Hears from a server between calls that its lists have changed: the GET stream of a legacy HTTP session, and
//! `subscriptions/listen` of a modern server. Streams end now and then; what was missed meanwhile counts as changed.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::{
    sync::{Notify, broadcast},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;
use vmcp_core::{
    call::{CallError, Reply},
    capability::Kind,
    json::RawJson,
};
use vmcp_mcp::{
    envelope::{self, Message, Request},
    object::Object,
};

use crate::{
    compose,
    duplex::{Duplex, change_told_by},
    event_stream::EventStream,
    exchange::{Place, parse},
    handshake::BackendInfo,
    message::{BackendChange, empty_object},
    retry::Delays,
    session::Session,
    streamable::{Endpoint, LegacySession},
};

const LISTEN: &str = "subscriptions/listen";
/// As long as the subscription lasts.
const ENDLESS: Duration = Duration::from_hours(365 * 24);
/// A stream that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// After so many short streams in a row the longest wait applies at once.
const SHORT_STREAMS: usize = 6;
const RENEWAL: Duration = Duration::from_secs(30);

/// The lists that a server can tell changes of: its capability, the name in a subscription, and the kind.
const LISTS: [(&str, &str, Kind); 3] = [
    ("tools", "toolsListChanged", Kind::Tool),
    ("prompts", "promptsListChanged", Kind::Prompt),
    ("resources", "resourcesListChanged", Kind::Resource),
];

/// Begins to listen on the host's own session, until `stop` fires.
///
/// - `suspicion`: is notified when the server cannot be reached
pub(crate) fn start(
    session: &Session,
    info: &Arc<BackendInfo>,
    changes: &broadcast::Sender<BackendChange>,
    suspicion: &Arc<Notify>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let told = LISTS.iter().any(|(capability, ..)| info.tells_changes_of(capability));
    let ears = Ears { info: info.clone(), changes: changes.clone(), suspicion: suspicion.clone() };
    let stop = stop.clone();
    match session.clone() {
        // Whatever such a server has to say arrives on the connection anyway.
        Session::Duplex { era: vmcp_mcp::era::Era::Legacy, .. } => {}
        Session::Duplex { duplex, .. } if told => {
            tasks.spawn(async move { stop.run_until_cancelled(ears.subscribe_on(duplex)).await });
        }
        Session::ModernHttp(endpoint) if told => {
            tasks.spawn(async move { stop.run_until_cancelled(ears.subscribe(endpoint)).await });
        }
        Session::LegacyHttp(session) => {
            tasks.spawn(async move { stop.run_until_cancelled(ears.listen(session)).await });
        }
        Session::Duplex { .. } | Session::ModernHttp(_) => {}
    }
}

struct Ears {
    info: Arc<BackendInfo>,
    changes: broadcast::Sender<BackendChange>,
    suspicion: Arc<Notify>,
}

/// How a stream came to its end.
enum Ended {
    /// The server has none.
    Never,
    /// It can be opened again.
    Closed,
}

impl Ears {
    /// What a modern server is asked to tell.
    fn subscription(&self) -> Object {
        let mut filter = Object::default();
        for (capability, name, _) in LISTS {
            if self.info.tells_changes_of(capability) {
                filter.set(name, RawJson::of(&true));
            }
        }
        Object::from([("notifications", filter.to_json())])
    }

    /// Something may have happened while nobody listened.
    fn assume_changes(&self) {
        for (capability, _, kind) in LISTS {
            if self.info.tells_changes_of(capability) {
                drop(self.changes.send(BackendChange::ListChanged(kind)));
            }
        }
    }

    /// A subscription on a modern stdio connection; the notifications themselves arrive on the connection.
    async fn subscribe_on(&self, duplex: Arc<Duplex>) {
        let mut delays = Delays::new();
        loop {
            match duplex.ask_modern(LISTEN, self.subscription(), ENDLESS).await {
                Ok(Reply::Result(_)) | Err(CallError::Timeout { .. }) => {}
                Ok(Reply::Error(_)) | Err(_) => return,
            }
            sleep(delays.next()).await;
            self.assume_changes();
        }
    }

    /// A subscription to a modern HTTP server.
    async fn subscribe(&self, endpoint: Arc<Endpoint>) {
        let mut pace = Pace::new();
        while let Ended::Closed = self.subscribe_once(&endpoint, pace.is_first()).await {
            pace.pause(&mut Place::default()).await;
        }
    }

    async fn subscribe_once(&self, endpoint: &Endpoint, is_first: bool) -> Ended {
        let headers = endpoint.modern_message_headers(LISTEN, None);
        let (id, host_info) = (endpoint.next_id(), &endpoint.host_info);
        let body = compose::own_modern_request(id, LISTEN, self.subscription(), &empty_object(), host_info);
        let Ok(answer) = endpoint.client.post(headers, body).await else {
            self.suspicion.notify_one();
            return Ended::Closed;
        };
        match answer.status() {
            status if status.is_success() && answer.is_event_stream() => {
                if !is_first {
                    self.assume_changes();
                }
                self.hear(answer.events(), &mut Place::default(), |_| {}).await;
                Ended::Closed
            }
            status if status.is_server_error() => Ended::Closed,
            _ => Ended::Never,
        }
    }

    /// The GET stream of a legacy session.
    async fn listen(&self, session: Arc<LegacySession>) {
        let (mut pace, mut place) = (Pace::new(), Place::default());
        while let Ended::Closed = self.listen_once(&session, pace.is_first(), &mut place).await {
            pace.pause(&mut place).await;
        }
    }

    async fn listen_once(&self, session: &Arc<LegacySession>, is_first: bool, place: &mut Place) -> Ended {
        let client = &session.endpoint.client;
        let established = session.established();
        let mut headers = established.stream_headers(client);
        place.put(&mut headers);
        let Ok(answer) = client.get(headers).await else {
            self.suspicion.notify_one();
            return Ended::Closed;
        };
        match answer.status() {
            status if status.is_success() && answer.is_event_stream() => {
                if !is_first && place.last_event_id.is_none() {
                    self.assume_changes();
                }
                self.hear(answer.events(), place, |request| answer_aside(session, &request)).await;
                Ended::Closed
            }
            StatusCode::NOT_FOUND if established.has_id() => {
                *place = Place::default();
                // Should it fail, the next call finds out.
                drop(session.renew(&established, RENEWAL).await);
                Ended::Closed
            }
            status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => Ended::Closed,
            _ => Ended::Never,
        }
    }

    async fn hear(&self, mut events: EventStream, place: &mut Place, answer: impl Fn(Request) + Send) {
        while let Some(Ok(event)) = events.next().await {
            place.note(&event);
            let Some(text) = event.into_message() else { continue };
            match parse(text).await {
                Ok(Message::Notification(notification)) => {
                    if let Some(change) = change_told_by(&notification) {
                        drop(self.changes.send(change));
                    }
                }
                Ok(Message::Request(request)) => answer(request),
                Ok(Message::Response(_)) => return,
                Err(error) => debug!(%error, "dropped an event"),
            }
        }
    }
}

/// How soon a stream that ended is opened again.
struct Pace {
    delays: Delays,
    began: Instant,
    streams: usize,
    short_streams: usize,
}

impl Pace {
    fn new() -> Self {
        Self { delays: Delays::new(), began: Instant::now(), streams: 0, short_streams: 0 }
    }

    fn is_first(&self) -> bool {
        self.streams == 0
    }

    /// Waits: longer while streams keep breaking, and as long as the server asked for.
    async fn pause(&mut self, place: &mut Place) {
        self.streams += 1;
        if self.began.elapsed() >= GOOD {
            (self.delays, self.short_streams) = (Delays::new(), 0);
        } else {
            self.short_streams += 1;
            if self.short_streams == SHORT_STREAMS && place.last_event_id.is_none() {
                self.delays = Delays::longest();
            }
        }
        sleep(place.retry.take().unwrap_or_default().max(self.delays.next())).await;
        self.began = Instant::now();
    }
}

/// Answers a request that no call caused: nobody can be asked.
fn answer_aside(session: &Arc<LegacySession>, request: &Request) {
    let message = match request.method.as_str() {
        "ping" => envelope::write_response(Some(&request.id), &Reply::Result(empty_object())),
        method => compose::not_offered(&request.id, method),
    };
    let session = session.clone();
    session.endpoint.tasks.clone().spawn(async move { session.post(message).await });
}
