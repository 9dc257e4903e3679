//! Many clients with many questions and requests at once, in any order of events: an answer reaches the question that it
//! was given to, a cancellation the request that it names, and neither anything of another client.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};
use tokio::sync::oneshot::{self, error::TryRecvError};
use vmcp_core::{call::Reply, id::Identity, json::RawJson};
use vmcp_gateway::{question::Question, session::Session};
use vmcp_mcp::{
    envelope::{Message, Request, Response, parse},
    era::Revision,
};

const CLIENTS: usize = 3;

#[derive(Clone, Debug)]
enum Event {
    /// A backend asks a client, under an id of its own, which others use too.
    Ask { client: usize, id: u8 },
    /// A client answers a question of a client, mostly its own.
    Answer { client: usize, question: Index },
    /// A client answers what nobody asked.
    AnswerNonsense { client: usize, id: Value },
    /// The call that a question belongs to has ended.
    Withdraw { question: Index },
    /// The backend does not listen any more.
    Leave { question: Index },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let client = 0..CLIENTS;
    let nonsense = prop_oneof![Just(json!(null)), Just(json!("1")), Just(json!(0)), Just(json!(-1)), Just(json!(1.5))];
    let event = prop_oneof![
        4 => (client.clone(), 0..3_u8).prop_map(|(client, id)| Event::Ask { client, id }),
        4 => (client.clone(), any::<Index>()).prop_map(|(client, question)| Event::Answer { client, question }),
        1 => (client, nonsense).prop_map(|(client, id)| Event::AnswerNonsense { client, id }),
        1 => any::<Index>().prop_map(|question| Event::Withdraw { question }),
        1 => any::<Index>().prop_map(|question| Event::Leave { question }),
    ];
    vec(event, 0..80)
}

/// A question as both sides see it.
struct Asked {
    client: usize,
    /// The id that the client knows.
    id: RawJson,
    question: Option<Question>,
    backend: Option<oneshot::Receiver<Reply>>,
    is_open: bool,
}

fn session() -> std::sync::Arc<Session> {
    Session::new(Revision::LATEST_LEGACY, Identity::Anonymous, RawJson::of(&json!({ "roots": {} })))
}

fn response(id: &RawJson, mark: usize) -> Response {
    Response { id: Some(id.clone()), reply: Reply::Result(RawJson::of(&mark)) }
}

proptest! {
    #[test]
    fn an_answer_reaches_its_question_and_no_other(events in events()) {
        let sessions: Vec<_> = (0..CLIENTS).map(|_| session()).collect();
        let mut all: Vec<Asked> = Vec::new();
        for (mark, event) in events.into_iter().enumerate() {
            match event {
                Event::Ask { client, id } => {
                    let request = Request { id: RawJson::of(&id), method: "roots/list".into(), params: None };
                    let (reply, backend) = oneshot::channel();
                    let Some(question) = sessions[client].ask(&request, reply) else {
                        let open = all.iter().filter(|asked| asked.client == client && asked.is_open).count();
                        prop_assert_eq!(open, 64, "only too many are refused");
                        continue;
                    };
                    let Message::Request(sent) = parse(&question.message).unwrap() else { panic!() };
                    let is_new = all.iter().all(|asked| asked.client != client || asked.id != sent.id);
                    prop_assert!(is_new, "an id is given once to a client");
                    let (question, backend) = (Some(question), Some(backend));
                    all.push(Asked { client, id: sent.id, question, backend, is_open: true });
                }
                Event::Answer { client, question } if !all.is_empty() => {
                    let id = question.get(&all).id.clone();
                    // The same id may be that of another question of this client.
                    let target = all.iter_mut().find(|asked| asked.client == client && asked.id == id && asked.is_open);
                    prop_assert_eq!(sessions[client].answer(response(&id, mark)).is_none(), target.is_some());
                    if let Some(asked) = target {
                        asked.is_open = false;
                        if let Some(mut backend) = asked.backend.take() {
                            prop_assert_eq!(backend.try_recv().unwrap(), Reply::Result(RawJson::of(&mark)));
                        }
                    }
                }
                Event::AnswerNonsense { client, id } => {
                    prop_assert!(sessions[client].answer(response(&RawJson::of(&id), mark)).is_some());
                    let nameless = Response { id: None, reply: Reply::Error(RawJson::of(&mark)) };
                    prop_assert!(sessions[client].answer(nameless).is_some());
                }
                Event::Withdraw { question } if !all.is_empty() => {
                    let at = question.index(all.len());
                    let asked = &mut all[at];
                    let told = asked.question.as_ref().and_then(Question::withdrawal);
                    prop_assert_eq!(told.is_some(), asked.is_open, "the client hears of it if it has yet to answer");
                    asked.question = None;
                    if std::mem::take(&mut asked.is_open) && let Some(mut backend) = asked.backend.take() {
                        prop_assert_eq!(backend.try_recv(), Err(TryRecvError::Closed));
                    }
                }
                Event::Leave { question } if !all.is_empty() => {
                    let at = question.index(all.len());
                    all[at].backend = None;
                }
                Event::Answer { .. } | Event::Withdraw { .. } | Event::Leave { .. } => {}
            }
            for asked in &mut all {
                if let (true, Some(backend)) = (asked.is_open, &mut asked.backend) {
                    prop_assert_eq!(backend.try_recv(), Err(TryRecvError::Empty), "what is open has no answer yet");
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Begin { client: usize, id: u8 },
    Cancel { client: usize, id: u8 },
    Finish { client: usize, id: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || (0..CLIENTS, 0..4_u8);
    let step = prop_oneof![
        3 => place().prop_map(|(client, id)| Step::Begin { client, id }),
        1 => place().prop_map(|(client, id)| Step::Cancel { client, id }),
        2 => place().prop_map(|(client, id)| Step::Finish { client, id }),
    ];
    vec(step, 0..80)
}

proptest! {
    #[test]
    fn a_cancellation_reaches_the_request_that_it_names(steps in steps()) {
        let sessions: Vec<_> = (0..CLIENTS).map(|_| session()).collect();
        let mut under_way = BTreeMap::new();
        for step in steps {
            match step {
                Step::Begin { client, id } => {
                    let begun = sessions[client].begin(&RawJson::of(&id));
                    prop_assert_eq!(begun.is_err(), under_way.contains_key(&(client, id)), "an id is in use once");
                    if let Ok(begun) = begun {
                        under_way.insert((client, id), (begun, false));
                    }
                }
                Step::Cancel { client, id } => {
                    sessions[client].cancel(&RawJson::of(&id));
                    if let Some((_, is_cancelled)) = under_way.get_mut(&(client, id)) {
                        *is_cancelled = true;
                    }
                }
                Step::Finish { client, id } => {
                    under_way.remove(&(client, id));
                }
            }
            for (request, is_cancelled) in under_way.values() {
                prop_assert_eq!(request.cancelled.is_cancelled(), *is_cancelled);
            }
        }
    }
}
