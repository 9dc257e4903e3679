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

#[derive(Clone, Copy, Debug)]
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
    /// The backend asks.
    Ask(Kind),
    /// The backend takes a question back.
    Withdraw(Index),
    /// The client returns with these answers, each to a question that it has seen, open or not; some do not fit.
    Return(Vec<(Index, bool)>),
    /// The client brings answers to what nobody asked.
    ReturnNonsense(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => kinds().prop_map(Event::Ask),
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

proptest! {
    #[test]
    fn each_gathered_question_is_answered_once_or_withdrawn(events in events()) {
        let mut gathering = Gathering::default();
        let (mut asked, mut ends) = (BTreeMap::<u64, Kind>::new(), BTreeMap::<u64, End>::new());
        for (mark, event) in (0..).zip(events) {
            let seen: Vec<_> = asked.iter().map(|(key, kind)| (*key, *kind)).collect();
            match event {
                Event::Ask(kind) => {
                    let question = Asked { method: kind.method().to_owned(), params: Some(RawJson::of(&json!({ "mark": mark }))) };
                    let key = gathering.ask(question, &everything()).unwrap();
                    prop_assert!(asked.insert(key, kind).is_none(), "a key is given once");
                }
                Event::Withdraw(index) if !seen.is_empty() => {
                    let (key, _) = *index.get(&seen);
                    gathering.withdraw(key);
                    ends.entry(key).or_insert(End::Withdrawn);
                }
                Event::Return(chosen) if !seen.is_empty() => {
                    let mut responses = Object::default();
                    let mut expected = BTreeMap::new();
                    for (offset, (index, fits)) in (0..).zip(chosen) {
                        let (key, kind) = *index.get(&seen);
                        let answer = if fits { kind.answer(mark * 10 + offset) } else { json!({ "mark": mark }) };
                        responses.set(&key.to_string(), RawJson::of(&answer));
                        // Of two answers under one key the client means the last.
                        expected.remove(&key);
                        if fits && !ends.contains_key(&key) {
                            expected.insert(key, answer);
                        }
                    }
                    let taken = gathering.answer(&responses);
                    let told: BTreeMap<_, Value> =
                        taken.iter().map(|(key, answer)| (*key, answer.to_value().unwrap())).collect();
                    prop_assert_eq!(taken.len(), told.len(), "no question is answered twice");
                    prop_assert_eq!(&told, &expected);
                    for (key, answer) in told {
                        prop_assert_eq!(ends.insert(key, End::Answered(answer)), None);
                    }
                }
                Event::ReturnNonsense(key) => {
                    let responses = Object::from([(&*format!("0{key}"), RawJson::of(&Kind::Roots.answer(mark)))]);
                    prop_assert!(gathering.answer(&responses).is_empty());
                }
                Event::Withdraw(_) | Event::Return(_) => {}
            }
            let open: BTreeMap<_, _> = asked.iter().filter(|(key, _)| !ends.contains_key(key)).collect();
            prop_assert_eq!(gathering.is_empty(), open.is_empty());
            let shown = Object::parse(&gathering.input_required("state")).unwrap().get_object("inputRequests");
            let shown: Vec<_> = shown
                .iter()
                .map(|(key, request)| (key.to_owned(), Object::parse(request).unwrap().get_string("method").unwrap()))
                .collect();
            let open: Vec<_> = open.iter().map(|(key, kind)| (key.to_string(), kind.method().to_owned())).collect();
            prop_assert_eq!(shown, open, "what is open is asked, and nothing else");
        }
    }
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
