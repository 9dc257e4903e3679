//! Which keys a kind of step has.

use crate::{
    document::{ErrorAction, KindName, RawStep},
    problem::{Place, Problems},
};

/// Refuses the keys of other kinds. `message` of a tool step and the call of a question stay: `type` says which of them is meant.
pub(super) fn check(raw: &RawStep, place: &Place, problems: &mut Problems) {
    use KindName::{Elicitation, ForEach, Switch, Tool, Transform, While, Workflow};

    let kind = raw.kind.unwrap_or(Tool);
    let keys: [(&str, bool, &[KindName]); 19] = [
        ("tool", raw.tool.is_some(), &[Tool, Elicitation]),
        ("workflow", raw.workflow.is_some(), &[Workflow]),
        ("arguments", raw.arguments.is_some(), &[Tool, Workflow, Elicitation]),
        ("undo", raw.undo.is_some(), &[Tool, Workflow]),
        ("message", raw.message.is_some(), &[Tool, Elicitation]),
        ("schema", raw.schema.is_some(), &[Elicitation]),
        ("onDecline", raw.on_decline.is_some(), &[Elicitation]),
        ("onCancel", raw.on_cancel.is_some(), &[Elicitation]),
        ("collection", raw.collection.is_some(), &[ForEach]),
        ("itemVar", raw.item_var.is_some(), &[ForEach]),
        ("maxParallel", raw.max_parallel.is_some(), &[ForEach]),
        ("maxIterations", raw.max_iterations.is_some(), &[ForEach, While]),
        ("step", raw.step.is_some(), &[ForEach]),
        ("on", raw.on.is_some(), &[Switch]),
        ("cases", raw.cases.is_some(), &[Switch]),
        ("default", raw.default.is_some(), &[Switch]),
        ("while", raw.goes_on.is_some(), &[While]),
        ("steps", raw.steps.is_some(), &[While]),
        ("expression", raw.expression.is_some(), &[Transform]),
    ];
    for (key, _, _) in keys.iter().filter(|(_, present, kinds)| *present && !kinds.contains(&kind)) {
        problems.add(&place.key(key), format!("a step of type `{}` has no `{key}`", kind.name()));
    }
    let retries = raw.on_error.as_ref().is_some_and(|handling| handling.action == Some(ErrorAction::Retry));
    let reason = match kind {
        Switch | While => "is not tried again, but the steps inside it can be",
        Transform => "is not tried again: it would yield the same",
        _ => return,
    };
    if retries {
        problems.add(&place.key("onError").key("action"), format!("a step of type `{}` {reason}", kind.name()));
    }
}
