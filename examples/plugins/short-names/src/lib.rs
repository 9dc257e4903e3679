//! Puts a few letters for the backend before every name: `gth_search` for `github`, `bs_search` for `brave-search`.
//!
//! Every name tells where it leads, at a fraction of the length and the tokens of a full prefix.

use std::collections::{BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::conflict::{ConfigProblem, ConflictResolver, Request, Resolution, ResolveError, Tie};

/// Every tool and prompt is advertised behind an abbreviation of its backend's name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ShortNames {
    /// Longest abbreviation, in letters.
    #[schemars(range(min = 1, max = 16))]
    letters: usize,
}

impl Default for ShortNames {
    fn default() -> Self {
        Self { letters: 3 }
    }
}

impl ConflictResolver for ShortNames {
    fn resolve(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError> {
        if request.kind.keeps_names() {
            return Ok(request.keep_names());
        }
        let prefixes = self.prefixes(request.contenders.iter().map(|contender| contender.slug.as_str()).collect());
        let proposed = request.contenders.iter().map(|contender| {
            let name = format!("{}_{}", prefixes[contender.slug.as_str()], contender.name);
            Resolution::expose(request.names.replace_illegal(&name), "its backend in short")
        });
        Ok(request.settle(proposed.collect(), Tie::FirstKeeps))
    }

    fn check(&self) -> Vec<ConfigProblem> {
        match self.letters {
            1..=16 => Vec::new(),
            _ => vec![ConfigProblem::new("/letters", "must be 1 to 16")],
        }
    }
}

vmcp_sdk::register_conflict_resolver!(ShortNames);

impl ShortNames {
    /// Each backend's abbreviation, or its full name where two abbreviations would be equal.
    fn prefixes<'a>(&self, slugs: BTreeSet<&'a str>) -> HashMap<&'a str, String> {
        let mut uses: HashMap<String, usize> = HashMap::new();
        for slug in &slugs {
            *uses.entry(abbreviation(slug, self.letters)).or_default() += 1;
        }
        let prefixes = slugs.into_iter().map(|slug| {
            let short = abbreviation(slug, self.letters);
            let unique = uses[&short] == 1;
            (slug, if unique { short } else { slug.to_owned() })
        });
        prefixes.collect()
    }
}

/// The initials of several words, or one word without its vowels (a first one stays).
fn abbreviation(slug: &str, letters: usize) -> String {
    let slug = slug.to_ascii_lowercase();
    let mut words = slug.split(['_', '-']).filter(|word| !word.is_empty());
    let short: String = match (words.next(), words.next()) {
        (Some(word), None) => {
            let (first, rest) = word.split_at(1);
            first.chars().chain(rest.chars().filter(|letter| !"aeiou".contains(*letter))).take(letters).collect()
        }
        (Some(first), Some(second)) => {
            let words = [first, second].into_iter().chain(words);
            words.filter_map(|word| word.chars().next()).take(letters).collect()
        }
        (None, _) => String::new(),
    };
    if short.is_empty() { slug } else { short }
}

#[cfg(test)]
mod tests {
    use vmcp_sdk::conflict::{Contender, Kind, NameRule};

    use super::*;

    fn check(contenders: &[(&str, &str)], expected: &[&str]) {
        let contenders = contenders.iter().map(|(backend, name)| Contender::new(*backend, *name)).collect();
        let request = Request { kind: Kind::Tool, names: NameRule::Strict, contenders };
        let resolved = ShortNames::default().resolve(&request).unwrap();
        assert_eq!(resolved.iter().map(|r| r.name().unwrap_or("(hidden)")).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn backends_are_abbreviated() {
        check(&[("github", "search"), ("jira", "search")], &["gth_search", "jr_search"]);
        check(&[("brave-search", "web"), ("Everything", "echo")], &["bs_web", "evr_echo"]);
        check(&[("_", "x")], &["__x"]);
    }

    #[test]
    fn equal_abbreviations_give_way_to_full_names() {
        check(&[("goat", "x"), ("got", "x"), ("jira", "x")], &["goat_x", "got_x", "jr_x"]);
    }
}
