//! Random workflows against a small model that knows nothing of futures.
//!
//! The model goes through time event by event. Calls take times that do not coincide, so that what happens is settled by the
//! document alone.

use std::{collections::BTreeMap, time::Duration};

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use workflow_yaml::{CallError, RunError};

use crate::world::{FakeWorld, What, steps, text};

/// Steps under way at a time.
const MAX_PARALLEL: usize = 10;

#[derive(Clone, Debug)]
struct Plan {
    /// Bits choose among the steps that come earlier in `order`.
    dependencies: u64,
    runs: bool,
    /// Nanoseconds of each call; the last is the one that succeeds, if any does.
    calls: Vec<u64>,
    succeeds: bool,
    retries: usize,
    delay: Duration,
    continues: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let calls = vec(1_000_000_u64..10_000_000_000, 1..4);
    let delay = (1_u64..5_000).prop_map(Duration::from_millis);
    // Few dependencies for some, so that more steps are ready than may run.
    let few = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    let shape = (any::<u64>(), (any::<u64>(), few).prop_map(|(right, few)| right & few), prop::bool::weighted(0.8));
    (shape, calls, prop::bool::weighted(0.8), 0..4_usize, delay, any::<bool>()).prop_map(
        |((left, right, runs), calls, succeeds, retries, delay, continues)| Plan {
            dependencies: left & right,
            runs,
            calls,
            succeeds,
            retries,
            delay,
            continues,
        },
    )
}

/// A random order for `n` steps, and a plan for each.
fn workflow() -> impl Strategy<Value = (Vec<usize>, Vec<Plan>)> {
    vec(plan(), 1..28).prop_flat_map(|plans| (Just((0..plans.len()).collect::<Vec<_>>()).prop_shuffle(), Just(plans)))
}

fn name(index: usize) -> String {
    format!("s{index}")
}

/// Of each step, those that it depends on.
fn dependencies(order: &[usize], plans: &[Plan]) -> Vec<Vec<usize>> {
    let position = |index: usize| order.iter().position(|other| *other == index).unwrap();
    let of = |(index, plan): (usize, &Plan)| {
        let earlier = &order[..position(index)];
        earlier
            .iter()
            .enumerate()
            .filter(|(bit, _)| plan.dependencies >> bit & 1 == 1)
            .map(|(_, other)| *other)
            .collect()
    };
    plans.iter().enumerate().map(of).collect()
}

fn document(plans: &[Plan], dependencies: &[Vec<usize>]) -> Value {
    let step = |(index, plan): (usize, &Plan)| {
        let depends_on: Vec<_> = dependencies[index].iter().map(|other| name(*other)).collect();
        let action = match (plan.continues, plan.retries) {
            (true, _) => "continue",
            (false, 0) => "abort",
            (false, _) => "retry",
        };
        let delay = format!("{}ms", plan.delay.as_millis());
        json!({"id": name(index), "tool": name(index), "dependsOn": depends_on, "timeout": "20m",
            "condition": plan.runs.to_string(), "defaultResults": {"text": "default"},
            "onError": {"action": action, "retryCount": plan.retries, "retryDelay": delay}})
    };
    steps(plans.iter().enumerate().map(step).collect())
}

fn world(plans: &[Plan]) -> FakeWorld {
    plans.iter().enumerate().fold(FakeWorld::new(), |world, (index, plan)| {
        let plan = plan.clone();
        world.tool(&name(index), move |number, _| {
            let last = number + 1 >= plan.calls.len();
            let result =
                if last && plan.succeeds { Ok(text(&name(index))) } else { Err(CallError::Other("no".into())) };
            (Duration::from_nanos(plan.calls[number.min(plan.calls.len() - 1)]), result)
        })
    })
}

#[derive(Debug, Default, PartialEq)]
struct Effects {
    /// When each call began, and how it ended.
    calls: BTreeMap<(Duration, usize), bool>,
    /// The steps in the order of their ends.
    ends: Vec<String>,
    /// The step that failed, or the output.
    result: Option<Result<String, usize>>,
    took: Duration,
}

/// The calls that one step makes, as start and end after its own start, and whether it succeeds.
fn calls(plan: &Plan) -> (Vec<(Duration, Duration)>, bool) {
    let (mut at, mut wait, mut calls) = (Duration::ZERO, plan.delay, Vec::new());
    loop {
        let number = calls.len();
        let end = at + Duration::from_nanos(plan.calls[number.min(plan.calls.len() - 1)]);
        calls.push((at, end));
        if plan.succeeds && number + 1 >= plan.calls.len() {
            return (calls, true);
        }
        if number == plan.retries {
            return (calls, false);
        }
        at = end + wait;
        wait = wait.mul_f64(1.5);
    }
}

fn model(plans: &[Plan], dependencies: &[Vec<usize>]) -> Effects {
    let mut effects = Effects::default();
    let (mut started, mut status) = (vec![None; plans.len()], vec![None; plans.len()]);
    let mut now = Duration::ZERO;
    loop {
        for index in 0..plans.len() {
            let running =
                (0..plans.len()).filter(|other| started[*other].is_some() && status[*other].is_none()).count();
            let ready = started[index].is_none() && dependencies[index].iter().all(|other| status[*other].is_some());
            if ready && running < MAX_PARALLEL {
                started[index] = Some(now);
            }
        }
        let end = |index: usize| {
            let length = if plans[index].runs { calls(&plans[index]).0.last().unwrap().1 } else { Duration::ZERO };
            started[index].filter(|_| status[index].is_none()).map(|start| (start + length, index))
        };
        let Some((at, index)) = (0..plans.len()).filter_map(end).min() else { break };
        now = at;
        let succeeded = plans[index].runs && calls(&plans[index]).1;
        if plans[index].runs && !succeeded && !plans[index].continues {
            effects.result = Some(Err(index));
            break;
        }
        status[index] = Some(if succeeded {
            "completed"
        } else if plans[index].runs {
            "failed"
        } else {
            "skipped"
        });
        effects.ends.push(format!("{} {}", name(index), status[index].unwrap()));
    }
    effects.took = now;
    for (index, plan) in plans.iter().enumerate().filter(|(_, plan)| plan.runs) {
        let Some(start) = started[index] else { continue };
        let made = calls(plan).0.into_iter().map(|(from, to)| (start + from, start + to <= now));
        effects.calls.extend(made.filter(|(from, _)| *from <= now).map(|(from, ended)| ((from, index), ended)));
    }
    effects.result.get_or_insert_with(|| {
        let completed = || (0..plans.len()).rev().filter(|index| status[*index] == Some("completed"));
        let last = completed().find(|index| !dependencies.iter().any(|of| of.contains(index)));
        Ok(last.or_else(|| completed().next()).map(name).unwrap_or_default())
    });
    effects
}

fn observe(world: &FakeWorld, result: Result<Value, RunError>) -> Effects {
    let index = |name: &str| name[1..].parse::<usize>().unwrap();
    let mut effects = Effects { took: world.now(), ..Effects::default() };
    let mut open: BTreeMap<usize, Duration> = BTreeMap::new();
    for event in world.events.borrow().iter() {
        let tool = index(&event.tool);
        match event.what {
            What::Called(_) => assert!(open.insert(tool, event.at).is_none(), "two calls of one step at a time"),
            What::Answered | What::Cancelled => {
                let from = open.remove(&tool).unwrap();
                effects.calls.insert((from, tool), event.what == What::Answered);
            }
        }
    }
    let progress = world.progress.borrow();
    effects.ends = progress.iter().map(|line| line.split_once("step ").unwrap().1.replace('`', "")).collect();
    effects.result = Some(match result {
        Ok(output) => Ok(output.get("text").and_then(Value::as_str).unwrap_or_default().to_owned()),
        Err(RunError::Step { id, .. }) => Err(index(&id)),
        Err(error) => panic!("{error}"),
    });
    effects
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn any_workflow_does_what_the_model_says((order, plans) in workflow()) {
        let dependencies = dependencies(&order, &plans);
        let world = world(&plans);
        let result = world.run(&document(&plans, &dependencies), json!({}));
        prop_assert_eq!(observe(&world, result), model(&plans, &dependencies));
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}
