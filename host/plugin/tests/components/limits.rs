//! Components that use too much are stopped, with the limit's name.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use vmcp_core::extension::ConflictResolver;
use vmcp_plugin::{Limit, Limits, PluginError};

use crate::{Guest, SHORT, engine, load, plugin_error, resolve, resolver, source, with_running_time};

const LOOP: &str = "(loop $forever (br $forever)) unreachable";

/// Never resolves anything.
fn looping() -> Arc<dyn ConflictResolver> {
    let guest = Guest { resolve: LOOP, ..Guest::default() };
    let source = with_running_time(SHORT, guest.build());
    engine().load(source).unwrap().conflict_resolver(&serde_json::json!({})).unwrap()
}

fn limit_of(error: &PluginError) -> Limit {
    let PluginError::LimitExceeded { component, limit, .. } = error else { panic!("another error: {error:?}") };
    assert_eq!(component, "mine");
    *limit
}

#[test]
fn an_endless_loop_is_stopped_wherever_it_is() {
    let allowed = Duration::from_millis(300);
    let check = |guest: &Guest| {
        let error = engine().load(with_running_time(allowed, guest.build())).err().unwrap();
        assert_eq!(limit_of(&error), Limit::RunningTime { allowed });
    };
    check(&Guest { describe: "(loop $forever (br $forever))", ..Guest::default() });
    check(&Guest { fields: "(func $begin (loop $forever (br $forever))) (start $begin)", ..Guest::default() });

    let resolver = looping();
    let start = Instant::now();
    let error = resolve(&*resolver, 1).unwrap_err();
    assert_eq!(limit_of(plugin_error(&error)), Limit::RunningTime { allowed: SHORT });
    assert!(start.elapsed() >= SHORT, "stopped after {:?}", start.elapsed());
}

#[test]
fn the_reason_and_the_key_to_change_are_told() {
    let error = resolve(&*looping(), 1).unwrap_err();
    let error = plugin_error(&error);
    assert_eq!(error.to_string(), "component `mine` exceeded its limit of 3s running time in `resolve`");
    assert!(error.hint().unwrap().contains("`limits.runningTime`"));
}

#[test]
fn memory_beyond_the_limit_is_refused() {
    let allowed = 64 << 20;
    let at_start = load(&Guest { pages: 2_000, ..Guest::default() }).err().unwrap();
    assert_eq!(limit_of(&at_start), Limit::Memory { allowed });
    let growing = "(loop $more (drop (memory.grow (i32.const 1))) (br $more)) unreachable";
    let error = resolve(&*resolver(&Guest { resolve: growing, ..Guest::default() }), 1).unwrap_err();
    assert_eq!(limit_of(plugin_error(&error)), Limit::Memory { allowed });
}

#[test]
fn a_component_s_own_memory_limit_counts() {
    let guest = Guest { pages: 2_000, ..Guest::default() };
    let with_memory = |bytes| {
        let mut source = source(guest.build());
        source.limits.memory = Some(bytes);
        engine().load(source)
    };
    assert!(with_memory(2_000 << 16).is_ok());
    assert!(with_memory((2_000 << 16) - 1).is_err());
}

#[test]
fn output_beyond_the_limit_is_refused() {
    // Memory of the guest is not the measure: a thousand resolutions may share one long text.
    let mut source = source(Guest::default().build());
    source.limits = Limits { output: Some(4 << 10), ..source.limits };
    let resolver = engine().load(source).unwrap().conflict_resolver(&serde_json::json!({})).unwrap();
    assert_eq!(resolve(&*resolver, 5).unwrap().len(), 5);
    let error = resolve(&*resolver, 1_000).unwrap_err();
    assert_eq!(limit_of(plugin_error(&error)), Limit::Output { allowed: 4 << 10 });
}

#[test]
fn a_reply_that_repeats_one_text_without_end_is_refused() {
    // 40,000 resolutions, all with the same name of 48 KiB: 1.8 GiB if the host took it.
    let guest = Guest {
        pages: 64,
        resolve: "(local $out i32) (local $i i32)
            (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1120000)))
            (i32.store offset=644 (i32.const 0) (local.get $out))
            (i32.store offset=648 (i32.const 0) (i32.const 40000))
            (block $done
                (loop $next
                    (br_if $done (i32.eq (local.get $i) (i32.const 40000)))
                    (i32.store offset=4 (local.get $out) (i32.const 3145728))
                    (i32.store offset=8 (local.get $out) (i32.const 49152))
                    (local.set $out (i32.add (local.get $out) (i32.const 28)))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $next)))
            (i32.const 640)",
        ..Guest::default()
    };
    let error = resolve(&*resolver(&guest), 1).unwrap_err();
    assert_eq!(limit_of(plugin_error(&error)), Limit::Output { allowed: 64 << 20 });
}

#[test]
fn a_loop_does_not_delay_another_component() {
    let (looping, well) = (looping(), resolver(&Guest::default()));
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| resolve(&*looping, 1).is_err());
        assert!(resolve(&*well, 10).is_ok());
        assert!(!stuck.is_finished());
        assert!(stuck.join().unwrap());
    });
}
