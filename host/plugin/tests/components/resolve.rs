//! What a resolver answers, and how its refusals arrive.

use std::sync::{Arc, Barrier};

use vmcp_core::extension::{Decision, ResolveError};
use vmcp_plugin::PluginError;

use crate::{Guest, plugin_error, resolve, resolver};

#[test]
fn resolutions_come_in_the_order_of_the_contenders() {
    let resolver = resolver(&Guest::default());
    assert_eq!(resolver.label(), "mine 1.2.3");
    let resolutions = resolve(&*resolver, 3).unwrap();
    let names: Vec<_> = resolutions.into_iter().map(|resolution| resolution.decision).collect();
    assert_eq!(names, ["tool-0", "tool-1", "tool-2"].map(|name| Decision::ExposeAs(name.into())));
    assert_eq!(resolve(&*resolver, 0).unwrap().len(), 0);
    assert_eq!(resolve(&*resolver, 1_000).unwrap().len(), 1_000);
}

#[test]
fn every_call_begins_with_a_fresh_instance() {
    // Traps when the global that the first call sets is set already.
    let guest = Guest {
        fields: "(global $called (mut i32) (i32.const 0))",
        resolve: "(if (global.get $called) (then unreachable))
            (global.set $called (i32.const 1))
            (call $expose (local.get $contenders) (local.get $count))",
        ..Guest::default()
    };
    let resolver = resolver(&guest);
    for _ in 0..3 {
        resolve(&*resolver, 1).unwrap();
    }
}

#[test]
fn too_few_resolutions_are_refused() {
    let guest = Guest {
        resolve: "(call $expose (local.get $contenders) (i32.sub (local.get $count) (i32.const 1)))",
        ..Guest::default()
    };
    let error = resolve(&*resolver(&guest), 3).unwrap_err();
    let reason = plugin_error(&error).to_string();
    assert_eq!(reason, "component `mine` gave a wrong answer to `resolve`: 2 resolutions for 3 contenders");
}

#[test]
fn a_resolver_s_own_refusals_keep_their_kind() {
    // The error variant at 640: outer discriminant, then the kind, then pointer and length.
    fn refusal(kind: u8, payload: u32, length: u32) -> ResolveError {
        let body = format!(
            "(i32.store8 (i32.const 640) (i32.const 1))
            (i32.store8 (i32.const 644) (i32.const {kind}))
            (i32.store (i32.const 648) (i32.const {payload}))
            (i32.store (i32.const 652) (i32.const {length}))
            (i32.store (i32.const 672) (i32.const 544))
            (i32.store (i32.const 676) (i32.const 13))
            (i32.const 640)"
        );
        let guest = Guest { resolve: body.leak(), ..Guest::default() };
        resolve(&*resolver(&guest), 1).unwrap_err()
    }
    let check = |error: ResolveError, expected: &str| assert_eq!(error.to_string(), expected);
    check(refusal(0, 672, 1), "`mine 1.2.3` leaves names unresolved: it went wrong");
    check(refusal(1, 544, 13), "`mine 1.2.3` cannot use its config: it went wrong");
    check(refusal(2, 544, 13), "`mine 1.2.3` failed: it went wrong");
}

#[test]
fn a_panic_s_message_is_the_reason_and_later_calls_go_on() {
    let guest = Guest {
        core_imports: r#"(import "vmcp:host/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#,
        resolve: "(if (i32.eq (local.get $count) (i32.const 13))
                (then (call $log (i32.const 4) (i32.const 544) (i32.const 13)) unreachable))
            (call $expose (local.get $contenders) (local.get $count))",
        ..Guest::default()
    };
    let resolver = resolver(&guest);
    let error = resolve(&*resolver, 13).unwrap_err();
    assert_eq!(plugin_error(&error).to_string(), "component `mine` failed in `resolve`: it went wrong");
    assert_eq!(resolve(&*resolver, 12).unwrap().len(), 12);
}

#[test]
fn a_trap_without_a_message_is_named() {
    let guest = Guest { resolve: "unreachable", ..Guest::default() };
    let error = resolve(&*resolver(&guest), 1).unwrap_err();
    assert!(
        matches!(plugin_error(&error), PluginError::Trapped { trap, .. } if trap.contains("unreachable")),
        "{error:?}"
    );
}

#[test]
fn more_calls_than_slots_wait_and_all_succeed() {
    const CALLS: usize = 100;
    let resolver = resolver(&Guest::default());
    let barrier = Arc::new(Barrier::new(CALLS));
    std::thread::scope(|scope| {
        for _ in 0..CALLS {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(resolve(&*resolver, 50).unwrap().len(), 50);
            });
        }
    });
}

#[test]
fn a_config_that_the_component_refuses_makes_no_resolver() {
    // One problem at 700: pointer `it`, message `it went wrong`.
    let guest = Guest {
        check_config: "(i32.store (i32.const 700) (i32.const 544))
            (i32.store (i32.const 704) (i32.const 2))
            (i32.store (i32.const 708) (i32.const 544))
            (i32.store (i32.const 712) (i32.const 13))
            (i32.store (i32.const 680) (i32.const 700))
            (i32.store (i32.const 684) (i32.const 1))
            (i32.const 680)",
        ..Guest::default()
    };
    let error = crate::load(&guest).unwrap().conflict_resolver(&serde_json::json!({})).err().unwrap();
    assert_eq!(error.to_string(), "component `mine` does not accept its config: it: it went wrong");
}
