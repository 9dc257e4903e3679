//! What several steps must agree on: ids, what templates read of other steps, default results, and that nothing calls itself.

mod reads;

use std::collections::HashSet;

use self::reads::{Known, Scope};
use super::Workflow;
use crate::{problem::Problems, template::Reads};

/// Adds what is wrong to `problems`.
pub(super) fn check(workflow: &Workflow, problems: &mut Problems) {
    let all = workflow.steps.all();
    let mut ids = HashSet::new();
    for step in all.iter().filter(|step| !ids.insert(&step.id)) {
        problems.add(&step.place.key("id"), format!("another step is called `{}`", step.id));
    }
    for (name, place) in all.iter().filter_map(|step| step.workflow()) {
        if name == workflow.name {
            problems.add(&place, format!("`{name}` would call itself"));
        }
    }
    let lists = || all.iter().flat_map(|step| step.lists()).chain([&workflow.steps]);
    if lists().any(|steps| steps.ancestors.len() < steps.list.len()) {
        return; // a step waits for itself, and nothing can be said of what is done before it
    }
    let known = Known::of(&workflow.steps);
    known.list(&workflow.steps, &Scope::default(), problems);
    let of_output: Vec<&Reads> = workflow.output.iter().flat_map(|output| output.reads()).collect();
    let seen = Scope { steps: workflow.steps.list.iter().map(|step| step.id.as_str()).collect(), round: None };
    for reads in &of_output {
        known.check(reads, None, &seen, problems);
    }
    let of_steps = all.iter().flat_map(|step| step.reads()).chain(of_output).map(|reads| (reads, None));
    let of_undo =
        all.iter().flat_map(|step| step.undo_reads().into_iter().map(|reads| (reads, Some(step.undone_id()))));
    known.outputs(of_steps.chain(of_undo), problems);
}
