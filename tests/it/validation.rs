//! `validate` of what composite tools call: tools that are not there, and arguments that they do not take.

use std::path::Path;

use serde_json::{Value, json};
use vmcp_tests::{
    Behaviour, FakeBackend, HostBuilder, TestHost,
    host::WrittenHost,
    process::{PATIENCE, eventually, run},
};

/// A backend whose tools say what they take.
fn shop() -> FakeBackend {
    let tool = |schema: Value| json!({ "inputSchema": schema });
    let order = json!({
        "type": "object",
        "properties": {
            "item": { "type": "string" },
            "count": { "type": "integer", "minimum": 1 },
            "size": { "enum": ["small", "large"] },
            "tags": { "type": "array", "items": { "type": "string" } },
            "at": { "type": "object", "properties": { "x": { "type": "number" } }, "required": ["x"] },
        },
        "required": ["item"],
        "additionalProperties": false,
    });
    let cancel = json!({ "type": "object", "properties": { "id": { "type": "integer" } }, "required": ["id"] });
    let echo = Behaviour::Echo;
    FakeBackend::new().defined("order", tool(order), echo.clone()).defined("cancel", tool(cancel), echo)
}

/// A configuration with the composite tool `t` of these steps, which begin in line 7.
fn steps(steps: &str) -> String {
    let steps = steps.replace('\n', "\n      ");
    format!(
        "name: v\ncompositeTools:\n  - name: t\n    description: d\n    parameters: {{ type: object, properties: {{ n: {{ type: integer }} }}, required: [n] }}\n    steps:\n      {steps}"
    )
}

fn with_steps(text: &str) -> HostBuilder {
    TestHost::builder().backend("shop", shop()).yaml(&steps(text))
}

/// What `validate` said, and whether it found the file valid.
struct Said {
    is_valid: bool,
    json: Value,
}

impl Said {
    /// `line:column path: message` of each entry of a list.
    fn list(&self, name: &str) -> Vec<String> {
        let line = |problem: &Value| {
            let text = |key: &str| problem[key].as_str().unwrap().to_owned();
            let path = text("path").replace("compositeTools[0].steps", "steps");
            format!("{}:{} {path}: {}", problem["line"], problem["column"], text("message"))
        };
        self.json[name].as_array().unwrap().iter().map(line).collect()
    }

    fn hints(&self, name: &str) -> Vec<&str> {
        self.json[name].as_array().unwrap().iter().filter_map(|problem| problem["hint"].as_str()).collect()
    }
}

async fn validate(host: &WrittenHost, arguments: &[&str]) -> Said {
    let mut command = host.subcommand("validate");
    let (code, stdout, stderr) = run(command.arg("--json").arg("-c").arg(&host.config).args(arguments)).await;
    let json: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    let is_valid = json["valid"] == true;
    assert_eq!(code, Some(if is_valid { 0 } else { 3 }), "{stdout}{stderr}");
    Said { is_valid, json }
}

/// What `validate --live` has against these steps.
async fn live_errors(text: &str) -> Vec<String> {
    let host = with_steps(text).write().await;
    let said = validate(&host, &["--live"]).await;
    assert_eq!(said.list("notes"), [""; 0]);
    assert_eq!(said.is_valid, said.list("problems").is_empty());
    said.list("problems")
}

/// Writes the snapshot of a host.
async fn snapshot(host: &WrittenHost, file: &Path) {
    let mut command = host.subcommand("snapshot");
    let (code, _, stderr) = run(command.arg("-c").arg(&host.config).arg("-o").arg(file)).await;
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test]
async fn arguments_are_found_where_they_stand() {
    let text = "- id: a
  tool: shop.order
  arguments:
    count: none
    size: huge
    tags: [x, 5]
    at: { y: 1 }
    itm: tea";
    let host = with_steps(text).write().await;
    let said = validate(&host, &["--live"]).await;
    let expected = [
        "9:9 steps[0].arguments.item: tool `shop.order` needs `item`",
        r#"10:18 steps[0].arguments.count: tool `shop.order` does not take it: "none" is not of type "integer""#,
        r#"11:17 steps[0].arguments.size: tool `shop.order` does not take it: "huge" is not one of "small" or "large""#,
        r#"12:21 steps[0].arguments.tags[1]: tool `shop.order` does not take it: 5 is not of type "string""#,
        "13:11 steps[0].arguments.at.x: tool `shop.order` needs `x`",
        "14:11 steps[0].arguments.itm: tool `shop.order` takes no `itm`",
    ];
    assert_eq!(said.list("problems"), expected);
    assert_eq!(said.hints("problems"), ["did you mean `item`?"]);
    assert_eq!(said.list("warnings"), ["13:17 steps[0].arguments.at.y: tool `shop.order` does not know `y`"]);
    let mut command = host.subcommand("validate");
    let (code, stdout, stderr) = run(command.arg("--live").arg("-c").arg(&host.config)).await;
    assert_eq!((code, &*stdout), (Some(3), ""));
    assert!(
        stderr.contains("vmcp.yaml:14:11: compositeTools[0].steps[0].arguments.itm: tool `shop.order` takes"),
        "{stderr}"
    );
}

#[tokio::test]
async fn steps_inside_others_and_their_undoing_are_looked_at() {
    let text =
        "- { id: a, tool: shop.order, arguments: { item: x }, undo: { tool: shop.cancel, arguments: { id: last } } }
- { id: b, type: forEach, collection: '[1]', step: { tool: shop.cancel } }
- id: c
  type: switch
  on: x
  cases: [{ equals: x, steps: [{ id: d, tool: shop.cancel, arguments: { id: one } }] }]
  default: [{ id: e, tool: shop.cancel, arguments: { id: two } }]
- { id: f, type: while, while: 'false', steps: [{ id: g, tool: shop.cancel, arguments: { id: three } }] }";
    let found = live_errors(text).await;
    let not = |text: &str| format!(r#"tool `shop.cancel` does not take it: "{text}" is not of type "integer""#);
    let expected = [
        format!("7:104 steps[0].undo.arguments.id: {}", not("last")),
        "8:52 steps[1].step.arguments.id: tool `shop.cancel` needs `id`".to_owned(),
        format!("12:83 steps[2].cases[0].steps[0].arguments.id: {}", not("one")),
        format!("13:64 steps[2].default[0].arguments.id: {}", not("two")),
        format!("14:100 steps[3].steps[0].arguments.id: {}", not("three")),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_templates_may_yield_is_no_error() {
    let text = r#"- { id: a, tool: shop.order, arguments: { item: "x{{.params.n}}", count: "{{.params.n}}", size: "{{.params.n}}", tags: "{{json .params}}" } }
- { id: b, tool: shop.order, arguments: { item: "5", count: "5", at: '{"x": 1}', tags: ["{{.params.n}}"] } }
- { id: c, tool: shop.order, arguments: { item: x, count: "1{{.params.n}}", at: { x: "{{.params.n}}.5" } } }
- { id: d, tool: shop.order, arguments: { item: x, count: "{{if .params.n}}x{{end}}" } }"#;
    assert_eq!(live_errors(text).await, [""; 0]);
    let text = r#"- { id: a, tool: shop.order, arguments: { item: x, count: "x{{.params.n}}" } }
- { id: b, tool: shop.order, arguments: { item: x, at: "at {{json .params}}" } }
- { id: c, tool: shop.order, arguments: { item: x, count: "0" } }"#;
    let never = |text: &str, kind: &str| {
        format!("tool `shop.order` does not take it: whatever the template yields, `{text}` is no {kind}")
    };
    let expected = [
        format!("7:65 steps[0].arguments.count: {}", never("x{{.params.n}}", "integer")),
        format!("8:62 steps[1].arguments.at: {}", never("at {{json .params}}", "object")),
        "9:65 steps[2].arguments.count: tool `shop.order` does not take it: 0 is less than the minimum of 1".to_owned(),
    ];
    assert_eq!(live_errors(text).await, expected);
}

#[tokio::test]
async fn composite_tools_take_their_parameters() {
    let yaml = "
  - name: u
    description: d
    parameters:
      type: object
      properties: { n: { type: integer }, m: { type: string, default: x } }
      required: [n, m]
    steps:
      - { id: a, type: workflow, workflow: t }
      - { id: b, type: workflow, workflow: t, arguments: { n: 5 } }
      - { id: c, tool: t, arguments: { n: many } }
  - name: w
    description: d
    steps:
      - { id: a, type: workflow, workflow: u, arguments: { n: '5' } }
      - { id: b, type: workflow, workflow: uu }";
    let text = steps("- { id: a, tool: shop.cancel, arguments: { id: 1 } }") + yaml;
    let host = TestHost::builder().backend("shop", shop()).yaml(&text).write().await;
    let said = validate(&host, &["--live"]).await;
    let expected = [
        "15:9 compositeTools[1].steps[0].arguments.n: composite tool `t` needs `n`",
        r#"17:43 compositeTools[1].steps[2].arguments.n: tool `t` does not take it: "many" is not of type "integer""#,
        "22:44 compositeTools[2].steps[1].workflow: there is no composite tool `uu`",
    ];
    assert_eq!(said.list("problems"), expected);
    assert_eq!(said.hints("problems"), ["did you mean `u`?"]);
}

#[tokio::test]
async fn a_tool_that_is_not_there_is_an_error_only_of_those_who_were_asked() {
    let host = with_steps("- { id: a, tool: shop.oder }\n- { id: b, tool: ordr }").write().await;
    let list = host.config.with_file_name("tools.jsonl");
    snapshot(&host, &list).await;
    let expected = ["7:24 steps[0].tool: there is no tool `shop.oder`", "8:24 steps[1].tool: there is no tool `ordr`"];
    let hints = ["did you mean `shop.order`?", "did you mean `order`?"];
    let said = validate(&host, &["--live"]).await;
    assert_eq!((said.list("problems"), said.hints("problems")), (expected.map(str::to_owned).into(), hints.into()));
    assert!(!said.is_valid);
    for arguments in [vec![], vec!["--tools", list.to_str().unwrap()]] {
        let said = validate(&host, &arguments).await;
        assert_eq!((said.list("warnings"), said.hints("warnings")), (expected.map(str::to_owned).into(), hints.into()));
        assert!(said.is_valid);
    }
}

#[tokio::test]
async fn what_is_not_known_is_named_until_a_host_has_seen_it() {
    let host = with_steps("- { id: a, tool: shop.order }\n- { id: b, tool: cancel, undo: { tool: shop.cancel } }")
        .write()
        .await;
    let said = validate(&host, &[]).await;
    assert!(said.is_valid);
    let why = "not checked against its tool: nothing is known of";
    let advice = "use --live or --tools FILE";
    let expected = [
        format!("7:24 steps[0]: {why} `shop.order`; {advice}"),
        format!("8:24 steps[1]: {why} `cancel` nor of `shop`; {advice}"),
        format!("8:46 steps[1].undo: {why} `shop.cancel`; {advice}"),
    ];
    assert_eq!(said.list("notes"), expected);
    assert!(!host.config.with_file_name("state").exists(), "checking leaves nothing behind");
    let mut command = host.subcommand("validate");
    let (_, _, stderr) = run(command.arg("-c").arg(&host.config)).await;
    assert!(stderr.contains(&format!("vmcp.yaml:7:24: compositeTools[0].{}", &expected[0][5..])), "{stderr}");

    let mut host = host.start().await;
    let seen = host.dir().join("state/last-seen");
    eventually("the offer is remembered", PATIENCE, async || {
        let files = std::fs::read_dir(&seen).unwrap().map(|file| file.unwrap().path());
        files.into_iter().any(|file| file.extension().is_some_and(|extension| extension == "json"))
    })
    .await;
    host.terminate().await;
    let said = validate(&host.written, &[]).await;
    let expected = [
        "7:9 steps[0].arguments.item: tool `shop.order` needs `item`",
        "8:9 steps[1].arguments.id: tool `cancel` needs `id`",
        "8:32 steps[1].undo.arguments.id: tool `shop.cancel` needs `id`",
    ];
    assert_eq!((said.list("problems"), said.list("notes")), (expected.map(str::to_owned).into(), Vec::new()));
}

#[tokio::test]
async fn names_are_those_that_the_resolver_decides() {
    let text = steps("- { id: a, tool: shop_cancel }\n- { id: b, tool: cancel }\n- { id: c, tool: store.cancel }");
    let host = TestHost::builder().backend("shop", shop()).backend("store", shop()).yaml(&text).write().await;
    let list = host.config.with_file_name("tools.jsonl");
    snapshot(&host, &list).await;
    let said = validate(&host, &["--tools", list.to_str().unwrap()]).await;
    let expected = [
        "7:9 steps[0].arguments.id: tool `shop_cancel` needs `id`",
        "9:9 steps[2].arguments.id: tool `store.cancel` needs `id`",
    ];
    assert_eq!(said.list("problems"), expected);
    assert_eq!(said.list("warnings"), ["8:24 steps[1].tool: there is no tool `cancel`"]);
    // As long as the other backend's tools are not known, nor are the names.
    let lines = std::fs::read_to_string(&list).unwrap();
    let shop: Vec<_> = lines.lines().filter(|line| line.contains(r#""server":"shop""#)).collect();
    std::fs::write(&list, shop.join("\n")).unwrap();
    let said = validate(&host, &["--tools", list.to_str().unwrap()]).await;
    let why = |name: &str| format!("not checked against its tool: nothing is known of `{name}`");
    let of_file = "the file has none of its tools";
    let expected = [
        format!("7:24 steps[0]: {} nor of `store`; {of_file}", why("shop_cancel")),
        format!("8:24 steps[1]: {} nor of `store`; {of_file}", why("cancel")),
        format!("9:24 steps[2]: {}; {of_file}", why("store.cancel")),
    ];
    assert_eq!((said.list("notes"), said.list("warnings")), (expected.into(), Vec::new()));
}

#[tokio::test]
async fn rules_for_tools_count() {
    let yaml = "aggregation:
  tools:
    - workload: shop
      filter: [buy]
      overrides: { order: { name: buy, parameters: { item: { fixed: tea }, count: { default: 5 } } } }";
    let text = "- { id: a, tool: buy }
- { id: b, tool: shop.order, arguments: { item: 5, count: x } }
- { id: c, tool: shop.cancel }";
    let host = with_steps(text).yaml(yaml).write().await;
    let list = host.config.with_file_name("tools.jsonl");
    snapshot(&host, &list).await;
    let count = r#"8:65 steps[1].arguments.count: tool `shop.order` does not take it: "x" is not of type "integer""#;
    let hidden = "9:9 steps[2].arguments.id: tool `shop.cancel` needs `id`";
    assert_eq!(validate(&host, &["--live"]).await.list("problems"), [count, hidden]);
    let said = validate(&host, &["--tools", list.to_str().unwrap()]).await;
    assert_eq!(said.list("problems"), [count]);
    let note = "9:24 steps[2]: not checked against its tool: nothing is known of `shop.cancel`: the file has what clients \
                see, and they may not see it";
    assert_eq!((said.list("notes"), said.list("warnings")), (vec![note.to_owned()], Vec::new()));
}

#[tokio::test]
async fn what_a_backend_that_does_not_start_offers_is_not_known() {
    let gone = json!({ "name": "gone", "command": "/nowhere/at/all" });
    let host = with_steps("- { id: a, tool: gone.x }\n- { id: b, tool: shop.x }").entry(gone).write().await;
    let said = validate(&host, &["--live"]).await;
    let expected = ["7:24 steps[0]: not checked against its tool: nothing is known of `gone.x`; no answer from there"];
    assert_eq!(said.list("notes"), expected);
    assert_eq!(said.list("problems"), ["8:24 steps[1].tool: there is no tool `shop.x`"]);
    assert_eq!(said.hints("problems"), ["there are `shop.cancel`, `shop.order`"]);
}

#[tokio::test]
async fn files_and_components_have_their_own_places() {
    let builder = TestHost::builder().backend("shop", shop());
    let folder = builder.dir().join("tools");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("one.yaml");
    let text = "name: one
description: d
steps:
  - { id: a, tool: shop.cancel, arguments: { id: x } }
  - { id: b, tool: shop.gone }
";
    std::fs::write(&file, text).unwrap();
    let host = builder
        .yaml("name: v\ncompositeToolsFrom: tools\ncompositeTools: [{ name: two, workflow: ./one.wasm }]")
        .write()
        .await;
    let component = host.config.with_file_name("one.wasm");
    let mut bake = host.subcommand("workflow");
    let (code, _, stderr) = run(bake.arg("bake").arg(&file).arg("-o").arg(&component)).await;
    assert_eq!(code, Some(0), "{stderr}");
    let said = validate(&host, &["--live"]).await;
    let expected = [
        r#"4:50 steps[0].arguments.id: tool `shop.cancel` does not take it: "x" is not of type "integer""#,
        "5:20 steps[1].tool: there is no tool `shop.gone`",
        "3:41 compositeTools[0].workflow: there is no tool `shop.gone`",
    ];
    let mut found = said.list("problems");
    found.sort();
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
    let files: Vec<_> =
        said.json["problems"].as_array().unwrap().iter().map(|problem| problem["file"].as_str().unwrap()).collect();
    assert_eq!(files.iter().filter(|name| name.ends_with("tools/one.yaml")).count(), 2, "{files:?}");
}
