//! What several steps must agree on: dependencies, what templates read of other steps, default results.

use std::collections::{HashMap, HashSet};

use super::{StepSet, Workflow};
use crate::{problem::Problems, step::Step, template::Template};

/// Adds what is wrong to `problems`, and sets the workflow's `dependencies` and `ancestors`.
pub(super) fn check(workflow: &mut Workflow, problems: &mut Problems) {
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (index, step) in workflow.steps.iter().enumerate() {
        if places.insert(&step.id, index).is_some() {
            problems.add(&step.place.key("id"), format!("another step is called `{}`", step.id));
        }
    }
    let dependencies = dependencies(&workflow.steps, &places, problems);
    let Some(ancestors) = ancestors(&workflow.steps, &dependencies, problems) else { return };
    for (index, step) in workflow.steps.iter().enumerate() {
        for template in step.templates() {
            steps_read(template, &places, Some((step, ancestors[index])), problems);
        }
    }
    let of_output: Vec<&Template> = workflow.output.iter().flat_map(|output| output.templates()).collect();
    for template in &of_output {
        steps_read(template, &places, None, problems);
    }
    let of_steps = workflow.steps.iter().flat_map(Step::templates);
    default_results(&workflow.steps, of_steps.chain(of_output), &places, problems);
    (workflow.dependencies, workflow.ancestors) = (dependencies, ancestors);
}

fn dependencies(steps: &[Step], places: &HashMap<&str, usize>, problems: &mut Problems) -> Vec<StepSet> {
    let of_step = |step: &Step| {
        let mut set = StepSet::default();
        for (index, id) in step.depends_on.iter().enumerate() {
            match places.get(id.as_str()) {
                Some(place) => set.add(StepSet::of(*place)),
                None => problems.add(&step.place.key("dependsOn").index(index), format!("no step is called `{id}`")),
            }
        }
        set
    };
    steps.iter().map(of_step).collect()
}

/// The steps that each step waits for, directly or not; `None` if one waits for itself.
fn ancestors(steps: &[Step], dependencies: &[StepSet], problems: &mut Problems) -> Option<Vec<StepSet>> {
    let mut ancestors = vec![StepSet::default(); steps.len()];
    let mut done = StepSet::default();
    for _ in steps {
        for index in 0..steps.len() {
            if !done.contains(index) && done.covers(dependencies[index]) {
                let mut set = dependencies[index];
                for other in (0..steps.len()).filter(|other| dependencies[index].contains(*other)) {
                    set.add(ancestors[other]);
                }
                ancestors[index] = set;
                done.add(StepSet::of(index));
            }
        }
    }
    match steps.iter().enumerate().find(|(index, _)| !done.contains(*index)) {
        Some((_, step)) => {
            let message = format!("step `{}` waits for itself, by way of its dependencies", step.id);
            problems.add(&step.place.key("dependsOn"), message);
            None
        }
        None => Some(ancestors),
    }
}

/// A template may read only steps that exist and, in a step, those that are done by then.
fn steps_read(
    template: &Template,
    places: &HashMap<&str, usize>,
    reader: Option<(&Step, StepSet)>,
    problems: &mut Problems,
) {
    let mut seen = HashSet::new();
    for path in &template.reads {
        let [steps, id, ..] = path.as_slice() else { continue };
        if steps != "steps" || !seen.insert(id) {
            continue;
        }
        match (places.get(id.as_str()), reader) {
            (None, _) => problems.add(&template.place, format!("no step is called `{id}`")),
            (Some(_), Some((step, _))) if step.id == *id => {
                problems.add(&template.place, format!("step `{id}` cannot read its own result"));
            }
            (Some(place), Some((step, ancestors))) if !ancestors.contains(*place) => {
                let message = format!(
                    "step `{}` reads step `{id}`, which need not be done before: add it to `dependsOn`",
                    step.id
                );
                problems.add(&template.place, message);
            }
            _ => {}
        }
    }
}

/// A step that may be skipped, or whose failure is passed over, needs a default for every output that is read.
fn default_results<'t>(
    steps: &[Step],
    templates: impl Iterator<Item = &'t Template>,
    places: &HashMap<&str, usize>,
    problems: &mut Problems,
) {
    let mut reported = HashSet::new();
    for path in templates.flat_map(|template| &template.reads) {
        let [root, id, output, field, ..] = path.as_slice() else { continue };
        let Some(place) = places.get(id.as_str()).filter(|_| root == "steps" && output == "output") else { continue };
        let step = &steps[*place];
        let has_default = step.default_results.as_ref().is_some_and(|defaults| defaults.contains_key(field));
        if step.is_optional() && !has_default && reported.insert((id, field)) {
            let message = format!("step `{id}` may yield nothing, and `{field}` of its output is read elsewhere");
            problems.add(&step.place.key("defaultResults").key(field), message);
        }
    }
}
