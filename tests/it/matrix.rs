//! Clients that people use against servers that people use: what a client can do with a server by itself it can do through the
//! host, whatever era and transport either of them has.
//!
//! Each client takes the same steps twice, through the host and directly. A cell fails that does not pass through the host,
//! unless the same client fails at it directly too. `cargo nextest run -E 'test(matrix)' --no-capture` shows the table.

mod backend;
mod client;
mod outcome;

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};
use vmcp_tests::TestHost;

use self::{
    backend::{Backend, Running},
    client::Client,
    outcome::Outcomes,
};

/// What a client may try. Not every server has something for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Feature {
    List,
    Call,
    Progress,
    Cancellation,
    Elicitation,
    Sampling,
    Roots,
    Subscription,
}

impl Feature {
    const ALL: [Self; 8] = [
        Self::List,
        Self::Call,
        Self::Progress,
        Self::Cancellation,
        Self::Elicitation,
        Self::Sampling,
        Self::Roots,
        Self::Subscription,
    ];

    /// As the plans and the lines of the clients call it.
    fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Call => "call",
            Self::Progress => "progress",
            Self::Cancellation => "cancellation",
            Self::Elicitation => "elicitation",
            Self::Sampling => "sampling",
            Self::Roots => "roots",
            Self::Subscription => "subscription",
        }
    }
}

/// Which way a client comes to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Host,
    Direct,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Direct => "direct",
        }
    }
}

#[tokio::test]
async fn what_a_client_can_do_directly_it_can_do_through_the_host() {
    let folder = tempfile::Builder::new().prefix("vmcp-matrix-").tempdir().unwrap();
    let running = Running::start_all(folder.path()).await;
    let hosts = hosts(&running, folder.path()).await;
    let mut outcomes = Outcomes::default();
    // Two at a time: there are machines with two cores.
    for some in Client::ALL.chunks(2) {
        let told = futures::future::join_all(
            some.iter().map(|client| async { (*client, client.run(&running, &hosts, folder.path()).await) }),
        );
        for (client, lines) in told.await {
            outcomes.add(client, lines);
        }
    }
    outcomes.check_cancellations(&running);
    let cells = outcomes.cells();
    println!("{}", outcome::table(&cells));
    let failed: Vec<_> = cells.iter().filter(|(_, cell)| cell.is_failure()).collect();
    assert!(failed.is_empty(), "{}", outcome::list(&failed));
}

/// Hosts by the names of their backends: no two that have the same URIs share one.
async fn hosts(running: &[Running], folder: &Path) -> BTreeMap<Backend, TestHost> {
    let mut hosts = BTreeMap::new();
    for group in Backend::GROUPS {
        let mut builder = TestHost::builder().yaml("aggregation: { conflictResolution: prefix }");
        for backend in group {
            let one = running.iter().find(|one| one.backend == *backend).expect("all are started");
            builder = builder.entry(one.entry());
        }
        let host = builder.start().await;
        for backend in group {
            let listed = backend.step(Feature::List, folder, 0).expect("each lists its tools");
            host.wait_for_tool(&format!("{}_{}", backend.name(), listed["tools"][0].as_str().unwrap())).await;
        }
        hosts.insert(group[0], host);
    }
    hosts
}

/// A cell's place: client, server and what was tried.
type Place = (Client, Backend, Feature);

/// A target of a plan: where to connect, and the steps that client and server have in common.
fn target(client: Client, running: &Running, way: Way, connect: &Value) -> Value {
    let prefix = if way == Way::Host { format!("{}_", running.backend.name()) } else { String::new() };
    let steps: Vec<_> = Feature::ALL
        .into_iter()
        .filter(|feature| client.tries(*feature))
        .filter_map(|feature| running.backend.step(feature, running.folder(), client.mark(running.backend, way)))
        .collect();
    json!({ "name": running.backend.name(), "via": way.name(), "connect": connect, "prefix": prefix, "steps": steps })
}

/// Where a client finds its plan.
fn write_plan(folder: &Path, client: Client, targets: &[Value]) -> std::path::PathBuf {
    let file = folder.join(format!("{}.json", client.name().replace(' ', "-")));
    std::fs::write(&file, json!({ "targets": targets }).to_string()).unwrap();
    file
}
