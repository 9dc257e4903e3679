//! A composite tool as a picture that Markdown renders.

use std::fmt::Write as _;

use vmcp_config::{CompositeToolConfig, StepConfig, StepType};

/// The steps as a Mermaid flowchart: an arrow from each step to those that wait for it.
pub fn mermaid(tool: &CompositeToolConfig) -> String {
    let mut out = String::from("flowchart TD\n");
    let place = |id: &str| tool.steps.iter().position(|step| step.id == id);
    for (index, step) in tool.steps.iter().enumerate() {
        let (open, close) = shape(step.kind.unwrap_or(StepType::Tool));
        let _ = writeln!(out, "    s{index}{open}\"{}\"{close}", label(step));
    }
    for (index, step) in tool.steps.iter().enumerate() {
        for before in step.depends_on.iter().filter_map(|id| place(id)) {
            let arrow = match &step.condition {
                Some(condition) => format!("-- \"{}\" -->", escaped(condition)),
                None => "-->".to_owned(),
            };
            let _ = writeln!(out, "    s{before} {arrow} s{index}");
        }
    }
    out
}

/// How the box of a step is drawn: a loop has double sides, a question is a rhombus.
fn shape(kind: StepType) -> (&'static str, &'static str) {
    match kind {
        StepType::Tool => ("[", "]"),
        StepType::Elicitation => ("{", "}"),
        StepType::ForEach => ("[[", "]]"),
    }
}

fn label(step: &StepConfig) -> String {
    let inner = step.step.as_deref().and_then(|inner| inner.tool.as_deref());
    let what = match step.kind.unwrap_or(StepType::Tool) {
        StepType::Tool => step.tool.clone().unwrap_or_default(),
        StepType::Elicitation => step.message.clone().unwrap_or_default(),
        StepType::ForEach => format!("for each: {}", inner.unwrap_or_default()),
    };
    format!("{}<br/>{}", escaped(&step.id), escaped(&what))
}

/// As Mermaid reads text between quotes.
fn escaped(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}
