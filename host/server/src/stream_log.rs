//! What was sent on one stream of events, kept so that a client whose connection broke can go on where it was. Only the
//! state: `resume` adds the clock, the waiting, and the table of all streams.

use std::{collections::VecDeque, fmt};

use bytes::Bytes;

/// Most events of one stream that are kept.
const MAX_EVENTS: usize = 256;
/// Most bytes of one stream that are kept; the newest event is kept whatever its size.
const MAX_BYTES: usize = 4 << 20;

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StreamKind {
    /// What belongs to one request, or to one batch of them.
    Request,
    /// What belongs to no request of the session.
    Session,
}

/// Name of a stream: drawn at random, so that no other process or session has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamName {
    pub kind: StreamKind,
    pub number: u64,
}

/// Name of an event on a stream, as it goes into `id:` and comes back in `Last-Event-ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    pub stream: StreamName,
    pub seq: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.stream.kind {
            StreamKind::Request => 'r',
            StreamKind::Session => 's',
        };
        write!(f, "{kind}{:016x}-{}", self.stream.number, self.seq)
    }
}

impl EventId {
    /// The id that `text` writes; `None` when we never wrote it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let kind = match text.as_bytes().first()? {
            b'r' => StreamKind::Request,
            b's' => StreamKind::Session,
            _ => return None,
        };
        let (number, seq) = text[1..].split_once('-')?;
        let number = u64::from_str_radix(number, 16).ok()?;
        let id = Self { stream: StreamName { kind, number }, seq: seq.parse().ok()? };
        (id.to_string() == text).then_some(id)
    }
}

/// The events of one stream and who reads them. At most one connection does: a new one takes over from the one before.
#[derive(Debug, Default)]
pub(crate) struct StreamLog {
    /// Number of the oldest event that is kept.
    first: u64,
    events: VecDeque<Bytes>,
    bytes: usize,
    is_finished: bool,
    reader: Option<Cursor>,
    /// How many connections there have been.
    connections: u64,
}

/// How far a connection has read.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    connection: u64,
    next: u64,
}

/// What a connection does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Bytes),
    Wait,
    /// The stream is finished, or another connection has taken over.
    End,
}

impl StreamLog {
    /// One that goes on after the event `last`, and has none yet.
    pub(crate) fn after(last: u64) -> Self {
        Self { first: last.saturating_add(1), ..Self::default() }
    }

    /// Number of the event that is pushed next.
    pub(crate) fn next_seq(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// Appends an event. Beyond the bounds the oldest are forgotten, except those that a connection has yet to send.
    pub(crate) fn push(&mut self, event: Bytes) {
        self.bytes += event.len();
        self.events.push_back(event);
        while self.events.len() > 1
            && (self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES)
            && self.reader.is_none_or(|reader| reader.next > self.first)
        {
            self.forget_oldest();
        }
    }

    /// Nothing more will come.
    pub(crate) fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Begins a connection that wants what came after the event `after`, or everything. `None` when there was no such
    /// event. What was forgotten in between is missing.
    pub(crate) fn connect(&mut self, after: Option<u64>) -> Option<u64> {
        let wanted = after.map_or(0, |seq| seq.saturating_add(1));
        if wanted > self.next_seq() {
            return None;
        }
        self.connections += 1;
        self.reader = Some(Cursor { connection: self.connections, next: wanted.max(self.first) });
        Some(self.connections)
    }

    /// What `connection` does next.
    pub(crate) fn step(&mut self, connection: u64) -> Step {
        let Some(reader) = self.reader.as_mut().filter(|reader| reader.connection == connection) else {
            return Step::End;
        };
        let at = usize::try_from(reader.next - self.first).unwrap_or(usize::MAX);
        match self.events.get(at) {
            Some(event) => {
                reader.next += 1;
                Step::Send(event.clone())
            }
            None if self.is_finished => Step::End,
            None => Step::Wait,
        }
    }

    /// Ends `connection`, unless another has taken over already.
    pub(crate) fn disconnect(&mut self, connection: u64) {
        self.reader.take_if(|reader| reader.connection == connection);
    }

    /// Ends whatever connection there is.
    pub(crate) fn disconnect_reader(&mut self) {
        self.reader = None;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.reader.is_some()
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Events that the connection has yet to send; none without a connection.
    pub(crate) fn unsent(&self) -> u64 {
        self.reader.map_or(0, |reader| self.next_seq() - reader.next)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets all that no connection has yet to send.
    pub(crate) fn shed(&mut self) {
        let keep_from = self.reader.map_or(self.next_seq(), |reader| reader.next);
        while self.first < keep_from && !self.events.is_empty() {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.len();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens to a stream and to the client that reads it.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Push,
        Read,
        /// The connection breaks, and the client may or may not have got what was sent last.
        Cut {
            lost: u64,
        },
        ComeBack,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            3 => Just(Act::Push),
            3 => Just(Act::Read),
            1 => (0..3_u64).prop_map(|lost| Act::Cut { lost }),
            1 => Just(Act::ComeBack),
        ];
        // Fewer than are kept, so that nothing is forgotten.
        prop::collection::vec(act, 0..MAX_EVENTS)
    }

    proptest! {
        #[test]
        fn whatever_breaks_each_event_arrives_once_and_in_order(acts in acts()) {
            let mut log = StreamLog::default();
            let mut connection = log.connect(None);
            let mut pushed = 0_u64;
            let mut seen = Vec::new();
            let end = [Act::ComeBack].into_iter().chain(std::iter::repeat_n(Act::Read, MAX_EVENTS));
            for act in acts.into_iter().chain(end) {
                match act {
                    Act::Push => {
                        log.push(event(&pushed.to_string()));
                        pushed += 1;
                    }
                    Act::Read => {
                        if let Some(Step::Send(event)) = connection.map(|connection| log.step(connection)) {
                            seen.push(std::str::from_utf8(&event).unwrap().parse::<u64>().unwrap());
                        }
                    }
                    Act::Cut { lost } => {
                        connection.take().into_iter().for_each(|connection| log.disconnect(connection));
                        seen.truncate(seen.len().saturating_sub(usize::try_from(lost).unwrap()));
                    }
                    Act::ComeBack => {
                        let earlier = connection;
                        connection = log.connect(seen.last().copied());
                        prop_assert!(connection.is_some());
                        prop_assert!(earlier.is_none_or(|earlier| log.step(earlier) == Step::End));
                    }
                }
            }
            prop_assert_eq!(seen, (0..pushed).collect::<Vec<_>>());
        }
    }

    fn event(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn read(log: &mut StreamLog, connection: u64) -> String {
        let mut seen = String::new();
        loop {
            match log.step(connection) {
                Step::Send(event) => seen.push_str(std::str::from_utf8(&event).unwrap()),
                Step::Wait => return seen + "…",
                Step::End => return seen + ".",
            }
        }
    }

    #[test]
    fn ids_are_read_back_and_nothing_else_is() {
        for kind in [StreamKind::Request, StreamKind::Session] {
            let id = EventId { stream: StreamName { kind, number: 0xab }, seq: 7 };
            assert_eq!(EventId::parse(&id.to_string()), Some(id));
        }
        for text in ["", "r", "x00000000000000ab-7", "rab-7", "r00000000000000ab-", "r00000000000000ab-+7", "é"] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_connection_gets_what_came_after_the_event_it_names() {
        let check = |after: Option<u64>, expected: Option<&str>| {
            let mut log = StreamLog::default();
            ["a", "b", "c"].into_iter().for_each(|text| log.push(event(text)));
            log.finish();
            let got = log.connect(after).map(|connection| read(&mut log, connection));
            assert_eq!(got.as_deref(), expected, "{after:?}");
        };
        check(None, Some("abc."));
        check(Some(0), Some("bc."));
        check(Some(2), Some("."));
        check(Some(3), None);
        check(Some(u64::MAX), None);
    }

    #[test]
    fn events_go_to_one_connection_only() {
        let mut log = StreamLog::default();
        log.push(event("a"));
        let first = log.connect(None).unwrap();
        assert_eq!(read(&mut log, first), "a…");
        let second = log.connect(Some(0)).unwrap();
        log.push(event("b"));
        assert_eq!(read(&mut log, first), ".");
        log.disconnect(first);
        assert!(log.is_connected(), "the earlier connection has no say any more");
        assert_eq!(read(&mut log, second), "b…");
        log.disconnect(second);
        assert!(!log.is_connected());
    }

    #[test]
    fn beyond_the_bounds_the_oldest_events_are_forgotten() {
        let mut log = StreamLog::default();
        (0..=MAX_EVENTS).for_each(|_| log.push(event("x")));
        assert_eq!((log.first, log.events.len(), log.next_seq()), (1, MAX_EVENTS, 257));
        log.push(vec![b'y'; MAX_BYTES + 1].into());
        assert_eq!((log.events.len(), log.bytes()), (1, MAX_BYTES + 1));
        let connection = log.connect(Some(3)).unwrap();
        assert!(matches!(log.step(connection), Step::Send(event) if event.len() > MAX_BYTES));
    }

    #[test]
    fn what_a_connection_has_yet_to_send_is_kept() {
        let mut log = StreamLog::default();
        let connection = log.connect(None).unwrap();
        (0..=MAX_EVENTS).for_each(|_| log.push(event("x")));
        assert_eq!(log.unsent(), 257);
        log.shed();
        assert_eq!(read(&mut log, connection).len(), 257 + "…".len());
        log.shed();
        assert_eq!((log.bytes(), log.next_seq()), (0, 257));
        log.push(event("y"));
        assert_eq!(read(&mut log, connection), "y…");
    }
}
