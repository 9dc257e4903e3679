//! The GET stream of a session with a legacy server over HTTP: what the server has to say apart from calls. Streams end now
//! and then; what was missed meanwhile counts as changed.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::{
    sync::{Notify, broadcast, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;
use vmcp_core::capability::Kind;
use vmcp_mcp::era::Era;

use crate::{
    event_stream::EventStream,
    exchange::{Place, parse, speaks_of_the_session},
    handshake::BackendInfo,
    message::BackendChange,
    retry::Delays,
    session::Session,
    streamable::{Established, LegacySession},
    subscription::{self, Line, WatchedUris},
};

/// A stream that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// After so many short streams in a row the longest wait applies at once.
const SHORT_STREAMS: usize = 6;
const RENEWAL: Duration = Duration::from_secs(30);
/// How long the first call of a client's session waits for the stream: a server drops what it has to say where there is none,
/// but some answer only when they have something to say.
const OPENING: Duration = Duration::from_millis(300);

/// The lists that a server can tell changes of: its capability, the name in a subscription, and the kind.
pub(crate) const LISTS: [(&str, &str, Kind); 3] = [
    ("tools", "toolsListChanged", Kind::Tool),
    ("prompts", "promptsListChanged", Kind::Prompt),
    ("resources", "resourcesListChanged", Kind::Resource),
];

/// What those who listen for the host itself share.
#[derive(Clone)]
pub(crate) struct Ears {
    pub(crate) info: Arc<BackendInfo>,
    pub(crate) changes: broadcast::Sender<BackendChange>,
    /// Is notified when the server cannot be reached.
    pub(crate) suspicion: Arc<Notify>,
    /// Ends everything that listens.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Ears {
    /// Something may have happened while nobody listened.
    pub(crate) fn assume_changes(&self) {
        for (capability, _, kind) in LISTS {
            if self.info.tells_changes_of(capability) {
                drop(self.changes.send(BackendChange::ListChanged(kind)));
            }
        }
    }
}

/// Begins to listen on the host's own session.
///
/// - `watched`: the resources of which a modern server is to tell
pub(crate) fn start(session: &Session, ears: Ears, watched: WatchedUris) {
    let (stop, tasks) = (ears.stop.clone(), ears.tasks.clone());
    let line = match session.clone() {
        // Whatever such a server has to say arrives on the connection anyway.
        Session::Duplex { era: Era::Legacy, .. } => return,
        Session::Duplex { duplex, .. } => Line::Duplex(duplex),
        Session::ModernHttp(endpoint) => Line::Http(endpoint),
        Session::LegacyHttp(session) => {
            let stream = SessionStream { session, ears: Some(ears), opened: None };
            tasks.spawn(async move { stop.run_until_cancelled(stream.listen()).await });
            return;
        }
    };
    tasks.spawn(async move { stop.run_until_cancelled(subscription::keep(line, ears, watched)).await });
}

/// Opens the stream of a client's session, which listens until the session ends. Waits a moment until it is open.
pub(crate) async fn attend(session: &Arc<LegacySession>) {
    let (opened, is_open) = oneshot::channel();
    let stream = SessionStream { session: session.clone(), ears: None, opened: Some(opened) };
    let ended = session.ended.clone();
    session.endpoint.tasks.spawn(async move { ended.run_until_cancelled(stream.listen()).await });
    // Whoever goes away meanwhile has nobody keep the session, so its stream ends too.
    let guard = session.ended.clone().drop_guard();
    drop(timeout(OPENING, is_open).await);
    guard.disarm();
}

/// The stream of one session.
struct SessionStream {
    session: Arc<LegacySession>,
    /// Of the host itself; absent for a client's session.
    ears: Option<Ears>,
    /// Dropped when the stream was opened for the first time, or could not be.
    opened: Option<oneshot::Sender<()>>,
}

/// How a stream came to its end.
enum Ended {
    /// The server has none.
    Never,
    /// It can be opened again.
    Closed,
    /// Another session has taken the place of its own.
    Superseded,
}

impl SessionStream {
    async fn listen(mut self) {
        let (mut pace, mut place) = (Pace::new(), Place::default());
        // A server that forgets a session again and again before it gives a stream has none.
        let mut may_renew = true;
        loop {
            match self.listen_once(pace.is_first(), &mut place, &mut may_renew).await {
                Ended::Never => return,
                Ended::Closed => {
                    let established = self.session.established();
                    tokio::select! {
                        () = pace.pause(&mut place) => {}
                        () = self.session.superseded(&established) => place = Place::default(),
                    }
                }
                Ended::Superseded => place = Place::default(),
            }
        }
    }

    async fn listen_once(&mut self, is_first: bool, place: &mut Place, may_renew: &mut bool) -> Ended {
        let client = &self.session.endpoint.client;
        let established = self.session.established();
        let mut headers = established.stream_headers(client);
        place.put(&mut headers);
        let answer = client.get(headers).await;
        drop(self.opened.take());
        let Ok(answer) = answer else {
            self.suspect();
            return Ended::Closed;
        };
        match answer.status() {
            status if status.is_success() && answer.is_event_stream() => {
                *may_renew = true;
                if let Some(ears) = self.ears.as_ref().filter(|_| !is_first && place.last_event_id.is_none()) {
                    ears.assume_changes();
                }
                tokio::select! {
                    () = self.hear(answer.events(), place) => Ended::Closed,
                    () = self.session.superseded(&established) => Ended::Superseded,
                }
            }
            StatusCode::NOT_FOUND if established.has_id() => self.renew(&established, place, may_renew).await,
            StatusCode::BAD_REQUEST if established.has_id() && speaks_of_the_session(&answer.error_body().await) => {
                self.renew(&established, place, may_renew).await
            }
            status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => Ended::Closed,
            _ => Ended::Never,
        }
    }

    /// The server does not know the session any more.
    async fn renew(&self, established: &Arc<Established>, place: &mut Place, may_renew: &mut bool) -> Ended {
        if !std::mem::replace(may_renew, false) {
            return Ended::Never;
        }
        *place = Place::default();
        // Should it fail, the next call finds out.
        drop(self.session.renew(established, RENEWAL).await);
        Ended::Closed
    }

    async fn hear(&self, mut events: EventStream, place: &mut Place) {
        while let Some(Ok(event)) = events.next().await {
            place.note(&event);
            let Some(text) = event.into_message() else { continue };
            for message in parse(text).await {
                match message {
                    Ok(message) => self.session.accept(message),
                    Err(error) => debug!(%error, "dropped an event"),
                }
            }
        }
    }

    fn suspect(&self) {
        if let Some(ears) = &self.ears {
            ears.suspicion.notify_one();
        }
    }
}

/// How soon a stream that ended is opened again.
pub(crate) struct Pace {
    delays: Delays,
    began: Instant,
    streams: usize,
    short_streams: usize,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { delays: Delays::new(), began: Instant::now(), streams: 0, short_streams: 0 }
    }

    fn is_first(&self) -> bool {
        self.streams == 0
    }

    /// Waits: longer while streams keep breaking, and as long as the server asked for.
    pub(crate) async fn pause(&mut self, place: &mut Place) {
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
