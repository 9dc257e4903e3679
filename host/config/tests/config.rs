//! The configuration from the outside: files with mistakes, a file with every key, and the committed pages.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use vmcp_config::{ConfigError, Fate, Problem, Rule, load, load_str};

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn problems(path: &Path) -> Vec<Problem> {
    match load(path) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Invalid { problems }) => problems,
        Err(error) => panic!("{error}"),
    }
}

/// `tests/negative/<rule>[.<detail>].yaml`; the first line is `# expect: LINE:COLUMN KEYPATH`.
fn negative_files() -> Vec<(PathBuf, String)> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(here().join("negative")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let with_rule = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let rule = name.split('.').next().unwrap().to_owned();
        (path, rule)
    };
    files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "yaml")).map(with_rule).collect()
}

#[test]
fn every_negative_file_has_its_one_problem_at_its_place() {
    let mut wrong = Vec::new();
    for (path, rule) in negative_files() {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let expected = text.lines().next().unwrap_or_default().trim_start_matches("# expect: ").trim().to_owned();
        let found: Vec<String> = problems(&path)
            .iter()
            .map(|problem| {
                let place = format!("{}:{} {}", problem.location.line, problem.location.column, problem.path);
                format!("{} {}", problem.rule.id(), place.trim_end())
            })
            .collect();
        if found != [format!("{rule} {expected}")] {
            wrong.push(format!("{}: expected {expected}, found {found:#?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rules of warnings, of other files, of components and of tools; other tests show them.
const SHOWN_ELSEWHERE: [Rule; 9] = [
    Rule::BadArgument,
    Rule::ComponentConfig,
    Rule::EditorPlaceholder,
    Rule::MissingArgument,
    Rule::UncheckedCall,
    Rule::UnknownArgument,
    Rule::UnknownBackend,
    Rule::UnknownTool,
    Rule::Unsupported,
];

#[test]
fn every_rule_has_a_negative_file() {
    let shown: BTreeSet<String> = negative_files().into_iter().map(|(_, rule)| rule).collect();
    let missing: Vec<_> = Rule::ALL
        .iter()
        .filter(|rule| !SHOWN_ELSEWHERE.contains(rule))
        .map(|rule| rule.id())
        .filter(|id| !shown.contains(*id))
        .collect();
    assert_eq!(missing, [""; 0]);
    let known: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id().to_owned()).collect();
    assert_eq!(shown.difference(&known).collect::<Vec<_>>(), [""; 0], "files for rules that do not exist");
}

#[test]
fn a_file_with_ten_mistakes_has_ten_problems() {
    let problems = problems(&here().join("ten-mistakes.yaml"));
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 10, "{}", shown.join("\n"));
    let lines: Vec<_> = problems.iter().map(|problem| problem.location.line).collect();
    assert!(lines.is_sorted(), "{lines:?}");
}

#[test]
fn a_file_with_every_key_loads_and_tells_the_fate_of_each() {
    let path = here().join("every-key.yaml");
    let loaded = load(&path).unwrap_or_else(|error| panic!("{error}"));
    let refused: Vec<_> = loaded.refused().iter().map(|problem| problem.path.to_string()).collect();
    for key in ["incomingAuth.type", "rateLimiting", "sessionStorage.provider", "incomingAuth.authz.type"] {
        assert!(refused.iter().any(|path| path == key), "{key} is not refused: {refused:?}");
    }
    let fates: BTreeSet<_> = loaded.keys.iter().map(|key| format!("{:?}", key.fate)).collect();
    assert_eq!(fates.len(), 3);
    assert!(loaded.keys.iter().all(|key| (key.fate == Fate::Honoured) == key.reason.is_empty()));
}

/// What a line's value becomes; the empty one takes the line away.
const DAMAGE: [&str; 9] = ["", "~", "[1]", "{ a: b }", "-1", "text", "'", "&a *a", "!!int x"];

/// Every line of the file with every key, in turn taken out or given another value: there is always a configuration or a
/// problem at a place inside the file, and never one that the schema let through and the types did not.
#[test]
fn a_damaged_file_is_refused_at_a_place_inside_it() {
    let text = fs::read_to_string(here().join("every-key.yaml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for index in 0..lines.len() {
        for value in DAMAGE.iter().cycle().skip(index).step_by(4).take(3) {
            let key = lines[index].split_once(": ").map_or(lines[index].trim_end_matches(':'), |(key, _)| key);
            let damaged = if value.is_empty() { String::new() } else { format!("{key}: {value}") };
            let text = [&lines[..index], &[damaged.as_str()], &lines[index + 1..]].concat().join("\n");
            let Err(error) = load_str(&text, "damaged.yaml", &here()) else { continue };
            assert!(!error.problems().is_empty());
            for problem in error.problems() {
                assert!(problem.location.line <= lines.len() + 1, "{damaged}: {problem}");
                let known = !problem.path.steps().is_empty() || problem.rule != Rule::WrongType;
                assert!(known, "line {}, `{damaged}`: {problem}", index + 1);
            }
        }
    }
}

/// Keys that the reference format does not have.
const OWN: [&str; 35] = [
    "admin",
    "aggregation.defaultPromptVisibility",
    "aggregation.defaultResourceVisibility",
    "aggregation.excludeAllPrompts",
    "aggregation.excludeAllResources",
    "aggregation.names",
    "aggregation.prompts",
    "aggregation.resources",
    "aggregation.tools[].overrides.<name>.parameters",
    "backends[].args",
    "backends[].command",
    "backends[].cwd",
    "backends[].env",
    "backends[].envFrom",
    "backends[].headers",
    "backends[].idleTimeout",
    "backends[].lazy",
    "backends[].maxConcurrency",
    "backends[].maxProcesses",
    "backends[].requestTimeout",
    "backends[].resources",
    "backends[].sessions",
    "backends[].startTimeout",
    "backendsFrom",
    "cacheDir",
    "compositeTools[].config",
    "compositeTools[].grants",
    "compositeTools[].sha256",
    "compositeTools[].workflow",
    "optimizer.ranking",
    "optimizer.rankingConfig",
    "plugins",
    "sealing",
    "server",
    "stateDir",
];

#[test]
fn the_file_with_every_key_has_every_key_of_the_reference() {
    let text = fs::read_to_string(here().join("every-key.yaml")).unwrap();
    let loaded = load_str(&text, "every-key.yaml", &here()).unwrap_or_else(|error| panic!("{error}"));
    let generic = |path: &str| {
        let mut generic = String::new();
        let mut rest = path;
        while let Some((before, after)) = rest.split_once('[') {
            let (index, tail) = after.split_once(']').unwrap();
            generic.push_str(before);
            generic.push_str(if index.starts_with('"') { ".<name>" } else { "[]" });
            rest = tail;
        }
        generic + rest
    };
    let present: BTreeSet<String> = loaded.keys.iter().map(|key| generic(&key.path)).collect();
    let page = vmcp_config::reference_markdown();
    let mut missing = Vec::new();
    let mut section = String::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = match heading {
                "Top level" => String::new(),
                heading => format!("{}.", heading.trim_matches('`')),
            };
        } else if let Some(row) = line.strip_prefix("| `") {
            let key = format!("{section}{}", row.split('`').next().unwrap());
            let is_own = OWN
                .iter()
                .any(|own| key == *own || key.starts_with(&format!("{own}.")) || key.starts_with(&format!("{own}[]")));
            // The page describes a strategy once, the file shows each kind at a backend.
            let key = key.replace("outgoingAuth.default.", "outgoingAuth.backends.<name>.");
            let wildcard = |present: &String| matches_generic(present, &key);
            if !is_own && !present.iter().any(wildcard) {
                missing.push(key);
            }
        }
    }
    assert_eq!(missing, [""; 0]);
}

/// Whether a key of the file is `key`, or lies below it; `<name>` stands for any name.
fn matches_generic(present: &str, key: &str) -> bool {
    let mut present = present.split('.');
    key.split('.').all(|part| {
        present.next().is_some_and(|own| part == "<name>" || own == part || own.trim_end_matches("[]") == part)
    })
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    committed(vmcp_config::SCHEMA_PATH, &vmcp_config::schema_text());
    let schema: Value = serde_json::from_str(&vmcp_config::schema_text()).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_committed_page_is_the_generated_one() {
    committed(vmcp_config::REFERENCE_PATH, &vmcp_config::reference_markdown());
}

/// Compares a committed file with what is generated; with `UPDATE` set, writes it.
fn committed(path: &str, generated: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, generated).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == generated, "{path} is out of date; `cargo xtask schema` writes it anew");
}
