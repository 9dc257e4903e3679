//! Functions of templates beside Go's own: `json`, `fromJson`, `quote`; and Go's comparisons and `printf`, which take an
//! integer for a float where they meet, because JSON does not tell them apart.

use std::{cmp::Ordering, fmt::Write, sync::Arc};

use gotmpl::{FuncMap, Result, TemplateError, Value, ValueFunc};

use super::{MAX_OUTPUT_BYTES, value};

/// Go's own functions, for the check that a template calls none that does not exist.
const GO: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

pub(super) fn exists(name: &str) -> bool {
    GO.contains(&name) || matches!(name, "json" | "fromJson" | "quote")
}

pub(super) fn all() -> FuncMap {
    let functions: [(&str, ValueFunc); 10] = [
        ("json", Arc::new(json)),
        ("fromJson", Arc::new(from_json)),
        ("quote", Arc::new(quote)),
        ("printf", Arc::new(printf)),
        ("eq", Arc::new(eq)),
        ("ne", Arc::new(|arguments| Ok(Value::Bool(!equal(pair("ne", arguments)?)?)))),
        ("lt", Arc::new(|arguments| Ok(Value::Bool(order(pair("lt", arguments)?)?.is_lt())))),
        ("le", Arc::new(|arguments| Ok(Value::Bool(order(pair("le", arguments)?)?.is_le())))),
        ("gt", Arc::new(|arguments| Ok(Value::Bool(order(pair("gt", arguments)?)?.is_gt())))),
        ("ge", Arc::new(|arguments| Ok(Value::Bool(order(pair("ge", arguments)?)?.is_ge())))),
    ];
    functions.into_iter().map(|(name, function)| (name.to_owned(), function)).collect()
}

/// JSON of the argument, keys in order.
fn json(arguments: &[Value]) -> Result<Value> {
    let value = value::to_json(single("json", arguments)?).map_err(|error| failed(format!("json: {error}")))?;
    within_limit(value.to_string())
}

/// The value that JSON text stands for.
fn from_json(arguments: &[Value]) -> Result<Value> {
    let Value::String(text) = single("fromJson", arguments)? else {
        return Err(failed(format!("fromJson: wants text, not {}", arguments[0].type_name())));
    };
    let value = serde_json::from_str(text).map_err(|error| failed(format!("fromJson: {error}")))?;
    Ok(value::from_json(&value))
}

/// The argument, printed, in Go's double quotes.
fn quote(arguments: &[Value]) -> Result<Value> {
    let text = single("quote", arguments)?.to_string();
    gos_printf(&[Value::String("%q".into()), Value::String(text.into())])
}

fn printf(arguments: &[Value]) -> Result<Value> {
    match arguments {
        [Value::String(format), values @ ..] => {
            let values = floats_where_wanted(format, values);
            gos_printf(&[&[arguments[0].clone()], values.as_slice()].concat())
        }
        _ => gos_printf(arguments),
    }
}

/// The engine's own `printf`, which can only be reached from a template.
fn gos_printf(arguments: &[Value]) -> Result<Value> {
    let mut source = "{{printf".to_owned();
    for index in 0..arguments.len() {
        write!(source, " (index . {index})").map_err(|_| TemplateError::Write)?;
    }
    source.push_str("}}");
    within_limit(gotmpl::execute(&source, &Value::List(arguments.into()))?)
}

/// The values of a `printf`, where integers are floats that a verb for floats prints.
#[expect(clippy::cast_precision_loss, reason = "who prints a float asks for it")]
fn floats_where_wanted(format: &str, values: &[Value]) -> Vec<Value> {
    let mut values = values.to_vec();
    let (mut next, mut rest) = (0, format);
    while let Some(start) = rest.find('%') {
        rest = &rest[start + 1..];
        let mut characters = rest.chars();
        while let Some(character) = characters.next() {
            match character {
                '*' => next += 1,
                '[' => {
                    let (index, after) = characters.as_str().split_once(']').unwrap_or(("", ""));
                    next = index.parse::<usize>().unwrap_or(1).saturating_sub(1);
                    characters = after.chars();
                }
                '0'..='9' | '+' | '-' | '#' | ' ' | '.' => {}
                '%' => break,
                verb => {
                    if let (Some(value), true) = (values.get_mut(next), "eEfFgG".contains(verb)) {
                        match value {
                            Value::Int(integer) => *value = Value::Float(*integer as f64),
                            Value::Uint(integer) => *value = Value::Float(*integer as f64),
                            _ => {}
                        }
                    }
                    next += 1;
                    break;
                }
            }
        }
        rest = characters.as_str();
    }
    values
}

/// Whether the first argument is one of the others.
fn eq(arguments: &[Value]) -> Result<Value> {
    let [first, others @ ..] = arguments else { return Err(failed("eq: missing argument for comparison")) };
    if others.is_empty() {
        return Err(failed("eq: missing argument for comparison"));
    }
    for other in others {
        if equal((first, other))? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn equal((left, right): (&Value, &Value)) -> Result<bool> {
    match (left, right) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::List(_) | Value::Map(_) | Value::Function(_), _) => {
            Err(failed(format!("non-comparable type {}", left.type_name())))
        }
        _ => order((left, right)).map(Ordering::is_eq),
    }
}

/// How two texts or two numbers of any kind stand to each other.
#[expect(clippy::cast_precision_loss, reason = "only where a float is on one side")]
fn order((left, right): (&Value, &Value)) -> Result<Ordering> {
    let float = |value: &Value| match value {
        Value::Int(integer) => Some(*integer as f64),
        Value::Uint(integer) => Some(*integer as f64),
        Value::Float(float) => Some(*float),
        _ => None,
    };
    let integer = |value: &Value| match value {
        Value::Int(integer) => Some(i128::from(*integer)),
        Value::Uint(integer) => Some(i128::from(*integer)),
        _ => None,
    };
    if let (Value::String(left), Value::String(right)) = (left, right) {
        return Ok(left.cmp(right));
    }
    if let (Some(left), Some(right)) = (integer(left), integer(right)) {
        return Ok(left.cmp(&right));
    }
    let incompatible =
        || failed(format!("incompatible types for comparison: {} and {}", left.type_name(), right.type_name()));
    let (left, right) = float(left).zip(float(right)).ok_or_else(incompatible)?;
    left.partial_cmp(&right).ok_or_else(|| failed("comparison with NaN"))
}

fn single<'v>(name: &str, arguments: &'v [Value]) -> Result<&'v Value> {
    match arguments {
        [only] => Ok(only),
        _ => Err(failed(format!("wrong number of args for {name}: want 1 got {}", arguments.len()))),
    }
}

fn pair<'v>(name: &str, arguments: &'v [Value]) -> Result<(&'v Value, &'v Value)> {
    match arguments {
        [left, right] => Ok((left, right)),
        _ => Err(failed(format!("wrong number of args for {name}: want 2 got {}", arguments.len()))),
    }
}

fn within_limit(text: String) -> Result<Value> {
    if text.len() > MAX_OUTPUT_BYTES {
        return Err(failed(format!("a text of more than {} MB", MAX_OUTPUT_BYTES / 1024 / 1024)));
    }
    Ok(Value::String(text.into()))
}

fn failed(message: impl Into<String>) -> TemplateError {
    TemplateError::Exec(message.into())
}
