//! Server lists as desktop clients and editors keep them (`mcpServers`, or `servers`), read as backends.
//!
//! They are JSON, with the comments and trailing commas that editors allow. Only here are `${VAR}` and `${VAR:-default}`
//! replaced; a placeholder that only an editor can fill in (`${input:…}`, `${workspaceFolder}`) is refused by name.

use std::{fs, path::Path, sync::LazyLock};

use indexmap::IndexMap;
use regex::{Captures, Regex};

use crate::{
    key_path::KeyPath,
    problem::{Report, Rule, did_you_mean, sorted},
    scalar,
    section::backend::{BackendConfig, BackendEntry, TransportKind},
    tree::{Entry, Node, NodeKind, Tree},
    validate::{self, Environment},
    value::secret::Secret,
};

/// Keys of a server that this host understands.
const KNOWN_KEYS: [&str; 9] = ["args", "command", "cwd", "disabled", "env", "headers", "transport", "type", "url"];

/// Adds the servers of the file to `backends`; what is wrong with the file goes to `report`, with its own positions.
pub(crate) fn add(
    mut backends: Vec<BackendConfig>,
    file: &Path,
    environment: Environment<'_>,
    report: &mut Report<'_>,
) -> Vec<BackendConfig> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read `{}`: {error}", file.display());
            report.error(Rule::BadClientFile, &KeyPath::root().key("backendsFrom"), message);
            return backends;
        }
    };
    let tree = match Tree::parse(&without_comments(&text), &file.to_string_lossy()) {
        Ok((tree, problems)) => {
            report.errors.extend(problems);
            tree
        }
        Err(problem) => {
            report.errors.push(problem);
            return backends;
        }
    };
    let base = file.parent().unwrap_or(Path::new("/"));
    let mut own = Report::new(&tree);
    for (entry, path) in servers(&tree, &mut own) {
        let Some(server) = Reader { environment, report: &mut own }.server(entry, &path) else { continue };
        validate::backend::check_one(&server, &path, &mut own);
        let slug = vmcp_core::id::legalised(&server.name);
        if let Some(first) = backends.iter().find(|backend| backend.name.slug() == slug) {
            let message = format!("backend `{}` is already configured", first.name);
            own.error_at_key(Rule::DuplicateBackend, &path, message, None);
        } else {
            backends.extend(server.into_config(base));
        }
    }
    let Report { errors, warnings, .. } = own;
    report.errors.extend(sorted(errors));
    report.warnings.extend(warnings);
    backends
}

/// The servers of the file, each with its place.
fn servers<'t>(tree: &'t Tree, report: &mut Report<'_>) -> Vec<(&'t Entry, KeyPath)> {
    let root = KeyPath::root();
    let list = ["mcpServers", "servers"].into_iter().find_map(|key| Some((key, tree.root.get(key)?)));
    let Some((key, list)) = list else {
        let message = "expected a file with `mcpServers` (or `servers`), as desktop clients keep them";
        report.error(Rule::BadClientFile, &root, message);
        return Vec::new();
    };
    let path = root.key(key);
    let NodeKind::Map(entries) = &list.value.kind else {
        report.error(Rule::BadClientFile, &path, "expected a mapping of names to servers");
        return Vec::new();
    };
    entries.iter().map(|entry| (entry, path.key(&entry.key))).collect()
}

/// Reads the servers of one file.
struct Reader<'r, 't> {
    environment: Environment<'r>,
    report: &'r mut Report<'t>,
}

impl Reader<'_, '_> {
    /// One server; `None` when it is disabled or not to be understood.
    fn server(&mut self, entry: &Entry, path: &KeyPath) -> Option<BackendEntry> {
        if !matches!(entry.value.kind, NodeKind::Map(_)) {
            self.report.error(Rule::BadClientFile, path, "expected a mapping");
            return None;
        }
        if let Err(error) = vmcp_core::id::BackendId::new(&entry.key) {
            self.report.error_at_key(Rule::BadFormat, path, error.to_string(), None);
            return None;
        }
        let is_disabled = |disabled: &Entry| matches!(&disabled.value.kind, NodeKind::Scalar(s) if s.text == "true");
        if entry.value.get("disabled").is_some_and(is_disabled) {
            return None;
        }
        let before = self.report.errors.len();
        let mut server = BackendEntry::named(entry.key.clone());
        for field in entry.value.entries() {
            let path = path.key(&field.key);
            match field.key.as_str() {
                "command" => server.command = self.text(&field.value, &path),
                "url" => server.url = self.text(&field.value, &path),
                "cwd" => server.cwd = self.text(&field.value, &path).map(Into::into),
                "args" => server.args = self.texts(&field.value, &path),
                "env" => server.env = self.secrets(&field.value, &path),
                "headers" => server.headers = self.secrets(&field.value, &path),
                "type" | "transport" => server.transport = self.transport(&field.value, &path),
                "disabled" => {}
                key => {
                    let hint = did_you_mean(key, KNOWN_KEYS).unwrap_or_default();
                    let message = format!("`{key}` is not known here and has no effect. {hint}");
                    self.report.warning(Rule::UnknownKey, &path, message.trim_end());
                }
            }
        }
        if let Some(url) = &server.url
            && !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        {
            // Not shown: a variable may have put a secret into it.
            self.report.error(Rule::BadFormat, &path.key("url"), "expected an address like `https://host/mcp`");
        }
        (self.report.errors.len() == before).then_some(server)
    }

    fn transport(&mut self, node: &Node, path: &KeyPath) -> Option<TransportKind> {
        match self.text(node, path)?.as_str() {
            "stdio" => Some(TransportKind::Stdio),
            "http" | "streamable-http" | "streamableHttp" => Some(TransportKind::StreamableHttp),
            "sse" => Some(TransportKind::Sse),
            other => {
                let message = format!("`{other}` is not one of `stdio`, `http`, `streamable-http`, `sse`");
                self.report.error(Rule::BadValue, path, message);
                None
            }
        }
    }

    fn secrets(&mut self, node: &Node, path: &KeyPath) -> IndexMap<String, Secret> {
        if !matches!(node.kind, NodeKind::Map(_)) {
            self.report.error(Rule::WrongType, path, "expected a mapping of names to text");
        }
        let pair = |entry: &Entry| {
            let value = self.text(&entry.value, &path.key(&entry.key))?;
            Some((entry.key.clone(), Secret::Literal(value)))
        };
        node.entries().iter().filter_map(pair).collect()
    }

    fn texts(&mut self, node: &Node, path: &KeyPath) -> Vec<String> {
        let NodeKind::List(items) = &node.kind else {
            self.report.error(Rule::WrongType, path, "expected a list of text");
            return Vec::new();
        };
        items.iter().enumerate().filter_map(|(index, item)| self.text(item, &path.index(index))).collect()
    }

    /// The text of a node with its variables replaced.
    fn text(&mut self, node: &Node, path: &KeyPath) -> Option<String> {
        let NodeKind::Scalar(scalar) = &node.kind else {
            self.report.error(Rule::WrongType, path, "expected text");
            return None;
        };
        let text = scalar::text(scalar).ok().filter(|_| !scalar::is_null(scalar));
        let Some(text) = text else {
            self.report.error(Rule::WrongType, path, "expected text, found nothing");
            return None;
        };
        match expand(&text, self.environment) {
            Ok(text) => Some(text),
            Err((rule, message)) => {
                self.report.error(rule, path, message);
                None
            }
        }
    }
}

/// Replaces `${VAR}` and `${VAR:-default}`; the default also stands in for an empty variable.
fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, (Rule, String)> {
    static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{([^}]*)\}").expect("a legal pattern"));
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$").expect("a legal pattern"));
    let mut problem = None;
    let expanded = PLACEHOLDER.replace_all(text, |found: &Captures<'_>| {
        let inner = &found[1];
        let parts = NAME.captures(inner).filter(|parts| !is_of_an_editor(&parts[1]));
        let Some(parts) = parts else {
            let message = format!("`${{{inner}}}` needs an editor to fill it in; write the value or `${{VARIABLE}}`");
            problem.get_or_insert((Rule::EditorPlaceholder, message));
            return String::new();
        };
        let default = parts.get(2).map(|default| default.as_str().to_owned());
        let value = variable(&parts[1]).filter(|value| !value.is_empty() || default.is_none());
        value.or(default).unwrap_or_else(|| {
            let message = format!("environment variable `{}` is not set", &parts[1]);
            problem.get_or_insert((Rule::UnsetVariable, message));
            String::new()
        })
    });
    match problem {
        Some(problem) => Err(problem),
        None => Ok(expanded.into_owned()),
    }
}

/// Names that editors define for themselves.
fn is_of_an_editor(name: &str) -> bool {
    let known = ["cwd", "execPath", "lineNumber", "pathSeparator", "selectedText", "userHome"];
    known.contains(&name) || name.starts_with("workspaceFolder") || name.starts_with("workspaceRoot") || {
        name.starts_with("file") && name.contains(char::is_uppercase)
    }
}

/// The text with comments blanked out and tabs as spaces, so that every character keeps its place.
fn without_comments(text: &str) -> String {
    #[derive(PartialEq)]
    enum Inside {
        Nothing,
        Text,
        Line,
        Block,
    }
    let mut inside = Inside::Nothing;
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied();
        match (&inside, character, next) {
            (Inside::Text, '\\', Some(escaped)) => {
                characters.next();
                out.extend([character, escaped]);
                continue;
            }
            (Inside::Text, '"', _) | (Inside::Line, '\n', _) => inside = Inside::Nothing,
            (Inside::Nothing, '"', _) => inside = Inside::Text,
            (Inside::Nothing, '/', Some('/')) => inside = Inside::Line,
            (Inside::Nothing, '/', Some('*')) | (Inside::Block, '*', Some('/')) => {
                inside = if inside == Inside::Block { Inside::Nothing } else { Inside::Block };
                characters.next();
                out.push_str("  ");
                continue;
            }
            _ => {}
        }
        let is_comment = matches!(inside, Inside::Line | Inside::Block) && !matches!(character, '\n' | '\r');
        let is_tab = inside == Inside::Nothing && character == '\t';
        out.push(if is_comment || is_tab { ' ' } else { character });
    }
    out
}

#[cfg(test)]
mod tests;
