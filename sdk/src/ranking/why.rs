//! A few words for people on why a tool was found.

use super::{Arm, Candidate, Query, distinct, without_stop_words, words};

/// Words of a request that a reason names.
const MAX_NAMED: usize = 3;
/// Up to this rank of any dense list the meaning counts as close.
const CLOSE: u32 = 10;

/// A reason per candidate, from what can be seen of it: which of the request's words are in its name or description, and
/// whether it is high up in a list by meaning. E.g. ``name matches `search`, `issues`; meaning close``. Empty ones when the query
/// wants none.
pub fn why<'a>(query: &Query, candidates: impl IntoIterator<Item = &'a Candidate>) -> Vec<String> {
    if !query.explain {
        return candidates.into_iter().map(|_| String::new()).collect();
    }
    let wanted = query.keywords.iter().fold(words(&query.text), |mut wanted, keyword| {
        wanted.extend(words(keyword));
        wanted
    });
    let wanted: Vec<(&str, String)> =
        distinct(without_stop_words(wanted)).into_iter().map(|word| (word, form(word))).collect();
    candidates.into_iter().map(|candidate| reason(&wanted, candidate)).collect()
}

fn reason(wanted: &[(&str, String)], candidate: &Candidate) -> String {
    let mut reasons = Vec::new();
    if candidate.hits.iter().any(|hit| hit.arm == Arm::Lexical) {
        let by_words = [("name", &candidate.name), ("description", &candidate.description)];
        let found = by_words.into_iter().find_map(|(field, text)| {
            let named = shared(wanted, text);
            (!named.is_empty()).then(|| format!("{field} matches {}", named.join(", ")))
        });
        // What else is indexed, a candidate does not show.
        reasons.push(found.unwrap_or_else(|| "server or parameters match".into()));
    }
    if candidate.hits.iter().any(|hit| hit.arm == Arm::Dense && hit.rank <= CLOSE) {
        reasons.push("meaning close".into());
    }
    reasons.join("; ")
}

/// The wanted words that `text` has too, in quotes.
fn shared(wanted: &[(&str, String)], text: &str) -> Vec<String> {
    let present: Vec<String> = words(text).into_iter().map(form).collect();
    let shared = wanted.iter().filter(|(_, form)| present.contains(form));
    shared.take(MAX_NAMED).map(|(word, _)| format!("`{}`", word.to_lowercase())).collect()
}

/// Lower case and without a plural's ending: a weaker stem than the host's, so that what is named is sure to match.
fn form(word: &str) -> String {
    let mut word = word.to_lowercase();
    if word.len() > 3 && word.ends_with('s') && !word.ends_with("ss") {
        word.pop();
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranking::Hit;

    #[test]
    fn the_reason_names_what_can_be_seen() {
        let check = |query: &str, name: &str, description: &str, arms: &[(Arm, u32)], expected: &str| {
            let hits: Vec<Hit> = arms.iter().map(|&(arm, rank)| Hit { subquery: 0, arm, score: 0.5, rank }).collect();
            let candidate = Candidate { description: description.into(), ..Candidate::new(0, "backend", name, &hits) };
            let query = Query { explain: true, ..Query::new(query) };
            assert_eq!(why(&query, [&candidate]), [expected]);
            assert_eq!(why(&Query { explain: false, ..query }, [&candidate]), [""]);
        };
        let (words, meaning) = ((Arm::Lexical, 1), (Arm::Dense, 3));
        check(
            "Search for issues",
            "searchIssue",
            "",
            &[words, meaning],
            "name matches `search`, `issues`; meaning close",
        );
        check("find an issue", "search", "Lists issues", &[words], "description matches `issue`");
        check("find an issue", "search", "", &[words], "server or parameters match");
        check("find an issue", "search", "", &[meaning], "meaning close");
        check("find an issue", "find_issue", "", &[(Arm::Dense, 30)], "");
        check("access", "acces", "", &[words], "server or parameters match");
    }
}
