//! Composite tools.

use serde_json::json;
use vmcp_tests::{FakeBackend, Mcp, TestHost};

const TRIAGE: &str = "
compositeTools:
  - name: triage
    description: Sorts alerts
    parameters: { type: object, properties: { team: { type: string, default: sre } } }
    steps:
      - { id: one, tool: echo, arguments: { team: '{{.params.team}}' } }
      - { id: two, tool: echo.echo, dependsOn: [one], arguments: { said: '{{.steps.one.output.text}}' } }
";

#[tokio::test]
async fn a_composite_tool_is_a_tool_like_any_other() {
    let host = TestHost::builder().backend("echo", FakeBackend::echo(["echo"])).yaml(TRIAGE).start().await;
    let (legacy, modern) = (host.connect().await, host.connect_modern());
    for client in [&legacy, &modern] {
        let listed = client.request("tools/list", json!({})).await;
        let triage = listed.result()["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "triage").unwrap();
        assert_eq!(triage["description"], "Sorts alerts");
        assert_eq!(triage["inputSchema"]["properties"]["team"]["default"], "sre");
        let reply = client.call("triage", json!({})).await;
        let said = reply.result()["structuredContent"]["text"].as_str().unwrap_or_else(|| panic!("{}", reply.raw));
        assert_eq!(said, r#"{"said":"{\"team\":\"sre\"}"}"#);
    }
}
