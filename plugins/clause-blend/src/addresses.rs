//! Web addresses in a request: to words they are one odd word, to meaning noise. What they say is that there is an address,
//! and what it is about.

/// How an address begins.
const BEGINNINGS: [&str; 3] = ["http://", "https://", "www."];
/// Parts of an address that say nothing.
const EMPTY_WORDS: [&str; 3] = ["http", "https", "www"];

/// `text` with every address replaced by the word `url` and by a clause of its own that has the words in it: `open
/// https://example.com/maps` becomes `open  url; url example com maps; `.
pub(crate) fn in_words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, end)) = first_address(rest) {
        words.push_str(&rest[..start]);
        words.push_str(" url; url ");
        words.push_str(&inner_words(&rest[start..end]).join(" "));
        words.push_str("; ");
        rest = &rest[end..];
    }
    words.push_str(rest);
    words
}

/// Where the first address begins and ends: at white space, or with the text.
fn first_address(text: &str) -> Option<(usize, usize)> {
    let address_at = |(start, _): (usize, char)| {
        let beginning = BEGINNINGS.into_iter().find(|beginning| text[start..].starts_with(beginning))?;
        let length = text[start..].find(char::is_whitespace).unwrap_or(text.len() - start);
        (length > beginning.len()).then_some((start, start + length))
    };
    text.char_indices().find_map(address_at)
}

fn inner_words(address: &str) -> Vec<&str> {
    let runs = address.split(|c: char| !c.is_ascii_alphabetic()).filter(|run| !run.is_empty());
    runs.filter(|run| !EMPTY_WORDS.iter().any(|empty| run.eq_ignore_ascii_case(empty))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_clause_of_its_words() {
        let check = |text: &str, expected: &str| assert_eq!(in_words(text), expected);
        check("no address", "no address");
        check("open https://www.example.com/maps?id=7 now", "open  url; url example com maps id;  now");
        check("www.acme.org and http://b.de", " url; url acme org;  and  url; url b de; ");
        check("http:// alone", "http:// alone");
        check("über https://größe.de", "über  url; url gr e de; ");
        check("", "");
    }
}
