//! What a file means once it is loaded: defaults, paths, timeouts, headers, names.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{fs, path::Path, time::Duration};

use serde_json::json;
use vmcp_config::{
    BackendConfig, Config, Fate, IncomingAuthType, Loaded, Location, NameRule, PartialFailureMode, Rule, Secret,
    SessionSharing, TransportConfig, load, load_str,
};
use vmcp_core::id::BackendId;

fn loaded(text: &str) -> Loaded {
    load_str(text, "team.yaml", Path::new("/srv/vmcp")).unwrap_or_else(|error| panic!("{error}"))
}

fn config(text: &str) -> Config {
    *loaded(text).config
}

fn only_backend(text: &str) -> BackendConfig {
    let mut backends = config(text).backends;
    assert_eq!(backends.len(), 1);
    backends.remove(0)
}

fn id(name: &str) -> BackendId {
    BackendId::new(name).unwrap()
}

#[test]
fn a_file_of_ours_needs_backends_and_nothing_else() {
    let loaded = loaded("backends:\n  - { name: files, command: mcp-files, args: [/srv] }\n");
    let config = &loaded.config;
    assert_eq!(config.name, "team");
    assert_eq!(config.incoming_auth.kind, IncomingAuthType::Anonymous);
    assert_eq!(config.aggregation.resolver(), "smart");
    assert_eq!(config.aggregation.resolver_config(), json!({}));
    assert_eq!(config.aggregation.name_rule(), NameRule::Strict);
    assert_eq!(config.server.body_limit.as_bytes(), 8 << 20);
    assert_eq!(config.server.shutdown_grace.as_duration(), Duration::from_secs(2));
    assert_eq!(config.operational.failure_handling.partial_failure_mode, None::<PartialFailureMode>);
    assert_eq!((loaded.warnings.len(), loaded.refused().len()), (0, 0));
    let files = &config.backends[0];
    assert_eq!(files.start_timeout.as_duration(), Duration::from_mins(2));
    assert_eq!((files.max_concurrency, files.max_processes, files.lazy), (64, 4, false));
    assert_eq!(files.sessions, SessionSharing::PerIdentity);
    assert_eq!(files.idle_timeout, None);
}

#[test]
fn the_transport_follows_from_what_is_there() {
    let check = |keys: &str, expected: &str| {
        let backend = only_backend(&format!("backends: [{{ name: a, {keys} }}]"));
        assert_eq!(backend.transport.kind(), expected, "{keys}");
    };
    check("command: x", "stdio");
    check("url: http://h/mcp", "streamable-http");
    check("url: http://h/sse, transport: sse", "sse");
    check("url: http://h/mcp, transport: streamable-http, type: entry", "streamable-http");
}

#[test]
fn paths_are_relative_to_the_file() {
    let backend = only_backend(
        "backends: [{ name: a, command: ./bin/server, cwd: work, env: { T: { fromFile: token }, H: { fromEnv: HOME } } }]",
    );
    let TransportConfig::Stdio { command, cwd, env, .. } = backend.transport else { panic!() };
    assert_eq!(command, Path::new("/srv/vmcp/./bin/server"));
    assert_eq!(cwd.as_deref(), Some(Path::new("/srv/vmcp/work")));
    assert_eq!(env["T"], Secret::FromFile("/srv/vmcp/token".into()));
    assert_eq!(env["H"], Secret::FromEnv("HOME".into()));
    let bare = only_backend("backends: [{ name: a, command: npx }]");
    assert!(matches!(bare.transport, TransportConfig::Stdio { command, .. } if command == Path::new("npx")));

    let config = config(
        "stateDir: state
plugins:
  - { name: own, source: ./own.wasm }
  - { name: other, source: 'oci://example/other' }
sealing: { keys: [{ fromFile: key }] }",
    );
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/srv/vmcp/state")));
    assert_eq!(config.plugins[0].source, "/srv/vmcp/./own.wasm");
    assert_eq!(config.plugins[1].source, "oci://example/other");
    assert_eq!(config.sealing.keys, [Secret::FromFile("/srv/vmcp/key".into())]);
}

#[test]
fn a_reply_timeout_is_per_workload_then_the_backends_then_the_default() {
    let config = config(
        "backends:
  - { name: a, command: x, requestTimeout: 5s }
  - { name: b, command: x, requestTimeout: 5s }
  - { name: c, command: x }
operational: { timeouts: { default: 40s, perWorkload: { a: 1m30s } } }",
    );
    let seconds = |name| config.request_timeout(&id(name)).as_secs();
    assert_eq!((seconds("a"), seconds("b"), seconds("c")), (90, 5, 40));
}

#[test]
fn headers_are_resolved_and_the_injected_one_wins() {
    let config = config(
        "backends:
  - { name: a, url: http://h/, headers: { X-One: '1', Authorization: own, Accept: text/html } }
  - { name: b, url: http://h/ }
  - { name: c, url: http://h/, headers: { X-Path: { fromEnv: VMCP_NEVER_SET } } }
outgoingAuth:
  source: inline
  default: { type: header_injection, headerInjection: { headerName: X-Path, headerValueEnv: PATH } }
  backends:
    a: { type: header_injection, headerInjection: { headerName: authorization, headerValue: Bearer injected } }",
    );
    let shown = |name| {
        let headers = config.headers_for(&id(name)).unwrap();
        headers.into_iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(shown("a"), ["x-one=1", "authorization=Bearer injected"]);
    assert_eq!(shown("b"), [format!("x-path={}", std::env::var("PATH").unwrap())]);
    let error = config.headers_for(&id("c")).unwrap_err();
    assert_eq!(error.to_string(), "header `X-Path` of backend `c` has no value");
    assert!(!format!("{config:?}").contains("injected"), "secrets are not printed");
}

#[test]
fn keys_of_the_reference_that_decide_names_relax_the_rule_for_names() {
    let check = |aggregation: &str, expected: NameRule| {
        let text = format!("backends: [{{ name: a, command: x }}]\naggregation: {aggregation}");
        assert_eq!(config(&text).aggregation.name_rule(), expected, "{aggregation}");
    };
    check("{}", NameRule::Strict);
    check("{ conflictResolution: prefix }", NameRule::Strict);
    check(
        "{ conflictResolution: prefix, conflictResolutionConfig: { prefixFormat: '{workload}.' } }",
        NameRule::Protocol,
    );
    check("{ conflictResolution: priority, conflictResolutionConfig: { priorityOrder: [a] } }", NameRule::Protocol);
    check("{ tools: [{ workload: a, overrides: { t: { name: u.v } } }] }", NameRule::Protocol);
    check("{ tools: [{ workload: a, overrides: { t: { description: d } } }] }", NameRule::Strict);
    check("{ names: strict, tools: [{ workload: a, overrides: { t: { name: u } } }] }", NameRule::Strict);
    check("{ names: protocol }", NameRule::Protocol);
}

#[test]
fn an_annotations_only_override_and_parameter_overrides_load() {
    let config = config(
        "backends: [{ name: a, command: x }]
aggregation:
  tools:
    - workload: a
      overrides:
        t: { annotations: { readOnlyHint: yes } }
        u: { parameters: { owner: { fixed: ~ }, token: { hidden: true }, limit: { default: 0755, description: d } } }",
    );
    let overrides = &config.aggregation.tools[0].overrides;
    assert_eq!(overrides["t"].annotations.as_ref().unwrap().read_only_hint, Some(true));
    let parameters = &overrides["u"].parameters;
    assert_eq!(parameters["owner"].fixed, Some(json!(null)));
    assert!(parameters["token"].hidden);
    assert_eq!(parameters["limit"].default, Some(json!(493)));
}

#[test]
fn places_without_a_type_hold_what_go_reads() {
    let config = config(
        "aggregation:
  conflictResolutionConfig: { a: no, b: 0755, c: 1_000, d: ~, e: 2001-01-01, f: [1e3, on], 7: x }",
    );
    let expected = json!({
        "a": "no", "b": 493, "c": 1000, "d": null, "e": "2001-01-01T00:00:00Z", "f": [1000, "on"], "7": "x"
    });
    assert_eq!(config.aggregation.resolver_config(), expected);
}

#[test]
fn pointers_lead_to_places_in_the_file() {
    let loaded = loaded("name: x\naggregation:\n  conflictResolutionConfig:\n    maxLength: 48\n");
    let at = |pointer: &str| loaded.locate(pointer).map(|Location { line, column }| (line, column));
    assert_eq!(at("/aggregation/conflictResolutionConfig/maxLength"), Some((4, 16)));
    assert_eq!(at("/aggregation/conflictResolutionConfig/absent/x"), Some((3, 3)));
    assert_eq!(at("/optimizer"), Some((1, 1)));
    assert_eq!(at("no pointer"), None);
    let message = "must be at least 8".to_owned();
    let pointer = "/aggregation/conflictResolutionConfig/maxLength";
    let problem = loaded.problem_at(pointer, Rule::ComponentConfig, message, Some("48 fits most clients".into()));
    assert_eq!(
        problem.to_string(),
        "team.yaml:4:16: aggregation.conflictResolutionConfig.maxLength: must be at least 8\n  hint: 48 fits most clients"
    );
}

#[test]
fn names_without_a_backend_are_warned_of() {
    let loaded = loaded(
        "backends: [{ name: a, command: x }]
aggregation: { tools: [{ workload: b, filter: [t] }] }
operational: { timeouts: { perWorkload: { c: 1s } } }",
    );
    let found: Vec<_> = loaded.warnings.iter().map(|w| (w.rule, w.path.to_string())).collect();
    let expected = ["aggregation.tools[0].workload", "operational.timeouts.perWorkload.c"];
    assert_eq!(found, expected.map(|path| (Rule::UnknownBackend, path.to_owned())));
}

#[test]
fn what_this_build_lacks_is_refused_or_warned_of_by_name() {
    let loaded = loaded("incomingAuth: { type: local }\ncodeMode: { enabled: true }\nname: x");
    let refused: Vec<_> = loaded.refused().iter().map(ToString::to_string).collect();
    assert_eq!(
        refused,
        ["team.yaml:1:17: incomingAuth.type: not supported by this build: without it, clients would get in unchecked"]
    );
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].path.to_string(), "codeMode");
    let fates: Vec<_> = loaded.keys.iter().map(|key| (key.path.as_str(), key.fate)).collect();
    let expected = [("incomingAuth.type", Fate::Refused), ("codeMode.enabled", Fate::Warned), ("name", Fate::Honoured)];
    assert_eq!(fates, expected);
    assert_eq!(
        serde_json::to_value(&loaded.keys[0]).unwrap(),
        json!({
            "path": "incomingAuth.type", "line": 1, "column": 17, "fate": "refused",
            "reason": "without it, clients would get in unchecked"
        })
    );
}

#[test]
fn servers_of_a_client_file_follow_the_backends_of_the_file() {
    let folder = std::env::temp_dir().join(format!("vmcp-config-typed-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("mcp.json"), r#"{"mcpServers": {"clock": {"command": "./clock"}}}"#).unwrap();
    fs::write(folder.join("vmcp.yaml"), "backends: [{ name: a, command: x }]\nbackendsFrom: mcp.json\n").unwrap();
    fs::write(folder.join("authserver-config.yaml"), "issuer: x\n").unwrap();
    let loaded = load(&folder.join("vmcp.yaml")).unwrap_or_else(|error| panic!("{error}"));
    fs::remove_dir_all(&folder).unwrap();
    let names: Vec<_> = loaded.config.backends.iter().map(|backend| backend.name.as_str()).collect();
    assert_eq!(names, ["a", "clock"]);
    let TransportConfig::Stdio { command, .. } = &loaded.config.backends[1].transport else { panic!() };
    assert_eq!(*command, folder.join("./clock"));
    assert_eq!(loaded.refused().len(), 1, "the sibling authserver-config.yaml");
}

#[test]
fn unreadable_files_and_other_bytes_are_errors_with_a_place() {
    let error = load(Path::new("/nonexistent/vmcp.yaml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration `/nonexistent/vmcp.yaml`");
    let file = std::env::temp_dir().join(format!("vmcp-config-bytes-{}.yaml", std::process::id()));
    fs::write(&file, b"name: x\ngroupRef: \xff\n").unwrap();
    let error = load(&file).unwrap_err();
    fs::remove_file(&file).unwrap();
    assert_eq!(error.to_string(), format!("{}:2:11: the text is not UTF-8", file.display()));
}

#[test]
fn the_file_that_the_reference_writes_for_a_group_loads_without_a_word() {
    let loaded = loaded(
        r#"# Generated for the group "engineering".
name: "engineering-vmcp"
groupRef: "engineering"
incomingAuth:
  type: anonymous
outgoingAuth:
  source: inline
aggregation:
  conflictResolution: prefix
  conflictResolutionConfig:
    prefixFormat: "{workload}_"
backends:
  - name: "github"
    url: "http://127.0.0.1:9001/mcp"
    transport: "streamable-http"
"#,
    );
    assert_eq!((loaded.warnings.len(), loaded.refused().len()), (0, 0));
    assert_eq!(loaded.config.aggregation.resolver(), "prefix");
    assert!(loaded.keys.iter().all(|key| key.fate == Fate::Honoured));
}

#[test]
fn aliases_and_merges_of_a_file_work_as_in_go() {
    let config = config(
        "backends:
  - &base { name: a, command: x, requestTimeout: 5s, metadata: { tier: gold } }
  - { <<: *base, name: b, lazy: yes }",
    );
    let b = &config.backends[1];
    assert_eq!((b.name.as_str(), b.lazy, b.metadata["tier"].as_str()), ("b", true, "gold"));
    assert_eq!(config.request_timeout(&b.name), Duration::from_secs(5));
}
