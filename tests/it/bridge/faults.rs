//! What goes wrong between eras in other gateways.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;
use vmcp_tests::{Era, FixtureBackend, Mcp, TestHost, eventually, process::PATIENCE};

use super::{client_of, host_of};

#[tokio::test]
async fn stateful_and_stateless_backends_serve_clients_of_both_eras_side_by_side() {
    let mut builder = TestHost::builder().yaml(
        "aggregation: { conflictResolution: prefix, conflictResolutionConfig: { prefixFormat: \"{workload}_\" } }",
    );
    let mut processes = Vec::new();
    for (name, fixture) in [
        ("stateful", FixtureBackend::legacy().http()),
        ("stateless", FixtureBackend::modern().http()),
        ("lines", FixtureBackend::legacy()),
        ("old", FixtureBackend::legacy().sse()),
    ] {
        let (entry, process) = fixture.entry(name).await;
        builder = builder.entry(entry);
        processes.extend(process);
    }
    let host = builder.start().await;
    for era in [Era::Legacy, Era::Modern] {
        let client = client_of(&host, era, json!({})).await;
        for backend in ["stateful", "stateless", "lines", "old"] {
            let reply = client.call(&format!("{backend}_echo"), json!({ "n": 1 })).await;
            assert_eq!(reply.text(), r#"{"n":1}"#, "{era:?} to {backend}");
        }
    }
}

#[tokio::test]
async fn a_backend_that_forgets_its_session_gets_a_new_one_unnoticed() {
    let fixture = FixtureBackend::legacy().http().with(|spec| spec.forget_session_after = Some(5));
    let (host, _backend) = host_of(fixture).await;
    for era in [Era::Legacy, Era::Modern] {
        let client = client_of(&host, era, json!({})).await;
        for n in 0..20 {
            let reply = client.call("echo", json!({ "n": n })).await;
            assert_eq!(reply.text(), json!({ "n": n }).to_string(), "{era:?}");
        }
    }
}

#[tokio::test]
async fn an_old_backend_without_result_types_is_understood() {
    let fixture = FixtureBackend::modern().http().with(|spec| spec.no_result_type = true);
    let (host, _backend) = host_of(fixture).await;
    for era in [Era::Legacy, Era::Modern] {
        let client = client_of(&host, era, json!({})).await;
        let reply = client.call("echo", json!({ "n": 1 })).await;
        assert_eq!(reply.text(), r#"{"n":1}"#, "{era:?}");
    }
}

#[tokio::test]
async fn a_storm_of_changes_rebuilds_the_catalog_a_few_times() {
    for fixture in [FixtureBackend::legacy(), FixtureBackend::legacy().http(), FixtureBackend::modern()] {
        let (host, _backend) = host_of(fixture).await;
        let catalogs = |host: &TestHost| host.stderr().matches("stands").count();
        let before = catalogs(&host);
        let client = client_of(&host, Era::Legacy, json!({})).await;
        let storm = json!({ "count": 1000, "milliseconds": 1000, "change": true });
        let begun = Instant::now();
        client.call("storm", storm).await.result();
        eventually("a catalog", PATIENCE, || async { catalogs(&host) > before }).await;
        sleep(Duration::from_millis(500)).await;
        // Changes settle for 50 ms before a catalog is built, so that a slow machine may build more of them.
        let built = catalogs(&host) - before;
        let most = begun.elapsed().as_millis() / 50;
        assert!(built as u128 <= most, "a thousand changes built {built} catalogs, at most {most} are few");
        assert_eq!(client.call("echo", json!({})).await.text(), "{}");
    }
}
