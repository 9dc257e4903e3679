//! A composite tool as a picture that Markdown renders.

use std::fmt::Write as _;

use vmcp_config::{CompositeToolConfig, StepConfig, StepType, SwitchCase};

/// The steps as a Mermaid flowchart: an arrow from each step to those that wait for it, and a frame around steps inside another.
pub fn mermaid(tool: &CompositeToolConfig) -> String {
    let mut out = String::from("flowchart TD\n");
    boxes(&tool.steps, "s", 1, &mut out);
    arrows(&tool.steps, "s", &mut out);
    out
}

/// - `prefix`: of the names that the steps have in the picture
fn boxes(steps: &[StepConfig], prefix: &str, depth: usize, out: &mut String) {
    let indent = "    ".repeat(depth);
    for (index, step) in steps.iter().enumerate() {
        let name = format!("{prefix}{index}");
        let frames = frames(step, &name);
        if frames.is_empty() {
            let (open, close) = shape(step.kind.unwrap_or(StepType::Tool));
            let _ = writeln!(out, "{indent}{name}{open}\"{}\"{close}", label(step));
            continue;
        }
        let _ = writeln!(out, "{indent}subgraph {name}[\"{}\"]", label(step));
        for Frame { prefix, title, steps } in frames {
            match title {
                Some(title) => {
                    let _ = writeln!(out, "{indent}    subgraph {prefix}[\"{}\"]", escaped(&title));
                    boxes(steps, &format!("{prefix}_"), depth + 2, out);
                    let _ = writeln!(out, "{indent}    end");
                }
                None => boxes(steps, &format!("{prefix}_"), depth + 1, out),
            }
        }
        let _ = writeln!(out, "{indent}end");
    }
}

fn arrows(steps: &[StepConfig], prefix: &str, out: &mut String) {
    let place = |id: &str| steps.iter().position(|step| step.id == id);
    for (index, step) in steps.iter().enumerate() {
        for before in step.depends_on.iter().filter_map(|id| place(id)) {
            let arrow = match &step.condition {
                Some(condition) => format!("-- \"{}\" -->", escaped(condition)),
                None => "-->".to_owned(),
            };
            let _ = writeln!(out, "    {prefix}{before} {arrow} {prefix}{index}");
        }
        for Frame { prefix, steps, .. } in frames(step, &format!("{prefix}{index}")) {
            arrows(steps, &format!("{prefix}_"), out);
        }
    }
}

/// A list of steps inside another step.
struct Frame<'s> {
    prefix: String,
    /// Absent where the frame of the step is enough.
    title: Option<String>,
    steps: &'s [StepConfig],
}

fn frames<'s>(step: &'s StepConfig, name: &str) -> Vec<Frame<'s>> {
    let case = |(index, case): (usize, &'s SwitchCase)| Frame {
        prefix: format!("{name}_{index}"),
        title: Some(case.text()),
        steps: &case.steps,
    };
    let cases = step.cases.iter().flatten().enumerate().map(case);
    let default = step.default.as_deref().map(|steps| {
        let title = Some("otherwise".to_owned());
        Frame { prefix: format!("{name}_default"), title, steps }
    });
    let rounds = step.steps.as_deref().map(|steps| Frame { prefix: name.to_owned(), title: None, steps });
    cases.chain(default).chain(rounds).collect()
}

/// How the box of a step is drawn: a loop has double sides, a question is a rhombus, another composite tool has round sides, and
/// what is computed leans.
fn shape(kind: StepType) -> (&'static str, &'static str) {
    match kind {
        StepType::Tool | StepType::Switch | StepType::While => ("[", "]"),
        StepType::Elicitation => ("{", "}"),
        StepType::ForEach => ("[[", "]]"),
        StepType::Workflow => ("([", "])"),
        StepType::Transform => ("[/", "/]"),
    }
}

fn label(step: &StepConfig) -> String {
    let called = |step: &StepConfig| {
        [&step.tool, &step.workflow, &step.expression].into_iter().flatten().next().cloned().unwrap_or_default()
    };
    let what = match step.kind.unwrap_or(StepType::Tool) {
        StepType::Tool | StepType::Workflow | StepType::Transform => called(step),
        StepType::Elicitation => step.message.clone().unwrap_or_default(),
        StepType::ForEach => format!("for each: {}", step.step.as_deref().map(called).unwrap_or_default()),
        StepType::Switch => format!("switch: {}", step.on.as_deref().unwrap_or_default()),
        StepType::While => format!("while: {}", step.goes_on.as_deref().unwrap_or_default()),
    };
    let undo = step.undo.as_ref().or_else(|| step.step.as_ref()?.undo.as_ref());
    let undo = undo.map(|undo| format!("<br/>undo: {}", escaped(&undo.tool))).unwrap_or_default();
    format!("{}<br/>{}{undo}", escaped(&step.id), escaped(&what))
}

/// As Mermaid reads text between quotes.
fn escaped(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use vmcp_config::CompositeFile;

    use super::*;

    #[test]
    fn steps_inside_others_are_drawn_in_frames() {
        let text = "name: t
description: d
steps:
  - { id: first, tool: a, undo: { tool: b } }
  - id: choose
    type: switch
    dependsOn: [first]
    on: '{{.params.kind}}'
    cases: [{ equals: bug, steps: [{ id: in, tool: c }, { id: then, type: workflow, workflow: d, dependsOn: [in] }] }]
    default: [{ id: other, type: while, while: 'false', steps: [{ id: turn, tool: e }] }]
  - { id: sum, type: transform, expression: '1 + 2', dependsOn: [choose] }
";
        let file = CompositeFile::parse(text.to_owned(), "t.yaml").expect("a composite tool");
        let expected = "flowchart TD
    s0[\"first<br/>a<br/>undo: b\"]
    subgraph s1[\"choose<br/>switch: {{.params.kind}}\"]
        subgraph s1_0[\"bug\"]
            s1_0_0[\"in<br/>c\"]
            s1_0_1([\"then<br/>d\"])
        end
        subgraph s1_default[\"otherwise\"]
            subgraph s1_default_0[\"other<br/>while: false\"]
                s1_default_0_0[\"turn<br/>e\"]
            end
        end
    end
    s2[/\"sum<br/>1 + 2\"/]
    s0 --> s1
    s1_0_0 --> s1_0_1
    s1 --> s2
";
        assert_eq!(mermaid(&file.tool), expected);
    }
}
