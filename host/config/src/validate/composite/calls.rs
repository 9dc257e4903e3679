//! Composite tools that call each other.

use super::all;
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::composite::{CompositeToolConfig, StepConfig},
};

/// Reports the steps of type `workflow` that lead back to the tool in which they stand. What names of tools lead to is known only
/// once the backends are there.
pub(super) fn cycles(tools: &[CompositeToolConfig], path: &KeyPath, report: &mut Report<'_>) {
    for (index, tool) in tools.iter().enumerate() {
        for (path, called) in calls(tool, &path.index(index)) {
            if let Some(way) = way_back(tools, &tool.name, called, &mut Vec::new()) {
                let message =
                    format!("`{}` would call itself: `{}`", tool.name, [vec![&*tool.name], way].concat().join("` → `"));
                report.error(Rule::CallCycle, &path, message);
            }
        }
    }
}

/// The composite tools that a tool names, and where.
fn calls<'t>(tool: &'t CompositeToolConfig, path: &KeyPath) -> Vec<(KeyPath, &'t str)> {
    let named = |(path, step): (KeyPath, &'t StepConfig)| {
        let inner =
            step.step.as_ref().and_then(|inner| Some((path.key("step").key("workflow"), inner.workflow.as_deref()?)));
        inner.or_else(|| Some((path.key("workflow"), step.workflow.as_deref()?)))
    };
    all(&tool.steps, &path.key("steps")).into_iter().filter_map(named).collect()
}

/// The tools from `from` to `target`, both included.
fn way_back<'t>(
    tools: &'t [CompositeToolConfig],
    target: &str,
    from: &'t str,
    seen: &mut Vec<&'t str>,
) -> Option<Vec<&'t str>> {
    if from == target {
        return Some(vec![from]);
    }
    if seen.contains(&from) {
        return None;
    }
    seen.push(from);
    let tool = tools.iter().find(|tool| tool.name == from)?;
    let on = calls(tool, &KeyPath::root()).into_iter().find_map(|(_, next)| way_back(tools, target, next, seen))?;
    Some([vec![from], on].concat())
}
