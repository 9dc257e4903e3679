//! Cutting names and marking them with a stable hash.

/// Letters and digits that stay apart in any font.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Characters of a hash: 30 bits. More would only make names longer, since equal ones are tried again.
const HASH_LENGTH: usize = 6;

/// `prefix` and `name` in at most `room` characters. The prefix is cut to a third of the room first, then the name.
///
/// Both are ASCII.
pub(crate) fn shortened(prefix: &str, name: &str, room: usize) -> String {
    let prefix = if prefix.len() + name.len() > room { cut(prefix, room / 3) } else { prefix };
    let name = cut(name, room - prefix.len());
    format!("{prefix}{name}")
}

/// `stem` with `hash` behind it.
pub(crate) fn marked(stem: &str, hash: &str) -> String {
    format!("{}_{hash}", stem.trim_end_matches(['_', '-', '.']))
}

/// Six characters that depend on nothing but the arguments: FNV-1a over 64 bits, its halves folded, five bits of each byte.
pub(crate) fn hash(backend: &str, name: &str, attempt: u32) -> String {
    let attempt = attempt.to_le_bytes();
    let bytes = backend.bytes().chain([0xff]).chain(name.bytes()).chain([0xff]).chain(attempt);
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let folded = (sum ^ (sum >> 32)).to_le_bytes();
    folded.iter().take(HASH_LENGTH).map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

fn cut(text: &str, length: usize) -> &str {
    &text[..text.len().min(length)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_keeps_most_of_the_room() {
        let check = |prefix: &str, name: &str, room: usize, expected: &str| {
            assert_eq!(shortened(prefix, name, room), expected);
        };
        check("github_", "search", 20, "github_search");
        check("", "search_everything", 6, "search");
        check("a_very_long_backend_name_", "search", 18, "a_verysearch");
        check("abcdefghi_", "klmnopqrstuvwxyz", 9, "abcklmnop");
    }

    #[test]
    fn a_stem_never_ends_in_a_separator() {
        assert_eq!(marked("search_", "k3"), "search_k3");
        assert_eq!(marked("search", "k3"), "search_k3");
        assert_eq!(marked("...", "k3"), "_k3");
    }

    #[test]
    fn a_hash_is_the_same_for_ever() {
        assert_eq!(hash("github", "search", 0), "wcvcnf");
        assert_eq!(hash("jira", "größe", 7), "h2gbsr");
        assert_ne!(hash("github", "search", 0), hash("github", "search", 1));
        assert_ne!(hash("a", "bc", 0), hash("ab", "c", 0));
    }
}
