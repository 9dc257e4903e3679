//! The arguments of one call against the schema of its tool.
//!
//! The validator looks at all of them, texts with templates included; what it says then counts only where no template, whatever
//! it yields, could change it.

use jsonschema::{ValidationError, error::ValidationErrorKind, paths::LocationSegment};
use serde_json::{Map, Value};

use super::{Takes, fields::Fields, template, typing};
use crate::{
    key_path::{KeyPath, Step},
    problem::{Rule, did_you_mean},
};

/// Longest value that a message shows, in characters.
const MAX_SHOWN: usize = 200;

/// Something about an argument.
pub(super) struct Finding {
    /// From the object of the arguments down.
    pub(super) path: KeyPath,
    pub(super) at: At,
    pub(super) rule: Rule,
    /// Begins after the name of the tool.
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Whether the call fails whenever it is made.
    pub(super) is_certain: bool,
}

/// Which of an argument a finding is about.
pub(super) enum At {
    Key,
    Value,
}

/// What is wrong with `arguments`.
///
/// # Errors
/// Why the schema says nothing.
pub(super) fn check(arguments: Option<&Map<String, Value>>, takes: &Takes) -> Result<Vec<Finding>, String> {
    let mut arguments = arguments.cloned().unwrap_or_default();
    arguments.retain(|name, _| !takes.settled.contains(name));
    // What a format means, servers do not agree on.
    let validator = jsonschema::options().should_validate_formats(false).build(&takes.schema);
    let validator = validator.map_err(|error| shortened(&error.to_string()))?;
    let arguments = Value::Object(arguments);
    let holes = template::holes(&arguments);
    let fields = Fields { root: &takes.schema };
    let mut findings = fields.unknown(&arguments);
    let (typed, impossible) = typing::typed(arguments, &takes.schema);
    findings.extend(impossible);
    for error in validator.iter_errors(&typed) {
        let path: KeyPath = error.instance_path().segments().map(step).collect();
        if is_certain(&error, &path, &holes) {
            tell(&error, &path, &fields, &mut findings);
        }
    }
    Ok(findings)
}

fn step(segment: LocationSegment<'_>) -> Step {
    match segment {
        LocationSegment::Property(key) => Step::Key(key.into_owned()),
        LocationSegment::Index(index) => Step::Index(index),
    }
}

/// Whether the error stays whatever the templates yield.
///
/// - `path`: of what the error is about
/// - `holes`: where the templates are
fn is_certain(error: &ValidationError<'_>, path: &KeyPath, holes: &[KeyPath]) -> bool {
    use ValidationErrorKind as Kind;
    // Of choices of which more than one holds, it is the schema that is wrong more often than the value.
    let is_about_the_schema = matches!(
        error.kind(),
        Kind::BacktrackLimitExceeded { .. }
            | Kind::RegexEngineFailure { .. }
            | Kind::Referencing(_)
            | Kind::OneOfMultipleValid { .. }
    );
    if is_about_the_schema {
        return false;
    }
    if holes.is_empty() {
        return true;
    }
    // Which of both is asked for depends on other arguments.
    let is_conditional = error.schema_path().as_str().split('/').any(|part| part == "then" || part == "else");
    if is_conditional || holes.iter().any(|hole| path.is_within(hole)) {
        return false;
    }
    let is_about_names_or_counts = matches!(
        error.kind(),
        Kind::Required { .. }
            | Kind::AdditionalProperties { .. }
            | Kind::AdditionalItems { .. }
            | Kind::PropertyNames { .. }
            | Kind::Type { .. }
            | Kind::FalseSchema
            | Kind::MinItems { .. }
            | Kind::MaxItems { .. }
            | Kind::MinProperties { .. }
            | Kind::MaxProperties { .. }
    );
    is_about_names_or_counts || !holes.iter().any(|hole| hole.is_within(path))
}

fn tell(error: &ValidationError<'_>, path: &KeyPath, fields: &Fields<'_>, findings: &mut Vec<Finding>) {
    use ValidationErrorKind as Kind;
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = fields.names(path);
            findings.extend(unexpected.iter().map(|name| Finding {
                path: path.key(name),
                at: At::Key,
                rule: Rule::UnknownArgument,
                message: format!("takes no `{name}`"),
                hint: did_you_mean(name, known.iter().copied()),
                is_certain: true,
            }));
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            findings.push(Finding {
                path: path.key(name),
                at: At::Value,
                rule: Rule::MissingArgument,
                message: format!("needs `{name}`"),
                hint: None,
                is_certain: true,
            });
        }
        _ => findings.push(Finding {
            path: path.clone(),
            at: At::Value,
            rule: Rule::BadArgument,
            message: format!("does not take it: {}", reason(error)),
            hint: None,
            is_certain: true,
        }),
    }
}

/// The validator's words; of choices that all fail, what each of them says.
fn reason(error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Kind;
    let (Kind::AnyOf { context } | Kind::OneOfNotValid { context }) = error.kind() else {
        return shortened(&error.to_string());
    };
    let mut reasons: Vec<_> = context.iter().flatten().map(|error| shortened(&error.to_string())).collect();
    reasons.dedup();
    reasons.join(", and ")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
