//! The commands for authors of composite tools: `workflow bake`, `run`, `replay` and `graph`, and what `plugin inspect` shows.

mod questions;
#[cfg(target_os = "linux")]
mod terminal;

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use vmcp_tests::{FakeBackend, Mcp, TestHost, host::WrittenHost, process::run};

const BRIEF: &str = "
name: brief
description: Says hello twice
parameters: { type: object, properties: { who: { type: string } } }
configSchema: { type: object, properties: { greeting: { type: string, default: Hello } } }
steps:
  - { id: one, tool: echo, arguments: { said: '{{.config.greeting}} {{.params.who}}' } }
  - { id: two, tool: echo, arguments: { said: again } }
  - { id: both, tool: echo, dependsOn: [one, two], arguments: { at: '{{.workflow.start_time}}' } }
output: { properties: { first: { type: string, description: The first, value: '{{.steps.one.output.text}}' } } }
";

/// A configuration with one backend, and the document beside it.
struct Author {
    written: WrittenHost,
    document: PathBuf,
}

impl Author {
    async fn new() -> Self {
        let written = TestHost::builder().backend("b", FakeBackend::echo(["echo"])).write().await;
        let document = written.config.with_file_name("brief.yaml");
        fs::write(&document, BRIEF).unwrap();
        Self { written, document }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.document.with_file_name(name)
    }

    /// `(exit code, stdout, stderr)` of `vmcp-host ARGUMENTS`; those that name files are relative to the document.
    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.written.subcommand(arguments[0]);
        command.args(&arguments[1..]).current_dir(self.document.parent().unwrap());
        run(&mut command).await
    }

    async fn succeed(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments).await;
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        stdout
    }
}

#[tokio::test]
async fn a_baked_tool_is_the_same_file_each_time_and_runs_anywhere() {
    let author = Author::new().await;
    author.succeed(&["workflow", "bake", "brief.yaml", "-o", "one.wasm"]).await;
    author.succeed(&["workflow", "bake", "brief.yaml", "-o", "two.wasm"]).await;
    let baked = fs::read(author.path("one.wasm")).unwrap();
    assert_eq!(baked, fs::read(author.path("two.wasm")).unwrap());

    let inspected: Value =
        serde_json::from_str(&author.succeed(&["plugin", "inspect", "one.wasm", "--json"]).await).unwrap();
    let tool = &inspected["workflow"];
    assert_eq!((&tool["name"], &tool["tools"]), (&json!("brief"), &json!(["echo"])));
    assert_eq!(tool["configSchema"]["properties"]["greeting"]["default"], "Hello");
    assert_eq!(inspected["source"], BRIEF);
    let imports = inspected["imports"].as_array().unwrap();
    assert!(!imports.iter().any(|one| one["import"].as_str().unwrap().contains("document")), "the document is inside");

    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("shared.wasm");
    fs::write(&file, baked).unwrap();
    let serve = |config: &str| {
        let yaml = format!("compositeTools: [{{ name: greet, workflow: {}, config: {config} }}]", file.display());
        TestHost::builder().backend("b", FakeBackend::echo(["echo"])).yaml(&yaml)
    };
    let check = async |config: &str, expected: &str| {
        let host = serve(config).start().await;
        let reply = host.connect().await.call("greet", json!({ "who": "Ann" })).await;
        assert_eq!(reply.result()["structuredContent"]["first"], json!({ "said": expected }).to_string(), "{config}");
    };
    check("{}", "Hello Ann").await;
    check("{ greeting: Good evening }", "Good evening Ann").await;
    let ended = serve("{ greeting: 7 }").fail().await;
    assert!(ended.stderr.contains("compositeTools[0].config.greeting: 7 is not of type"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_recorded_run_is_replayed_without_a_backend() {
    let author = Author::new().await;
    author.succeed(&["workflow", "bake", "brief.yaml"]).await;
    let config = author.written.config.display().to_string();
    for file in ["brief.yaml", "brief.wasm"] {
        let arguments = ["workflow", "run", file, "--config", &config, "--arguments", r#"{"who":"Ann"}"#];
        let (code, stdout, stderr) = author.run(&[&arguments[..], &["--journal", "run.json"]].concat()).await;
        assert_eq!((code, stdout.contains("Hello Ann")), (Some(0), true), "{stdout}{stderr}");
        assert!(stderr.contains("3/3  step `both` completed"), "each step is shown: {stderr}");
        // Steps and component are the same workflow.
        for file in ["brief.yaml", "brief.wasm"] {
            author.succeed(&["workflow", "replay", file, "--journal", "run.json"]).await;
        }
    }
    let check = async |from: &str, to: &str, expected: &str| {
        fs::write(author.path("changed.yaml"), BRIEF.replace(from, to)).unwrap();
        let (code, _, stderr) = author.run(&["workflow", "replay", "changed.yaml", "--journal", "run.json"]).await;
        assert_eq!((code, stderr.contains(expected)), (Some(10), true), "{stderr}");
    };
    check(
        "said: again",
        "said: anew",
        r#"calls `echo` with {"said":"again"}, this one calls `echo` with {"said":"anew"}"#,
    )
    .await;
    check("dependsOn: [one, two]", "dependsOn: []", "the recorded run").await;
    check("{{.steps.one.output.text}}", "{{.steps.two.output.text}}", "the recorded run ended with").await;
}

#[tokio::test]
async fn mistakes_of_a_document_have_line_and_column() {
    let author = Author::new().await;
    let check = async |from: &str, to: &str, expected: &str| {
        fs::write(author.path("wrong.yaml"), BRIEF.replace(from, to)).unwrap();
        let (code, _, stderr) = author.run(&["workflow", "bake", "wrong.yaml"]).await;
        assert!(code.is_some_and(|code| code == 3 || code == 4), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    };
    check("tool: echo, arguments: { said: again }", "tol: echo", "wrong.yaml:8:16: steps[1].tol: unknown key").await;
    check("dependsOn: [one, two]", "dependsOn: [one, too]", "wrong.yaml:9:").await;
    check("{{.params.who}}", "{{.params.who", "wrong.yaml:7:").await;
}

#[tokio::test]
async fn steps_are_drawn_as_a_graph() {
    let author = Author::new().await;
    author.succeed(&["workflow", "bake", "brief.yaml"]).await;
    let drawn = author.succeed(&["workflow", "graph", "brief.yaml"]).await;
    let expected = "flowchart TD\n    s0[\"one<br/>echo\"]\n    s1[\"two<br/>echo\"]\n    s2[\"both<br/>echo\"]\n    s0 --> s2\n    s1 --> s2\n";
    assert_eq!(drawn, expected);
    assert_eq!(author.succeed(&["workflow", "graph", "brief.wasm"]).await, expected);
}

#[tokio::test]
async fn a_folder_of_composite_tools_is_part_of_the_configuration() {
    let builder = TestHost::builder().backend("b", FakeBackend::echo(["echo"])).yaml("compositeToolsFrom: tools");
    let folder = builder.dir().join("tools");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("brief.yaml"), BRIEF).unwrap();
    fs::write(folder.join("notes.txt"), "no document").unwrap();
    let host = builder.start().await;
    let reply = host.connect().await.call("brief", json!({ "who": "Ann" })).await;
    assert_eq!(reply.result()["structuredContent"]["first"], json!({ "said": "Hello Ann" }).to_string());

    let builder = TestHost::builder().backend("b", FakeBackend::echo(["echo"])).yaml("compositeToolsFrom: tools");
    let folder = builder.dir().join("tools");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), BRIEF).unwrap();
    fs::write(folder.join("b.yaml"), BRIEF.replace("said: again", "said: '{{.steps.nowhere.output.x}}'")).unwrap();
    let ended = builder.fail().await;
    assert!(
        ended.stderr.contains("tools/b.yaml:2:7: name: there is another composite tool `brief`"),
        "{}",
        ended.stderr
    );
}
