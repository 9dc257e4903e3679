//! Legacy client, modern backend: a result that asks for input becomes live requests to the client, and their answers a
//! retry, until the backend is content.

use serde_json::{Value, json};
use vmcp_core::{call::Reply, json::RawJson};

use super::{
    capability,
    input::{Asked, InputKind},
};
use crate::{
    error::{BACKEND_FAILED, INTERNAL_ERROR, RpcError},
    object::Object,
};

/// Rounds that one call may take; a backend that asks for ever is stopped.
const MAX_ROUNDS: usize = 32;
/// Questions of one round.
const MAX_QUESTIONS: usize = 64;

/// What the backend is told that the client can be asked.
pub fn capabilities(of_client: &RawJson) -> RawJson {
    let canonical = capability::canonical(of_client, |name| name != "tasks");
    let mut members = Object::parse_lenient(Some(&canonical));
    // Nobody tells a modern backend of changed roots: it asks anew each time.
    if members.get("roots").is_none() {
        return canonical;
    }
    members.set("roots", Object::default().to_json());
    members.to_json()
}

/// One call, from its first try to the reply that the client sees.
#[derive(Debug, Default)]
pub struct Rounds {
    done: usize,
}

/// What comes after a try.
#[derive(Debug)]
pub enum AfterTry {
    /// The reply is for the client.
    Done(Reply),
    /// The client is asked all of these, then comes the next try.
    Ask(Round),
}

/// What the backend wants to know before it goes on.
#[derive(Debug, PartialEq, Eq)]
pub struct Round {
    /// Each under the name that the backend gave it.
    pub questions: Vec<(String, Asked)>,
    /// The backend's own, untouched.
    state: Option<RawJson>,
}

impl Rounds {
    /// Looks at what a try brought.
    ///
    /// - `capabilities`: what the client can be asked
    ///
    /// # Errors
    /// When the backend asks for something that no client of this era can give, or does not stop asking.
    pub fn after(&mut self, reply: Reply, capabilities: &RawJson) -> Result<AfterTry, RpcError> {
        let Reply::Result(result) = &reply else { return Ok(AfterTry::Done(reply)) };
        if memchr::memmem::find(result.as_bytes(), b"input_required").is_none() {
            return Ok(AfterTry::Done(reply));
        }
        let members = Object::parse_lenient(Some(result));
        if members.get_string("resultType").as_deref() != Some("input_required") {
            return Ok(AfterTry::Done(reply));
        }
        self.done += 1;
        if self.done > MAX_ROUNDS {
            return Err(broken(format!("the backend asked for input more than {MAX_ROUNDS} times")));
        }
        let state = members.get("requestState").cloned();
        let mut questions = Vec::new();
        for (key, request) in members.get_object("inputRequests").iter().take(MAX_QUESTIONS) {
            let request = Object::parse_lenient(Some(request));
            let method = request.get_string("method").unwrap_or_default();
            if InputKind::of(&method).is_none() {
                return Err(broken(format!("the backend asks for `{method}`, which is no request for input")));
            }
            let asked = Asked { params: legacy_params(&method, request.get("params"), key), method };
            if let Some(lacking) = asked.lacking(capabilities) {
                return Err(RpcError::new(
                    INTERNAL_ERROR,
                    format!("the backend asks for `{}`, which this client did not offer", asked.method),
                )
                .with_data(json!({ "requiredCapabilities": lacking })));
            }
            questions.push((key.to_owned(), asked));
        }
        if questions.is_empty() && state.is_none() {
            return Err(broken("the backend asks for input without saying for which"));
        }
        Ok(AfterTry::Ask(Round { questions, state }))
    }
}

impl Round {
    /// Puts the answers into the `params` of the next try, in place of those of the last.
    pub fn retry(self, params: &mut Object, answers: impl IntoIterator<Item = (String, RawJson)>) {
        let mut responses = Object::default();
        for (key, answer) in answers {
            responses.set(&key, answer);
        }
        params.remove("inputResponses");
        params.remove("requestState");
        if !responses.is_empty() {
            params.set("inputResponses", responses.to_json());
        }
        if let Some(state) = self.state {
            params.set("requestState", state);
        }
    }
}

/// The params of a request as legacy clients know it: one that leads to a URL has an id there.
fn legacy_params(method: &str, params: Option<&RawJson>, key: &str) -> Option<RawJson> {
    let mut members = Object::parse_lenient(params);
    let is_url = method == "elicitation/create" && members.get_string("mode").as_deref() == Some("url");
    if !is_url || members.get("elicitationId").is_some() {
        return params.cloned();
    }
    members.set("elicitationId", RawJson::of(&Value::from(key)));
    Some(members.to_json())
}

fn broken(what: impl Into<String>) -> RpcError {
    RpcError::new(BACKEND_FAILED, what).with_data(json!({ "kind": "protocol" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    fn after(result: &str) -> Result<AfterTry, RpcError> {
        let capabilities = json(r#"{"elicitation":{"form":{},"url":{}},"roots":{}}"#);
        Rounds::default().after(Reply::Result(json(result)), &capabilities)
    }

    #[test]
    fn a_result_that_asks_for_input_becomes_questions_and_a_retry() {
        let result = r#"{"resultType":"input_required","requestState":"s","inputRequests":{
            "a":{"method":"elicitation/create","params":{"message":"m"}},"b":{"method":"roots/list"}}}"#;
        let Ok(AfterTry::Ask(round)) = after(result) else { panic!() };
        let methods: Vec<_> =
            round.questions.iter().map(|(key, asked)| (key.as_str(), asked.method.as_str())).collect();
        assert_eq!(methods, [("a", "elicitation/create"), ("b", "roots/list")]);
        let mut params = Object::parse(&json(r#"{"name":"x","requestState":"old","inputResponses":{}}"#)).unwrap();
        round.retry(&mut params, [("a".to_owned(), json(r#"{"action":"decline"}"#))]);
        assert_eq!(
            params.to_json().as_str(),
            r#"{"name":"x","inputResponses":{"a":{"action":"decline"}},"requestState":"s"}"#
        );
    }

    #[test]
    fn what_a_client_cannot_be_asked_ends_the_call() {
        let check = |result: &str, expected: &str| match after(result) {
            Ok(AfterTry::Done(Reply::Result(result))) => assert_eq!(result.as_str(), expected),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert_eq!(error.message, expected),
        };
        check(
            r#"{"resultType":"complete","text":"input_required"}"#,
            r#"{"resultType":"complete","text":"input_required"}"#,
        );
        check(
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage"}}}"#,
            "the backend asks for `sampling/createMessage`, which this client did not offer",
        );
        check(
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":"tools/call"}}}"#,
            "the backend asks for `tools/call`, which is no request for input",
        );
        check(r#"{"resultType":"input_required"}"#, "the backend asks for input without saying for which");
    }

    #[test]
    fn a_backend_that_asks_for_ever_is_stopped() {
        let (mut rounds, none) = (Rounds::default(), json("{}"));
        let mut ask =
            || rounds.after(Reply::Result(json(r#"{"resultType":"input_required","requestState":"s"}"#)), &none);
        assert!((0..MAX_ROUNDS).all(|_| matches!(ask(), Ok(AfterTry::Ask(_)))));
        assert!(ask().is_err());
    }

    #[test]
    fn a_legacy_client_gets_an_id_with_a_url() {
        let result = r#"{"resultType":"input_required","inputRequests":{
            "a":{"method":"elicitation/create","params":{"mode":"url","url":"https://example.org","message":"m"}}}}"#;
        let Ok(AfterTry::Ask(round)) = after(result) else { panic!() };
        let params = Object::parse_lenient(round.questions[0].1.params.as_ref());
        assert_eq!(params.get_string("elicitationId").as_deref(), Some("a"));
    }

    #[test]
    fn roots_are_offered_without_their_changes() {
        let check = |text: &str, expected: &str| assert_eq!(capabilities(&json(text)).as_str(), expected, "{text}");
        check("{}", "{}");
        check(r#"{"tasks":{},"sampling":{},"roots":{"listChanged":true}}"#, r#"{"roots":{},"sampling":{}}"#);
    }
}
