use vmcp_core::journal::{Event, HostCall, Question};

use super::*;
use crate::runs::RunClient;

fn head(number: u8, parent: Option<(&RunHead, u64)>) -> Arc<RunHead> {
    let id = RunId([number; 16]);
    Arc::new(RunHead {
        id,
        root: parent.map_or(id, |(parent, _)| parent.root),
        parent: parent.map(|(parent, call)| (parent.id, call)),
        tool: "brief".into(),
        owner: [number; 32],
        source: WorkflowSource { component: "c0".into(), config: "{}".into(), document: Some("{}".into()) },
        arguments: RawJson::parse("{}").unwrap(),
        client: RunClient {
            capabilities: RawJson::parse("{}").unwrap(),
            log_level: None,
            session: Some(format!("session {number}").into()),
        },
        began: 1_000,
    })
}

fn event(call: u64) -> TimedEvent {
    TimedEvent { at: 1_000 + call, event: Event::Began { call, what: HostCall::Sleep(call) } }
}

fn result() -> RawJson {
    RawJson::parse(r#"{"content":[]}"#).unwrap()
}

async fn ids(store: &SqliteRuns, now: u64) -> Vec<RunId> {
    store.due(now).await.unwrap().runs
}

#[tokio::test]
async fn a_run_is_held_by_one_process_until_that_gives_it_up_or_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let open = || SqliteRuns::in_file(dir.path().join("runs.db"), RunLimits::default()).unwrap();
    let (one, other) = (open(), open());
    let run = head(1, None);
    one.begin(&run);
    one.append(run.id, 0, vec![event(0), event(1)]);
    one.settled(run.id).await.unwrap();
    assert_eq!(other.claim(run.id).await.unwrap(), Claim::Held);
    assert_eq!(ids(&other, 0).await, []);
    one.rest(run.id, Some(5_000)).await.unwrap();
    assert_eq!(other.claim(run.id).await.unwrap(), Claim::Held, "it rests, and is held");
    one.release(run.id);
    one.settled(run.id).await.unwrap();
    assert_eq!((ids(&other, 4_999).await, ids(&other, 5_000).await), (vec![], vec![run.id]));
    assert_eq!(other.due(0).await.unwrap().next, Some(5_000));
    let Claim::Taken(taken) = other.claim(run.id).await.unwrap() else { panic!("nobody holds it") };
    assert_eq!((taken.head, taken.events), (run.clone(), vec![event(0), event(1)]));
    assert_eq!(one.claim(run.id).await.unwrap(), Claim::Held);
    drop(other);
    // The other may still be about to close its file.
    while ids(&one, 0).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(one.claim(run.id).await.unwrap(), Claim::Taken(_)));
    one.end(&run, Ending::Completed, result());
    let Claim::Ended(ended) = one.claim(run.id).await.unwrap() else { panic!("it has ended") };
    assert_eq!((ended.state, ended.result), (RunState::Completed, Some(result())));
    assert_eq!(one.claim(RunId([9; 16])).await.unwrap(), Claim::Unknown);
}

#[tokio::test]
async fn runs_within_a_run_are_found_by_their_calls_and_end_with_it() {
    let store = SqliteRuns::in_memory(RunLimits::default()).unwrap();
    let outer = head(1, None);
    let inner = head(2, Some((&outer, 7)));
    store.begin(&outer);
    store.begin(&inner);
    store.append(inner.id, 0, vec![event(0)]);
    let found = store.child(outer.id, 7).await.unwrap().unwrap();
    assert_eq!((found.head, found.told, found.events.len()), (inner.clone(), 1, 1));
    assert_eq!(store.child(outer.id, 8).await.unwrap(), None);
    assert_eq!(store.claim(inner.id).await.unwrap(), Claim::Unknown, "only an outermost run can be taken");
    store.end(&outer, Ending::Failed, result());
    assert_eq!(store.find(inner.id).await.unwrap().unwrap().state, RunState::Cancelled);
}

#[tokio::test]
async fn a_run_that_was_never_written_can_end_and_another_is_found_by_its_stream() {
    let store = SqliteRuns::in_memory(RunLimits::default()).unwrap();
    let (one, two) = (head(1, None), head(2, None));
    store.end(&one, Ending::Completed, result());
    assert_eq!(store.find(one.id).await.unwrap().unwrap().result, Some(result()));
    let stream = RunStream { number: u64::MAX, request: RawJson::of(&"id") };
    store.begin(&two);
    store.note_stream(two.id, stream.clone());
    let of_session = store.of_session("session 2").await.unwrap();
    assert_eq!((of_session.len(), of_session[0].stream.clone()), (1, Some(stream)));
    assert_eq!(store.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn too_many_runs_do_not_wait_and_old_ones_are_forgotten() {
    let limits = RunLimits { lifetime: Duration::from_mins(1), kept: Duration::from_secs(10), waiting: 1 };
    let store = SqliteRuns::in_memory(limits).unwrap();
    let (one, two) = (head(1, None), head(2, None));
    store.begin(&one);
    store.begin(&two);
    store.append(
        one.id,
        0,
        vec![TimedEvent { at: 1, event: Event::Told { question: Question::Now, answer: RawJson::of(&1) } }],
    );
    store.rest(one.id, None).await.unwrap();
    assert!(matches!(store.rest(two.id, None).await, Err(RunStoreError::Full(1))));
    store.rest(one.id, None).await.unwrap();
    let later = now() + 61_000;
    store.sweep(later);
    assert_eq!(store.find(one.id).await.unwrap().unwrap().state, RunState::Waiting, "somebody holds it");
    store.release(one.id);
    store.sweep(later);
    let failed = store.find(one.id).await.unwrap().unwrap();
    assert_eq!(failed.state, RunState::Failed);
    assert!(failed.result.unwrap().as_str().contains("nobody came back to the run within 60s"));
    store.sweep(later + 11_000);
    assert_eq!(store.find(one.id).await.unwrap(), None);
}

#[tokio::test]
async fn what_runs_need_of_their_components_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("runs.db");
    let store = SqliteRuns::in_file(file.clone(), RunLimits::default()).unwrap();
    store.keep_component("c0", b"bytes");
    assert!(store.component("c0").await.unwrap().is_some());
    drop(store);
    let store = SqliteRuns::in_file(file, RunLimits::default()).unwrap();
    assert_eq!(store.component("c0").await.unwrap().as_deref(), Some(&b"bytes"[..]));
    assert_eq!(store.component("c1").await.unwrap(), None);
    let days = 48 * 3_600_000;
    store.sweep(now() + days);
    assert_eq!(store.component("c0").await.unwrap(), None, "no run needs it");
    store.keep_component("c0", b"bytes");
    store.begin(&head(1, None));
    store.sweep(now() + days);
    assert!(store.component("c0").await.unwrap().is_some());
    assert_eq!(store.to_cancel().await.unwrap(), []);
    store.ask_to_cancel(RunId([1; 16]));
    assert_eq!(store.to_cancel().await.unwrap(), [RunId([1; 16])]);
}
