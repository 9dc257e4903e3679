//! Composite tools as clients meet them, row by row of what their format promises (`cmp_01` to `cmp_23`): what a
//! recording backend received of each run, and what the client got. And what their runs outlast.

mod catalog;
mod elicitation;
mod examples;
mod failures;
mod guests;
mod kills;
mod kinds;
mod loops;
mod results;
mod resume;
mod scheduling;
mod steps;
mod templates;

use serde_json::Value;
use vmcp_tests::{FakeBackend, Mcp, Recording, TestHost};

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
    let said = refusal(&format!("compositeTools:\n  - name: t\n    description: d\n    steps:\n      - {steps}")).await;
    assert!(said.contains(&format!("vmcp.yaml:{place}: compositeTools[0].steps")), "{steps}: {said}");
    assert!(said.contains(message), "{steps}: {said}");
}

/// How many calls were under way at a time, at most.
fn most_at_a_time(calls: &Recording) -> usize {
    let now = calls.events().into_iter().scan(0, |now, event| {
        *now = if event.starts_with("begin") { *now + 1 } else { *now - 1 };
        Some(*now)
    });
    now.max().unwrap_or_default()
}
