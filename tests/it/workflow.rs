//! Composite tools as clients meet them, row by row of what their format promises (`cmp_01` to `cmp_23`): what a
//! recording backend received of each run, and what the client got; and what their runs outlast. `cargo xtask test` runs the
//! rows twice: with the steps in the configuration, and with each tool baked into a component.

mod catalog;
mod elicitation;
mod examples;
mod failures;
mod guests;
mod kills;
mod kinds;
mod loops;
mod real;
mod results;
mod resume;
mod scheduling;
mod steps;
mod templates;

use serde_json::Value;
use tokio::process::Command;
use vmcp_tests::{FakeBackend, Mcp, Recording, TestHost, process};

/// The section `compositeTools`: of each tool the name and, in YAML's flow style, the other keys.
fn composites(tools: &[(&str, &str)]) -> String {
    let entry = |(name, keys): &(&str, &str)| format!("\n  - {{ name: {name}, description: d, {keys} }}");
    format!("compositeTools:{}", tools.iter().map(entry).collect::<String>())
}

/// A host before the backend `b`, and what that receives.
async fn host_of(backend: FakeBackend, yaml: &str) -> (TestHost, Recording) {
    let host = TestHost::builder();
    let calls = Recording::in_dir(host.dir());
    (host.backend("b", backend.record(&calls)).yaml(yaml).start().await, calls)
}

/// Runs `tool`: its result, which is structured content and the same as text.
async fn run(client: &impl Mcp, tool: &str, arguments: Value) -> Value {
    let reply = client.call(tool, arguments).await;
    let result = reply.result();
    assert_eq!(result["isError"], false, "{tool}: {result}");
    let text: Value = serde_json::from_str(reply.text()).unwrap_or_else(|_| panic!("{tool}: {result}"));
    assert_eq!(text, result["structuredContent"], "{tool}: {result}");
    text
}

/// Runs `tool`, which fails: what its result says.
async fn failure(client: &impl Mcp, tool: &str, arguments: Value) -> String {
    let reply = client.call(tool, arguments).await;
    let result = reply.result();
    assert_eq!(result["isError"], true, "{tool}: {result}");
    reply.text().to_owned()
}

/// What a host says to a file that it does not accept.
async fn refusal(yaml: &str) -> String {
    let ended = TestHost::builder().yaml(yaml).fail().await;
    assert!(ended.code.is_some_and(|code| code != 0), "{yaml}");
    ended.stderr
}

/// Asserts that a file with these steps, a line each from line 6 on, is refused at `place` for `message`.
async fn assert_refused(steps: &str, place: &str, message: &str) {
    let steps = steps.replace('\n', "\n      - ");
    assert_entry_refused(&format!("steps:\n      - {steps}"), place, "steps", message).await;
}

/// Asserts that an entry with `keys` from line 5 on is refused for `message` at `place`, below the key `within`: by a host as
/// part of its configuration, and in a file of its own by who would bake it.
async fn assert_entry_refused(keys: &str, place: &str, within: &str, message: &str) {
    let check = |said: &str, place: &str| {
        assert!(said.contains(place), "{keys}: no {place} in {said}");
        assert!(said.contains(message), "{keys}: {said}");
    };
    let said = refusal(&format!("compositeTools:\n  - name: t\n    description: d\n    {keys}")).await;
    check(&said, &format!("vmcp.yaml:{place}: compositeTools[0].{within}"));

    let host = TestHost::builder();
    let file = host.dir().join("t.yaml");
    // In the lines and columns of the entry above.
    std::fs::write(&file, format!("\n\n    name: t\n    description: d\n    {keys}\n")).unwrap();
    let (code, _, said) =
        process::run(Command::new(process::binary("vmcp-host")).args(["workflow", "bake"]).arg(&file)).await;
    assert!(code.is_some_and(|code| code != 0) && !file.with_extension("wasm").exists(), "{keys}: {said}");
    check(&said, &format!("t.yaml:{place}: {within}"));
}

/// How many calls were under way at a time, at most.
fn most_at_a_time(calls: &Recording) -> usize {
    let now = calls.events().into_iter().scan(0, |now, event| {
        *now = if event.starts_with("begin") { *now + 1 } else { *now - 1 };
        Some(*now)
    });
    now.max().unwrap_or_default()
}
