//! What a session's id says once its seal is open: enough to take the session up again in another process. It is what
//! `initialize` settled; subscriptions, log level, streams and requests under way live and end with the process.

use std::{
    fmt,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest as _, Sha256};
use vmcp_core::{
    id::{Identity, ViewId},
    json::RawJson,
};
use vmcp_mcp::era::Revision;

use crate::seal::MAX_PAYLOAD;

/// Longest capabilities that are sealed, in bytes: clients send tens of bytes, and the id travels with each request.
pub(super) const MAX_CAPABILITIES: usize = 2 << 10;
/// Longest view name that is sealed, in bytes; its length is one byte.
const MAX_VIEW: usize = 255;

const FORMAT: u8 = 1;
/// Everything of known length: format, number, time, owner, revision, length of the view's name, kind of capabilities.
const FIXED: usize = 1 + 16 + 8 + 32 + 10 + 1 + 1;
const _: () = assert!(FIXED + MAX_VIEW + MAX_CAPABILITIES <= MAX_PAYLOAD, "every ticket can be sealed");

/// The content of a session's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub number: SessionNumber,
    /// Seconds since 1970 at which the session began.
    pub begun: u64,
    pub owner: Owner,
    pub revision: Revision,
    pub view: ViewId,
    /// `None`: they are too large to be sealed, and the session ends with its process.
    pub capabilities: Option<RawJson>,
}

/// Which session this is: the process that began it, at random, and a count. Says nothing that lets anybody in, so it may
/// be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionNumber {
    pub process: [u8; 8],
    pub serial: u64,
}

/// To whom a session belongs: a digest of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner(pub [u8; 32]);

impl Ticket {
    /// How old the session is, by the clock on the wall. One from the future, which only clocks that disagree make, is new.
    pub(super) fn age(&self) -> Duration {
        Duration::from_secs(unix_now().saturating_sub(self.begun))
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let view = self.view.as_str().as_bytes();
        let view_length = u8::try_from(view.len()).expect("names of views are short");
        let capabilities = self.capabilities.as_ref().map(RawJson::as_bytes);
        let parts: [&[u8]; 9] = [
            &[FORMAT],
            &self.number.process,
            &self.number.serial.to_be_bytes(),
            &self.begun.to_be_bytes(),
            &self.owner.0,
            self.revision.as_str().as_bytes(),
            &[view_length],
            view,
            &[u8::from(capabilities.is_some())],
        ];
        [&parts.concat(), capabilities.unwrap_or_default()].concat()
    }

    /// `None` for what another version of the host wrote, or for a view that this host does not have.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [FORMAT] = take(&mut rest)? else { return None };
        let number = SessionNumber { process: take(&mut rest)?, serial: u64::from_be_bytes(take(&mut rest)?) };
        let begun = u64::from_be_bytes(take(&mut rest)?);
        let owner = Owner(take(&mut rest)?);
        let revision = Revision::parse(std::str::from_utf8(&take::<10>(&mut rest)?).ok()?)?;
        let [view_length] = take(&mut rest)?;
        let (name, mut rest) = rest.split_at_checked(view_length.into())?;
        let view = Some(ViewId::default()).filter(|view| view.as_str().as_bytes() == name)?;
        let capabilities = match take(&mut rest)? {
            [0] if rest.is_empty() => None,
            [1] => Some(RawJson::parse(rest.to_vec()).ok()?),
            _ => return None,
        };
        Some(Self { number, begun, owner, revision, view, capabilities })
    }
}

/// The next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

impl Owner {
    pub(crate) fn of(identity: &Identity) -> Self {
        /// Of most requests, so it is computed once.
        static ANONYMOUS: LazyLock<Owner> = LazyLock::new(|| Owner(Sha256::digest("anonymous").into()));
        match identity {
            Identity::Anonymous => *ANONYMOUS,
        }
    }
}

impl fmt::Display for SessionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", hex::encode(&self.process[..4]), self.serial)
    }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(capabilities: Option<&str>) -> Ticket {
        Ticket {
            number: SessionNumber { process: *b"process!", serial: 7 },
            begun: 1_800_000_000,
            owner: Owner::of(&Identity::Anonymous),
            revision: Revision::V2025_06_18,
            view: ViewId::default(),
            capabilities: capabilities.map(|text| RawJson::parse(text.to_owned()).unwrap()),
        }
    }

    #[test]
    fn a_ticket_is_read_as_it_was_written() {
        for capabilities in [None, Some("{}"), Some(r#"{"roots":{"listChanged":true},"elicitation":{}}"#)] {
            let ticket = ticket(capabilities);
            assert_eq!(Ticket::read(&ticket.write()), Some(ticket));
        }
    }

    #[test]
    fn half_a_ticket_and_other_formats_are_none() {
        let whole = ticket(Some("{}")).write();
        for length in 0..whole.len() {
            assert_eq!(Ticket::read(&whole[..length]), None, "{length}");
        }
        let changed = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            Ticket::read(&bytes)
        };
        assert_eq!(changed(0, 2), None, "another format");
        assert_eq!(changed(65, b'x'), None, "no revision");
        assert_eq!(changed(76, b'x'), None, "no view of this host");
        let longer = [&ticket(None).write()[..], b"{}"].concat();
        assert_eq!(Ticket::read(&longer), None, "more than is said");
    }

    #[test]
    fn a_number_in_a_log_is_not_the_whole_number() {
        assert_eq!(ticket(None).number.to_string(), "70726f63-7");
    }
}
