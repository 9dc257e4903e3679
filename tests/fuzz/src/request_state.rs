//! What clients carry for the host and bring back: nothing opens but what was sealed, for its purpose, and answers reach the
//! questions that they fit.
//!
//! The first byte chooses what the rest is: a text, changes to a sealed one, a payload, the content of a session's id, or the
//! answers of a client.
#![no_main]

use std::sync::{Arc, LazyLock};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use vmcp_core::{id::Identity, json::RawJson};
use vmcp_gateway::{
    seal::{MAX_PAYLOAD, Purpose, SealError, Sealer, SealingKey},
    session::Sessions,
};
use vmcp_mcp::{
    bridge::{input::Asked, modern_legacy::Gathering},
    object::Object,
};

static SEALER: LazyLock<Arc<Sealer>> =
    LazyLock::new(|| Arc::new(Sealer::new([SealingKey::from([7; 32]), SealingKey::from([8; 32])])));
static STRANGER: LazyLock<Sealer> = LazyLock::new(|| Sealer::new([SealingKey::from([9; 32])]));
static SEALED: LazyLock<String> = LazyLock::new(|| SEALER.seal(Purpose::RequestState, b"a handle and an expiry"));

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    match kind % 5 {
        0 => open_text(&String::from_utf8_lossy(rest)),
        1 => open_changed(rest),
        2 => open_sealed(rest),
        3 => find_session(rest),
        _ => answer_questions(rest),
    }
});

/// Nobody seals by chance.
fn open_text(text: &str) {
    for purpose in [Purpose::RequestState, Purpose::Session] {
        assert!(SEALER.open(purpose, text).is_err());
    }
    assert!(Sessions::new(SEALER.clone()).find(text, &Identity::Anonymous).is_err());
}

/// Each three bytes are one change to the bytes of a sealed text.
fn open_changed(changes: &[u8]) {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(&*SEALED).expect("a sealed text is base64");
    let mut bytes = sealed.clone();
    for change in changes.chunks_exact(3) {
        let at = usize::from(change[1]) % (bytes.len() + 1);
        match change[0] % 4 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, change[2]),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] ^= change[2],
            _ => {}
        }
    }
    let opened = SEALER.open(Purpose::RequestState, &BASE64_URL_SAFE_NO_PAD.encode(&bytes));
    assert_eq!(opened.is_ok(), bytes == sealed);

    // The same bytes as another text are no sealed text either.
    let mut text = SEALED.clone().into_bytes();
    for change in changes.chunks_exact(2) {
        let at = usize::from(change[0]) % text.len();
        text[at] = change[1] & 0x7f;
    }
    let text = String::from_utf8(text).expect("it is ASCII");
    assert_eq!(SEALER.open(Purpose::RequestState, &text).is_ok(), text == *SEALED);
}

fn open_sealed(payload: &[u8]) {
    let payload = &payload[..payload.len().min(MAX_PAYLOAD)];
    let text = SEALER.seal(Purpose::RequestState, payload);
    assert_eq!(SEALER.open(Purpose::RequestState, &text).as_deref(), Ok(payload));
    assert_eq!(SEALER.open(Purpose::Session, &text), Err(SealError::Broken));
    assert_eq!(STRANGER.open(Purpose::RequestState, &text), Err(SealError::UnknownKey));
}

/// What another version of the host may have sealed as the id of a session.
fn find_session(ticket: &[u8]) {
    let ticket = &ticket[..ticket.len().min(MAX_PAYLOAD)];
    let id = SEALER.seal(Purpose::Session, ticket);
    let sessions = Sessions::new(SEALER.clone());
    let is_found = sessions.find(&id, &Identity::Anonymous).is_ok();
    assert_eq!(sessions.len(), usize::from(is_found));
    assert_eq!(sessions.find(&id, &Identity::Anonymous).is_ok(), is_found, "found is found again");
}

fn answer_questions(responses: &[u8]) {
    const ASKED: [&str; 4] = ["elicitation/create", "sampling/createMessage", "roots/list", "elicitation/create"];
    let capabilities = RawJson::parse(r#"{"elicitation":{},"sampling":{},"roots":{}}"#).expect("it is JSON");
    let Ok(json) = RawJson::parse(responses.to_vec()) else { return };
    let responses = Object::parse_lenient(Some(&json));
    let mut gathering = Gathering::default();
    let keys = ASKED.map(|method| {
        let asked = Asked { method: method.to_owned(), params: None };
        gathering.ask(None, asked, &capabilities).expect("the client offers it")
    });
    let answers = gathering.answer(&responses);
    for (key, answer) in &answers {
        let at = keys.iter().position(|asked| asked == key).expect("only what was asked is answered");
        assert_eq!(responses.get(key), Some(answer));
        assert!(Asked { method: ASKED[at].to_owned(), params: None }.fits(answer));
    }
    assert!(gathering.answer(&responses).is_empty(), "an answer counts once");
    assert_eq!(gathering.is_empty(), answers.len() == ASKED.len());
    let again = Object::parse(&gathering.input_required("state")).expect("it is an object");
    assert_eq!(again.get_object("inputRequests").iter().count(), ASKED.len() - answers.len());
}
