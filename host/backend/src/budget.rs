//! The bytes of long messages that the process holds at once, whoever sent them: one budget for all backends. A message
//! counts from its first megabyte on until the last reader of its bytes has dropped them.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Messages up to this are not counted: their number is bounded by the calls under way.
pub(crate) const LARGE: usize = 1024 * 1024;
/// For all long messages together.
const BUDGET: usize = 512 * 1024 * 1024;
/// What is taken from the budget at once, so that a growing buffer does not ask with every read.
const STEP: usize = 4 * 1024 * 1024;

/// Why a message was not kept.
pub(crate) const EXHAUSTED: &str = "the host holds as many bytes of long messages as it may, try again later";

static FREE: AtomicUsize = AtomicUsize::new(BUDGET);

/// A part of the budget; given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: usize,
}

impl Held {
    /// Makes it enough for a message of `length` bytes; false when the budget is exhausted.
    #[must_use]
    pub(crate) fn cover(&mut self, length: usize) -> bool {
        if length <= LARGE || length <= self.bytes {
            return true;
        }
        let more = (length - self.bytes).next_multiple_of(STEP);
        let taken = FREE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(more)).is_ok();
        self.bytes += if taken { more } else { 0 };
        taken
    }

    /// `message`, which keeps what is held until its last slice is dropped.
    pub(crate) fn attach_to(self, message: Bytes) -> Bytes {
        if self.bytes == 0 { message } else { Bytes::from_owner(Counted { message, _held: self }) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        FREE.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

struct Counted {
    message: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_until_its_last_slice_is_gone() {
        // The budget is the process's; a part too large for other tests to disturb.
        let huge = BUDGET - 64 * 1024 * 1024;
        let mut held = Held::default();
        assert!(held.cover(1000) && held.bytes == 0);
        assert!(held.cover(huge));
        assert!(!Held::default().cover(huge), "nothing left for a second");
        let message = held.attach_to(Bytes::from_static(b"abc"));
        let slice = message.slice(1..);
        drop(message);
        assert!(!Held::default().cover(huge));
        drop(slice);
        assert!(Held::default().cover(huge));
    }
}
