//! Compares the file with the schema and says in words what does not fit.

use std::{borrow::Cow, sync::LazyLock};

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind, paths::LocationSegment};
use serde_json::Value;
use vmcp_core::id::BackendId;

use crate::{
    key_path::{KeyPath, Step},
    problem::{Report, Rule, did_you_mean},
    schema,
    value::{duration::GoDuration, ratio::Ratio, size::ByteSize},
};

/// A check that `format` names: what is wrong with the text, if anything.
type Format = fn(&str) -> Result<(), String>;

/// The formats of ours. An empty explanation lets the place's `x-expect` speak alone.
const FORMATS: [(&str, Format); 9] = [
    ("go-duration", |text| GoDuration::parse(text).map(drop)),
    ("byte-size", |text| ByteSize::parse(text).map(drop)),
    ("ratio", |text| Ratio::parse(text).map(drop)),
    ("backend-name", |text| BackendId::new(text).map(drop).map_err(|error| error.to_string())),
    ("http-url", http_url),
    ("header-name", header_name),
    ("header-value", header_value),
    ("sha256", sha256),
    ("tool-reference", tool_reference),
];

/// Reports everything in which `instance` is not what the schema says; returns the places, for `repair`.
pub(crate) fn check(instance: &Value, report: &mut Report<'_>) -> Vec<KeyPath> {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(validator);
    let mut places = Vec::new();
    for error in VALIDATOR.iter_errors(instance) {
        tell(&error, report, &mut places);
    }
    places
}

fn validator() -> Validator {
    let mut options = jsonschema::draft202012::options().should_validate_formats(true);
    for (name, format) in FORMATS {
        options = options.with_format(name, move |text: &str| format(text).is_ok());
    }
    options.build(schema::schema()).expect("the generated schema is a schema")
}

fn tell(error: &ValidationError<'_>, report: &mut Report<'_>, places: &mut Vec<KeyPath>) {
    let path: KeyPath = error.instance_path().segments().map(step).collect();
    let value: &Value = error.instance();
    let keyword_place = error.schema_path().as_str();
    let place = keyword_place.rsplit_once('/').and_then(|(place, _)| schema::schema().pointer(place));
    let place = place.unwrap_or(&Value::Null);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = || place.get("properties").and_then(Value::as_object).into_iter().flat_map(|p| p.keys());
            for key in unexpected {
                let hint = did_you_mean(key, known().map(String::as_str));
                let path = path.key(key);
                report.error_at_key(Rule::UnknownKey, &path, "unknown key", hint);
                places.push(path);
            }
            return;
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            let path = path.key(key);
            report.error(Rule::MissingKey, &path, format!("`{key}` is missing"));
            places.push(path);
            return;
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            if schema::words(place).is_empty()
                && let Some(branch) = nearest_branch(context, &path)
            {
                for error in branch {
                    tell(error, report, places);
                }
                return;
            }
            words_or_type(place, value, &path, report);
        }
        ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => {
            words_or_type(place, value, &path, report);
        }
        ValidationErrorKind::Type { .. } => wrong_type(place, value, &path, report),
        // The pattern is for editors; the format next to it says the same and more.
        ValidationErrorKind::Pattern { .. } => return,
        ValidationErrorKind::Format { format } => bad_format(format, place, value, &path, report),
        ValidationErrorKind::MinLength { .. } => report.error(Rule::EmptyValue, &path, "must not be empty"),
        ValidationErrorKind::Minimum { limit } => out_of_range(&path, &format!("at least {limit}"), value, report),
        ValidationErrorKind::Maximum { limit } => out_of_range(&path, &format!("at most {limit}"), value, report),
        ValidationErrorKind::MaxItems { limit } => {
            report.error(Rule::OutOfRange, &path, format!("at most {limit} entries are allowed"));
        }
        ValidationErrorKind::MaxProperties { limit } => {
            report.error(Rule::OutOfRange, &path, format!("at most {limit} keys are allowed"));
        }
        ValidationErrorKind::MinProperties { .. } => {
            report.error(Rule::WrongType, &path, format!("expected {}", expectation(place)));
        }
        _ => report.error(Rule::WrongType, &path, error.masked().to_string()),
    }
    places.push(path);
}

fn step(segment: LocationSegment<'_>) -> Step {
    match segment {
        LocationSegment::Property(key) => Step::Key(key.into_owned()),
        LocationSegment::Index(index) => Step::Index(index),
    }
}

/// Of the branches that all failed, the one whose type fits: its complaints are the useful ones.
fn nearest_branch<'c>(
    context: &'c [Vec<ValidationError<'static>>],
    path: &KeyPath,
) -> Option<&'c Vec<ValidationError<'static>>> {
    let fits = |errors: &&Vec<ValidationError<'_>>| {
        !errors.iter().any(|error| {
            let here = error.instance_path().segments().count() == path.steps().len();
            here && matches!(error.kind(), ValidationErrorKind::Type { .. })
        })
    };
    context.iter().find(fits)
}

fn words_or_type(place: &Value, value: &Value, path: &KeyPath, report: &mut Report<'_>) {
    let words = schema::words(place);
    let Some(given) = value.as_str().filter(|_| !words.is_empty()) else {
        return wrong_type(place, value, path, report);
    };
    let allowed: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    let message = format!("`{given}` is not one of {}", allowed.join(", "));
    match did_you_mean(given, words) {
        Some(hint) => report.error_with_hint(Rule::BadValue, path, message, hint),
        None => report.error(Rule::BadValue, path, message),
    }
}

fn wrong_type(place: &Value, value: &Value, path: &KeyPath, report: &mut Report<'_>) {
    let message = format!("expected {}, found {}", expectation(place), kind_of(value));
    match value {
        Value::String(text) if schema::has_type(place, "integer") && text.parse::<i64>().is_ok() => {
            report.error_with_hint(Rule::WrongType, path, message, "leave out the quotes");
        }
        _ => report.error(Rule::WrongType, path, message),
    }
}

fn bad_format(format: &str, place: &Value, value: &Value, path: &KeyPath, report: &mut Report<'_>) {
    let text = value.as_str().unwrap_or_default();
    let check = FORMATS.iter().find(|(name, _)| *name == format).map(|(_, check)| check);
    let reason = check.and_then(|check| check(text).err()).unwrap_or_default();
    let shown = if format == "header-value" { String::new() } else { format!(", found `{text}`") };
    report.error_with_hint(Rule::BadFormat, path, format!("expected {}{shown}", expectation(place)), reason);
}

fn out_of_range(path: &KeyPath, bound: &str, value: &Value, report: &mut Report<'_>) {
    report.error(Rule::OutOfRange, path, format!("must be {bound}, not {value}"));
}

/// What a place takes, in words.
fn expectation(place: &Value) -> Cow<'_, str> {
    let place = schema::resolve(place);
    if let Some(words) = place.get("x-expect").and_then(Value::as_str) {
        return words.into();
    }
    let words = schema::words(place);
    if !words.is_empty() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ").into();
    }
    let names = [
        ("object", "a mapping"),
        ("array", "a list"),
        ("boolean", "true or false"),
        ("integer", "a whole number"),
        ("number", "a number"),
        ("string", "text"),
    ];
    names.iter().find(|(name, _)| schema::has_type(place, name)).map_or("something else", |(_, words)| words).into()
}

fn kind_of(value: &Value) -> Cow<'static, str> {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(value) => format!("`{value}`").into(),
        Value::Number(value) => format!("`{value}`").into(),
        Value::String(value) if value.chars().count() <= 40 => format!("`{value}`").into(),
        Value::String(_) => "text".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
    }
}

fn http_url(text: &str) -> Result<(), String> {
    let url = url::Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(()),
        scheme => Err(format!("`{scheme}` is neither http nor https")),
    }
}

fn header_name(text: &str) -> Result<(), String> {
    match http::HeaderName::try_from(text) {
        Ok(_) => Ok(()),
        Err(_) => Err("a header name has letters, digits and `-`, no spaces".into()),
    }
}

fn header_value(text: &str) -> Result<(), String> {
    match http::HeaderValue::from_str(text) {
        Ok(_) if !text.is_empty() => Ok(()),
        Ok(_) => Err("it is empty".into()),
        Err(_) => Err("a header value has no line breaks or other control characters".into()),
    }
}

fn sha256(text: &str) -> Result<(), String> {
    match text.len() {
        64 if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(()),
        64 => Err("it has other characters than 0-9 and a-f".into()),
        length => Err(format!("it has {length} characters; `sha256sum FILE` prints what is needed")),
    }
}

fn tool_reference(text: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(legal) {
        Ok(())
    } else {
        Err("it begins with a letter or digit and has only letters, digits, `.`, `_` and `-`".into())
    }
}
