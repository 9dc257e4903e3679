//! What a template refers to: enough of Go's text/template to see which step outputs it reads.

use std::sync::LazyLock;

use regex::Regex;

/// The (step, field) pairs that `template` reads as `.steps.<step>.output.<field>`, in their order.
pub(super) fn step_outputs(template: &str) -> Vec<(&str, &str)> {
    static ACTION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)\{\{.*?\}\}").expect("a legal pattern"));
    static OUTPUT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\.steps\.([A-Za-z0-9_]+)\.output\.([A-Za-z0-9_]+)").expect("a legal pattern"));
    let actions = ACTION.find_iter(template).map(|action| action.as_str());
    actions
        .flat_map(|action| OUTPUT.captures_iter(action))
        .filter_map(|found| Some((found.get(1)?.as_str(), found.get(2)?.as_str())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_found_inside_actions_only() {
        let check = |template: &str, expected: &[(&str, &str)]| assert_eq!(step_outputs(template), expected);
        check("{{.steps.a.output.text}}", &[("a", "text")]);
        check("{{ if eq .steps.a.output.x \"1\" }}{{.steps.b.output.y.z}}{{end}}", &[("a", "x"), ("b", "y")]);
        check("{{.steps.a.content.text}} .steps.a.output.text", &[]);
        check("plain", &[]);
    }
}
