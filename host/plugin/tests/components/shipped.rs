//! The components of this repository as they are committed: the built-in ones, and those made to misbehave.

use std::{fs, path::Path};

use serde_json::{Value, json};
use vmcp_core::{
    capability::{Kind, NameRule},
    extension::{Decision, ResolveError, ResolveRequest},
};
use vmcp_plugin::{
    CONFLICT_RESOLVER, Component, Grants, ImportStatus, Limit, PluginError, RANKING_STRATEGY, WORKFLOW, inspect,
};

use crate::{SHORT, contenders_of, engine, resolve, source, with_running_time};

/// Largest built-in policy, in bytes.
const MAX_POLICY_BYTES: usize = 200 << 10;
/// Largest interpreter of workflows, in bytes: it carries a template language and CEL.
const MAX_INTERPRETER_BYTES: usize = 2 << 20;

fn built_in(name: &str) -> Component {
    let policy = vmcp_builtin::all().iter().find(|policy| policy.name == name).unwrap();
    engine().load(source(policy.wasm.to_vec())).unwrap()
}

fn guest(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests").join(name).with_extension("wasm");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn misbehaving(name: &str) -> Result<Component, PluginError> {
    engine().load(source(guest(name)))
}

fn failure(name: &str) -> PluginError {
    let source = if name == "loops" { with_running_time(SHORT, guest(name)) } else { source(guest(name)) };
    let resolver = engine().load(source).unwrap().conflict_resolver(&json!({})).unwrap();
    let error = resolve(&*resolver, 3).unwrap_err();
    assert!(error.to_string().starts_with("`mine 0.1.0`"), "{error}");
    let ResolveError::Component { source, .. } = error else { panic!("{name}: {error}") };
    *source.downcast().unwrap()
}

#[test]
fn built_in_components_are_small_and_import_what_their_world_gives() {
    assert!(!vmcp_builtin::all().is_empty());
    for policy in vmcp_builtin::all() {
        let name = policy.name;
        let inspection = inspect(&engine(), policy.wasm, name).unwrap();
        let is_workflow = inspection.worlds.iter().any(|world| world.world == WORKFLOW);
        let most = if is_workflow { MAX_INTERPRETER_BYTES } else { MAX_POLICY_BYTES };
        assert!(inspection.size <= most, "{name} has {} bytes", inspection.size);
        assert_eq!(inspection.problem, None, "{name}");
        assert_eq!(inspection.description.unwrap().name, name);
        for import in inspection.imports {
            let harmless = match import.status {
                ImportStatus::Offered | ImportStatus::TypesOnly => true,
                ImportStatus::Workflow => is_workflow,
                _ => false,
            };
            assert!(harmless, "{name} imports {}", import.import);
        }
        let [world] = inspection.worlds.try_into().unwrap();
        let known = [CONFLICT_RESOLVER, RANKING_STRATEGY, WORKFLOW];
        assert!(known.contains(&world.world.as_str()), "{name} is {}", world.world);
        assert!(world.supported && world.config_schema.is_some(), "{name}");
    }
}

#[test]
fn built_in_policies_name_tools_by_their_config() {
    let check = |name: &str, config: &Value, expected: &str| {
        let resolver = built_in(name).conflict_resolver(config).unwrap();
        let resolutions = resolve(&*resolver, 2).unwrap();
        assert_eq!(resolutions[0].decision, Decision::ExposeAs(expected.into()), "{name} {config}");
    };
    check("smart", &json!({}), "tool-0");
    check("manual", &json!({}), "tool-0");
    check("prefix", &json!({}), "files_tool-0");
    check("prefix", &json!({ "prefixFormat": "{workload}." }), "files_tool-0");
    check("priority", &json!({ "priorityOrder": ["files"] }), "tool-0");
}

#[test]
fn a_config_is_checked_by_the_component() {
    let check = |name: &str, config: &Value, problems: usize| {
        let found = built_in(name).check_config(CONFLICT_RESOLVER, config).unwrap();
        assert_eq!(found.len(), problems, "{name} {config}: {found:?}");
    };
    check("smart", &json!({}), 0);
    check("smart", &json!({ "maxLength": 3 }), 1);
    check("smart", &json!({ "maxLenght": 30 }), 1);
    check("priority", &json!({ "priorityOrder": [] }), 1);
    check("priority", &json!({ "priorityOrder": ["a", ""] }), 1);
}

#[test]
fn resolvers_that_misbehave_are_stopped_with_name_and_reason() {
    let limit = |name: &str, expected: Limit| match failure(name) {
        PluginError::LimitExceeded { limit, during, .. } => {
            assert_eq!((limit, during), (expected, "resolve"), "{name}");
        }
        other => panic!("{name}: {other:?}"),
    };
    limit("loops", Limit::RunningTime { allowed: SHORT });
    limit("allocates", Limit::Memory { allowed: 64 << 20 });
    let reason = |name: &str, expected: &str| {
        let reason = failure(name).to_string();
        assert!(reason.contains("`mine`") && reason.contains(expected), "{reason}");
    };
    reason("panics", "this resolver always panics");
    reason("too-few", "2 resolutions for 3 contenders");
}

#[test]
fn files_that_are_no_resolvers_are_refused() {
    let check = |name: &str, expected: &str| {
        let error = misbehaving(name).err().unwrap_or_else(|| panic!("{name} was loaded"));
        assert!(error.to_string().contains(expected), "{name}: {error}");
    };
    check("core-module", "is a core WebAssembly module");
    check("no-world", "does not export `vmcp:types/component@0.1.0`");
    check("wrong-type", "does not export `vmcp:types/component@0.1.0`");
    check("unknown-import", "which this host does not offer");
    check("wasi-clock", "which nothing grants it");
}

#[test]
fn a_resolver_with_a_clock_runs_with_its_grant() {
    let error = misbehaving("wasi-clock").err().unwrap();
    let hint = error.hint().unwrap();
    assert!(hint.ends_with(r#"grants: { wasi: ["wasi:clocks/*", "wasi:random/*"] }"#), "{hint}");
    let mut granted = source(guest("wasi-clock"));
    granted.grants = Grants { wasi: vec!["wasi:clocks/*".into(), "wasi:random/*".into()] };
    let resolver = engine().load(granted).unwrap().conflict_resolver(&json!({})).unwrap();
    assert_eq!(resolve(&*resolver, 3).unwrap().len(), 3);
}

#[test]
fn refusals_of_a_policy_name_what_is_contested() {
    let manual = built_in("manual").conflict_resolver(&json!({})).unwrap();
    let contenders = [contenders_of("files", 1), contenders_of("git", 2)].concat();
    let request = ResolveRequest { kind: Kind::Tool, names: NameRule::Strict, contenders: &contenders };
    let error = manual.resolve(&request).unwrap_err();
    assert_eq!(error.to_string(), "`mine 0.1.0` leaves names unresolved: tool-0 (files, git)");
    assert!(!matches!(error, ResolveError::Component { .. }));
}
