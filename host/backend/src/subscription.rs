//! What a modern server is asked to tell between calls: `subscriptions/listen`, one stream for all lists and watched resources.
//!
//! When other resources are to be watched, a new stream takes the place of the old one, which ends only when the server has
//! confirmed the new one: nothing that happens in between is missed. What happens while no stream is open counts as changed.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;
use vmcp_core::{call::Reply, json::RawJson};
use vmcp_mcp::{envelope::Message, object::Object};

use crate::{
    audience::CANCELLED,
    compose,
    duplex::{ACKNOWLEDGED, Duplex, change_told_by},
    event_stream::EventStream,
    exchange::{Place, parse},
    listen::{Ears, LISTS, Pace},
    message::{BackendChange, empty_object},
    streamable::Endpoint,
};

const LISTEN: &str = "subscriptions/listen";
/// As long as the subscription lasts.
const ENDLESS: Duration = Duration::from_hours(365 * 24);
/// Several resources that come one after the other are one change.
const SETTLE: Duration = Duration::from_millis(50);
/// Longest wait for the confirmation of a new stream before the old one ends nevertheless.
const CONFIRMATION: Duration = Duration::from_secs(5);

/// The resources to watch, sorted and each once.
pub(crate) type WatchedUris = watch::Receiver<Arc<[String]>>;

/// The way to the server.
#[derive(Clone)]
pub(crate) enum Line {
    /// Notifications arrive among all other messages.
    Duplex(Arc<Duplex>),
    /// Notifications arrive on the stream that answers.
    Http(Arc<Endpoint>),
}

/// How a stream came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The server refused it.
    Refused,
    /// It can be opened again.
    Closed,
}

/// Keeps one stream open, as long as there is anything to be told.
pub(crate) async fn keep(line: Line, ears: Ears, mut watched: WatchedUris) {
    let mut pace = Pace::new();
    // What is heard now, and whether nothing was missed before.
    let mut current: Option<Stream> = None;
    let mut has_gap = false;
    loop {
        let uris = watched.borrow_and_update().clone();
        let Some(filter) = filter(&ears, &uris) else {
            (current, has_gap) = (None, false);
            if watched.changed().await.is_err() {
                return;
            }
            sleep(SETTLE).await;
            continue;
        };
        let mut next = Stream::open(&line, &ears, filter);
        if next.stands().await && has_gap {
            assume_changes(&ears, &uris);
        }
        drop(current.replace(next));
        let ended = async {
            match &mut current {
                Some(stream) => stream.ended().await,
                None => std::future::pending().await,
            }
        };
        let mut more = pin!(async {
            if watched.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            sleep(SETTLE).await;
        });
        tokio::select! {
            ended = ended => {
                has_gap = true;
                match ended {
                    Ended::Refused => more.await,
                    Ended::Closed => {
                        let mut place = Place::default();
                        tokio::select! {
                            () = pace.pause(&mut place) => {}
                            () = &mut more => {}
                        }
                    }
                }
            }
            () = &mut more => has_gap = false,
        }
    }
}

/// What the server is asked to tell; `None` when there is nothing that it could.
fn filter(ears: &Ears, uris: &[String]) -> Option<Object> {
    let mut filter = Object::default();
    for (capability, name, _) in LISTS {
        if ears.info.tells_changes_of(capability) {
            filter.set(name, RawJson::of(&true));
        }
    }
    if !uris.is_empty() && ears.info.tells_of_resources() {
        filter.set("resourceSubscriptions", RawJson::of(&uris));
    }
    (!filter.is_empty()).then(|| Object::from([("notifications", filter.to_json())]))
}

/// Something may have happened while nobody listened.
fn assume_changes(ears: &Ears, uris: &[String]) {
    ears.assume_changes();
    if ears.info.tells_of_resources() {
        for uri in uris {
            drop(ears.changes.send(BackendChange::ResourceUpdated { uri: uri.clone() }));
        }
    }
}

/// One stream, on a task of its own so that two can overlap. Dropped, it ends.
struct Stream {
    confirmed: oneshot::Receiver<()>,
    ended: oneshot::Receiver<Ended>,
    _stop: DropGuard,
}

impl Stream {
    fn open(line: &Line, ears: &Ears, filter: Object) -> Self {
        let (confirm, confirmed) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let stop = CancellationToken::new();
        let (line, ears, stopped) = (line.clone(), ears.clone(), stop.clone());
        ears.tasks.clone().spawn(async move {
            let listening = async {
                match line {
                    Line::Duplex(duplex) => listen_on(&duplex, filter, confirm).await,
                    Line::Http(endpoint) => listen_to(&endpoint, &ears, filter, confirm).await,
                }
            };
            if let Some(how) = stopped.run_until_cancelled(listening).await {
                let _ = end.send(how);
            }
        });
        Self { confirmed, ended, _stop: stop.drop_guard() }
    }

    /// Waits until the server has confirmed the stream, which some never do; false when it came to its end before.
    async fn stands(&mut self) -> bool {
        !matches!(timeout(CONFIRMATION, &mut self.confirmed).await, Ok(Err(_)))
    }

    async fn ended(&mut self) -> Ended {
        (&mut self.ended).await.unwrap_or(Ended::Closed)
    }
}

/// A subscription on a connection; the connection itself hears the notifications.
async fn listen_on(duplex: &Arc<Duplex>, filter: Object, confirm: oneshot::Sender<()>) -> Ended {
    match duplex.subscribe(LISTEN, filter, confirm, ENDLESS).await {
        Ok(Reply::Result(_)) => Ended::Closed,
        // A connection that is lost takes all that listens with it.
        Ok(Reply::Error(_)) | Err(_) => Ended::Refused,
    }
}

/// A subscription over HTTP, until its stream ends.
async fn listen_to(endpoint: &Endpoint, ears: &Ears, filter: Object, confirm: oneshot::Sender<()>) -> Ended {
    let headers = endpoint.modern_message_headers(LISTEN, None);
    let (id, host_info) = (endpoint.next_id(), &endpoint.host_info);
    let body = compose::own_modern_request(id, LISTEN, filter, &empty_object(), host_info);
    let Ok(answer) = endpoint.client.post(headers, body).await else {
        ears.suspicion.notify_one();
        return Ended::Closed;
    };
    match answer.status() {
        status if status.is_success() && answer.is_event_stream() => {
            hear(answer.events(), ears, confirm).await;
            Ended::Closed
        }
        status if status.is_server_error() => Ended::Closed,
        _ => Ended::Refused,
    }
}

async fn hear(mut events: EventStream, ears: &Ears, confirm: oneshot::Sender<()>) {
    let mut confirm = Some(confirm);
    while let Some(Ok(event)) = events.next().await {
        let Some(text) = event.into_message() else { continue };
        for message in parse(text).await {
            match message {
                Ok(Message::Notification(notification)) if notification.method == ACKNOWLEDGED => {
                    if let Some(confirm) = confirm.take() {
                        let _ = confirm.send(());
                    }
                }
                Ok(Message::Notification(notification)) if notification.method == CANCELLED => return,
                Ok(Message::Notification(notification)) => {
                    if let Some(change) = change_told_by(&notification) {
                        drop(ears.changes.send(change));
                    }
                }
                Ok(Message::Response(_)) => return,
                Ok(Message::Request(_)) => {}
                Err(error) => debug!(%error, "dropped an event"),
            }
        }
    }
}
