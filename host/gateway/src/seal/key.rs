//! Keys for sealing: read from text, or made once and kept in a file that only its owner reads.

use std::{
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chacha20poly1305::aead::Generate as _;
use tracing::warn;
use zeroize::Zeroizing;

/// Bytes of a key.
const LENGTH: usize = 32;
/// The file of a key that the host made.
const FILE: &str = "seal.key";

/// A secret of 32 bytes, overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey(Zeroizing<[u8; LENGTH]>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not shown: it may be a key with a typing error.
    #[error("a key is 32 bytes as 64 hexadecimal digits or as base64, as `openssl rand -hex 32` makes one")]
    Malformed,
    #[error("`{}` holds no key; without the file a new one is made", .0.display())]
    SpoiltFile(PathBuf),
    #[error("cannot read or make the key file `{}`", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl SealingKey {
    /// From the system's source of randomness.
    pub fn random() -> Self {
        Self(Zeroizing::new(<[u8; LENGTH]>::generate()))
    }

    /// 64 hexadecimal digits, or base64 of 32 bytes in either alphabet, with or without padding. Space around it does
    /// not count.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = match text.len() {
            64 => hex::decode(text).ok(),
            _ => [&alphabet::STANDARD, &alphabet::URL_SAFE].into_iter().find_map(|alphabet| {
                let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
                GeneralPurpose::new(alphabet, config).decode(text).ok()
            }),
        };
        let bytes = Zeroizing::new(bytes.unwrap_or_default());
        <[u8; LENGTH]>::try_from(bytes.as_slice()).map(Self::from).map_err(|_| KeyError::Malformed)
    }

    /// The key that is kept in `folder`, made now if there is none. Hosts that do so at the same time get the same key.
    pub fn kept_in(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                keep_new(&path).and_then(|()| fs::read_to_string(&path))
            }
            read => read,
        };
        let text = Zeroizing::new(text.map_err(|source| KeyError::File { path: path.clone(), source })?);
        warn_if_open(&path);
        Self::parse(&text).map_err(|_| KeyError::SpoiltFile(path))
    }

    pub(super) fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl From<[u8; LENGTH]> for SealingKey {
    fn from(bytes: [u8; LENGTH]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// Puts a new key at `path` unless there is one: written whole beside it first, then linked, which fails where somebody
/// else was faster. Nobody ever sees half a key.
fn keep_new(path: &Path) -> io::Result<()> {
    let unfinished = path.with_extension(format!("{}.tmp", hex::encode(<[u8; 8]>::generate())));
    let linked = write_new(&unfinished).and_then(|()| fs::hard_link(&unfinished, path));
    // What a failed write left behind is of no use either.
    let _ = fs::remove_file(&unfinished);
    linked.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
}

fn write_new(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let text = Zeroizing::new(hex::encode(SealingKey::random().as_bytes()) + "\n");
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Warns of a key file that others can read.
#[cfg(unix)]
fn warn_if_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        warn!(file = %path.display(), "others can read the key that seals session ids; `chmod 600` it");
    }
}

#[cfg(not(unix))]
fn warn_if_open(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_in_hex_or_base64() {
        let check = |text: &str, expected: Option<[u8; 32]>| {
            assert_eq!(SealingKey::parse(text).ok(), expected.map(SealingKey::from), "{text:?}");
        };
        check(&"ab".repeat(32), Some([0xab; 32]));
        check(&format!("  {}\n", "AB".repeat(32)), Some([0xab; 32]));
        check("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=", Some([0xab; 32]));
        check("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s", Some([0xab; 32]));
        check("//////////////////////////////////////////8=", Some([0xff; 32]));
        check("__________________________________________8", Some([0xff; 32]));
        check("", None);
        check("a password", None);
        check(&"ab".repeat(31), None);
        check(&"ab".repeat(33), None);
        check(&"xy".repeat(32), None);
    }

    #[test]
    fn hosts_that_start_together_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let starts = std::sync::Barrier::new(8);
        let kept = || {
            starts.wait();
            SealingKey::kept_in(folder.path()).unwrap()
        };
        let keys: Vec<_> = std::thread::scope(|scope| {
            let hosts: Vec<_> = (0..8).map(|_| scope.spawn(kept)).collect();
            hosts.into_iter().map(|host| host.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(SealingKey::kept_in(folder.path()).unwrap(), keys[0]);
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, [FILE]);
    }

    #[cfg(unix)]
    #[test]
    fn a_kept_key_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        SealingKey::kept_in(folder.path()).unwrap();
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_spoilt_key_file_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "half a k").unwrap();
        let error = SealingKey::kept_in(folder.path()).unwrap_err();
        assert!(matches!(&error, KeyError::SpoiltFile(path) if path.ends_with(FILE)), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "half a k");
    }
}
