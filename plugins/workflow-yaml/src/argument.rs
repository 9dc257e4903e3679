//! Arguments of a call: JSON whose texts are templates, at any depth.

use serde_json::{Map, Value};

use crate::{
    problem::{Place, Problems},
    template::{Reads, Template, TemplateValue},
};

/// Deepest nesting of arguments, which expansion follows by recursion.
const MAX_DEPTH: usize = 100;

/// Compiled arguments of a step.
pub(crate) struct Arguments(Vec<(String, Node)>);

enum Node {
    Constant(Value),
    Text(Template),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Arguments {
    pub(crate) fn compile(arguments: &Map<String, Value>, place: &Place, problems: &mut Problems) -> Self {
        Self(entries(arguments, place, problems, 1))
    }

    /// The arguments as `context` makes them; the error names the key.
    pub(crate) fn expand(&self, context: &TemplateValue) -> Result<Map<String, Value>, String> {
        let expand = |(key, node): &(String, Node)| match node.expand(context) {
            Ok(value) => Ok((key.clone(), value)),
            Err(error) => Err(format!("argument `{key}`: {error}")),
        };
        self.0.iter().map(expand).collect()
    }

    /// Whether there is a text in them, written or made by a template.
    pub(crate) fn have_texts(&self) -> bool {
        self.0.iter().any(|(_, node)| node.has_text())
    }

    pub(crate) fn reads(&self) -> Vec<&Reads> {
        let mut found = Vec::new();
        self.0.iter().for_each(|(_, node)| node.reads(&mut found));
        found
    }
}

fn entries(object: &Map<String, Value>, place: &Place, problems: &mut Problems, depth: usize) -> Vec<(String, Node)> {
    let node = |(key, value): (&String, &Value)| (key.clone(), Node::compile(value, &place.key(key), problems, depth));
    object.iter().map(node).collect()
}

impl Node {
    fn compile(value: &Value, place: &Place, problems: &mut Problems, depth: usize) -> Self {
        if depth > MAX_DEPTH {
            problems.add(place, format!("nested deeper than {MAX_DEPTH}"));
            return Self::Constant(Value::Null);
        }
        match value {
            Value::String(text) => {
                Template::compile(text, place.clone(), problems).map_or(Self::Constant(Value::Null), Self::Text)
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Self::List(
                    items.map(|(index, item)| Self::compile(item, &place.index(index), problems, depth + 1)).collect(),
                )
            }
            Value::Object(object) => Self::Object(entries(object, place, problems, depth + 1)),
            constant => Self::Constant(constant.clone()),
        }
    }

    fn expand(&self, context: &TemplateValue) -> Result<Value, String> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Text(template) => template.expand(context)?.into(),
            Self::List(items) => items.iter().map(|item| item.expand(context)).collect::<Result<Vec<_>, _>>()?.into(),
            Self::Object(entries) => {
                let entries = entries.iter().map(|(key, node)| Ok((key.clone(), node.expand(context)?)));
                Value::Object(entries.collect::<Result<_, String>>()?)
            }
        })
    }

    fn has_text(&self) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Text(_) => true,
            Self::List(items) => items.iter().any(Self::has_text),
            Self::Object(entries) => entries.iter().any(|(_, node)| node.has_text()),
        }
    }

    fn reads<'n>(&'n self, found: &mut Vec<&'n Reads>) {
        match self {
            Self::Constant(_) => {}
            Self::Text(template) => found.push(&template.reads),
            Self::List(items) => items.iter().for_each(|item| item.reads(found)),
            Self::Object(entries) => entries.iter().for_each(|(_, node)| node.reads(found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::template::from_json;

    fn compile(arguments: &Value) -> (Arguments, Problems) {
        let mut problems = Problems::default();
        let arguments = Arguments::compile(arguments.as_object().unwrap(), &Place::default(), &mut problems);
        (arguments, problems)
    }

    #[test]
    fn templates_expand_at_any_depth_and_other_values_stay() {
        let (arguments, problems) = compile(&json!({
            "text": "a {{.params.x}}", "deep": {"list": ["{{.params.x}}", 1, null, {"{{.params.x}}": true}]}, "plain": "}}",
        }));
        assert!(problems.0.is_empty());
        let expanded = arguments.expand(&from_json(&json!({"params": {"x": "b"}}))).unwrap();
        let expected = json!({"text": "a b", "deep": {"list": ["b", 1, null, {"{{.params.x}}": true}]}, "plain": "}}"});
        assert_eq!(Value::Object(expanded), expected);
    }

    #[test]
    fn errors_name_the_argument() {
        let (arguments, _) = compile(&json!({"n": [{"m": "{{index .params.x 3}}"}]}));
        let error = arguments.expand(&from_json(&json!({"params": {"x": [1]}}))).unwrap_err();
        assert!(error.starts_with("argument `n`: "), "{error}");
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth| (1..depth).fold(json!("x"), |inner, _| json!([inner]));
        assert!(compile(&json!({"a": nested(100)})).1.0.is_empty());
        assert_eq!(compile(&json!({"a": nested(101)})).1.0[0].message, "nested deeper than 100");
    }
}
