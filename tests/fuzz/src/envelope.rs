//! Messages of strangers: whatever is read as one can be written and read again, with nothing lost, changed or invented.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use vmcp_core::{call::Reply, json::RawJson};
use vmcp_mcp::{
    envelope::{
        MAX_BATCH, Message, Notification, Request, Response, is_batch, parse, parse_batch, write_batch,
        write_notification, write_request, write_response,
    },
    era::Revision,
    meta::RequestMeta,
    object::Object,
};

fuzz_target!(|input: &[u8]| {
    let text = Bytes::copy_from_slice(input);
    if let Ok(message) = parse(&text) {
        check_message(&message);
    }
    if let Ok(members) = parse_batch(&text) {
        assert!(is_batch(&text) && parse(&text).is_err(), "a batch is no message");
        check_batch(members.iter().flatten());
        assert!((1..=MAX_BATCH).contains(&members.len()));
    }
    if let Ok(json) = RawJson::parse(text) {
        check_object(&json);
    }
});

fn check_batch<'a>(messages: impl Iterator<Item = &'a Message> + Clone) {
    let written = write_batch(&messages.clone().map(write).collect::<Vec<_>>());
    let again = parse_batch(&written).unwrap_or_default();
    assert_eq!(again.len(), messages.clone().count());
    for (one, two) in messages.zip(&again) {
        check_message(one);
        assert_equal(one, two.as_ref().expect("what is written can be read"));
    }
}

fn check_message(message: &Message) {
    assert_equal(message, &parse(&write(message)).expect("what is written can be read"));
    if let Message::Request(Request { params: Some(params), .. }) = message {
        check_meta(params);
    }
}

fn write(message: &Message) -> Bytes {
    match message {
        Message::Request(Request { id, method, params }) => write_request(id, method, params.as_ref()),
        Message::Notification(Notification { method, params }) => write_notification(method, params.as_ref()),
        Message::Response(Response { id, reply }) => write_response(id.as_ref(), reply),
    }
}

fn assert_equal(message: &Message, again: &Message) {
    match (message, again) {
        (Message::Request(one), Message::Request(two)) => {
            assert_eq!((&one.id, &one.method, &one.params), (&two.id, &two.method, &two.params));
            assert_ne!(one.id.as_str(), "null");
        }
        (Message::Notification(one), Message::Notification(two)) => {
            assert_eq!((&one.method, &one.params), (&two.method, &two.params));
        }
        (Message::Response(one), Message::Response(two)) => {
            assert_eq!(one.id, two.id);
            match (&one.reply, &two.reply) {
                (Reply::Result(one), Reply::Result(two)) | (Reply::Error(one), Reply::Error(two)) => {
                    assert_eq!(one, two);
                }
                replies => panic!("{replies:?} are of two kinds"),
            }
        }
        messages => panic!("{messages:?} are of two kinds"),
    }
}

fn check_object(json: &RawJson) {
    let Ok(object) = Object::parse(json) else { return };
    let written = object.to_json();
    assert_eq!(Object::parse(&written).expect("a written object is one"), object);
    assert!(RawJson::parse(written.bytes().clone()).is_ok());
    let mut keys: Vec<_> = object.iter().map(|(key, _)| key).collect();
    let members = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), members, "a key comes once");
    check_meta(json);
}

/// `_meta` is taken apart and put together again for both eras.
fn check_meta(params: &RawJson) {
    let Ok(whole) = Object::parse(params) else { return };
    let mut rest = whole.clone();
    let meta = RequestMeta::take_from(&mut rest);
    assert!(rest.get("_meta").is_none());
    for (key, value) in rest.iter() {
        assert_eq!(whole.get(key), Some(value), "what is not `_meta` stays");
    }

    let mut legacy = rest.clone();
    meta.put_legacy(&mut legacy, meta.progress_token.clone());
    let mut legacy = reread(&legacy);
    let told = RequestMeta::take_from(&mut legacy);
    assert_eq!((&told.forwarded, &told.progress_token), (&meta.forwarded, &meta.progress_token));
    assert!(told.protocol_version.is_none() && told.client_info.is_none() && told.client_capabilities.is_none());
    assert_eq!(legacy, rest);

    let (capabilities, client_info) = (RawJson::of(&"capabilities"), RawJson::of(&"info"));
    let mut modern = rest.clone();
    meta.put_modern(&mut modern, Revision::LATEST_MODERN, &capabilities, &client_info, meta.progress_token.clone());
    let mut modern = reread(&modern);
    let told = RequestMeta::take_from(&mut modern);
    assert_eq!((&told.forwarded, &told.progress_token), (&meta.forwarded, &meta.progress_token));
    assert_eq!(told.protocol_version.as_deref(), Some(Revision::LATEST_MODERN.as_str()));
    assert_eq!((told.client_capabilities, told.client_info), (Some(capabilities), Some(client_info)));
    assert_eq!(told.log_level, meta.log_level);
    assert_eq!(modern, rest);
}

fn reread(object: &Object) -> Object {
    Object::parse(&RawJson::parse(object.to_json().bytes().clone()).expect("it is JSON")).expect("it is an object")
}
