//! Addresses of notes as resources: `note:///` and the percent-encoded name.

use super::folder::{NoteError, NoteName};

const SCHEME: &str = "note:///";
pub(super) const TEMPLATE: &str = "note:///{name}";

/// The address of the note `name`.
pub(super) fn uri(name: &str) -> String {
    use std::fmt::Write as _;

    let mut uri = String::from(SCHEME);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            uri.push(byte.into());
        } else {
            write!(uri, "%{byte:02X}").expect("writing to a string");
        }
    }
    uri
}

/// The note at `uri`: nothing where that is no address of a note.
pub(super) fn name(uri: &str) -> Option<Result<NoteName, NoteError>> {
    let encoded = uri.strip_prefix(SCHEME)?;
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)? } else { byte });
    }
    Some(NoteName::new(&String::from_utf8(bytes).ok()?))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_back_to_its_note() {
        for note in ["welcome", "Grüße 2", "100%", "a?b#c"] {
            assert_eq!(name(&uri(note)).unwrap().unwrap().as_str(), note);
        }
        assert_eq!(uri("Grüße 2"), "note:///Gr%C3%BC%C3%9Fe%202");
    }

    #[test]
    fn an_address_leads_nowhere_else() {
        let check = |uri: &str, is_address: bool| match name(uri) {
            Some(name) => assert!(is_address && name.is_err(), "{uri}: {name:?}"),
            None => assert!(!is_address, "{uri}"),
        };
        check("file:///etc/passwd", false);
        check("note://host/x", false);
        check("note:///%2", false);
        check("note:///%zz", false);
        check("note:///%ff", false);
        check("note:///..%2F..%2Fsecret", true);
        check("note:///a%2Fb", true);
        check("note:///", true);
    }
}
