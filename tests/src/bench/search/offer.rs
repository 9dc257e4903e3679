//! Many tools and distinct queries for them: from files, or made up from a seed.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};

use super::{QUERIES, WARM_UP};

/// Longest name: the host puts the backend's before it.
const NAME_LENGTH: usize = 50;
/// Words that made-up texts are made of.
const VOCABULARY: usize = 20_000;
/// Words of a query that is made from those of the tools.
const QUERY_WORDS: std::ops::RangeInclusive<usize> = 5..=18;
/// The words that every text has, the most frequent first.
const COMMON: [&str; 24] = [
    "the", "a", "of", "to", "and", "for", "in", "with", "by", "or", "from", "this", "on", "an", "is", "get", "list",
    "id", "name", "data", "create", "that", "search", "user",
];

/// What a host is given to search in, and what is searched for.
pub(super) struct Offer {
    pub(super) name: String,
    /// Definitions as of `tools/list`, with distinct names that are legal everywhere.
    pub(super) definitions: Vec<Value>,
    /// As many as are measured, all distinct.
    pub(super) queries: Vec<String>,
    /// Others.
    pub(super) warm_up: Vec<String>,
}

impl Offer {
    /// The tools of `file`, a line each with `server`, `name`, `description` and `input_schema`.
    pub(super) fn read(file: &Path, queries: &[PathBuf], seed: u64) -> anyhow::Result<Self> {
        let mut names = HashSet::new();
        let definition = |tool: Value| {
            let name = distinct(&mut names, &legal(&format!("{}_{}", text(&tool["server"]), text(&tool["name"]))));
            json!({ "name": name, "description": text(&tool["description"]), "inputSchema": tool["input_schema"] })
        };
        let definitions = read_lines(file)?.into_iter().map(definition).collect();
        let name = file.parent().and_then(Path::file_name).unwrap_or(file.as_os_str());
        Self::new(name.to_string_lossy().into_owned(), definitions, queries, seed)
    }

    /// So many made-up tools. Words are as unequal as in any language: the n-th most frequent comes every n-th time.
    pub(super) fn make(count: usize, queries: &[PathBuf], seed: u64) -> anyhow::Result<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let words = Words::new(&mut random);
        let mut names = HashSet::new();
        let definitions = (0..count)
            .map(|_| {
                let name: Vec<_> = (0..random.random_range(2..=4)).map(|_| words.pick(&mut random)).collect();
                let parameters: Map<_, _> = (0..random.random_range(0..=5))
                    .map(|_| {
                        let description = words.text(&mut random, 3..=10);
                        (words.pick(&mut random).to_owned(), json!({ "type": "string", "description": description }))
                    })
                    .collect();
                json!({
                    "name": distinct(&mut names, &legal(&name.join("_"))),
                    "description": words.text(&mut random, 6..=40),
                    "inputSchema": { "type": "object", "properties": parameters },
                })
            })
            .collect();
        Self::new(format!("{count} made up"), definitions, queries, seed)
    }

    fn new(name: String, definitions: Vec<Value>, files: &[PathBuf], seed: u64) -> anyhow::Result<Self> {
        ensure!(!definitions.is_empty(), "{name} has no tools");
        let mut distinct = HashSet::new();
        let mut queries = Vec::new();
        for file in files {
            let asked = read_lines(file)?.into_iter().map(|query| text(&query["query"]).to_owned());
            queries.extend(asked.filter(|query| distinct.insert(query.clone())));
        }
        queries.truncate(QUERIES);
        let mut random = StdRng::seed_from_u64(seed);
        while queries.len() < QUERIES + WARM_UP {
            let query = query(&definitions, &mut random);
            if distinct.insert(query.clone()) {
                queries.push(query);
            }
        }
        let warm_up = queries.split_off(QUERIES);
        Ok(Self { name, definitions, queries, warm_up })
    }
}

/// Words of the descriptions of three tools, in the length of what people and models ask.
fn query(definitions: &[Value], random: &mut StdRng) -> String {
    let texts: Vec<_> = definitions.choose_multiple(random, 3).map(|tool| text(&tool["description"])).collect();
    let words: Vec<_> = texts.iter().flat_map(|text| text.split_whitespace()).chain(COMMON).collect();
    let count = random.random_range(QUERY_WORDS);
    (0..count).map(|_| *words.choose(random).expect("there are common words")).collect::<Vec<_>>().join(" ")
}

/// A vocabulary whose words come as often as in a language.
struct Words {
    words: Vec<String>,
    /// Sum of the frequencies up to each word.
    cumulated: Vec<f64>,
}

impl Words {
    fn new(random: &mut StdRng) -> Self {
        let mut words: Vec<_> = COMMON.map(str::to_owned).into();
        while words.len() < VOCABULARY {
            let syllable = |random: &mut StdRng| {
                let letter =
                    |letters: &[u8], random: &mut StdRng| char::from(*letters.choose(random).expect("not empty"));
                [letter(b"bcdfghklmnprstvz", random), letter(b"aeiou", random)]
            };
            words.push((0..random.random_range(2..=5)).flat_map(|_| syllable(random)).collect());
        }
        let mut sum = 0.0;
        let cumulated = (1..=u32::try_from(VOCABULARY).expect("it is small")).map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        Self { cumulated: cumulated.collect(), words }
    }

    fn pick(&self, random: &mut StdRng) -> &str {
        let all = self.cumulated.last().expect("there are words");
        let drawn = random.random_range(0.0..*all);
        &self.words[self.cumulated.partition_point(|sum| *sum < drawn)]
    }

    fn text(&self, random: &mut StdRng, words: std::ops::RangeInclusive<usize>) -> String {
        (0..random.random_range(words)).map(|_| self.pick(random)).collect::<Vec<_>>().join(" ")
    }
}

fn read_lines(file: &Path) -> anyhow::Result<Vec<Value>> {
    let lines = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let line = |(index, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}", file.display(), index + 1))
    };
    lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `name` in letters, digits and `_`, not too long.
fn legal(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(NAME_LENGTH - 6).collect()
}

/// `name`, with a number when it was there before.
fn distinct(names: &mut HashSet<String>, name: &str) -> String {
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !names.contains(name));
    let free = free.expect("numbers do not end");
    names.insert(free.clone());
    free
}
