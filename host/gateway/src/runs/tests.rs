//! Runs of two identities: today's clients are all one, so the other's runs are put where they are kept.

use futures::future::BoxFuture;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vmcp_core::{
    extension::{ConflictResolver, Resolution, ResolveError, ResolveRequest},
    journal::HostCall,
    workflow::{NewRun, Workflow, WorkflowDefinition, WorkflowSource},
};
use vmcp_mcp::{envelope::Response, era::Revision};
use vmcp_workflow::{
    BudgetLimits, ToolGrant,
    runs::{RunLimits, RunStore, RunStream, SqliteRuns, TimedEvent},
};

use super::*;
use crate::{GatewayOptions, authored::HostInfo, last_seen::LastSeen, rules::Rules, seal::Sealer, session::Session};

/// Asks nothing and decides nothing.
struct Nothing;

impl ConflictResolver for Nothing {
    fn label(&self) -> &'static str {
        "nothing"
    }

    fn resolve(&self, _: &ResolveRequest<'_>) -> Result<Vec<Resolution>, ResolveError> {
        Ok(Vec::new())
    }
}

/// Waits for ever.
struct Waits(WorkflowSource);

impl Workflow for Waits {
    fn label(&self) -> &'static str {
        "waits 1"
    }

    fn definition(&self) -> Result<WorkflowDefinition, WorkflowError> {
        Err(WorkflowError::Config { workflow: "waits".into(), message: "it is none".into() })
    }

    fn source(&self) -> &WorkflowSource {
        &self.0
    }

    fn reports_progress(&self) -> bool {
        true
    }

    fn run(self: Arc<Self>, _: NewRun) -> BoxFuture<'static, Result<RawJson, WorkflowError>> {
        Box::pin(std::future::pending())
    }
}

fn object() -> RawJson {
    RawJson::parse("{}").unwrap()
}

fn gateway(store: &Arc<SqliteRuns>) -> Arc<Gateway> {
    let definition = WorkflowDefinition {
        name: "waits".into(),
        title: None,
        description: None,
        input_schema: object(),
        output_schema: None,
        annotations: serde_json::json!({}),
        config_schema: None,
        tools: Vec::new(),
        wall_time: None,
    };
    let composite = Composite {
        name: "waits".into(),
        workflow: Arc::new(Waits(source())),
        definition,
        grant: ToolGrant::Declared(Vec::new()),
        limits: BudgetLimits::default(),
        recorder: None,
    };
    Gateway::new(GatewayOptions {
        host: HostInfo { title: "t".into(), version: "1".into(), config: String::new() },
        backends: Vec::new(),
        rules: Rules::default(),
        resolver: Arc::new(Nothing),
        last_seen: LastSeen::new(None).unwrap(),
        sealer: Arc::new(Sealer::default()),
        input_timeout: Duration::from_secs(1),
        patience: Duration::ZERO,
        tool_search: None,
        composites: vec![Arc::new(composite)],
        runs: store.clone(),
        run_lifetime: Duration::from_mins(1),
        revive: Arc::new(|_, _, _| Err("nothing is revived here".into())),
        all_or_nothing: false,
    })
}

fn source() -> WorkflowSource {
    WorkflowSource { component: "c0".into(), config: "{}".into(), document: None }
}

/// A run that waits for an answer of `session`, of this identity.
async fn waiting(store: &SqliteRuns, number: u8, owner: [u8; 32], session: &Session) -> Arc<RunHead> {
    let head = Arc::new(RunHead {
        id: RunId([number; 16]),
        root: RunId([number; 16]),
        parent: None,
        tool: "waits".into(),
        owner,
        source: source(),
        arguments: object(),
        client: RunClient { capabilities: object(), log_level: None, session: Some(session.id.clone()) },
        began: now(),
    });
    store.begin(&head);
    let what = HostCall::Elicit { message: "Go on?".into(), schema: object(), timeout: None };
    store.append(head.id, 0, vec![TimedEvent { at: now(), event: Event::Began { call: 0, what } }]);
    store.note_stream(head.id, RunStream { number: u64::from(number), request: RawJson::of(&1) });
    store.rest(head.id, None).await.unwrap();
    store.release(head.id);
    head
}

#[tokio::test]
async fn no_identity_finds_answers_or_goes_on_with_anothers_run() {
    let store = Arc::new(SqliteRuns::in_memory(RunLimits::default()).unwrap());
    let gateway = gateway(&store);
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    gateway.start(&tasks, &shutdown);
    let capabilities = RawJson::parse(r#"{"elicitation":{}}"#).unwrap();
    let session = gateway.sessions.begin(Revision::LATEST_LEGACY, Identity::Anonymous, capabilities);
    let own = waiting(&store, 1, Owner::of(&Identity::Anonymous).0, &session).await;
    let foreign = waiting(&store, 2, [7; 32], &session).await;
    let caller = Caller::legacy(session.clone());

    assert!(matches!(gateway.rejoin(foreign.id, &caller).await, Err(StateRefusal::Foreign)));
    assert!(gateway.earlier_request(&session, 2).await.is_none());
    let answer =
        |run: RunId| Response { id: Some(RawJson::of(&question_number(run, 0))), reply: Reply::Result(object()) };
    assert!(!gateway.answer_earlier(&session, answer(foreign.id)).await);
    // Neither the refused client nor anybody else has it now: its own may still come.
    assert!(gateway.runs.find(foreign.id).is_none());
    assert!(matches!(store.claim(foreign.id).await.unwrap(), Claim::Taken(_)));

    assert!(gateway.earlier_request(&session, 1).await.is_some());
    assert!(gateway.answer_earlier(&session, answer(own.id)).await);
    // Nobody sits there, so it may be laid aside again at any time.
    let Ok(Rejoined::Goes(live, _)) = gateway.rejoin(own.id, &caller).await else { panic!("it goes on") };
    assert!(live.seat.is_free());
    gateway.runs.cancel(&live, "the test is over");

    store.end(&foreign, Ending::Completed, object());
    assert!(matches!(gateway.rejoin(foreign.id, &caller).await, Err(StateRefusal::Foreign)), "nor its result");
}
