//! Tool sets and golden queries: files of JSON lines, `tools.jsonl` and `queries.jsonl`.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::document::ToolDocument;

/// One line of `tools.jsonl`. Other keys than these are not looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoldenTool {
    pub server: String,
    pub name: String,
    /// The name that clients see, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub input_schema: Value,
}

impl GoldenTool {
    /// `server/name`, by which golden queries and runs refer to it.
    pub fn id(&self) -> String {
        tool_id(&self.server, &self.name)
    }

    /// The tool as `tools/list` shows it.
    pub fn definition(&self) -> String {
        let mut definition = json!({ "name": self.advertised(), "inputSchema": self.input_schema });
        if let Some(description) = &self.description {
            definition["description"] = json!(description);
        }
        definition.to_string()
    }

    fn advertised(&self) -> &str {
        self.advertised.as_deref().unwrap_or(&self.name)
    }
}

/// By what golden queries and runs refer to a tool.
pub(super) fn tool_id(server: &str, name: &str) -> String {
    format!("{server}/{name}")
}

/// One line of `queries.jsonl`. Other keys than these are not looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoldenQuery {
    pub id: String,
    pub query: String,
    /// Ids of the needed tools.
    #[serde(default)]
    pub gold: Vec<String>,
    /// One group for each needed tool: any of its ids will do. Without groups each gold id is a group of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Vec<String>>,
    /// Where the query comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Handed to the search as a client hands over `tool_keywords`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
}

impl GoldenQuery {
    /// One entry for each needed tool: the ids that will do.
    pub fn needs(&self) -> Vec<Vec<&str>> {
        match self.groups.is_empty() {
            true => self.gold.iter().map(|id| vec![id.as_str()]).collect(),
            false => self.groups.iter().map(|group| group.iter().map(String::as_str).collect()).collect(),
        }
    }

    fn problem(&self) -> Option<String> {
        let needs = self.needs();
        match () {
            () if self.query.trim().is_empty() && self.keywords.is_empty() => Some("`query` is empty".into()),
            () if needs.is_empty() => Some("neither `gold` nor `groups` names a tool".into()),
            () if needs.iter().any(Vec::is_empty) => Some("a group of `groups` names no tool".into()),
            () => None,
        }
    }
}

/// Tools, and what is to be found among them.
#[derive(Clone, Debug)]
pub struct GoldenSet {
    pub name: String,
    pub tools: Vec<GoldenTool>,
    pub queries: Vec<GoldenQuery>,
}

impl GoldenSet {
    /// The set of two files; its name is that of their folder when the file is called `tools.jsonl`, else the file's.
    pub fn read(tools: &Path, queries: Option<&Path>) -> Result<Self, GoldenError> {
        let queries = queries.map(read_queries).transpose()?.unwrap_or_default();
        Ok(Self { name: set_name(tools), tools: read_tools(tools)?, queries })
    }

    /// The tools as documents of an index, whose names differ: a name that repeats gets underscores, in which no word is.
    pub fn documents(&self) -> Vec<Arc<ToolDocument>> {
        let mut names = HashSet::new();
        let document = |tool: &GoldenTool| {
            let mut advertised = tool.advertised().to_owned();
            while !names.insert(advertised.clone()) {
                advertised.push('_');
            }
            Arc::new(ToolDocument::new(&advertised, &tool.name, &tool.server, &tool.definition()))
        };
        self.tools.iter().map(document).collect()
    }

    /// Needed tools that none of the tools can stand for: each is a miss, whatever the search does.
    pub fn missing(&self) -> Vec<String> {
        let there: HashSet<_> = self.tools.iter().map(GoldenTool::id).collect();
        let needs = self.queries.iter().flat_map(GoldenQuery::needs);
        let mut missing: Vec<_> =
            needs.filter(|group| !group.iter().any(|id| there.contains(*id))).map(|group| group.join(" or ")).collect();
        missing.sort();
        missing.dedup();
        missing
    }
}

fn set_name(tools: &Path) -> String {
    let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let folder = || {
        let folder = std::path::absolute(tools).ok()?;
        part(folder.parent()?.file_name())
    };
    let stem = part(tools.file_stem()).unwrap_or_default();
    if stem == "tools" { folder().unwrap_or(stem) } else { stem }
}

/// The tools of a file.
///
/// # Errors
/// Names the line that is no tool, or repeats one.
pub fn read_tools(file: &Path) -> Result<Vec<GoldenTool>, GoldenError> {
    read_rows(file, GoldenTool::id, |_| None)
}

/// The queries of a file.
///
/// # Errors
/// Names the line that is no query, needs no tool, or repeats an id.
pub fn read_queries(file: &Path) -> Result<Vec<GoldenQuery>, GoldenError> {
    read_rows(file, |query: &GoldenQuery| query.id.clone(), GoldenQuery::problem)
}

/// One row per line that is not blank; `problem` says what is wrong with a row.
fn read_rows<T: DeserializeOwned>(
    file: &Path,
    id: impl Fn(&T) -> String,
    problem: impl Fn(&T) -> Option<String>,
) -> Result<Vec<T>, GoldenError> {
    let unreadable = |source| GoldenError::Unreadable { file: file.to_owned(), source };
    let lines = BufReader::new(File::open(file).map_err(unreadable)?).lines();
    let (mut rows, mut seen) = (Vec::new(), HashSet::new());
    for (index, line) in lines.enumerate() {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        let bad = |reason| GoldenError::Line { file: file.to_owned(), line: index + 1, reason };
        let row: T = serde_json::from_str(&line).map_err(|error| bad(without_line(&error)))?;
        if let Some(reason) = problem(&row) {
            return Err(bad(reason));
        }
        let id = id(&row);
        if seen.contains(&id) {
            return Err(bad(format!("`{id}` was there before")));
        }
        seen.insert(id);
        rows.push(row);
    }
    match rows.is_empty() {
        true => Err(GoldenError::Empty { file: file.to_owned() }),
        false => Ok(rows),
    }
}

/// What is wrong with a line, without the number of the line, which is always 1.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&position) {
        Some(reason) => format!("{reason}, column {}", error.column()),
        None => text,
    }
}

/// Why a file of tools or queries cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenError {
    #[error("cannot read {}", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{}, line {line}: {reason}", file.display())]
    Line { file: PathBuf, line: usize, reason: String },
    #[error("{} has no line", file.display())]
    Empty { file: PathBuf },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn lines_become_tools_and_blank_ones_nothing() {
        let file = written(
            "{\"server\":\"git\",\"name\":\"log\"}\n\n{\"server\":\"git\",\"name\":\"diff\",\"description\":\"x\",\"input_schema\":{},\"more\":1}\n",
        );
        let tools = read_tools(file.path()).unwrap();
        assert_eq!(tools.iter().map(GoldenTool::id).collect::<Vec<_>>(), ["git/log", "git/diff"]);
        assert_eq!((tools[0].description.as_deref(), tools[1].description.as_deref()), (None, Some("x")));
    }

    #[test]
    fn a_bad_line_is_named_with_its_file() {
        let check = |text: &str, line: usize, expected: &str| {
            let file = written(text);
            let error = read_queries(file.path()).unwrap_err().to_string();
            assert_eq!(error, format!("{}, line {line}: {expected}", file.path().display()));
        };
        let good = r#"{"id":"a","query":"x","gold":["s/t"]}"#;
        check(&format!("{good}\n\nnonsense"), 3, "expected ident, column 2");
        check(&format!("{good}\n{good}"), 2, "`a` was there before");
        check(r#"{"id":"a","query":" ","gold":["s/t"]}"#, 1, "`query` is empty");
        check(r#"{"id":"a","query":"x"}"#, 1, "neither `gold` nor `groups` names a tool");
        check(r#"{"id":"a","query":"x","groups":[["s/t"],[]]}"#, 1, "a group of `groups` names no tool");
        check(r#"{"query":"x","gold":["s/t"]}"#, 1, "missing field `id`, column 28");
    }

    #[test]
    fn a_file_without_lines_is_no_set() {
        let file = written("\n");
        assert!(read_tools(file.path()).unwrap_err().to_string().ends_with(" has no line"));
    }

    #[test]
    fn needs_are_groups_or_else_single_tools() {
        let check = |text: &str, expected: &[&[&str]]| {
            let query: GoldenQuery = serde_json::from_str(text).unwrap();
            assert_eq!(query.needs(), expected, "{text}");
        };
        check(r#"{"id":"a","query":"x","gold":["a","b"]}"#, &[&["a"], &["b"]]);
        check(r#"{"id":"a","query":"x","gold":["a","b"],"groups":[]}"#, &[&["a"], &["b"]]);
        check(r#"{"id":"a","query":"x","gold":["a","b"],"groups":[["a","b"]]}"#, &[&["a", "b"]]);
    }

    #[test]
    fn tools_that_are_not_there_are_told() {
        let tool = |name: &str| GoldenTool {
            server: "s".into(),
            name: name.into(),
            advertised: None,
            description: None,
            input_schema: Value::Null,
        };
        let query = |groups: &[&[&str]]| GoldenQuery {
            id: "q".into(),
            query: "x".into(),
            gold: Vec::new(),
            groups: groups.iter().map(|group| group.iter().map(|id| (*id).to_owned()).collect()).collect(),
            source: None,
            keywords: Vec::new(),
        };
        let queries = vec![query(&[&["s/a"], &["s/x", "s/y"]]), query(&[&["s/x", "s/a"], &["s/z"]])];
        let set = GoldenSet { name: "set".into(), tools: vec![tool("a"), tool("b")], queries };
        assert_eq!(set.missing(), ["s/x or s/y", "s/z"]);
    }

    #[test]
    fn documents_have_names_of_their_own_and_keep_their_tools() {
        let tool = |server: &str| GoldenTool {
            server: server.into(),
            name: "search".into(),
            advertised: None,
            description: None,
            input_schema: Value::Null,
        };
        let set = GoldenSet { name: "set".into(), tools: vec![tool("a"), tool("b"), tool("c")], queries: Vec::new() };
        let documents = set.documents();
        let names: Vec<_> = documents.iter().map(|d| (d.name(), d.own_name(), d.server())).collect();
        assert_eq!(names, [("search", "search", "a"), ("search_", "search", "b"), ("search__", "search", "c")]);
    }

    #[test]
    fn a_set_is_named_by_its_folder_or_file() {
        let check = |path: &str, expected: &str| assert_eq!(set_name(Path::new(path)), expected, "{path}");
        check("/data/mine/tools.jsonl", "mine");
        check("/data/mine.jsonl", "mine");
    }
}
