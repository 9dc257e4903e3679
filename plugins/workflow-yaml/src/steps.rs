//! A list of steps and the order that their dependencies give them: that of the workflow, of a case, of the rounds of a loop.

mod set;

use std::collections::HashMap;

use serde_json::Value;

pub(crate) use self::set::StepSet;
use crate::{
    document::{self, RawStep},
    problem::{Place, Problems},
    step::Step,
};

/// Most steps, those inside others included.
pub(crate) const MAX_STEPS: usize = 100;
/// Deepest nesting of lists, which running them follows.
const MAX_DEPTH: usize = 8;

/// Compiled steps. Each waits only for others of its list.
pub(crate) struct Steps {
    pub(crate) list: Vec<Step>,
    /// Of each step, the steps that must be done before it: directly, and directly or not.
    pub(crate) dependencies: Vec<StepSet>,
    /// Empty if a step waits for itself.
    pub(crate) ancestors: Vec<StepSet>,
}

impl Steps {
    /// All steps at `place`, or none if one of them has problems of its own.
    ///
    /// - `depth`: lists that this one is inside of
    pub(crate) fn compile(raw: &[Value], place: &Place, depth: usize, problems: &mut Problems) -> Option<Self> {
        if raw.len() > MAX_STEPS {
            problems.add(place, format!("{} steps are more than {MAX_STEPS}", raw.len()));
            return None;
        }
        if depth > MAX_DEPTH {
            problems.add(place, format!("steps are nested deeper than {MAX_DEPTH}"));
            return None;
        }
        let compile = |(index, raw): (usize, &Value)| {
            let place = place.index(index);
            let raw: RawStep = document::read(raw, &place, problems)?;
            if raw.id.is_empty() {
                problems.add(&place.key("id"), "the step needs an `id`");
            }
            Step::compile(raw, place, depth, problems)
        };
        let list: Vec<_> = raw.iter().enumerate().map(compile).collect();
        let list: Vec<_> = list.into_iter().collect::<Option<_>>()?;
        let dependencies = dependencies(&list, depth, problems);
        let ancestors = ancestors(&list, &dependencies, problems).unwrap_or_default();
        Some(Self { list, dependencies, ancestors })
    }

    /// Whether one of them looks at the context.
    pub(crate) fn read_context(&self) -> bool {
        self.list.iter().any(|step| step.reads_context)
    }

    /// The steps of this list, each followed by those inside it.
    pub(crate) fn all(&self) -> Vec<&Step> {
        let with_inner = |step| [step].into_iter().chain(Step::lists(step).into_iter().flat_map(Self::all));
        self.list.iter().flat_map(with_inner).collect()
    }
}

fn dependencies(list: &[Step], depth: usize, problems: &mut Problems) -> Vec<StepSet> {
    let places: HashMap<&str, usize> = list.iter().enumerate().map(|(index, step)| (step.id.as_str(), index)).collect();
    let of_step = |step: &Step| {
        let mut set = StepSet::default();
        for (index, id) in step.depends_on.iter().enumerate() {
            if let Some(place) = places.get(id.as_str()) {
                set.add(StepSet::of(*place));
                continue;
            }
            let of_list = if depth == 0 { "" } else { " of its list" };
            let message = format!("no step{of_list} is called `{id}`");
            problems.add(&step.place.key("dependsOn").index(index), message);
        }
        set
    };
    list.iter().map(of_step).collect()
}

/// The steps that each step waits for, directly or not; `None` if one waits for itself.
fn ancestors(list: &[Step], dependencies: &[StepSet], problems: &mut Problems) -> Option<Vec<StepSet>> {
    let mut ancestors = vec![StepSet::default(); list.len()];
    let mut done = StepSet::default();
    for _ in list {
        for index in 0..list.len() {
            if !done.contains(index) && done.covers(dependencies[index]) {
                let mut set = dependencies[index];
                for other in (0..list.len()).filter(|other| dependencies[index].contains(*other)) {
                    set.add(ancestors[other]);
                }
                ancestors[index] = set;
                done.add(StepSet::of(index));
            }
        }
    }
    match list.iter().enumerate().find(|(index, _)| !done.contains(*index)) {
        Some((_, step)) => {
            let message = format!("step `{}` waits for itself, by way of its dependencies", step.id);
            problems.add(&step.place.key("dependsOn"), message);
            None
        }
        None => Some(ancestors),
    }
}
