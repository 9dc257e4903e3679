//! The configurations in documents and examples are ones that the host takes.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use vmcp_tests::process::{binary, run, workspace_dir};

/// Files below `dir` with this ending, built and hidden folders left out.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && !["target", "node_modules", "golden", "negative"].contains(&name.as_str()) {
                found.extend(files(&path, ending));
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Blocks marked as YAML that look like a configuration, with the line they begin in.
fn configurations(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut block: Option<(usize, usize, String)> = None;
    for (index, line) in markdown.lines().enumerate() {
        match &mut block {
            Some(_) if line.trim() == "```" => {
                let (start, indent, text) = block.take().unwrap();
                let unindented =
                    text.lines().map(|line| line.get(indent..).unwrap_or("")).collect::<Vec<_>>().join("\n");
                found.push((start, unindented));
            }
            Some((_, _, text)) => {
                text.push_str(line);
                text.push('\n');
            }
            None if line.trim() == "```yaml" => {
                block = Some((index + 1, line.len() - line.trim_start().len(), String::new()));
            }
            None => {}
        }
    }
    found.retain(|(_, text)| {
        text.lines().any(|line| line.starts_with("backends:") || line.starts_with("backendsFrom:"))
    });
    found
}

/// A value for each variable that a configuration takes a secret from, as its reader would have.
fn variables(yaml: &str) -> Vec<(String, &'static str)> {
    let words: Vec<_> = yaml.split([' ', '\n', '{', '}', ',', '"', '\'']).filter(|word| !word.is_empty()).collect();
    let named = words.windows(2).filter(|pair| ["fromEnv:", "headerValueEnv:"].contains(&pair[0]));
    named.map(|pair| (pair[1].to_owned(), "a value")).collect()
}

#[tokio::test]
async fn every_configuration_in_documents_and_examples_is_valid() {
    let root = workspace_dir();
    let mut problems = Vec::new();
    let mut checked = 0;
    let mut check = async |file: &Path, what: String| {
        checked += 1;
        let mut validate = Command::new(binary("vmcp-host"));
        validate.arg("validate").arg("-c").arg(file).envs(variables(&std::fs::read_to_string(file).unwrap()));
        let (code, stdout, stderr) = run(&mut validate).await;
        if code != Some(0) {
            problems.push(format!("{what}:\n{stdout}{stderr}"));
        }
    };
    for file in files(&root.join("examples"), ".yaml") {
        let text = std::fs::read_to_string(&file).unwrap();
        if text.contains("\nbackends:") || text.contains("\nbackendsFrom:") {
            check(&file, file.display().to_string()).await;
        }
    }
    for document in files(root, ".md") {
        let text = std::fs::read_to_string(&document).unwrap();
        for (line, block) in configurations(&text) {
            // Beside the quickstart, where relative paths of the documents lead.
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("vmcp.yaml");
            std::fs::write(&file, block).unwrap();
            check(&file, format!("{}:{line}", document.display())).await;
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(checked > 0, "no configuration was found");
}
