//! Files of desktop clients, and what is wrong with some.

use super::*;
use crate::{problem::Problem, section::backend::TransportConfig};

/// The backends and problems of a file with this text.
fn problems_of(text: &str) -> (Vec<BackendConfig>, Vec<Problem>) {
    let folder = std::env::temp_dir().join(format!("vmcp-client-file-{}-{}", std::process::id(), text.len()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("mcp.json");
    fs::write(&file, text).unwrap();
    let (tree, _) = Tree::parse("backendsFrom: mcp.json", "vmcp.yaml").unwrap();
    let mut report = Report::new(&tree);
    let backends = add(Vec::new(), &file, &|_| None, &mut report);
    fs::remove_dir_all(&folder).unwrap();
    (backends, report.errors)
}

#[test]
fn files_of_desktop_clients_become_backends() {
    let (backends, problems) = problems_of(
        r#"{
  // VS Code allows comments
  "mcpServers": {
    "files": {
      "command": "npx", /* and these */ "args": ["-y", "server", "http://x//y"],
      "env": { "TOKEN": "${VMCP_NEVER_SET:-none}", "N": "1" },
    },
    "web": { "type": "http", "url": "https://h/mcp", "headers": { "X-A": "b" } },
    "old": { "type": "sse", "url": "https://h/sse" },
	"off": { "command": "x", "disabled": true }
  },
}"#,
    );
    assert_eq!(problems, []);
    let kinds: Vec<_> = backends.iter().map(|b| (b.name.as_str(), b.transport.kind())).collect();
    assert_eq!(kinds, [("files", "stdio"), ("web", "streamable-http"), ("old", "sse")]);
    let TransportConfig::Stdio { args, env, .. } = &backends[0].transport else { panic!() };
    assert_eq!(args[2], "http://x//y");
    assert_eq!(env["TOKEN"], Secret::Literal("none".into()));
    assert_eq!(env["N"], Secret::Literal("1".into()));
}

#[test]
fn problems_are_located_in_the_file_itself() {
    let check = |text: &str, rule: Rule, line: usize, column: usize, message: &str| {
        let (_, problems) = problems_of(text);
        let found: Vec<_> = problems.iter().map(|p| (p.rule, p.location.line, p.location.column)).collect();
        assert_eq!(found, [(rule, line, column)], "{text}\n{problems:?}");
        assert!(problems[0].message.contains(message), "{}", problems[0]);
    };
    check("{}", Rule::BadClientFile, 1, 1, "mcpServers");
    check(r#"{"servers": []}"#, Rule::BadClientFile, 1, 13, "mapping of names");
    check(
        "{\"servers\": {\"a\": {\"command\": \"x\",\n \"args\": [\"${workspaceFolder}/x\"]}}}",
        Rule::EditorPlaceholder,
        2,
        11,
        "`${workspaceFolder}` needs an editor",
    );
    check(
        r#"{"servers": {"a": {"url": "http://h/", "headers": {"K": "Bearer ${input:key}"}}}}"#,
        Rule::EditorPlaceholder,
        1,
        57,
        "`${input:key}`",
    );
    check(r#"{"servers": {"a": {"command": "${VMCP_NEVER_SET}"}}}"#, Rule::UnsetVariable, 1, 31, "VMCP_NEVER_SET");
    check(r#"{"servers": {"a": {"type": "ws", "url": "http://h"}}}"#, Rule::BadValue, 1, 28, "`ws` is not one of");
    check(r#"{"servers": {"a": {"url": "ws://h"}}}"#, Rule::BadFormat, 1, 27, "https://host/mcp");
    check(r#"{"servers": {"a": {}}}"#, Rule::MissingTransport, 1, 19, "needs a `command`");
    check(r#"{"servers": {"a b": {"command": "x"}, "a_b": {"command": "y"}}}"#, Rule::DuplicateBackend, 1, 39, "`a b`");
    check(r#"{"servers": {"a": {"command": 1, "args": "x"}}}"#, Rule::WrongType, 1, 42, "list of text");
}

#[test]
fn variables_expand_as_shells_do() {
    let variable = |name: &str| match name {
        "A" => Some("1".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let check = |text: &str, expected: Result<&str, Rule>| {
        let expanded = expand(text, variable).map_err(|(rule, _)| rule);
        assert_eq!(expanded.as_deref().map_err(|rule| *rule), expected, "{text}");
    };
    check("x${A}y$A", Ok("x1y$A"));
    check("${env:A}", Ok("1"));
    check("${B:-two}${EMPTY:-x}${B:-}", Ok("twox"));
    check("${EMPTY}", Ok(""));
    check("${B}", Err(Rule::UnsetVariable));
    check("${input:a}", Err(Rule::EditorPlaceholder));
    check("${command:a.b}", Err(Rule::EditorPlaceholder));
    check("${fileDirname}", Err(Rule::EditorPlaceholder));
    check("${}", Err(Rule::EditorPlaceholder));
}
