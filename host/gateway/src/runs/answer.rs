//! Answers of clients to what runs asked them, before a restart or after.

use std::{collections::HashMap, sync::Arc};

use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};
use tracing::warn;
use vmcp_backend::EventSender;
use vmcp_core::{
    call::Reply,
    journal::{Event, HostCall, RunId},
    json::RawJson,
};
use vmcp_mcp::{envelope::Response, error::RpcError, object::Object};
use vmcp_workflow::{
    Unfinished,
    runs::{RunRecord, RunStream, TimedEvent},
};

use super::{HELD_PATIENCE, HELD_PAUSE, Rejoined};
use crate::{
    gateway::Gateway,
    parked::{Answer, StateRefusal},
    router::Caller,
    session::{Owner, Session},
};

/// Numbers above are those of runs' questions; below, sessions count their own. All fit into a JavaScript number.
const FIRST_NUMBER: u64 = 1 << 52;
/// How the keys of runs' questions begin, for modern clients.
const KEY: &str = "input-";

/// The number of the question that the call `call` of `run` is: the same whichever process asks.
pub(crate) fn question_number(run: RunId, call: u64) -> u64 {
    let digest = Sha256::new().chain_update(run.0).chain_update(call.to_le_bytes()).finalize();
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    FIRST_NUMBER | (u64::from_le_bytes(number) & (FIRST_NUMBER - 1))
}

/// The key by which modern clients know the question of this number.
pub(crate) fn question_key(number: u64) -> String {
    format!("{KEY}{number:x}")
}

/// What a modern client's `inputResponses` say to questions of runs.
pub(crate) fn answers(responses: &Object) -> HashMap<u64, Reply> {
    let number = |key: &str| u64::from_str_radix(key.strip_prefix(KEY)?, 16).ok();
    let answer = |(key, answer): (&str, &RawJson)| Some((number(key)?, Reply::Result(answer.clone())));
    responses.iter().filter_map(answer).collect()
}

/// A request that a legacy client made of an earlier process, or of this one before its stream was forgotten.
pub struct EarlierRequest {
    pub id: RawJson,
    run: RunId,
}

impl Gateway {
    /// Takes a client's answer to what no request of this process asked; whether a run had asked it.
    pub async fn answer_earlier(&self, session: &Arc<Session>, response: Response) -> bool {
        let number = response.id.as_ref().and_then(|id| id.as_str().parse().ok());
        let Some(number) = number.filter(|number| *number >= FIRST_NUMBER) else { return false };
        let Some(root) = self.asked_by(session, number).await else { return false };
        match self.have_answered(root, &Caller::legacy(session.clone()), number, response.reply).await {
            Ok(is_taken) => is_taken,
            Err(refusal) => {
                warn!(run = %root, %refusal, "an answer came for a run that cannot take it");
                false
            }
        }
    }

    /// Gives an answer to a run, whoever else waits for that; false when it has ended.
    async fn have_answered(
        &self,
        run: RunId,
        caller: &Caller,
        number: u64,
        reply: Reply,
    ) -> Result<bool, StateRefusal> {
        let deadline = Instant::now() + HELD_PATIENCE;
        loop {
            let found = match self.runs.expect(run) {
                Some(found) => Some(found),
                None => match self.claim(run, Some(caller)).await? {
                    Some(Rejoined::Goes(live, expected)) => Some((live, expected)),
                    Some(Rejoined::Over(_)) => return Ok(false),
                    None => None,
                },
            };
            match found {
                // It is not laid aside before the answer lies there.
                Some((live, _expected)) => {
                    live.seat.answer_early(number, reply);
                    return Ok(true);
                }
                // Whoever is about to have it may be this process.
                None if Instant::now() >= deadline => return Err(StateRefusal::Busy),
                None => sleep(HELD_PAUSE).await,
            }
        }
    }

    /// The outermost of the runs of which one asked the session this.
    async fn asked_by(&self, session: &Arc<Session>, number: u64) -> Option<RunId> {
        let records = self.runs.store.of_session(&session.id).await.ok()?;
        let asked = |record: &RunRecord| {
            let unfinished = Unfinished::of(&record.events);
            record.events.iter().any(|TimedEvent { event, .. }| match event {
                Event::Began { call, what: HostCall::Elicit { .. } | HostCall::Sample { .. } } => {
                    unfinished.contains(*call) && question_number(record.head.id, *call) == number
                }
                _ => false,
            })
        };
        let is_own =
            |record: &&RunRecord| record.head.owner == Owner::of(&session.identity).0 && !record.state.has_ended();
        records.iter().filter(is_own).find(|record| asked(record)).map(|record| record.head.root)
    }

    /// The request of the session whose answer goes over the stream of this number, if a run is behind it.
    pub async fn earlier_request(&self, session: &Arc<Session>, stream: u64) -> Option<EarlierRequest> {
        let records = self.runs.store.of_session(&session.id).await.ok()?;
        records.into_iter().find_map(|record| match record.stream {
            Some(RunStream { number, request })
                if number == stream && record.head.owner == Owner::of(&session.identity).0 =>
            {
                Some(EarlierRequest { id: request, run: record.head.root })
            }
            _ => None,
        })
    }

    /// The answer to such a request.
    pub async fn answer_to_earlier(
        &self,
        request: &EarlierRequest,
        caller: &Caller,
        events: EventSender,
    ) -> Result<Reply, RpcError> {
        let (live, expected) = match self.rejoin(request.run, caller).await {
            Ok(Rejoined::Goes(live, expected)) => (live, expected),
            Ok(Rejoined::Over(result)) => return Ok(Reply::Result(result)),
            Err(refusal) => return Err(refusal.tell()),
        };
        // A request begins one run, and this one began that.
        let _ = caller.run.set(request.run);
        let answer: Answer = self.follow(live, Some(expected), caller, events, None, HashMap::new()).await;
        answer.map(|(_, reply)| reply).map_err(|error| crate::forward::no_reply(&error))
    }

    /// Notes on which stream the session hears of the run that a request began. Where runs outlive the process, it returns
    /// once that is written: whoever was told of the stream can come back to it.
    pub async fn note_stream(&self, caller: &Caller, stream: u64, request: &RawJson) {
        let Some(live) = caller.run.get().and_then(|run| self.runs.find(*run)) else { return };
        let store = &self.runs.store;
        live.note_stream(&**store, RunStream { number: stream, request: request.clone() });
        if store.is_durable()
            && let Err(error) = store.settled(live.head.id).await
        {
            warn!(run = %live.head.id, %error, "its client cannot come back to it after a restart");
        }
    }

    /// The client takes the request back that began a run.
    pub fn cancel_run_of(&self, caller: &Caller) {
        if let Some(live) = caller.run.get().and_then(|run| self.runs.find(*run)) {
            self.runs.cancel(&live, "its client cancelled it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_of_runs_have_numbers_of_their_own_that_every_client_can_read() {
        let (one, other) = (RunId([1; 16]), RunId([2; 16]));
        let numbers = [question_number(one, 0), question_number(one, 1), question_number(other, 0)];
        assert_eq!(question_number(one, 0), numbers[0]);
        for (index, number) in numbers.iter().enumerate() {
            assert!((1 << 52..1 << 53).contains(number), "{number}");
            assert!(!numbers[..index].contains(number));
        }
        let mut responses = Object::from([("other", RawJson::of(&1))]);
        responses.set(&question_key(numbers[0]), RawJson::of(&"yes"));
        let read = answers(&responses);
        assert_eq!(read, HashMap::from([(numbers[0], Reply::Result(RawJson::of(&"yes")))]));
    }
}
