//! What is typed at a question, read as the schema of the answer says. No terminal here: a line in, a value out.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// One property of an answer.
pub(super) struct Field<'s> {
    pub(super) name: &'s str,
    schema: &'s Value,
    is_required: bool,
    kind: Kind,
}

/// How a line is read.
enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
    /// One of these.
    Choice(Vec<Choice>),
    /// Any of these, with commas between.
    Choices(Vec<Choice>),
    Json,
}

struct Choice {
    value: Value,
    title: Option<String>,
}

impl<'s> Field<'s> {
    /// The properties of `schema` in its order.
    pub(super) fn all(schema: &'s Value) -> Vec<Self> {
        let properties = schema["properties"].as_object().into_iter().flatten();
        let required =
            |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
        let field = |(name, schema): (&'s String, &'s Value)| Field {
            name,
            schema,
            is_required: required(name),
            kind: Kind::of(schema),
        };
        properties.map(field).collect()
    }

    /// What there is to know before it is entered.
    pub(super) fn about(&self) -> Vec<String> {
        let title = self.schema["title"].as_str().filter(|title| *title != self.name);
        let description = self.schema["description"].as_str();
        let mut lines: Vec<String> = [title, description].into_iter().flatten().map(str::to_owned).collect();
        let (choices, remark) = match &self.kind {
            Kind::Choice(choices) => (choices.as_slice(), None),
            Kind::Choices(choices) => (choices.as_slice(), Some("any of these, with commas between:")),
            _ => (&[][..], None),
        };
        lines.extend(remark.map(str::to_owned));
        for (index, choice) in choices.iter().enumerate() {
            let title = choice.title.as_ref().map(|title| format!("  {title}")).unwrap_or_default();
            lines.push(format!("  {}  {}{title}", index + 1, plain(&choice.value)));
        }
        lines
    }

    pub(super) fn prompt(&self) -> String {
        let kind = match self.kind {
            Kind::Text | Kind::Choice(_) | Kind::Choices(_) => "",
            Kind::Integer => ", a whole number",
            Kind::Number => ", a number",
            Kind::Boolean => ", yes or no",
            Kind::Json => ", JSON",
        };
        let without = match (self.schema.get("default"), self.is_required) {
            (Some(default), _) => format!(" [{}]", plain(default)),
            (None, true) => String::new(),
            (None, false) => " (may be empty)".to_owned(),
        };
        format!("{}{kind}{without}", self.name)
    }

    /// The value that `line` stands for, `None` if it is left out.
    ///
    /// # Errors
    /// Says why it is none.
    pub(super) fn read(&self, line: &str) -> Result<Option<Value>, String> {
        if line.trim().is_empty() {
            return match self.schema.get("default") {
                Some(default) => Ok(Some(default.clone())),
                None if self.is_required => Err(format!("`{}` is needed", self.name)),
                None => Ok(None),
            };
        }
        let value = self.kind.read(line)?;
        // A schema that is none excludes nothing.
        if let Ok(validator) = jsonschema::validator_for(self.schema)
            && let Some(error) = validator.iter_errors(&value).next()
        {
            return Err(error.to_string());
        }
        Ok(Some(value))
    }
}

impl Kind {
    fn of(schema: &Value) -> Self {
        if let Some(choices) = choices(schema) {
            return Self::Choice(choices);
        }
        // Of several types, `null` is what an empty line says.
        let named = match &schema["type"] {
            Value::Array(types) => types.iter().find(|one| *one != "null").and_then(Value::as_str),
            other => other.as_str(),
        };
        match named {
            Some("string") => Self::Text,
            Some("integer") => Self::Integer,
            Some("number") => Self::Number,
            Some("boolean") => Self::Boolean,
            Some("array") => choices(&schema["items"]).map_or(Self::Json, Self::Choices),
            _ => Self::Json,
        }
    }

    fn read(&self, line: &str) -> Result<Value, String> {
        let text = line.trim();
        match self {
            Self::Text => Ok(line.into()),
            Self::Integer => integer(text).map(Value::Number).ok_or_else(|| format!("{text} is no whole number")),
            Self::Number => {
                let number = integer(text).or_else(|| text.parse().ok().and_then(Number::from_f64));
                number.map(Value::Number).ok_or_else(|| format!("{text} is no number"))
            }
            Self::Boolean => yes_or_no(text).map(Value::Bool),
            Self::Choice(choices) => choose(choices, text),
            Self::Choices(choices) => text.split(',').map(|one| choose(choices, one.trim())).collect(),
            Self::Json => serde_json::from_str(text).map_err(|error| format!("no JSON: {error}")),
        }
    }
}

pub(super) fn yes_or_no(line: &str) -> Result<bool, String> {
    match line.trim().to_ascii_lowercase().as_str() {
        "yes" | "y" | "true" => Ok(true),
        "no" | "n" | "false" | "!decline" => Ok(false),
        _ => Err("yes or no?".to_owned()),
    }
}

fn integer(text: &str) -> Option<Number> {
    text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok()
}

/// The values that `schema` lists, each perhaps with a title: `enum` with `enumNames`, or constants in `oneOf` and `anyOf`.
fn choices(schema: &Value) -> Option<Vec<Choice>> {
    if let Some(values) = schema["enum"].as_array() {
        let title = |index: usize| schema["enumNames"][index].as_str().map(str::to_owned);
        let choice = |(index, value): (usize, &Value)| Choice { value: value.clone(), title: title(index) };
        return Some(values.iter().enumerate().map(choice).collect());
    }
    let constants = schema["oneOf"].as_array().or(schema["anyOf"].as_array())?;
    let choice = |one: &Value| {
        Some(Choice { value: one.get("const")?.clone(), title: one["title"].as_str().map(str::to_owned) })
    };
    constants.iter().map(choice).collect()
}

/// The choice of this value, else of this number in the list.
fn choose(choices: &[Choice], text: &str) -> Result<Value, String> {
    let by_value = choices.iter().find(|choice| plain(&choice.value) == text);
    let by_number = || text.parse::<usize>().ok().and_then(|number| choices.get(number.checked_sub(1)?));
    match by_value.or_else(by_number) {
        Some(choice) => Ok(choice.value.clone()),
        None => Err(format!("{text} is none of them: a number from 1 to {} chooses", choices.len())),
    }
}

/// A value as it would be entered.
fn plain(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(schema: &Value, required: &[&str], line: &str) -> Result<Option<Value>, String> {
        let schema = json!({ "properties": { "x": schema }, "required": required });
        Field::all(&schema)[0].read(line)
    }

    #[test]
    fn a_line_is_read_as_the_type_says() {
        let check = |schema: Value, line: &str, expected: Value| {
            assert_eq!(read(&schema, &[], line), Ok(Some(expected)), "{schema}: {line}");
        };
        check(json!({ "type": "string" }), " 12 ", json!(" 12 "));
        check(json!({ "type": "integer" }), " -12", json!(-12));
        check(json!({ "type": "integer" }), "18446744073709551615", json!(u64::MAX));
        check(json!({ "type": ["null", "integer"] }), "3", json!(3));
        check(json!({ "type": "number" }), "2.5", json!(2.5));
        check(json!({ "type": "number" }), "2", json!(2));
        check(json!({ "type": "boolean" }), "Yes", json!(true));
        check(json!({ "type": "boolean" }), "n", json!(false));
        check(json!({ "type": "string", "enum": ["canary", "all"] }), "2", json!("all"));
        check(json!({ "type": "string", "enum": ["canary", "all"] }), "canary", json!("canary"));
        check(json!({ "enum": [3, 1] }), "1", json!(1));
        check(json!({ "oneOf": [{ "const": "#f00", "title": "Red" }, { "const": "#0f0" }] }), "1", json!("#f00"));
        let several = json!({ "type": "array", "items": { "type": "string", "enum": ["a", "b", "c"] } });
        check(several, "c, 1", json!(["c", "a"]));
        check(json!({ "type": "array", "items": { "type": "integer" } }), "[1, 2]", json!([1, 2]));
        check(json!({ "type": "object" }), r#"{"a": 1}"#, json!({ "a": 1 }));
    }

    #[test]
    fn a_line_that_does_not_fit_is_told_why() {
        let check = |schema: Value, line: &str, expected: &str| {
            let why = read(&schema, &[], line).unwrap_err();
            assert!(why.contains(expected), "{schema}: {line}: {why}");
        };
        check(json!({ "type": "integer" }), "1.5", "1.5 is no whole number");
        check(json!({ "type": "integer", "minimum": 3 }), "2", "less than the minimum of 3");
        check(json!({ "type": "number" }), "NaN", "NaN is no number");
        check(json!({ "type": "boolean" }), "maybe", "yes or no?");
        check(json!({ "enum": ["a", "b"] }), "3", "a number from 1 to 2 chooses");
        check(json!({ "enum": ["a", "b"] }), "0", "a number from 1 to 2 chooses");
        check(json!({ "type": "string", "maxLength": 2 }), "abc", "longer than 2 characters");
        check(json!({ "type": "object" }), "a", "no JSON");
    }

    #[test]
    fn an_empty_line_is_the_default_or_nothing() {
        let text = json!({ "type": "string" });
        assert_eq!(read(&json!({ "type": "integer", "default": 3 }), &["x"], ""), Ok(Some(json!(3))));
        assert_eq!(read(&text, &[], ""), Ok(None));
        assert_eq!(read(&text, &["x"], "  "), Err("`x` is needed".to_owned()));
    }

    #[test]
    fn a_field_says_what_can_be_entered() {
        let schema = json!({ "properties": {
            "stage": { "title": "How far", "enum": ["canary", "all"], "enumNames": ["One host", "All of them"] },
            "count": { "type": "integer", "default": 3 }, "why": { "type": "string" } }, "required": ["stage"] });
        let fields = Field::all(&schema);
        assert_eq!(fields[0].about(), ["How far", "  1  canary  One host", "  2  all  All of them"]);
        let prompts: Vec<_> = fields.iter().map(Field::prompt).collect();
        assert_eq!(prompts, ["stage", "count, a whole number [3]", "why (may be empty)"]);
    }
}
