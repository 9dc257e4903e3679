//! Questions between a client and a backend of different eras, in any order of events: none is lost, doubled or answered with
//! what was meant for another, and every call comes to one end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};
use vmcp_core::{call::Reply, json::RawJson};
use vmcp_mcp::{
    bridge::{
        input::Asked,
        legacy_modern::{AfterTry, Rounds},
        modern_legacy::Gathering,
    },
    object::Object,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Elicitation,
    Sampling,
    Roots,
}

impl Kind {
    fn method(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation/create",
            Self::Sampling => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// An answer that says which one it is.
    fn answer(self, mark: u32) -> Value {
        match self {
            Self::Elicitation => json!({ "action": "accept", "content": { "mark": mark } }),
            Self::Sampling => json!({ "role": "assistant", "content": { "type": "text", "text": mark.to_string() } }),
            Self::Roots => json!({ "roots": [{ "uri": format!("file:///{mark}") }] }),
        }
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Elicitation), Just(Kind::Sampling), Just(Kind::Roots)]
}

fn everything() -> RawJson {
    RawJson::of(&json!({ "elicitation": {}, "sampling": {}, "roots": {} }))
}

/// What happens to a call of a modern client at a legacy backend.
#[derive(Clone, Debug)]
enum Event {
    /// The backend asks, under an id of its own.
    Ask(Option<Value>, Kind),
    /// The backend takes a question back.
    Withdraw(Index),
    /// The client returns with these answers, each to a question that it has seen, open or not; some do not fit.
    Return(Vec<(Index, bool)>),
    /// The client brings answers to what nobody asked.
    ReturnNonsense(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Among them what the host could have come up with itself.
    let id = prop_oneof![
        Just(None),
        Just(Some(json!(1))),
        Just(Some(json!(""))),
        Just(Some(json!("x".repeat(1000)))),
        "(input-[1-9]|name|[1-9])".prop_map(|word| Some(json!(word))),
    ];
    let event = prop_oneof![
        4 => (id, kinds()).prop_map(|(id, kind)| Event::Ask(id, kind)),
        1 => any::<Index>().prop_map(Event::Withdraw),
        3 => vec(any::<(Index, bool)>(), 0..4).prop_map(Event::Return),
        1 => any::<u64>().prop_map(Event::ReturnNonsense),
    ];
    vec(event, 0..60)
}

/// How a question of the model ended.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Answered(Value),
    Withdrawn,
}

/// A question of the model.
struct Question {
    key: String,
    kind: Kind,
    end: Option<End>,
}

proptest! {
    #[test]
    fn each_gathered_question_is_answered_once_or_withdrawn(events in events()) {
        let mut gathering = Gathering::default();
        let mut questions: Vec<Question> = Vec::new();
        for (mark, event) in (0..).zip(events) {
            match event {
                Event::Ask(id, kind) => {
                    let params = Some(RawJson::of(&json!({ "mark": mark })));
                    let asked = Asked { method: kind.method().to_owned(), params };
                    let id = id.map(|id| RawJson::of(&id));
                    let key = gathering.ask(id.as_ref(), asked, &everything()).unwrap();
                    let is_free = questions.iter().all(|other| other.end.is_some() || other.key != key);
                    prop_assert!(is_free, "{} is the key of another open question", key);
                    questions.push(Question { key, kind, end: None });
                }
                Event::Withdraw(index) if !questions.is_empty() => {
                    let key = index.get(&questions).key.clone();
                    gathering.withdraw(&key);
                    if let Some(question) = open(&mut questions, &key) {
                        question.end = Some(End::Withdrawn);
                    }
                }
                Event::Return(chosen) if !questions.is_empty() => {
                    let (mut responses, mut expected) = (Object::default(), BTreeMap::new());
                    for (offset, (index, is_sound)) in (0..).zip(chosen) {
                        let Question { key, kind, .. } = index.get(&questions);
                        let (key, kind) = (key.clone(), *kind);
                        let answer = if is_sound { kind.answer(mark * 10 + offset) } else { json!({ "mark": mark }) };
                        responses.set(&key, RawJson::of(&answer));
                        // Of two answers under one key the client means the last.
                        expected.remove(&key);
                        if is_sound && open(&mut questions, &key).is_some_and(|question| question.kind == kind) {
                            expected.insert(key, answer);
                        }
                    }
                    let taken = gathering.answer(&responses);
                    let told: BTreeMap<String, Value> =
                        taken.iter().map(|(key, answer)| (key.clone(), answer.to_value().unwrap())).collect();
                    prop_assert_eq!(taken.len(), told.len(), "no question is answered twice");
                    prop_assert_eq!(&told, &expected);
                    for (key, answer) in told {
                        open(&mut questions, &key).unwrap().end = Some(End::Answered(answer));
                    }
                }
                Event::ReturnNonsense(key) => {
                    let responses = Object::from([(&*format!("0{key}"), RawJson::of(&Kind::Roots.answer(mark)))]);
                    prop_assert!(gathering.answer(&responses).is_empty());
                }
                Event::Withdraw(_) | Event::Return(_) => {}
            }
            let shown = Object::parse(&gathering.input_required("state")).unwrap().get_object("inputRequests");
            let shown: BTreeMap<_, _> = shown
                .iter()
                .map(|(key, request)| (key.to_owned(), Object::parse(request).unwrap().get_string("method").unwrap()))
                .collect();
            let open: BTreeMap<_, _> = (questions.iter())
                .filter(|question| question.end.is_none())
                .map(|question| (question.key.clone(), question.kind.method().to_owned()))
                .collect();
            prop_assert_eq!(gathering.is_empty(), open.is_empty());
            prop_assert_eq!(shown, open, "what is open is asked, and nothing else");
        }
    }
}

fn open<'a>(questions: &'a mut [Question], key: &str) -> Option<&'a mut Question> {
    questions.iter_mut().find(|question| question.end.is_none() && question.key == key)
}

/// One round of a modern backend: what it asks under which keys, and whether it keeps a state.
type Script = Vec<(BTreeMap<String, Kind>, bool)>;

fn scripts() -> impl Strategy<Value = Vec<Script>> {
    let key = prop_oneof!["[a-c]", Just("\"\\\u{e9}".to_owned()), Just(String::new())];
    let round = (proptest::collection::btree_map(key, kinds(), 0..4), any::<bool>());
    // A round that neither asks nor keeps a state says nothing.
    let round = round.prop_filter("it says something", |(questions, has_state)| *has_state || !questions.is_empty());
    vec(vec(round, 0..5), 1..6)
}

/// A modern backend that works on one call: it forgets nothing and checks what each retry brings.
struct Backend {
    name: usize,
    script: Script,
    tries: usize,
}

impl Backend {
    fn state(&self, round: usize) -> Value {
        json!(format!("call {} \u{1f600} round {round}", self.name))
    }

    fn serve(&mut self, params: &Object, answers: &BTreeMap<String, Value>) -> Result<Reply, TestCaseError> {
        let expected_state =
            (self.tries.checked_sub(1)).filter(|last| self.script[*last].1).map(|last| self.state(last));
        prop_assert_eq!(params.get("requestState").map(|state| state.to_value().unwrap()), expected_state);
        let brought = params.get_object("inputResponses");
        let brought: BTreeMap<String, Value> =
            brought.iter().map(|(key, answer)| (key.to_owned(), answer.to_value().unwrap())).collect();
        prop_assert_eq!(&brought, answers, "each question has its own answer");
        prop_assert_eq!(params.get_string("name"), Some(format!("tool {}", self.name)), "the rest of the call stays");
        let round = self.tries;
        self.tries += 1;
        let result = match self.script.get(round) {
            None => json!({ "resultType": "complete", "call": self.name }),
            Some((questions, has_state)) => {
                let requests: serde_json::Map<_, _> = (questions.iter())
                    .map(|(key, kind)| {
                        (key.clone(), json!({ "method": kind.method(), "params": { "call": self.name } }))
                    })
                    .collect();
                let mut result = json!({ "resultType": "input_required", "inputRequests": requests });
                if *has_state {
                    result["requestState"] = self.state(round);
                }
                result
            }
        };
        Ok(Reply::Result(RawJson::of(&result)))
    }
}

/// A call of a legacy client to such a backend.
struct Call {
    backend: Backend,
    rounds: Rounds,
    params: Object,
    /// What the client answered in the last round.
    answers: BTreeMap<String, Value>,
}

proptest! {
    #[test]
    fn each_call_of_a_legacy_client_comes_to_its_own_end(scripts in scripts(), order in vec(any::<Index>(), 40)) {
        let mut calls: Vec<_> = (scripts.into_iter().enumerate())
            .map(|(name, script)| Call {
                backend: Backend { name, script, tries: 0 },
                rounds: Rounds::default(),
                params: Object::from([("name", RawJson::of(&format!("tool {name}")))]),
                answers: BTreeMap::new(),
            })
            .collect();
        let count = calls.len();
        let (mut done, mut mark) = (BTreeSet::new(), 0);
        // Calls go on in any order; what is left then, one after the other.
        let order = order.iter().map(Some).chain(std::iter::repeat(None));
        for chosen in order {
            let unfinished: Vec<_> = (0..count).filter(|at| !done.contains(at)).collect();
            let Some(first) = unfinished.first() else { break };
            let at = chosen.map_or(*first, |index| *index.get(&unfinished));
            let Call { backend, rounds, params, answers } = &mut calls[at];
            let reply = backend.serve(params, answers)?;
            match rounds.after(reply, &everything()).unwrap() {
                AfterTry::Done(Reply::Result(result)) => {
                    prop_assert_eq!(result.to_value::<Value>().unwrap()["call"].clone(), json!(at));
                    prop_assert_eq!(backend.tries, backend.script.len() + 1);
                    done.insert(at);
                }
                AfterTry::Done(Reply::Error(error)) => prop_assert!(false, "{:?}", error),
                AfterTry::Ask(round) => {
                    answers.clear();
                    let mut given = Vec::new();
                    for (key, asked) in &round.questions {
                        let kind = backend.script[backend.tries - 1].0[key];
                        prop_assert_eq!(&asked.method, kind.method());
                        mark += 1;
                        let answer = kind.answer(mark);
                        given.push((key.clone(), RawJson::of(&answer)));
                        prop_assert_eq!(answers.insert(key.clone(), answer), None, "a question is put once");
                    }
                    round.retry(params, given);
                }
            }
        }
        prop_assert_eq!(done.len(), count);
    }
}
