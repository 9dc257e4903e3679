//! Unstable. The protocol without IO: message envelopes, both eras, and what changes when a message crosses from one to the
//! other. What passes through the host stays the bytes it was; only the envelope and `_meta` are taken apart.

pub mod bridge;
pub mod envelope;
pub mod era;
pub mod error;
pub mod header;
pub mod meta;
pub mod object;
