//! Seals what clients carry for the host, session ids and `requestState`, so that nobody else can read, change or make one.
//! Whoever has the key can open it again: the host after a restart, or another host of the same configuration.
//!
//! A sealed text is URL-safe base64 of: format (1 byte), fingerprint of the key (4), nonce (24), encrypted payload, tag (16).
//! What it was sealed for is authenticated with it, so that one kind cannot stand for another. That something was sealed
//! does not say that it still counts: expiry, owner and single use are the payload's affair.

mod key;

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Generate as _, KeyInit as _, Payload},
};
use sha2::{Digest as _, Sha256};

pub use self::key::{KeyError, SealingKey};

/// Longest text that is opened, in bytes: it has to fit into a header.
pub const MAX_TEXT: usize = 4096;
/// Longest payload whose sealed text can be opened, in bytes.
pub const MAX_PAYLOAD: usize = MAX_TEXT / 4 * 3 - HEADER - NONCE - TAG;

const FORMAT: u8 = 1;
const FINGERPRINT: usize = 4;
/// Format and fingerprint.
const HEADER: usize = 1 + FINGERPRINT;
const NONCE: usize = 24;
const TAG: usize = 16;

/// What a payload is sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The id of a legacy session.
    Session,
    /// What a modern client hands back with its answers.
    RequestState,
    /// The name of a task.
    Task,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Session => b"session",
            Self::RequestState => b"request state",
            Self::Task => b"task",
        }
    }
}

/// Seals with its newest key and opens with all of them.
pub struct Sealer {
    newest: Cipher,
    older: Vec<Cipher>,
}

struct Cipher {
    /// Tells keys apart without telling anything of them.
    fingerprint: [u8; FINGERPRINT],
    cipher: XChaCha20Poly1305,
}

/// Why a text cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    #[error("a sealed text has at most {MAX_TEXT} bytes")]
    TooLong,
    #[error("this is no sealed text")]
    Malformed,
    #[error("sealed with a key that this host does not have")]
    UnknownKey,
    /// Changed on its way, sealed for another purpose, or made up.
    #[error("the seal is broken")]
    Broken,
}

impl Sealer {
    /// Seals with the first of `keys` and opens with each. Without any, with a key that nobody else ever has.
    pub fn new(keys: impl IntoIterator<Item = SealingKey>) -> Self {
        let mut keys = keys.into_iter();
        let newest = keys.next().unwrap_or_else(SealingKey::random);
        Self { newest: Cipher::new(&newest), older: keys.map(|key| Cipher::new(&key)).collect() }
    }

    /// `payload`, of at most [`MAX_PAYLOAD`] bytes, as text of visible ASCII; never the same text twice.
    pub fn seal(&self, purpose: Purpose, payload: &[u8]) -> String {
        debug_assert!(payload.len() <= MAX_PAYLOAD, "what is sealed can be opened");
        let nonce = XNonce::generate();
        let header = header(self.newest.fingerprint);
        let associated = associated(header, purpose);
        let payload = Payload { msg: payload, aad: &associated };
        let encrypted = self.newest.cipher.encrypt(&nonce, payload).expect("payloads are small");
        BASE64_URL_SAFE_NO_PAD.encode([&header[..], &nonce[..], &encrypted].concat())
    }

    /// The payload of a text that one of the keys sealed for `purpose`.
    pub fn open(&self, purpose: Purpose, text: &str) -> Result<Vec<u8>, SealError> {
        if text.len() > MAX_TEXT {
            return Err(SealError::TooLong);
        }
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Malformed)?;
        let (head, rest) = sealed.split_first_chunk::<HEADER>().ok_or(SealError::Malformed)?;
        let (nonce, encrypted) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Malformed)?;
        let [FORMAT, fingerprint @ ..] = *head else { return Err(SealError::Malformed) };
        if encrypted.len() < TAG {
            return Err(SealError::Malformed);
        }
        let associated = associated(*head, purpose);
        let mut error = SealError::UnknownKey;
        for key in std::iter::once(&self.newest).chain(&self.older).filter(|key| key.fingerprint == fingerprint) {
            let payload = Payload { msg: encrypted, aad: &associated };
            match key.cipher.decrypt(&XNonce::from(*nonce), payload) {
                Ok(payload) => return Ok(payload),
                Err(_) => error = SealError::Broken,
            }
        }
        Err(error)
    }
}

impl Default for Sealer {
    /// With a key of its own: what it seals, nobody else opens.
    fn default() -> Self {
        Self::new([])
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", 1 + self.older.len())
    }
}

impl Cipher {
    fn new(key: &SealingKey) -> Self {
        let digest = Sha256::new().chain_update("vmcp sealing key").chain_update(key.as_bytes()).finalize();
        let mut fingerprint = [0; FINGERPRINT];
        fingerprint.copy_from_slice(&digest[..FINGERPRINT]);
        Self { fingerprint, cipher: XChaCha20Poly1305::new(key.as_bytes().into()) }
    }
}

fn header(fingerprint: [u8; FINGERPRINT]) -> [u8; HEADER] {
    let mut header = [FORMAT; HEADER];
    header[1..].copy_from_slice(&fingerprint);
    header
}

/// What is authenticated beside the payload. The header has a fixed length, so no two pairs give the same bytes.
fn associated(header: [u8; HEADER], purpose: Purpose) -> Vec<u8> {
    [&header[..], purpose.label()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_for_its_purpose_alone() {
        let sealer = Sealer::default();
        for payload in [&b""[..], b"x", &[0xff; MAX_PAYLOAD]] {
            let text = sealer.seal(Purpose::Session, payload);
            assert!(text.len() <= MAX_TEXT && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            assert_eq!(sealer.open(Purpose::Session, &text).as_deref(), Ok(payload));
            assert_eq!(sealer.open(Purpose::RequestState, &text), Err(SealError::Broken));
        }
        assert_ne!(sealer.seal(Purpose::Session, b"x"), sealer.seal(Purpose::Session, b"x"));
    }

    #[test]
    fn older_keys_open_and_foreign_ones_do_not() {
        let [old, new, foreign] = [1, 2, 3].map(|byte| SealingKey::from([byte; 32]));
        let before = Sealer::new([old.clone()]);
        let rotated = Sealer::new([new, old]);
        let text = before.seal(Purpose::Session, b"x");
        assert_eq!(rotated.open(Purpose::Session, &text).as_deref(), Ok(&b"x"[..]));
        let text = rotated.seal(Purpose::Session, b"x");
        assert_eq!(before.open(Purpose::Session, &text), Err(SealError::UnknownKey));
        assert_eq!(Sealer::new([foreign]).open(Purpose::Session, &text), Err(SealError::UnknownKey));
    }

    #[test]
    fn a_text_with_any_bit_changed_does_not_open() {
        let sealer = Sealer::default();
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealer.seal(Purpose::RequestState, b"payload")).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let text = BASE64_URL_SAFE_NO_PAD.encode(changed);
            assert!(sealer.open(Purpose::RequestState, &text).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn arbitrary_text_is_refused() {
        let sealer = Sealer::default();
        // A multiple of three, so that each four characters are three bytes.
        let sealed = sealer.seal(Purpose::Session, b"123456789");
        let check = |text: &str, expected| assert_eq!(sealer.open(Purpose::Session, text), Err(expected), "{text:?}");
        check("", SealError::Malformed);
        check("made-up", SealError::Malformed);
        check("ünïcode", SealError::Malformed);
        check(&format!("{sealed}="), SealError::Malformed);
        check(&format!(" {sealed}"), SealError::Malformed);
        check(&sealed[..56], SealError::Malformed);
        check(&sealed[..sealed.len() - 4], SealError::Broken);
        check(&format!("{sealed}AAAA"), SealError::Broken);
        check(&"A".repeat(MAX_TEXT), SealError::Malformed);
        check(&"A".repeat(MAX_TEXT + 1), SealError::TooLong);
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", Sealer::default()), "Sealer(1 keys)");
        assert_eq!(format!("{:?}", SealingKey::random()), "SealingKey(…)");
    }
}
