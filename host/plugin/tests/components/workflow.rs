//! Workflows: the interpreter of documents with a made-up world.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use vmcp_core::{
    journal::{Event, Recorder},
    json::RawJson,
    workflow::{Elicited, InteractionError, NewRun, ToolCallError, ToolInfo, Workflow, WorkflowError, World},
};

use crate::{engine, source};

/// Tools that answer with their arguments after a while.
#[derive(Default)]
struct Echo {
    delay: Duration,
    /// Waits as long as the argument `ms` says.
    delays_as_asked: bool,
    called: Mutex<Vec<(String, Value)>>,
}

impl World for Echo {
    fn call(
        &self,
        _: u64,
        tool: String,
        arguments: RawJson,
        _: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>> {
        let arguments: Value = arguments.to_value().unwrap();
        self.called.lock().unwrap().push((tool.clone(), arguments.clone()));
        let asked = arguments["ms"].as_u64().filter(|_| self.delays_as_asked);
        let delay = asked.map_or(self.delay, Duration::from_millis);
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
        _: u64,
        _: String,
        _: RawJson,
        _: Option<Duration>,
    ) -> BoxFuture<'static, Result<Elicited, InteractionError>> {
        Box::pin(async { Err(InteractionError::Unsupported("nobody is there".into())) })
    }

    fn sample(&self, _: u64, _: RawJson, _: Option<Duration>) -> BoxFuture<'static, Result<RawJson, InteractionError>> {
        Box::pin(async { Err(InteractionError::Unsupported("nobody is there".into())) })
    }

    fn progress(&self, _: f64, _: Option<f64>, _: String) {}

    fn sleep(&self, _: u64, time: Duration) -> BoxFuture<'static, ()> {
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
    let result = workflow.run(NewRun::new(RawJson::of(&json!({ "name": "Ann" })), world.clone())).await.unwrap();
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
    let error = workflow.run(NewRun::new(RawJson::of(&json!({})), Arc::new(Echo::default()))).await.unwrap_err();
    assert!(matches!(&error, WorkflowError::Failed { message, .. } if message.contains("lost")), "{error}");
}

/// Keeps what it is told.
#[derive(Default)]
struct Kept(Mutex<Vec<Event>>);

impl Recorder for Kept {
    fn record(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// Three calls at once and one after them, in which the order of the three shows.
fn overlapping(last: &str) -> Arc<dyn Workflow> {
    let steps = json!([
        echo("a", &[], &json!({ "ms": 60 })),
        echo("b", &[], &json!({ "ms": 30 })),
        echo("c", &["b"], &json!({ "ms": 0, "time": "{{ .workflow.duration_ms }}" })),
        echo(last, &["a", "c"], &json!({ "id": "{{ .workflow.id }}" })),
    ]);
    interpreter(&json!({ "name": "overlapping", "description": "Overlaps", "steps": steps }))
}

#[tokio::test]
async fn a_run_is_told_again_without_its_world() {
    let recorder = Arc::new(Kept::default());
    let world = Arc::new(Echo { delays_as_asked: true, ..Echo::default() });
    let arguments = RawJson::of(&json!({}));
    let run = NewRun { recorder: Some(recorder.clone()), ..NewRun::new(arguments.clone(), world.clone()) };
    let first = overlapping("last").run(run).await.unwrap();
    assert_eq!(world.called.lock().unwrap().len(), 4);
    let events = recorder.0.lock().unwrap().clone();
    let as_text = serde_json::to_string(&events).unwrap();
    let events: Vec<Event> = serde_json::from_str(&as_text).unwrap();

    assert_eq!(overlapping("last").run(NewRun::again(arguments.clone(), events.clone())).await.unwrap(), first);

    // Wherever the record breaks off, the rest is made anew, if there is a world. At its end the run gives up what watches
    // the time, which is not told again.
    let told = events.iter().rposition(|event| !matches!(event, Event::GivenUp { .. })).unwrap() + 1;
    for kept in 0..told {
        let past = events[..kept].to_vec();
        let error = overlapping("last").run(NewRun::again(arguments.clone(), past.clone())).await.unwrap_err();
        assert!(error.to_string().contains("the recorded run ends, this one"), "{kept}: {error}");
        let new = NewRun { past, ..NewRun::new(arguments.clone(), Arc::new(Echo::default())) };
        let result: Value = overlapping("last").run(new).await.unwrap().to_value().unwrap();
        assert!(result["structuredContent"]["id"].is_string(), "{kept}: {result}");
    }
}

#[tokio::test]
async fn a_run_that_does_something_else_than_before_is_ended() {
    let recorder = Arc::new(Kept::default());
    let run = |arguments: Value| {
        let steps = json!([echo("only", &[], &arguments)]);
        interpreter(&json!({ "name": "one", "description": "Calls", "steps": steps }))
    };
    let world = Arc::new(Echo::default());
    let new = NewRun { recorder: Some(recorder.clone()), ..NewRun::new(RawJson::of(&json!({})), world.clone()) };
    run(json!({ "n": 1 })).run(new).await.unwrap();
    let past = recorder.0.lock().unwrap().clone();
    let new = NewRun { past, ..NewRun::new(RawJson::of(&json!({})), world) };
    let error = run(json!({ "n": 2 })).run(new).await.unwrap_err();
    let told = r#"the recorded run calls `echo` with {"n":1}, this one calls `echo` with {"n":2}"#;
    assert!(matches!(&error, WorkflowError::Diverged { divergence, .. } if divergence.to_string() == told), "{error}");
}
