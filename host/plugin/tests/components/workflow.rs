//! Workflows: the interpreter of documents with a made-up world.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use vmcp_core::{
    json::RawJson,
    workflow::{Elicited, InteractionError, ToolCallError, ToolInfo, Workflow, WorkflowError, World},
};

use crate::{engine, source};

/// Tools that answer with their arguments after a while.
#[derive(Default)]
struct Echo {
    delay: Duration,
    called: Mutex<Vec<(String, Value)>>,
}

impl World for Echo {
    fn call(
        &self,
        tool: String,
        arguments: RawJson,
        _: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>> {
        let arguments: Value = arguments.to_value().unwrap();
        self.called.lock().unwrap().push((tool.clone(), arguments.clone()));
        let delay = self.delay;
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            if tool == "missing" {
                return Err(ToolCallError::UnknownTool(tool));
            }
            Ok(RawJson::of(&json!({ "content": [], "structuredContent": arguments })))
        })
    }

    fn tools(&self) -> Vec<ToolInfo> {
        Vec::new()
    }

    fn tool(&self, _: &str) -> Option<ToolInfo> {
        None
    }

    fn elicit(
        &self,
        _: String,
        _: RawJson,
        _: Option<Duration>,
    ) -> BoxFuture<'static, Result<Elicited, InteractionError>> {
        Box::pin(async { Err(InteractionError::Unsupported("nobody is there".into())) })
    }

    fn sample(&self, _: RawJson, _: Option<Duration>) -> BoxFuture<'static, Result<RawJson, InteractionError>> {
        Box::pin(async { Err(InteractionError::Unsupported("nobody is there".into())) })
    }

    fn progress(&self, _: f64, _: Option<f64>, _: String) {}

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn now(&self) -> u64 {
        0
    }

    fn random(&self) -> u64 {
        0
    }
}

fn interpreter(document: &Value) -> Arc<dyn Workflow> {
    let bytes = vmcp_builtin::all().iter().find(|builtin| builtin.name == "workflow-yaml").unwrap().wasm.to_vec();
    engine().load(source(bytes)).unwrap().workflow(&json!({}), Some(&document.to_string())).unwrap()
}

fn echo(id: &str, depends_on: &[&str], arguments: &Value) -> Value {
    json!({ "id": id, "tool": "echo", "dependsOn": depends_on, "arguments": arguments })
}

#[tokio::test]
async fn steps_that_do_not_depend_on_each_other_overlap() {
    let steps = json!([
        echo("a", &[], &json!({ "from": "{{ .params.name }}" })),
        echo("b", &[], &json!({ "n": 2 })),
        echo("c", &["a", "b"], &json!({ "from": "{{ .steps.a.output.from }}", "n": "{{ .steps.b.output.n }}" })),
    ]);
    let parameters = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    let document = json!({ "name": "triage", "description": "Sorts", "parameters": parameters, "steps": steps });
    let workflow = interpreter(&document);
    let definition = workflow.definition().unwrap();
    assert_eq!(definition.description.as_deref(), Some("Sorts"));
    assert_eq!(definition.tools, ["echo"]);

    let world = Arc::new(Echo { delay: Duration::from_millis(300), ..Echo::default() });
    let begun = Instant::now();
    let result = workflow.run(RawJson::of(&json!({ "name": "Ann" })), world.clone()).await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(850), "two levels of 300 ms took {took:?}");
    let called = world.called.lock().unwrap().clone();
    assert_eq!(called[2], ("echo".to_owned(), json!({ "from": "Ann", "n": "2" })));
    let result: Value = result.to_value().unwrap();
    assert!(result["content"].is_array(), "{result}");
}

#[tokio::test]
async fn a_failure_names_workflow_and_step() {
    let steps = json!([{ "id": "lost", "tool": "missing" }]);
    let workflow = interpreter(&json!({ "name": "triage", "description": "Sorts", "steps": steps }));
    let error = workflow.run(RawJson::of(&json!({})), Arc::new(Echo::default())).await.unwrap_err();
    assert!(matches!(&error, WorkflowError::Failed { message, .. } if message.contains("lost")), "{error}");
}
