//! What is refused before anything of it runs, and what WASI takes.

use serde_json::json;
use vmcp_plugin::{CONFLICT_RESOLVER, Grants, ImportStatus, Limit, PluginError, inspect};

use crate::{Guest, SHORT, engine, load, plugin_error, resolve, source, with_running_time};

/// Sleeps for an hour before it answers.
const SLEEPER: Guest = Guest {
    version: "0.1.0",
    imports: "import wasi:clocks/monotonic-clock@0.2.0; import wasi:io/poll@0.2.0;",
    core_imports: r#"
        (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#,
    fields: "",
    pages: 1,
    describe: "",
    check_config: "i32.const 600",
    resolve: "(call $block (call $after (i64.mul (i64.extend_i32_u (local.get $count)) (i64.const 10000000))))
        (call $expose (local.get $contenders) (local.get $count))",
    resolves: true,
};

fn refusal(guest: &Guest) -> String {
    load(guest).err().expect("it is refused").to_string()
}

#[test]
fn a_component_is_known_by_its_exports() {
    let component = load(&Guest::default()).unwrap();
    assert!(component.implements_conflict_resolver());
    assert_eq!((component.name(), component.description().name.as_str()), ("mine", "hand-made"));
    assert_eq!(component.check_config(CONFLICT_RESOLVER, &json!({})).unwrap(), []);

    let other = load(&Guest { resolves: false, ..Guest::default() }).unwrap();
    assert!(!other.implements_conflict_resolver());
    let error = other.conflict_resolver(&json!({})).err().unwrap();
    assert_eq!(error.to_string(), "component `mine` does not export `vmcp:conflict/conflict-resolver@0.1.0`");
}

#[test]
fn compatible_versions_fit_and_others_are_refused_by_name() {
    let with_log =
        |version: &'static str, core_imports: &'static str| Guest { version, core_imports, ..Guest::default() };
    let newer = r#"(import "vmcp:host/log@0.1.3" "log" (func $log (param i32 i32 i32)))"#;
    let resolver = load(&with_log("0.1.3", newer)).unwrap().conflict_resolver(&json!({})).unwrap();
    assert_eq!(resolve(&*resolver, 2).unwrap().len(), 2);

    let check = |guest: &Guest, expected: &str| assert_eq!(refusal(guest), expected);
    check(
        &with_log("0.2.0", r#"(import "vmcp:host/log@0.2.0" "log" (func $log (param i32 i32 i32)))"#),
        "component `mine` imports `vmcp:host/log@0.2.0`, this host offers `vmcp:host/log@0.1.0`",
    );
    check(
        &with_log("0.2.0", ""),
        "component `mine` exports `vmcp:types/component@0.2.0`, this host accepts `vmcp:types/component@0.1.0`",
    );
}

#[test]
fn an_unknown_import_is_refused_by_name() {
    let check = |imports: &'static str, core_imports: &'static str, expected: &str| {
        let guest = Guest { imports, core_imports, ..Guest::default() };
        assert_eq!(refusal(&guest), format!("component `mine` imports {expected}, which this host does not offer"));
    };
    check(
        "import acme:vault/secrets@1.0.0;",
        r#"(import "acme:vault/secrets@1.0.0" "read" (func))"#,
        "`acme:vault/secrets@1.0.0`",
    );
    check(
        "import wasi:http/outgoing-handler@0.2.0; import run: func();",
        r#"(import "wasi:http/outgoing-handler@0.2.0" "handle" (func)) (import "$root" "run" (func))"#,
        "`wasi:http/outgoing-handler@0.2.0`, `run`",
    );
}

#[test]
fn wasi_takes_the_grant_that_the_refusal_prints() {
    let error = load(&SLEEPER).err().unwrap();
    assert!(matches!(&error, PluginError::WasiNotGranted { .. }), "{error:?}");
    assert!(error.to_string().contains("`wasi:clocks/monotonic-clock@0.2.0`"), "{error}");
    let hint = error.hint().unwrap();
    let patterns: Vec<String> = hint.split('"').skip(1).step_by(2).map(Into::into).collect();
    assert!(hint.contains("grants: { wasi: [") && patterns.len() == 2, "{hint}");

    let mut granted = source(SLEEPER.build());
    granted.grants = Grants { wasi: patterns };
    let resolver = engine().load(granted).unwrap().conflict_resolver(&json!({})).unwrap();
    assert_eq!(resolve(&*resolver, 3).unwrap().len(), 3, "it slept for 30 ms");
}

#[test]
fn a_component_that_sleeps_is_stopped_as_one_that_computes() {
    let mut granted = with_running_time(SHORT, SLEEPER.build());
    granted.grants = Grants { wasi: vec!["wasi:*".into()] };
    let resolver = engine().load(granted).unwrap().conflict_resolver(&json!({})).unwrap();
    // It would sleep for a minute.
    let error = resolve(&*resolver, 6_000).unwrap_err();
    assert!(
        matches!(plugin_error(&error), PluginError::LimitExceeded { limit: Limit::RunningTime { allowed }, .. } if *allowed == SHORT),
        "{error:?}"
    );
}

#[test]
fn a_wrong_digest_shows_both() {
    let bytes = Guest::default().build();
    let digest = load(&Guest::default()).unwrap().digest().to_owned();
    let with_digest = |sha256: String| {
        let mut source = source(bytes.clone());
        source.sha256 = Some(sha256);
        engine().load(source)
    };
    assert!(with_digest(digest.clone()).is_ok());
    assert!(with_digest(format!("sha256:{}", digest.to_uppercase())).is_ok());
    let wrong = "0".repeat(64);
    let error = with_digest(wrong.clone()).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("component `mine` (mine.wasm) has sha256 {digest}, the configuration says {wrong}")
    );
}

#[test]
fn files_that_are_no_components_are_told_apart() {
    let check = |bytes: &[u8], expected: &str| {
        let error = engine().load(source(bytes.to_vec())).err().unwrap();
        let text = format!("{error} / {}", error.hint().unwrap_or_default());
        assert!(text.contains(expected), "{text}");
    };
    check(&wat::parse_str("(module)").unwrap(), "wasm-tools component new");
    check(b"(component)", "begins with \"(component)\"");
    check(b"", "it is empty");
    check(&[0x7f, b'E', b'L', b'F', 0xff], "the bytes 7f454c46ff");
    check(b"\0asm\x0d\0\x01\0garbage", "does not compile");
    check(&wat::parse_str("(component)").unwrap(), "does not export `vmcp:types/component@0.1.0`");
}

#[test]
fn inspection_tells_what_a_file_is_even_if_the_host_refuses_it() {
    let good = inspect(&engine(), &Guest::default().build(), "good.wasm").unwrap();
    assert_eq!((good.problem, good.grants), (None, None));
    assert_eq!(good.worlds[0].world, CONFLICT_RESOLVER);
    assert!(good.worlds[0].supported && good.description.is_some());

    let wasi = inspect(&engine(), &SLEEPER.build(), "wasi.wasm").unwrap();
    assert!(wasi.grants.unwrap().starts_with("grants: { wasi: ["));
    assert!(wasi.imports.iter().any(|import| import.status == ImportStatus::NeedsGrant));
    assert!(wasi.description.is_none() && wasi.problem.unwrap().contains("nothing grants"));

    let future = inspect(&engine(), &Guest { version: "0.2.0", ..Guest::default() }.build(), "future.wasm").unwrap();
    assert!(!future.worlds[0].supported && future.worlds[0].version.as_deref() == Some("0.2.0"));
}
