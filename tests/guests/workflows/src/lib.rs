//! One workflow per feature, most of them wrong in their own way. What is not wrong calls `echo` once.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use vmcp_sdk::workflow::{Definition, ToolResult, Workflow, WorkflowError, document, tools};

/// Takes any config, so that a test can put it in the place of any other workflow.
#[derive(Debug, Deserialize, JsonSchema)]
struct Guest {}

impl Workflow for Guest {
    fn definition(&self) -> Result<Definition, WorkflowError> {
        // In the place of an interpreter it is what the document calls itself.
        let document: Value = serde_json::from_str(&document()).unwrap_or_default();
        let name = document["name"].as_str().unwrap_or("guest").to_owned();
        let input_schema = json!({ "type": "object" });
        Ok(Definition { name, input_schema, tools: vec!["echo".into()], ..Definition::default() })
    }

    async fn run(&self, arguments: Map<String, Value>) -> Result<ToolResult, WorkflowError> {
        if cfg!(feature = "marked-workflow") {
            return Ok(ToolResult::text("MARK"));
        }
        if cfg!(feature = "run-loops") {
            compute_for_ever();
        }
        if cfg!(feature = "run-allocates") {
            let mut held = Vec::new();
            loop {
                held.push(vec![1u8; 1 << 20]);
                std::hint::black_box(&held);
            }
        }
        if cfg!(feature = "run-panics") {
            panic!("this workflow always panics");
        }
        if cfg!(feature = "run-gives-50-mib") {
            return Ok(ToolResult::text("x".repeat(50 << 20)));
        }
        if cfg!(feature = "run-gives-nonsense") {
            return Ok(ToolResult(json!({ "content": "no list" })));
        }
        if cfg!(feature = "run-ungranted") {
            return Ok(tools::call("other", &arguments).await?);
        }
        if cfg!(feature = "run-joins") {
            let count = arguments["count"].as_u64().unwrap_or_default();
            let calls = (0..count).map(|n| async move { tools::call("echo", &json!({ "n": n })).await });
            for called in futures_util::future::join_all(calls).await {
                called?;
            }
            return Ok(ToolResult::text("all called"));
        }
        if cfg!(feature = "run-calls-without-end") {
            for _ in 0..10_000 {
                tools::call("echo", &arguments).await?;
            }
        }
        Ok(tools::call("echo", &arguments).await?)
    }
}

vmcp_sdk::register_workflow!(Guest);

fn compute_for_ever() {
    let mut number = 1_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(3));
    }
}
