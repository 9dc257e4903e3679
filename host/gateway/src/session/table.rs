//! All sessions that are known by their ids: those in memory, those that an earlier process began, and which have ended.
//!
//! Who presents an id that is not in memory, but whose seal opens, gets the session made again. So that nothing which ended
//! begins anew, ids say which process began the session: one of this process that is not in memory has ended, and for those
//! of others the last [`MAX_ENDED`] that ended here are remembered.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chacha20poly1305::aead::Generate as _;
use indexmap::IndexMap;
use tracing::{debug, warn};
use vmcp_core::{
    id::{Identity, ViewId},
    json::RawJson,
};
use vmcp_mcp::era::Revision;

use super::{
    Listing, Session,
    ticket::{MAX_CAPABILITIES, Owner, SessionNumber, Ticket, unix_now},
};
use crate::seal::{Purpose, Sealer};

/// Sessions that nobody used for so long are ended: the life of a session in the reference system.
pub const IDLE_LIFETIME: Duration = Duration::from_mins(30);
/// No session lives longer, however busy: a week bounds what an id is worth to somebody who found it in a log, and a
/// client that runs on hardly notices one more handshake.
pub const LONGEST_LIFETIME: Duration = Duration::from_hours(7 * 24);
/// Most sessions at a time; beyond, one that is long idle is ended for each that begins.
pub const MAX_SESSIONS: usize = 100_000;
/// Sessions of other processes of which it is remembered that they ended here: 256 KiB.
const MAX_ENDED: usize = 16_384;
/// Sessions compared to find one that may go: enough that the one found is rarely in use.
const EVICTION_SAMPLE: usize = 16;
/// Sessions looked at in a row while the table is locked: some tens of microseconds.
const SWEEP_STRETCH: usize = 1024;

/// The sessions of one process.
#[derive(Debug)]
pub struct Sessions {
    sealer: Arc<Sealer>,
    bounds: Bounds,
    /// Half of the number of each session that begins here.
    process: [u8; 8],
    next_serial: AtomicU64,
    table: RwLock<Table>,
    /// Sessions that ended in passing, and what they subscribed to has yet to be forgotten.
    leftovers: Mutex<Vec<Arc<Session>>>,
}

/// How long sessions live and how many.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    idle: Duration,
    lifetime: Duration,
    most: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { idle: IDLE_LIFETIME, lifetime: LONGEST_LIFETIME, most: MAX_SESSIONS }
    }
}

/// Why there is no session for an id. Clients are told that it is unknown, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Made up, sealed with a key that this host does not have, or ended.
    #[error("the session is unknown or has ended")]
    Unknown,
    /// Beyond [`LONGEST_LIFETIME`].
    #[error("the session has reached the end of its life")]
    Expired,
    /// Somebody else began it. It has ended now: its id is in wrong hands.
    #[error("the session belongs to another identity")]
    ForeignIdentity,
}

#[derive(Debug, Default)]
struct Table {
    by_id: IndexMap<Arc<str>, Arc<Session>>,
    ended: Ended,
    /// Where the next sample for an eviction begins.
    hand: usize,
}

/// The last sessions of other processes that ended here; the oldest is overwritten.
#[derive(Debug, Default)]
struct Ended {
    numbers: Vec<SessionNumber>,
    next: usize,
}

impl Sessions {
    /// No sessions yet; ids are sealed with `sealer`.
    pub fn new(sealer: Arc<Sealer>) -> Self {
        Self::within(sealer, Bounds::default())
    }

    fn within(sealer: Arc<Sealer>, bounds: Bounds) -> Self {
        Self {
            sealer,
            bounds,
            process: <[u8; 8]>::generate(),
            next_serial: AtomicU64::new(1),
            table: RwLock::default(),
            leftovers: Mutex::default(),
        }
    }

    /// Begins a session that is found by its id. One whose capabilities are beyond 2 KiB ends with this process.
    pub fn begin(&self, revision: Revision, identity: Identity, capabilities: RawJson) -> Arc<Session> {
        let owner = Owner::of(&identity);
        self.begin_for(owner, revision, identity, capabilities)
    }

    fn begin_for(&self, owner: Owner, revision: Revision, identity: Identity, capabilities: RawJson) -> Arc<Session> {
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let ticket = Ticket {
            number: SessionNumber { process: self.process, serial },
            begun: unix_now(),
            owner,
            revision,
            view: ViewId::default(),
            capabilities: Some(capabilities.clone()).filter(|json| json.as_bytes().len() <= MAX_CAPABILITIES),
        };
        let id = self.sealer.seal(Purpose::Session, &ticket.write());
        let session = self.make(&id, &ticket, identity, capabilities);
        let evicted = self.write().insert(session.clone(), self.bounds.most, self.process);
        evicted.into_iter().for_each(|evicted| self.evicted(evicted));
        session
    }

    /// The session `id`, which counts as used now; made again if another process began it.
    pub fn find(&self, id: &str, identity: &Identity) -> Result<Arc<Session>, SessionError> {
        self.find_for(Owner::of(identity), id, identity)
    }

    fn find_for(&self, owner: Owner, id: &str, identity: &Identity) -> Result<Arc<Session>, SessionError> {
        let Some(session) = self.read().find(id) else { return self.restore(owner, id, identity) };
        let Some(listing) = &session.listing else { return Err(SessionError::Unknown) };
        if listing.owner != owner {
            warn!(session = %listing.number, "ended a session that another identity presented");
            self.end(&session);
            self.let_go(session);
            return Err(SessionError::ForeignIdentity);
        }
        if listing.has_expired() {
            self.end(&session);
            self.let_go(session);
            return Err(SessionError::Expired);
        }
        Ok(session)
    }

    /// Makes a session of an earlier process again.
    fn restore(&self, owner: Owner, id: &str, identity: &Identity) -> Result<Arc<Session>, SessionError> {
        let payload = self.sealer.open(Purpose::Session, id).map_err(|_| SessionError::Unknown)?;
        let ticket = Ticket::read(&payload).ok_or(SessionError::Unknown)?;
        if ticket.number.process == self.process || self.read().ended.contains(ticket.number) {
            return Err(SessionError::Unknown);
        }
        if ticket.owner != owner {
            warn!(session = %ticket.number, "ended a session that another identity presented");
            self.write().ended.add(ticket.number);
            return Err(SessionError::ForeignIdentity);
        }
        if ticket.age() >= self.bounds.lifetime {
            return Err(SessionError::Expired);
        }
        let capabilities = ticket.capabilities.clone().ok_or(SessionError::Unknown)?;
        let session = self.make(id, &ticket, identity.clone(), capabilities);
        let mut table = self.write();
        // Two requests may come at once, or one while the session is being ended.
        if let Some(session) = table.find(id) {
            return Ok(session);
        }
        if table.ended.contains(ticket.number) {
            return Err(SessionError::Unknown);
        }
        let evicted = table.insert(session.clone(), self.bounds.most, self.process);
        drop(table);
        evicted.into_iter().for_each(|evicted| self.evicted(evicted));
        debug!(session = %ticket.number, "a session that another process began goes on here");
        Ok(session)
    }

    fn make(&self, id: &str, ticket: &Ticket, identity: Identity, capabilities: RawJson) -> Arc<Session> {
        let remaining = self.bounds.lifetime.saturating_sub(ticket.age());
        let listing =
            Listing { number: ticket.number, owner: ticket.owner, expires: Instant::now().checked_add(remaining) };
        let view = ticket.view.clone();
        Arc::new(Session::made(id.into(), ticket.revision, identity, view, capabilities, Some(listing)))
    }

    /// Ends the session for good: what it has under way is cancelled, and its id is never good again.
    pub(crate) fn end(&self, session: &Session) {
        if session.listing.is_some() {
            self.write().remove(session, self.process);
        }
        session.end();
    }

    /// Ends the sessions that nobody used for too long or that reached the end of their lives. Those returned, and sessions
    /// that ended in passing since the last time, may have subscriptions that are to be forgotten.
    pub(crate) fn sweep(&self) -> Vec<Arc<Session>> {
        let mut swept = mem::take(&mut *self.leftovers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut end = self.len();
        // From the end: what takes the place of a removed session was looked at before.
        while end > 0 {
            let start = end.saturating_sub(SWEEP_STRETCH);
            let over = self.read().over(start..end, self.bounds.idle);
            if !over.is_empty() {
                let mut table = self.write();
                // Whoever was used in between stays.
                let over = over.into_iter().filter(|session| session.is_over(self.bounds.idle));
                let removed = over.inspect(|session| table.remove(session, self.process)).collect::<Vec<_>>();
                drop(table);
                removed.iter().for_each(|session| session.end());
                swept.extend(removed.into_iter().filter(|session| session.has_subscriptions()));
            }
            end = start;
        }
        swept
    }

    pub fn len(&self) -> usize {
        self.read().by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn evicted(&self, session: Arc<Session>) {
        if let Some(listing) = &session.listing {
            debug!(session = %listing.number, "ended a session to make room for another");
        }
        self.let_go(session);
    }

    /// Ends a session that is in the table no more; its subscriptions are left to the next sweep.
    fn let_go(&self, session: Arc<Session>) {
        session.end();
        if session.has_subscriptions() {
            self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().expect("no panic while locked")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().expect("no panic while locked")
    }
}

impl Table {
    /// The session, which counts as used now: while the table is locked, so that no sweep comes between.
    fn find(&self, id: &str) -> Option<Arc<Session>> {
        let session = self.by_id.get(id)?;
        session.touch();
        Some(session.clone())
    }

    /// Adds a session. Returns the one that had to go for it, if there are `most` already.
    fn insert(&mut self, session: Arc<Session>, most: usize, process: [u8; 8]) -> Option<Arc<Session>> {
        let evicted = if self.by_id.len() >= most { self.evict(process) } else { None };
        self.by_id.insert(session.id.clone(), session);
        evicted
    }

    /// Takes out the longest idle of the next few sessions, with nothing open if there is such.
    fn evict(&mut self, process: [u8; 8]) -> Option<Arc<Session>> {
        let count = self.by_id.len();
        let sample = (0..EVICTION_SAMPLE.min(count)).map(|offset| (self.hand + offset) % count);
        let sample = sample.filter_map(|at| self.by_id.get_index(at)).map(|(_, session)| session);
        let evicted = sample.max_by_key(|session| (!session.is_in_use(), session.idle()))?.clone();
        self.hand = (self.hand + EVICTION_SAMPLE) % count;
        self.remove(&evicted, process);
        Some(evicted)
    }

    /// Removes the session, and remembers that it ended if `process` did not begin it.
    fn remove(&mut self, session: &Session, process: [u8; 8]) {
        let number = session.listing.as_ref().map(|listing| listing.number);
        let removed = self.by_id.swap_remove(&session.id);
        if let Some(number) = number.filter(|number| removed.is_some() && number.process != process) {
            self.ended.add(number);
        }
    }

    /// Those of a part of the table that may go.
    fn over(&self, part: std::ops::Range<usize>, idle: Duration) -> Vec<Arc<Session>> {
        let part = part.start..part.end.min(self.by_id.len());
        let sessions = self.by_id.get_range(part).into_iter().flat_map(|part| part.values());
        sessions.filter(|session| session.is_over(idle)).cloned().collect()
    }
}

impl Ended {
    fn add(&mut self, number: SessionNumber) {
        match self.numbers.get_mut(self.next) {
            Some(oldest) => *oldest = number,
            None => self.numbers.push(number),
        }
        self.next = (self.next + 1) % MAX_ENDED;
    }

    fn contains(&self, number: SessionNumber) -> bool {
        self.numbers.contains(&number)
    }
}

#[cfg(test)]
mod tests;
