//! Streams that outlive their connections. A legacy client whose connection breaks may come back with the id of the last
//! event it saw, and gets what came after it; until then what it asked for goes on.
//!
//! Only streams are kept here: a session without any costs nothing.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    sse,
    stream_log::{EventId, Step, StreamKind, StreamLog, StreamName},
};

/// How long a stream waits for its client, and how long it is kept once it is finished.
pub(crate) const GRACE: Duration = Duration::from_secs(30);
/// Most bytes that are kept for one session.
const MAX_SESSION_BYTES: usize = 16 << 20;
/// Most bytes that are kept for all sessions.
const MAX_BYTES: usize = 64 << 20;
/// Most finished streams that are kept of one session.
const MAX_SESSION_FINISHED: usize = 64;
/// Most finished streams that are kept of all sessions.
const MAX_FINISHED: usize = 4096;
/// Events that may wait for a connection that does not keep up.
const MAX_UNSENT: u64 = 16;

/// All streams that can be resumed.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    table: Mutex<Table>,
    /// Bytes that are kept.
    bytes: Arc<AtomicUsize>,
    has_finished: Notify,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<Arc<str>, OfSession>,
    /// Oldest first; some may be forgotten already.
    finished: VecDeque<Finished>,
}

#[derive(Debug, Default)]
struct OfSession {
    /// Oldest first.
    streams: VecDeque<Arc<Stream>>,
    bytes: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Finished {
    at: Instant,
    session: Arc<str>,
    name: StreamName,
}

/// One stream and its log.
#[derive(Debug)]
pub(crate) struct Stream {
    name: StreamName,
    session: Arc<str>,
    log: Mutex<StreamLog>,
    changed: Notify,
    /// Bytes that are kept for the session and for all sessions, those of this stream included.
    counts: [Arc<AtomicUsize>; 2],
}

/// One connection that reads a stream.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: Arc<Stream>,
    connection: u64,
}

impl Streams {
    /// Begins a stream.
    ///
    /// - `is_primed`: whether it begins with an event that carries nothing but an id to come back with
    pub(crate) fn open(&self, session: &Arc<str>, kind: StreamKind, is_primed: bool) -> Arc<Stream> {
        let name = StreamName { kind, number: rand::random() };
        let stream = self.lock().add(session, name, StreamLog::default(), &self.bytes);
        if is_primed {
            self.append(&stream, sse::priming_event);
        }
        stream
    }

    /// A stream that another process opened, from after the event `last` on; `None` when it is open already.
    pub(crate) fn reopen(&self, session: &Arc<str>, last: EventId) -> Option<Arc<Stream>> {
        let mut table = self.lock();
        let is_open = table.sessions.get(session).is_some_and(|of_session| of_session.has(last.stream));
        (!is_open).then(|| table.add(session, last.stream, StreamLog::after(last.seq), &self.bytes))
    }

    /// The stream `name` of the session, if it is still kept.
    pub(crate) fn find(&self, session: &str, name: StreamName) -> Option<Arc<Stream>> {
        let table = self.lock();
        table.sessions.get(session)?.streams.iter().find(|stream| stream.name == name).cloned()
    }

    /// Appends a message to the stream.
    pub(crate) fn push(&self, stream: &Stream, message: &[u8]) {
        self.append(stream, |id| sse::event_with_id(id, message));
    }

    /// The stream is complete: it is kept for a while, and then forgotten.
    pub(crate) fn finish(&self, stream: &Stream) {
        stream.lock().finish();
        stream.changed.notify_waiters();
        let mut table = self.lock();
        if !table.has(stream) {
            return;
        }
        table.finished.push_back(Finished { at: Instant::now(), session: stream.session.clone(), name: stream.name });
        if let Some(surplus) = table.sessions.get(&stream.session).and_then(OfSession::surplus) {
            table.remove(&stream.session, surplus);
        }
        while table.finished.len() > MAX_FINISHED {
            table.remove_oldest_finished();
        }
        drop(table);
        self.has_finished.notify_one();
    }

    /// Forgets the stream at once: nobody comes back for it.
    pub(crate) fn forget(&self, stream: &Stream) {
        self.lock().remove(&stream.session, stream.name);
    }

    /// Forgets all streams of a session that has ended.
    pub(crate) fn forget_session(&self, session: &str) {
        self.lock().sessions.remove(session);
    }

    /// Forgets finished streams once their time is over; for ever.
    pub(crate) async fn sweep(&self) {
        loop {
            let oldest = self.lock().finished.front().map(|finished| finished.at);
            match oldest {
                None => self.has_finished.notified().await,
                Some(at) => sleep_until(at + GRACE).await,
            }
            let mut table = self.lock();
            while table.finished.front().is_some_and(|finished| finished.at.elapsed() >= GRACE) {
                table.remove_oldest_finished();
            }
        }
    }

    fn append(&self, stream: &Stream, event: impl FnOnce(EventId) -> Bytes) {
        stream.change(|log| log.push(event(EventId { stream: stream.name, seq: log.next_seq() })));
        stream.changed.notify_waiters();
        if stream.counts[0].load(Ordering::Relaxed) > MAX_SESSION_BYTES {
            self.make_room_in_session(stream);
        }
        if self.bytes.load(Ordering::Relaxed) > MAX_BYTES {
            self.make_room(stream);
        }
    }

    /// The oldest streams of the session make room for this one.
    fn make_room_in_session(&self, newest: &Stream) {
        let mut table = self.lock();
        let Some(of_session) = table.sessions.get(&newest.session) else { return };
        let older: Vec<_> = of_session.streams.iter().filter(|stream| stream.name != newest.name).cloned().collect();
        for stream in older {
            if newest.counts[0].load(Ordering::Relaxed) <= MAX_SESSION_BYTES {
                return;
            }
            stream.change(StreamLog::shed);
            if stream.lock().is_finished() {
                table.remove(&stream.session, stream.name);
            }
        }
    }

    /// The streams that finished first make room, and if that is not enough, this one does.
    fn make_room(&self, stream: &Stream) {
        let mut table = self.lock();
        while self.bytes.load(Ordering::Relaxed) > MAX_BYTES && !table.finished.is_empty() {
            table.remove_oldest_finished();
        }
        drop(table);
        if self.bytes.load(Ordering::Relaxed) > MAX_BYTES {
            stream.change(StreamLog::shed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panic while locked")
    }
}

impl Table {
    fn has(&self, stream: &Stream) -> bool {
        self.sessions.get(&stream.session).is_some_and(|of_session| of_session.has(stream.name))
    }

    fn add(
        &mut self,
        session: &Arc<str>,
        name: StreamName,
        log: StreamLog,
        all_bytes: &Arc<AtomicUsize>,
    ) -> Arc<Stream> {
        let of_session = self.sessions.entry(session.clone()).or_default();
        let stream = Arc::new(Stream {
            name,
            session: session.clone(),
            log: Mutex::new(log),
            changed: Notify::new(),
            counts: [of_session.bytes.clone(), all_bytes.clone()],
        });
        of_session.streams.push_back(stream.clone());
        stream
    }

    fn remove_oldest_finished(&mut self) {
        if let Some(oldest) = self.finished.pop_front() {
            self.remove(&oldest.session, oldest.name);
        }
    }

    /// Forgets a stream; a connection that still reads it comes to its end.
    fn remove(&mut self, session: &Arc<str>, name: StreamName) {
        let Some(of_session) = self.sessions.get_mut(session) else { return };
        of_session.streams.retain(|stream| stream.name != name);
        if of_session.streams.is_empty() {
            self.sessions.remove(session);
        }
    }
}

impl Stream {
    /// By which the host knows it.
    pub(crate) fn number(&self) -> u64 {
        self.name.number
    }

    /// Begins to read after the event `after`, or from the start. Who read before reads no more. `None` when there is no
    /// such event.
    pub(crate) fn read(self: &Arc<Self>, after: Option<u64>) -> Option<Reader> {
        let connection = self.lock().connect(after)?;
        self.changed.notify_waiters();
        Some(Reader { stream: self.clone(), connection })
    }

    /// Waits while the connection does not keep up; after `patience` it is given up.
    pub(crate) async fn keep_pace(&self, patience: Duration) {
        if self.lock().unsent() < MAX_UNSENT {
            return;
        }
        if timeout(patience, self.until(|log| log.unsent() < MAX_UNSENT)).await.is_err() {
            self.lock().disconnect_reader();
            self.changed.notify_waiters();
        }
    }

    /// Returns once the stream has had no connection for [`GRACE`].
    pub(crate) async fn abandoned(&self) {
        loop {
            self.until(|log| !log.is_connected()).await;
            let seen = self.lock().connections();
            if timeout(GRACE, self.until(|log| log.connections() > seen)).await.is_err() {
                return;
            }
        }
    }

    /// Returns once no connection reads.
    pub(crate) async fn disconnected(&self) {
        self.until(|log| !log.is_connected()).await;
    }

    async fn until(&self, holds: impl Fn(&StreamLog) -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if holds(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Changes the log and the counts of bytes with it.
    fn change(&self, change: impl FnOnce(&mut StreamLog)) {
        let mut log = self.lock();
        let before = log.bytes();
        change(&mut log);
        let after = log.bytes();
        for count in &self.counts {
            if after >= before {
                count.fetch_add(after - before, Ordering::Relaxed);
            } else {
                count.fetch_sub(before - after, Ordering::Relaxed);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, StreamLog> {
        self.log.lock().expect("no panic while locked")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Nobody else holds the log any more.
        let bytes = self.log.get_mut().map_or(0, |log| log.bytes());
        self.counts.iter().for_each(|count| _ = count.fetch_sub(bytes, Ordering::Relaxed));
    }
}

impl OfSession {
    fn has(&self, name: StreamName) -> bool {
        self.streams.iter().any(|stream| stream.name == name)
    }

    /// The oldest finished stream, if there are more than are kept.
    fn surplus(&self) -> Option<StreamName> {
        let mut finished = self.streams.iter().filter(|stream| stream.lock().is_finished());
        let oldest = finished.next()?.name;
        (finished.count() >= MAX_SESSION_FINISHED).then_some(oldest)
    }
}

impl Reader {
    /// Whether there is something to send at once.
    pub(crate) fn has_news(&self) -> bool {
        self.stream.lock().unsent() > 0
    }

    /// The next event as it goes over the wire; `None` at the end of the stream, or when another connection took over.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut changed = pin!(self.stream.changed.notified());
            changed.as_mut().enable();
            let step = self.stream.lock().step(self.connection);
            match step {
                Step::Send(event) => {
                    self.stream.changed.notify_waiters();
                    return Some(event);
                }
                Step::Wait => changed.await,
                Step::End => return None,
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stream.lock().disconnect(self.connection);
        self.stream.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn session(name: &str) -> Arc<str> {
        name.into()
    }

    fn rest(reader: &mut Reader) -> String {
        let mut seen = String::new();
        while let Some(Some(event)) = reader.next().now_or_never() {
            let event = String::from_utf8(event.to_vec()).unwrap();
            seen.push_str(event.lines().filter_map(|line| line.strip_prefix("data: ")).collect::<String>().as_str());
        }
        seen
    }

    fn last_id(event: &Bytes) -> EventId {
        let event = std::str::from_utf8(event).unwrap();
        EventId::parse(event.lines().find_map(|line| line.strip_prefix("id: ")).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_stream_is_found_by_its_session_only_and_read_from_where_it_broke() {
        let streams = Streams::default();
        let stream = streams.open(&session("a"), StreamKind::Request, true);
        let mut reader = stream.read(None).unwrap();
        let priming = last_id(&reader.next().await.unwrap());
        drop(reader);
        streams.push(&stream, b"1");
        streams.push(&stream, b"2");
        streams.finish(&stream);
        assert!(streams.find("b", priming.stream).is_none());
        let found = streams.find("a", priming.stream).unwrap();
        let mut reader = found.read(Some(priming.seq)).unwrap();
        assert_eq!(rest(&mut reader), "12");
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test]
    async fn who_comes_later_takes_over() {
        let streams = Streams::default();
        let stream = streams.open(&session("a"), StreamKind::Session, false);
        let mut first = stream.read(None).unwrap();
        streams.push(&stream, b"1");
        assert_eq!(rest(&mut first), "1");
        let mut second = stream.read(Some(0)).unwrap();
        assert_eq!(first.next().await, None);
        streams.push(&stream, b"2");
        drop(first);
        assert_eq!(rest(&mut second), "2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_a_connection_is_abandoned_after_its_grace() {
        let streams = Streams::default();
        let stream = streams.open(&session("a"), StreamKind::Request, true);
        let reader = stream.read(None).unwrap();
        let begun = Instant::now();
        let mut abandoned = pin!(stream.abandoned());
        assert!(timeout(GRACE * 2, &mut abandoned).await.is_err(), "somebody reads");
        drop(reader);
        assert!(timeout(GRACE / 2, &mut abandoned).await.is_err());
        drop(stream.read(None).unwrap());
        assert!(timeout(GRACE * 3 / 4, &mut abandoned).await.is_err(), "the grace begins anew");
        abandoned.await;
        assert_eq!(begun.elapsed(), GRACE * 7 / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn finished_streams_are_forgotten_after_the_grace() {
        let streams = Arc::new(Streams::default());
        let stream = streams.open(&session("a"), StreamKind::Request, true);
        let name = stream.name;
        streams.push(&stream, b"1");
        streams.finish(&stream);
        drop(stream);
        assert!(timeout(GRACE * 9 / 10, streams.sweep()).await.is_err());
        assert!(streams.find("a", name).is_some());
        assert!(timeout(GRACE / 5, streams.sweep()).await.is_err());
        assert!(streams.find("a", name).is_none());
        assert_eq!(streams.bytes.load(Ordering::Relaxed), 0);
        assert!(streams.lock().sessions.is_empty());
    }

    #[tokio::test]
    async fn a_session_that_ends_leaves_nothing() {
        let streams = Streams::default();
        let stream = streams.open(&session("a"), StreamKind::Request, true);
        streams.forget_session("a");
        assert!(streams.find("a", stream.name).is_none());
        streams.push(&stream, b"1");
        streams.finish(&stream);
        drop(stream);
        assert_eq!(streams.bytes.load(Ordering::Relaxed), 0);
        assert!(streams.lock().finished.is_empty());
    }

    #[tokio::test]
    async fn the_oldest_streams_of_a_session_make_room() {
        let streams = Streams::default();
        let big = vec![b'x'; 3 << 20];
        let opened: Vec<_> = (0..8)
            .map(|_| {
                let stream = streams.open(&session("a"), StreamKind::Request, false);
                streams.push(&stream, &big);
                streams.finish(&stream);
                stream.name
            })
            .collect();
        let other = streams.open(&session("b"), StreamKind::Request, false);
        streams.push(&other, &big);
        let kept: Vec<_> = opened.iter().map(|name| streams.find("a", *name).is_some()).collect();
        assert_eq!(kept, [false, false, false, true, true, true, true, true]);
        assert!(streams.find("b", other.name).is_some());
        assert!(streams.bytes.load(Ordering::Relaxed) <= MAX_SESSION_BYTES + (4 << 20));
    }

    #[tokio::test]
    async fn a_session_keeps_so_many_finished_streams() {
        let streams = Streams::default();
        let opened: Vec<_> = (0..MAX_SESSION_FINISHED + 3)
            .map(|_| {
                let stream = streams.open(&session("a"), StreamKind::Request, true);
                streams.finish(&stream);
                stream.name
            })
            .collect();
        let kept = opened.iter().filter(|name| streams.find("a", **name).is_some()).count();
        assert_eq!(kept, MAX_SESSION_FINISHED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_keep_up_is_given_up() {
        let streams = Streams::default();
        let stream = streams.open(&session("a"), StreamKind::Request, false);
        let mut reader = stream.read(None).unwrap();
        for _ in 0..MAX_UNSENT {
            stream.keep_pace(PATIENCE).now_or_never().expect("the connection keeps up so far");
            streams.push(&stream, b"1");
        }
        stream.keep_pace(PATIENCE).await;
        assert_eq!(reader.next().await, None);
        stream.disconnected().await;
    }
}
