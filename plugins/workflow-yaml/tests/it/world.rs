//! A world of fake tools, where time passes only while everybody waits.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, HashMap, VecDeque},
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use serde_json::{Map, Value, json};
use workflow_yaml::{CallError, Elicited, Level, RunError, Workflow, World};

/// What a fake tool does: takes its time, then answers. Called with the number of the call, from 0, and the arguments.
type Tool = Box<dyn Fn(usize, &Map<String, Value>) -> (Duration, Result<Value, CallError>)>;

/// Something that a workflow did to the world.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) tool: String,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Called(Value),
    Answered,
    Cancelled,
}

#[derive(Default)]
pub(crate) struct FakeWorld {
    tools: HashMap<String, Tool>,
    schemas: HashMap<String, Value>,
    answers: RefCell<VecDeque<(Duration, Elicited)>>,
    calls: RefCell<HashMap<String, usize>>,
    clock: Cell<Duration>,
    timers: RefCell<BTreeSet<(Duration, u64)>>,
    last_timer: Cell<u64>,
    pub(crate) events: RefCell<Vec<Event>>,
    pub(crate) questions: RefCell<Vec<(String, Value, Duration)>>,
    /// Of all calls.
    pub(crate) timeouts: RefCell<Vec<Option<Duration>>>,
    /// When each sleep began and how long it was to be.
    pub(crate) sleeps: RefCell<Vec<(Duration, Duration)>>,
    pub(crate) progress: RefCell<Vec<String>>,
    pub(crate) logged: RefCell<Vec<(Level, String)>>,
    /// What `random` gives; the middle is no jitter.
    pub(crate) chance: Cell<f64>,
    /// How often it was asked for.
    pub(crate) draws: Cell<usize>,
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

pub(crate) fn structured(value: Value) -> Value {
    json!({"content": [], "structuredContent": value})
}

pub(crate) fn error(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}], "isError": true})
}

impl FakeWorld {
    pub(crate) fn new() -> Self {
        Self { chance: Cell::new(0.5), ..Self::default() }
    }

    pub(crate) fn tool(
        mut self,
        name: &str,
        tool: impl Fn(usize, &Map<String, Value>) -> (Duration, Result<Value, CallError>) + 'static,
    ) -> Self {
        self.tools.insert(name.to_owned(), Box::new(tool));
        self
    }

    /// A tool that always answers the same after `time`.
    pub(crate) fn answers(self, name: &str, time: Duration, result: Value) -> Self {
        self.tool(name, move |_, _| (time, Ok(result.clone())))
    }

    /// A tool that answers at once with its arguments.
    pub(crate) fn echo(self, name: &str) -> Self {
        self.tool(name, |_, arguments| (Duration::ZERO, Ok(structured(arguments.clone().into()))))
    }

    pub(crate) fn schema(mut self, tool: &str, schema: Value) -> Self {
        self.schemas.insert(tool.to_owned(), schema);
        self
    }

    pub(crate) fn user(self, time: Duration, answer: Elicited) -> Self {
        self.answers.borrow_mut().push_back((time, answer));
        self
    }

    /// Runs `document` to its end and gives the structured content of its result.
    pub(crate) fn run(&self, document: &Value, arguments: Value) -> Result<Value, RunError> {
        let workflow = Workflow::parse(document).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let result = self.wait_for(workflow.run(arguments, self))?;
        assert_eq!(result["isError"], false);
        let text = result["content"][0]["text"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result["structuredContent"]);
        Ok(result["structuredContent"].clone())
    }

    fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                return result;
            }
            let next = self.timers.borrow().iter().map(|(at, _)| *at).find(|at| *at > self.clock.get());
            self.clock.set(next.expect("nothing is under way, and the workflow waits"));
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.get()
    }

    /// The calls in their order, as time in ms and tool.
    pub(crate) fn called(&self) -> Vec<(u64, String)> {
        let events = self.events.borrow();
        let calls = events.iter().filter(|event| matches!(event.what, What::Called(_)));
        calls.map(|event| (u64::try_from(event.at.as_millis()).unwrap(), event.tool.clone())).collect()
    }

    pub(crate) fn cancelled(&self) -> Vec<String> {
        let events = self.events.borrow();
        events.iter().filter(|event| event.what == What::Cancelled).map(|event| event.tool.clone()).collect()
    }

    fn record(&self, tool: &str, what: What) {
        self.events.borrow_mut().push(Event { at: self.now(), tool: tool.to_owned(), what });
    }

    async fn pass(&self, time: Duration) {
        let id = self.last_timer.get() + 1;
        self.last_timer.set(id);
        let until = self.now() + time;
        self.timers.borrow_mut().insert((until, id));
        let _timer = OnDrop(|| {
            self.timers.borrow_mut().remove(&(until, id));
        });
        poll_fn(|_| if self.now() >= until { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl World for FakeWorld {
    async fn call(
        &self,
        tool: &str,
        arguments: &Map<String, Value>,
        timeout: Option<Duration>,
    ) -> Result<Value, CallError> {
        self.timeouts.borrow_mut().push(timeout);
        self.record(tool, What::Called(arguments.clone().into()));
        let number = {
            let mut calls = self.calls.borrow_mut();
            let count = calls.entry(tool.to_owned()).or_default();
            *count += 1;
            *count - 1
        };
        let Some(behaviour) = self.tools.get(tool) else { return Err(CallError::UnknownTool) };
        let (time, result) = behaviour(number, arguments);
        let answered = Cell::new(false);
        let _call = OnDrop(|| {
            self.record(tool, if answered.get() { What::Answered } else { What::Cancelled });
        });
        self.pass(time).await;
        answered.set(true);
        result
    }

    fn input_schema(&self, tool: &str) -> Option<Value> {
        self.schemas.get(tool).cloned()
    }

    async fn elicit(&self, message: &str, schema: &Value, timeout: Duration) -> Elicited {
        self.questions.borrow_mut().push((message.to_owned(), schema.clone(), timeout));
        let (time, answer) = self.answers.borrow_mut().pop_front().expect("an answer for each question");
        self.pass(time.min(timeout)).await;
        if time > timeout { Elicited::TimedOut } else { answer }
    }

    async fn sleep(&self, time: Duration) {
        self.sleeps.borrow_mut().push((self.now(), time));
        self.pass(time).await;
    }

    fn now_millis(&self) -> u64 {
        1_800_000_000_000 + u64::try_from(self.now().as_millis()).unwrap()
    }

    fn random(&self) -> f64 {
        self.draws.set(self.draws.get() + 1);
        self.chance.get()
    }

    fn progress(&self, done: u32, total: u32, message: &str) {
        self.progress.borrow_mut().push(format!("{done}/{total} {message}"));
    }

    fn log(&self, level: Level, message: &str) {
        self.logged.borrow_mut().push((level, message.to_owned()));
    }
}

/// A workflow of `steps` and nothing else.
pub(crate) fn steps(steps: Value) -> Value {
    json!({"name": "w", "description": "d", "steps": steps})
}

/// The same with an `output`, of JSON type and template each.
pub(crate) fn steps_and_output(steps: Value, output: &[(&str, &str, &str)]) -> Value {
    let property = |(name, kind, value): &(&str, &str, &str)| {
        ((*name).to_owned(), json!({"type": kind, "description": "d", "value": value}))
    };
    let properties: Map<String, Value> = output.iter().map(property).collect();
    json!({"name": "w", "description": "d", "steps": steps, "output": {"properties": properties}})
}
