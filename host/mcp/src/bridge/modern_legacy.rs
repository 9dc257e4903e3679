//! Modern client, legacy backend: requests of the backend during a call are gathered into a result that asks for input; the
//! client's retry brings the answers. The call itself stays open at the backend meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use vmcp_core::json::RawJson;

use super::{capability, input::Asked};
use crate::{
    error::{INVALID_PARAMS, MISSING_CLIENT_CAPABILITY, RpcError},
    meta::{PROGRESS_TOKEN, TASKS_EXTENSION},
    object::Object,
};

/// The error by which legacy servers ask for visits to URLs before a call; modern revisions do not have it.
const URL_ELICITATION_REQUIRED: i64 = -32042;
/// Longest key of a question, in bytes.
const MAX_KEY: usize = 64;

/// What the backend is told that the client can be asked.
pub fn capabilities(of_client: &RawJson) -> RawJson {
    let canonical = capability::canonical(of_client, |_| true);
    let mut members = Object::parse_lenient(Some(&canonical));
    // Legacy tasks are no extension.
    match members.remove_in("extensions", TASKS_EXTENSION) {
        Some(_) => members.to_json(),
        None => canonical,
    }
}

/// What a call waits for: the questions that the client has yet to answer, by the key it knows them under.
#[derive(Debug, Default)]
pub struct Gathering {
    /// In every key that is not the backend's.
    salt: String,
    /// All keys so far: each is given once, so that an answer cannot be taken for another's.
    keys: BTreeSet<String>,
    open: BTreeMap<String, Asked>,
}

impl Gathering {
    /// - `salt`: tells the keys of this call from those of others
    pub fn new(salt: &str) -> Self {
        Self { salt: salt.to_owned(), ..Self::default() }
    }

    /// Adds a question; its key.
    ///
    /// - `id`: the backend's own; where it is a word, it says more than a number of ours
    ///
    /// # Errors
    /// When the client said that it cannot be asked this; the call ends with this error.
    pub fn ask(&mut self, id: Option<&RawJson>, asked: Asked, capabilities: &RawJson) -> Result<String, RpcError> {
        if let Some(lacking) = asked.lacking(capabilities) {
            let message = format!("the backend asks for `{}`, which the client does not offer", asked.method);
            return Err(
                RpcError::new(MISSING_CLIENT_CAPABILITY, message).with_data(json!({ "requiredCapabilities": lacking }))
            );
        }
        let is_free = |key: &String| key.len() <= MAX_KEY && !self.keys.contains(key);
        let word = id.and_then(RawJson::as_string).filter(is_free);
        let mut numbered = (self.keys.len() + 1..).map(|number| format!("input-{}{number}", self.salt));
        let key = word.or_else(|| numbered.find(is_free)).unwrap_or_default();
        self.keys.insert(key.clone());
        self.open.insert(key.clone(), Asked { params: modern_params(asked.params), ..asked });
        Ok(key)
    }

    /// The backend does not want to know any more.
    pub fn withdraw(&mut self, key: &str) {
        self.open.remove(key);
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes the client's answers: those that fit a question, which is open no more. The others stay open.
    pub fn answer(&mut self, responses: &Object) -> Vec<(String, RawJson)> {
        let mut answers = Vec::new();
        self.open.retain(|key, asked| match responses.get(key) {
            Some(answer) if asked.fits(answer) => {
                answers.push((key.clone(), answer.clone()));
                false
            }
            _ => true,
        });
        answers
    }

    /// The result that asks the client for all that is open.
    ///
    /// - `state`: what the client has to bring with its answers
    pub fn input_required(&self, state: &str) -> RawJson {
        Object::from([
            ("resultType", RawJson::of(&"input_required")),
            ("inputRequests", self.requests().to_json()),
            ("requestState", RawJson::of(&state)),
        ])
        .to_json()
    }

    /// All that is open, by key.
    pub fn requests(&self) -> Object {
        let mut requests = Object::default();
        for (key, asked) in &self.open {
            let mut request = Object::from([("method", RawJson::of(&asked.method))]);
            if let Some(params) = &asked.params {
                request.set("params", params.clone());
            }
            requests.set(key, request.to_json());
        }
        requests
    }
}

/// The visits to URLs that a legacy error asks for before the call is made again.
///
/// - `salt`: as for [`Gathering::new`]
///
/// # Errors
/// When the client cannot be led to URLs.
pub fn url_visits(error: &RawJson, capabilities: &RawJson, salt: &str) -> Result<Option<Gathering>, RpcError> {
    let error = Object::parse_lenient(Some(error));
    if error.get("code").map(RawJson::as_str) != Some(&URL_ELICITATION_REQUIRED.to_string()) {
        return Ok(None);
    }
    let visits = error.get_object("data").get("elicitations").and_then(|list| list.to_value::<Vec<RawJson>>().ok());
    let mut gathering = Gathering::new(salt);
    for visit in visits.unwrap_or_default() {
        let mut params = Object::parse_lenient(Some(&visit));
        params.set("mode", RawJson::of(&"url"));
        let asked = Asked { method: "elicitation/create".to_owned(), params: Some(params.to_json()) };
        gathering.ask(None, asked, capabilities)?;
    }
    if gathering.is_empty() {
        let message = error.get_string("message").unwrap_or_default();
        return Err(RpcError::new(INVALID_PARAMS, message));
    }
    Ok(Some(gathering))
}

/// The params of a request as modern clients know it: without what belongs to the connection with the backend.
fn modern_params(params: Option<RawJson>) -> Option<RawJson> {
    let raw = params?;
    let mut members = Object::parse_lenient(Some(&raw));
    let had_token = members.remove_in("_meta", PROGRESS_TOKEN).is_some();
    let had_id = members.remove("elicitationId").is_some();
    Some(if had_token || had_id { members.to_json() } else { raw })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    fn elicitation(message: &str) -> Asked {
        let params = Object::from([("message", RawJson::of(&message))]);
        Asked { method: "elicitation/create".into(), params: Some(params.to_json()) }
    }

    #[test]
    fn questions_are_asked_until_each_has_an_answer_that_fits() {
        let capabilities = json(r#"{"elicitation":{}}"#);
        let mut gathering = Gathering::default();
        assert_eq!(gathering.ask(Some(&json("7")), elicitation("one"), &capabilities).unwrap(), "input-1");
        assert_eq!(gathering.ask(Some(&json("\"name\"")), elicitation("two"), &capabilities).unwrap(), "name");
        assert_eq!(
            gathering.input_required("s").as_str(),
            concat!(
                r#"{"resultType":"input_required","inputRequests":{"input-1":{"method":"elicitation/create","params":{"message":"one"}},"#,
                r#""name":{"method":"elicitation/create","params":{"message":"two"}}},"requestState":"s"}"#
            )
        );
        let responses =
            json(r#"{"input-1":{"action":"maybe"},"name":{"action":"accept","content":{}},"3":{"action":"accept"}}"#);
        let answers = gathering.answer(&Object::parse(&responses).unwrap());
        assert_eq!(answers, [("name".to_owned(), json(r#"{"action":"accept","content":{}}"#))]);
        assert!(gathering.answer(&Object::parse(&responses).unwrap()).is_empty(), "an answer counts once");
        assert!(!gathering.is_empty());
        gathering.withdraw("input-1");
        assert!(gathering.is_empty());
    }

    #[test]
    fn what_the_client_does_not_offer_ends_the_call() {
        let error = Gathering::default().ask(None, elicitation("one"), &json("{}")).unwrap_err();
        assert_eq!(error.code, MISSING_CLIENT_CAPABILITY);
        assert_eq!(error.data, Some(json!({"requiredCapabilities": {"elicitation": {}}})));
    }

    #[test]
    fn an_error_that_asks_for_visits_becomes_questions() {
        let error = json(
            r#"{"code":-32042,"message":"m","data":{"elicitations":[{"elicitationId":"e","url":"https://example.org","message":"go"}]}}"#,
        );
        let able = json(r#"{"elicitation":{"url":{}}}"#);
        let gathering = url_visits(&error, &able, "s-").unwrap().unwrap();
        assert!(gathering.input_required("s").as_str().contains(
            r#""input-s-1":{"method":"elicitation/create","params":{"url":"https://example.org","message":"go","mode":"url"}}"#
        ));
        assert_eq!(url_visits(&error, &json("{}"), "").unwrap_err().code, MISSING_CLIENT_CAPABILITY);
        assert!(url_visits(&json(r#"{"code":-32602,"message":"m"}"#), &able, "").unwrap().is_none());
    }

    #[test]
    fn the_tasks_extension_is_not_offered_to_legacy_backends() {
        let check = |text: &str, expected: &str| assert_eq!(capabilities(&json(text)).as_str(), expected, "{text}");
        check(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}},"roots":{}}"#, r#"{"roots":{}}"#);
        check(r#"{"extensions":{"io.modelcontextprotocol/tasks":{},"x/y":{}}}"#, r#"{"extensions":{"x/y":{}}}"#);
    }
}
