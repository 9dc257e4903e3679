//! Documents do not lie: links lead somewhere, and the flags and keys they name exist.
//!
//! The YAML in documents is loaded by a test, since loading is the host's affair.

mod markdown;
mod vocabulary;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::bail;

use self::{
    markdown::{Markdown, Snippet},
    vocabulary::Vocabulary,
};
use crate::{
    cache::Cache,
    steps::{output, step},
    test,
};

/// Links only: needs nothing built.
pub(crate) fn check_links(cache: &Cache) -> anyhow::Result<()> {
    let documents = read_all(cache)?;
    let problems: Vec<_> = documents.iter().flat_map(|(file, text)| broken_links(file, text, &documents)).collect();
    report("links", &documents, &problems)
}

/// Links, flags and keys.
pub(crate) fn check(cache: &Cache) -> anyhow::Result<()> {
    check_links(cache)?;
    test::build_binaries(cache)?;
    let vocabulary = Vocabulary::learn(cache)?;
    let documents = read_all(cache)?;
    let mut problems = Vec::new();
    for (file, text) in &documents {
        for snippet in &text.snippets {
            problems.extend(vocabulary.unknown_words(snippet).map(|word| complaint(file, snippet, &word)));
        }
    }
    report("flags and keys", &documents, &problems)
}

fn complaint(file: &Path, snippet: &Snippet, word: &str) -> String {
    format!("{}:{}: `{word}` does not exist", file.display(), snippet.line)
}

fn report(what: &str, documents: &BTreeMap<PathBuf, Markdown>, problems: &[String]) -> anyhow::Result<()> {
    if problems.is_empty() {
        step(&format!("{what} of {} documents are right", documents.len()));
        return Ok(());
    }
    bail!("{what}:\n  {}", problems.join("\n  "))
}

/// Every Markdown file that git knows or would take, by absolute path.
fn read_all(cache: &Cache) -> anyhow::Result<BTreeMap<PathBuf, Markdown>> {
    let mut git = cache.command("git");
    let listed = output(git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "*.md"]))?;
    let mut documents = BTreeMap::new();
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let file = cache.root().join(name);
        // A file may be deleted and not yet committed so.
        if file.exists() {
            let text = std::fs::read_to_string(&file)?;
            documents.insert(file, Markdown::parse(&text));
        }
    }
    Ok(documents)
}

fn broken_links(file: &Path, text: &Markdown, documents: &BTreeMap<PathBuf, Markdown>) -> Vec<String> {
    let mut problems = Vec::new();
    for link in &text.links {
        if link.target.contains("://") || link.target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = link.target.split_once('#').unwrap_or((&link.target, ""));
        let target = if path.is_empty() { file.to_owned() } else { normal(&file.with_file_name(path)) };
        if !target.exists() {
            problems.push(format!("{}:{}: {} leads nowhere", file.display(), link.line, link.target));
        } else if !anchor.is_empty()
            && documents.get(&target).is_some_and(|document| !document.anchors.iter().any(|known| known == anchor))
        {
            problems.push(format!("{}:{}: {} names no heading", file.display(), link.line, link.target));
        }
    }
    problems
}

/// Without `.` and `..`, as the keys of the documents are.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}
