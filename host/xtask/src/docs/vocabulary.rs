//! The words that documents may use: flags of the binary and of these commands, keys of the configuration.

use std::{collections::BTreeSet, path::Path};

use anyhow::Context;
use clap::CommandFactory;
use serde_json::Value;

use super::markdown::Snippet;
use crate::{Cli, cache::Cache, steps::output};

pub(crate) struct Vocabulary {
    flags: BTreeSet<String>,
    /// Keys at the top of the file.
    top_keys: BTreeSet<String>,
    /// Keys anywhere in the file.
    keys: BTreeSet<String>,
}

impl Vocabulary {
    pub(crate) fn learn(cache: &Cache) -> anyhow::Result<Self> {
        let mut flags = BTreeSet::new();
        flags_of_binary(cache, &mut Vec::new(), &mut flags)?;
        flags_of_xtask(&Cli::command(), &mut flags);
        let file = cache.root().join("docs/reference/vmcp.schema.json");
        let schema = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let schema: Value = serde_json::from_str(&schema)?;
        let top_keys = schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
        let mut keys = BTreeSet::new();
        collect_keys(&schema, &mut keys);
        Ok(Self { flags, top_keys, keys })
    }

    /// Flags and keys in `snippet` that do not exist.
    pub(crate) fn unknown_words(&self, snippet: &Snippet) -> impl Iterator<Item = String> {
        let flags = our_flags(snippet).filter(|flag| !self.flags.contains(*flag)).map(str::to_owned);
        let keys = self.unknown_key(snippet);
        flags.chain(keys).collect::<Vec<_>>().into_iter()
    }

    /// A span such as `aggregation.names`, `backends[].headers` or `stateDir:`.
    fn unknown_key(&self, snippet: &Snippet) -> Option<String> {
        if !snippet.is_span {
            return None;
        }
        let text = &snippet.text;
        let (path, is_key) = match text.strip_suffix(':') {
            Some(key) => (key, true),
            None => (text.as_str(), false),
        };
        let parts: Vec<_> = path.split('.').map(|part| part.strip_suffix("[]").unwrap_or(part)).collect();
        let looks_like_one = parts.iter().all(|part| is_camel_case(part));
        let is_ours = is_key || (parts.len() > 1 && self.top_keys.contains(parts[0]));
        let is_file = parts.len() == 2
            && Path::new(path).extension().is_some_and(|end| FILE_ENDS.iter().any(|known| end == *known));
        let known = parts.iter().all(|part| self.keys.contains(*part));
        (looks_like_one && is_ours && !is_file && !known).then(|| text.clone())
    }
}

const FILE_ENDS: [&str; 8] = ["rs", "md", "yaml", "json", "toml", "wasm", "lock", "sock"];

fn is_camel_case(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(|c| c.is_ascii_alphanumeric())
}

/// The flags in a snippet that are meant to be ours: those after `vmcp-host` or `cargo xtask`, and a span that is a flag.
fn our_flags(snippet: &Snippet) -> impl Iterator<Item = &str> {
    let text = snippet.text.as_str();
    let ours = if snippet.is_span && text.starts_with("--") {
        text
    } else if let Some(at) = text.find("cargo run") {
        text[at..].split_once(" -- ").map_or("", |(_, rest)| rest)
    } else {
        let start = ["vmcp-host ", "cargo xtask "].iter().find_map(|name| Some(text.find(name)? + name.len()));
        start.map_or("", |start| &text[start..])
    };
    // What follows a pipe or a comment sign is another program or none.
    let ours = ours.split(['|', '#', '&']).next().unwrap_or_default();
    ours.split([' ', '=', '"', '\'', ',', ']', '[', ')']).filter(|word| word.starts_with("--") && word.len() > 2)
}

fn flags_of_xtask(command: &clap::Command, flags: &mut BTreeSet<String>) {
    flags.extend(command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?))));
    command.get_subcommands().for_each(|command| flags_of_xtask(command, flags));
}

fn flags_of_binary(cache: &Cache, path: &mut Vec<String>, flags: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let help = output(cache.command(cache.binary("debug", "vmcp-host")).args(path.iter()).arg("--help"))?;
    flags.extend(help.split([' ', ',', '\n', '[', ']']).filter(|word| word.starts_with("--")).map(str::to_owned));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for name in commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| !name.is_empty()) {
        if name != "help" {
            path.push(name.to_owned());
            flags_of_binary(cache, path, flags)?;
            path.pop();
        }
    }
    Ok(())
}

fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| collect_keys(value, keys));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Vocabulary {
            flags: words(&["--port", "--stdio"]),
            top_keys: words(&["backends", "aggregation"]),
            keys: words(&["backends", "aggregation", "headers", "stateDir"]),
        }
    }

    #[test]
    fn only_words_of_ours_are_checked() {
        let check = |text: &str, is_span: bool, expected: &[&str]| {
            let snippet = Snippet { text: text.to_owned(), line: 1, is_span };
            assert_eq!(vocabulary().unknown_words(&snippet).collect::<Vec<_>>(), expected, "{text}");
        };
        check("--port", true, &[]);
        check("--prot", true, &["--prot"]);
        check("vmcp-host serve --port=0 --stido | jq --raw-output", false, &["--stido"]);
        check("npx --yes server", false, &[]);
        check("cargo run --release -- serve --stdio --nope", false, &["--nope"]);
        check("cargo build --release", false, &[]);
        check("backends[].headers", true, &[]);
        check("backends[].heads", true, &["backends[].heads"]);
        check("stateDir:", true, &[]);
        check("staetDir:", true, &["staetDir:"]);
        check("error.data.kind", true, &[]);
        check("main.rs", true, &[]);
        check("cfg:", false, &[]);
    }
}
