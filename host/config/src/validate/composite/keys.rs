//! Which keys a type of step has.

use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::composite::{StepConfig, StepType},
};

/// Refuses the keys of other types. `message` of a tool step and the call of a question stay: `type` says which of them is meant.
pub(super) fn check(step: &StepConfig, path: &KeyPath, report: &mut Report<'_>) {
    use StepType::{Elicitation, ForEach, Switch, Tool, Transform, While, Workflow};

    let kind = step.kind.unwrap_or(Tool);
    let keys: [(&str, bool, &[StepType]); 19] = [
        ("tool", step.tool.is_some(), &[Tool, Elicitation]),
        ("workflow", step.workflow.is_some(), &[Workflow]),
        ("arguments", step.arguments.is_some(), &[Tool, Workflow, Elicitation]),
        ("undo", step.undo.is_some(), &[Tool, Workflow]),
        ("message", step.message.is_some(), &[Tool, Elicitation]),
        ("schema", step.schema.is_some(), &[Elicitation]),
        ("onDecline", step.on_decline.is_some(), &[Elicitation]),
        ("onCancel", step.on_cancel.is_some(), &[Elicitation]),
        ("collection", step.collection.is_some(), &[ForEach]),
        ("itemVar", step.item_var.is_some(), &[ForEach]),
        ("maxParallel", step.max_parallel.is_some(), &[ForEach]),
        ("maxIterations", step.max_iterations.is_some(), &[ForEach, While]),
        ("step", step.step.is_some(), &[ForEach]),
        ("on", step.on.is_some(), &[Switch]),
        ("cases", step.cases.is_some(), &[Switch]),
        ("default", step.default.is_some(), &[Switch]),
        ("while", step.goes_on.is_some(), &[While]),
        ("steps", step.steps.is_some(), &[While]),
        ("expression", step.expression.is_some(), &[Transform]),
    ];
    for (key, _, kinds) in keys.iter().filter(|(_, present, kinds)| *present && !kinds.contains(&kind)) {
        let kinds: Vec<_> = kinds.iter().map(|kind| format!("`{}`", kind.name())).collect();
        let message = format!("a step of type `{}` has no `{key}`", kind.name());
        let hint = format!("steps of type {} have it", kinds.join(" and "));
        report.error_at_key(Rule::MisplacedKey, &path.key(key), message, Some(hint));
    }
}
