//! How long ids are good, and for whom.

use super::*;
use crate::seal::SealingKey;

const STRANGER: Owner = Owner([7; 32]);

fn capabilities() -> RawJson {
    RawJson::parse(r#"{"elicitation":{}}"#).unwrap()
}

fn begin(sessions: &Sessions) -> Arc<Session> {
    sessions.begin(Revision::V2025_06_18, Identity::Anonymous, capabilities())
}

fn find(sessions: &Sessions, id: &str) -> Result<Arc<Session>, SessionError> {
    sessions.find(id, &Identity::Anonymous)
}

/// The error, where one is expected.
fn refusal(sessions: &Sessions, id: &str) -> SessionError {
    find(sessions, id).expect_err("the session is refused")
}

/// Sessions of one process after the other, with the same key.
fn processes<const N: usize>(bounds: Bounds) -> [Sessions; N] {
    let sealer = Arc::new(Sealer::default());
    std::array::from_fn(|_| Sessions::within(sealer.clone(), bounds))
}

#[test]
fn a_session_goes_on_in_another_process() {
    let [before, after] = processes(Bounds::default());
    let begun = begin(&before);
    assert!(begun.id.bytes().all(|byte| byte.is_ascii_graphic()) && begun.id.len() < 250, "{}", begun.id);
    let session = find(&after, &begun.id).unwrap();
    assert_eq!((&session.id, session.revision), (&begun.id, begun.revision));
    assert_eq!((&session.view, &session.capabilities), (&begun.view, &begun.capabilities));
    assert!(Arc::ptr_eq(&session, &find(&after, &begun.id).unwrap()), "it is made again once");
}

#[test]
fn ids_that_nobody_gave_out_are_unknown() {
    let [sessions] = processes(Bounds::default());
    let begun = begin(&sessions);
    let foreign = Sessions::new(Arc::new(Sealer::new([SealingKey::random()])));
    for id in ["", "made-up", &begun.id[1..], &begin(&foreign).id] {
        assert_eq!(refusal(&sessions, id), SessionError::Unknown, "{id}");
    }
    let state = sessions.sealer.seal(Purpose::RequestState, b"");
    assert_eq!(refusal(&sessions, &state), SessionError::Unknown);
    assert!(find(&sessions, &begun.id).is_ok());
}

#[test]
fn an_ended_session_stays_ended_in_its_process_and_where_it_went_on() {
    let [before, after] = processes(Bounds::default());
    let begun = begin(&before);
    let session = find(&after, &begun.id).unwrap();
    let stream = session.begin_stream();
    after.end(&session);
    assert!(stream.is_cancelled());
    assert_eq!(refusal(&after, &begun.id), SessionError::Unknown);
    before.end(&begun);
    assert_eq!(refusal(&before, &begun.id), SessionError::Unknown);
    assert_eq!((before.len(), after.len()), (0, 0));
}

#[test]
fn a_session_that_another_identity_presents_is_refused_and_ended() {
    let [before, after] = processes(Bounds::default());
    let begun = begin(&before);
    // Where it is not in memory yet, and where it is.
    for sessions in [&after, &before] {
        let refusal = sessions.find_for(STRANGER, &begun.id, &Identity::Anonymous).unwrap_err();
        assert_eq!(refusal, SessionError::ForeignIdentity);
        assert_eq!(find(sessions, &begun.id).unwrap_err(), SessionError::Unknown);
    }
}

#[test]
fn a_session_expires_however_busy_it_is() {
    let [mortal, other] = processes(Bounds { lifetime: Duration::ZERO, ..Bounds::default() });
    let begun = begin(&mortal);
    assert_eq!(refusal(&other, &begun.id), SessionError::Expired);
    assert_eq!(refusal(&mortal, &begun.id), SessionError::Expired);
    assert_eq!(refusal(&mortal, &begun.id), SessionError::Unknown, "it has ended");
}

#[test]
fn the_sweep_ends_what_is_idle_and_keeps_what_is_open() {
    let [before, sessions] = processes(Bounds { idle: Duration::ZERO, ..Bounds::default() });
    let idle: Vec<_> = (0..3 * SWEEP_STRETCH).map(|_| begin(&sessions)).collect();
    let restored = find(&sessions, &begin(&before).id).unwrap();
    let (streaming, asking, watching) = (begin(&sessions), begin(&sessions), begin(&sessions));
    let stream = streaming.begin_stream();
    let request = asking.begin(&RawJson::of(&1)).unwrap();
    watching.subscriptions.lock().unwrap().insert("file:///a".into());
    let swept = sessions.sweep();
    assert_eq!(swept.iter().map(|session| &session.id).collect::<Vec<_>>(), [&watching.id]);
    assert_eq!(sessions.len(), 2);
    for gone in [&idle[0], &idle[2000], &restored, &watching] {
        assert_eq!(refusal(&sessions, &gone.id), SessionError::Unknown);
    }
    stream.cancel();
    drop(request);
    sessions.sweep();
    assert!(sessions.is_empty());
}

#[test]
fn the_sweep_ends_expired_sessions_once_their_requests_are_done() {
    let [sessions] = processes(Bounds { lifetime: Duration::ZERO, ..Bounds::default() });
    let (streaming, asking) = (begin(&sessions), begin(&sessions));
    let stream = streaming.begin_stream();
    let request = asking.begin(&RawJson::of(&1)).unwrap();
    sessions.sweep();
    assert!(stream.is_cancelled() && !request.cancelled.is_cancelled());
    assert_eq!(sessions.len(), 1);
}

#[test]
fn a_full_table_lets_go_of_an_idle_session() {
    let [before, sessions] = processes(Bounds { most: 4, ..Bounds::default() });
    let restored = find(&sessions, &begin(&before).id).unwrap();
    restored.subscriptions.lock().unwrap().insert("file:///a".into());
    let open: Vec<_> = (0..3).map(|_| begin(&sessions)).collect();
    let streams: Vec<_> = open.iter().map(|session| session.begin_stream()).collect();
    begin(&sessions);
    assert_eq!(sessions.len(), 4);
    assert_eq!(refusal(&sessions, &restored.id), SessionError::Unknown);
    assert!(streams.iter().all(|stream| !stream.is_cancelled()));
    assert_eq!(sessions.sweep().len(), 1, "what it watched is to be forgotten");
}

#[test]
fn capabilities_too_large_for_an_id_end_with_the_process() {
    let [before, after] = processes(Bounds::default());
    let capabilities = |length: usize| RawJson::of(&serde_json::json!({ "x": "y".repeat(length - 8) }));
    let check = |length: usize, survives: bool| {
        let begun = before.begin(Revision::LATEST_LEGACY, Identity::Anonymous, capabilities(length));
        assert_eq!(begun.capabilities.as_bytes().len(), length);
        assert!(find(&before, &begun.id).is_ok(), "{length}");
        assert_eq!(find(&after, &begun.id).is_ok(), survives, "{length}");
    };
    check(MAX_CAPABILITIES, true);
    check(MAX_CAPABILITIES + 1, false);
}

#[test]
fn the_memory_of_ended_sessions_is_bounded() {
    let number = |serial| SessionNumber { process: [0; 8], serial };
    let mut ended = Ended::default();
    (0..=MAX_ENDED as u64).for_each(|serial| ended.add(number(serial)));
    assert_eq!(ended.numbers.capacity(), MAX_ENDED);
    assert!(!ended.contains(number(0)) && ended.contains(number(1)) && ended.contains(number(MAX_ENDED as u64)));
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() <= 1024, "{}", size_of::<Session>());
}
