//! Prefixes only names that clash, and keeps all of them legal and short.
//!
//! A name that only one backend has stays as it is, so most users see no prefix at all, and apps that call their tools by
//! fixed names go on working. Every contender gets a name: what no prefix makes unique gets a hash of its backend and its
//! name, the same on every machine and whatever else is offered.

mod shorten;

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::conflict::{ConfigProblem, ConflictResolver, Contender, NameRule, Request, Resolution, ResolveError};

use crate::shorten::{marked, shortened};

/// Shortest `maxLength`: room for a hash and a piece of each name.
const MIN_LENGTH: usize = 16;
/// Longest `maxLength`: no rule allows more.
const MAX_LENGTH: usize = 128;

/// Names stay as they are unless two backends share one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Smart {
    /// Longest name, in characters. Many clients stop at 60 or 64, after they have put a prefix of their own before it.
    #[schemars(range(min = 16, max = 128))]
    max_length: usize,
    /// Between the backend's name and the tool's.
    #[schemars(regex(pattern = "^[A-Za-z0-9_.-]{1,4}$"))]
    separator: String,
}

impl Default for Smart {
    fn default() -> Self {
        Self { max_length: 48, separator: "_".into() }
    }
}

impl ConflictResolver for Smart {
    fn resolve(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError> {
        if request.kind.keeps_names() {
            return Ok(request.keep_names());
        }
        let names: Vec<String> = request.contenders.iter().map(|c| request.names.replace_illegal(&c.name)).collect();
        Ok(Naming::new(self, request, &names).resolve())
    }

    fn check(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        if !(MIN_LENGTH..=MAX_LENGTH).contains(&self.max_length) {
            problems.push(ConfigProblem::new("/maxLength", format!("must be {MIN_LENGTH} to {MAX_LENGTH}")));
        }
        if !(1..=4).contains(&self.separator.len()) || !NameRule::Protocol.is_legal(&self.separator) {
            problems.push(ConfigProblem::new("/separator", "must be 1 to 4 of letters, digits, `_`, `-` and `.`"));
        }
        problems
    }
}

vmcp_sdk::register_conflict_resolver!(Smart);

/// One run over a request. Own names are given out first. Then each of the others, in order, gets the first free one of:
/// prefixed, marked with a hash, marked with another hash.
struct Naming<'a> {
    request: &'a Request,
    max_length: usize,
    separator: String,
    /// The contenders' names, illegal characters replaced.
    names: &'a [String],
    claims: HashMap<&'a str, Claim<'a>>,
}

/// Who wants one name.
struct Claim<'a> {
    /// Index of the contender that has the most right to it within its backend.
    keeper: usize,
    /// The first two backends that want it; a second one makes it contested.
    backends: (&'a str, Option<&'a str>),
}

impl<'a> Naming<'a> {
    fn new(config: &Smart, request: &'a Request, names: &'a [String]) -> Self {
        let mut claims: HashMap<&str, Claim> = HashMap::with_capacity(names.len());
        for (index, (contender, name)) in request.contenders.iter().zip(names).enumerate() {
            let claim = claims.entry(name).or_insert(Claim { keeper: index, backends: (&contender.backend, None) });
            if claim.backends.0 != contender.backend {
                claim.backends.1.get_or_insert(&contender.backend);
            } else if request.contenders[claim.keeper].name != *name && contender.name == *name {
                claim.keeper = index; // `a_b` has more right to `a_b` than its neighbour `a.b`
            }
        }
        Self {
            request,
            max_length: config.max_length.min(request.names.max_length()),
            separator: request.names.replace_illegal(&config.separator),
            names,
            claims,
        }
    }

    fn resolve(&self) -> Vec<Resolution> {
        let keeps_own: Vec<bool> = (0..self.names.len()).map(|index| self.keeps_own_name(index)).collect();
        let own = self.names.iter().zip(&keeps_own).filter(|(_, keeps)| **keeps);
        let mut taken: HashSet<String> = own.map(|(name, _)| name.clone()).collect();
        let resolutions = keeps_own
            .iter()
            .enumerate()
            .map(|(index, keeps)| if *keeps { self.own_name(index) } else { self.new_name(index, &mut taken) });
        resolutions.collect()
    }

    fn keeps_own_name(&self, index: usize) -> bool {
        let name = self.names[index].as_str();
        let claim = &self.claims[name];
        claim.backends.1.is_none() && claim.keeper == index && name.len() <= self.max_length
    }

    fn own_name(&self, index: usize) -> Resolution {
        let name = &self.names[index];
        let unchanged = *name == self.request.contenders[index].name;
        Resolution::expose(name, if unchanged { "its own name" } else { "illegal characters replaced" })
    }

    fn new_name(&self, index: usize, taken: &mut HashSet<String>) -> Resolution {
        let contender = &self.request.contenders[index];
        let name = self.names[index].as_str();
        let claim = &self.claims[name];
        let Some(second) = claim.backends.1 else {
            let why = if claim.keeper == index {
                format!("shortened to {}", self.max_length)
            } else {
                format!("another one of this backend is `{name}`")
            };
            return Resolution::expose(self.free_name("", contender, name, taken), why);
        };
        let rival = if claim.backends.0 == contender.backend { second } else { claim.backends.0 };
        let prefix = self.request.names.replace_illegal(&contender.slug) + &self.separator;
        let prefixed = format!("{prefix}{name}");
        if prefixed.len() > self.max_length {
            let short = self.free_name(&prefix, contender, name, taken);
            Resolution::expose(short, format!("prefixed and shortened: {rival} has it too"))
        } else if taken.insert(prefixed.clone()) {
            Resolution::expose(prefixed, format!("prefixed: {rival} has it too"))
        } else {
            let marked = self.free_name(&prefix, contender, name, taken);
            Resolution::expose(marked, format!("prefixed: {rival} has it too; marked: `{prefixed}` is taken"))
        }
    }

    /// The prefixed name, cut as needed, with the first hash that makes it unique.
    fn free_name(&self, prefix: &str, contender: &Contender, name: &str, taken: &mut HashSet<String>) -> String {
        let free = (0u32..).find_map(|attempt| {
            let hash = shorten::hash(&contender.backend, &contender.original_name, attempt);
            let marked = marked(&shortened(prefix, name, self.max_length - 1 - hash.len()), &hash);
            taken.insert(marked.clone()).then_some(marked)
        });
        free.expect("there are more hashes than contenders")
    }
}

#[cfg(test)]
mod tests;
