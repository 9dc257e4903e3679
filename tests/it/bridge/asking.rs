//! Elicitation, sampling and roots in all four pairs of eras.

use serde_json::json;
use vmcp_tests::{Era, FixtureBackend, Mcp};

use super::{able, accept, backends, call_and_be_asked, client_of, host_of, said};

#[tokio::test]
async fn two_clients_at_once_each_get_their_own_question_in_every_pair() {
    for (backend_era, fixture) in backends() {
        let (host, _backend) = host_of(fixture).await;
        for client_era in [Era::Legacy, Era::Modern] {
            let one = client_of(&host, client_era, able()).await;
            let two = client_of(&host, client_era, able()).await;
            let first = call_and_be_asked(&one, "ask", json!({ "message": "who is one?" }), 1).await;
            let second = call_and_be_asked(&two, "ask", json!({ "message": "who is two?" }), 1).await;
            assert_eq!((first.message(), second.message()), ("who is one?", "who is two?"), "{client_era:?}");
            let second = said(&second.answer(&accept("II")).await);
            let first = said(&first.answer(&accept("I")).await);
            for (said, number) in [(first, "I"), (second, "II")] {
                assert_eq!(said["answer"]["content"]["answer"], number, "{client_era:?} to {backend_era:?}");
            }
        }
    }
}

#[tokio::test]
async fn sampling_roots_and_urls_are_asked_for_in_every_pair() {
    for (backend_era, fixture) in backends() {
        let (host, _backend) = host_of(fixture).await;
        for client_era in [Era::Legacy, Era::Modern] {
            let pair = format!("{client_era:?} to {backend_era:?}");
            let client = client_of(&host, client_era, able()).await;
            let sampled = json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "Hm." } });
            let asked = call_and_be_asked(&client, "sample", json!({}), 1).await;
            assert_eq!(asked.questions[0].0["method"], "sampling/createMessage", "{pair}");
            assert!(asked.answer(&sampled).await.text().contains("Hm."), "{pair}");

            let roots = json!({ "roots": [{ "uri": "file:///of/this/client" }] });
            let asked = call_and_be_asked(&client, "roots", json!({}), 1).await;
            assert_eq!(asked.questions[0].0["method"], "roots/list", "{pair}");
            assert!(asked.answer(&roots).await.text().contains("file:///of/this/client"), "{pair}");

            let asked = call_and_be_asked(&client, "ask_url", json!({ "message": "visit" }), 1).await;
            let params = &asked.questions[0].0["params"];
            assert_eq!((&params["mode"], params["url"].is_string()), (&json!("url"), true), "{pair}: {params}");
            let has_id = client_era == Era::Legacy;
            assert_eq!(params["elicitationId"].is_string(), has_id, "{pair}: only legacy clients know ids: {params}");
            assert!(asked.answer(&json!({ "action": "accept" })).await.text().contains("accept"), "{pair}");
        }
    }
}

#[tokio::test]
async fn a_backend_sees_what_the_client_behind_the_call_can_be_asked() {
    for (backend_era, fixture) in backends() {
        let (host, _backend) = host_of(fixture).await;
        for client_era in [Era::Legacy, Era::Modern] {
            for capabilities in [json!({}), json!({ "elicitation": {} }), able()] {
                let client = client_of(&host, client_era, capabilities.clone()).await;
                let seen = said(&client.call("show_capabilities", json!({})).await);
                assert_eq!(seen["capabilities"], capabilities, "{client_era:?} to {backend_era:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_modern_client_that_lacks_what_is_asked_is_told_what_it_lacks() {
    for (backend_era, fixture) in backends() {
        let (host, _backend) = host_of(fixture).await;
        let client = client_of(&host, Era::Modern, json!({ "roots": {} })).await;
        // Asks without looking whether it may.
        let reply = client.call("test_missing_capability", json!({})).await;
        assert_eq!((reply.status, &reply.error()["code"]), (400, &json!(-32021)), "{backend_era:?}");
        assert!(reply.error()["data"]["requiredCapabilities"]["sampling"].is_object(), "{}", reply.message);
    }
}

#[tokio::test]
async fn an_error_that_asks_for_a_visit_becomes_a_question() {
    let (host, _backend) = host_of(FixtureBackend::legacy()).await;
    let client = client_of(&host, Era::Modern, able()).await;
    let asked = call_and_be_asked(&client, "require_url", json!({}), 1).await;
    assert_eq!(asked.questions[0].0["params"]["mode"], "url");
    let mut retry = asked.retry(&json!({ "action": "accept" }));
    retry["arguments"] = json!({ "done": true });
    assert_eq!(client.request("tools/call", retry).await.text(), "confirmed");
}

#[tokio::test]
async fn a_client_that_declines_is_taken_at_its_word() {
    for (backend_era, fixture) in backends() {
        let (host, _backend) = host_of(fixture).await;
        for client_era in [Era::Legacy, Era::Modern] {
            let client = client_of(&host, client_era, able()).await;
            let asked = call_and_be_asked(&client, "ask", json!({}), 1).await;
            let said = said(&asked.answer(&json!({ "action": "decline" })).await);
            assert_eq!(said["answer"]["action"], "decline", "{client_era:?} to {backend_era:?}");
        }
    }
}
