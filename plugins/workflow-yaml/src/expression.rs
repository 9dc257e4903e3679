//! CEL over JSON: compiled once, evaluated against what a step may see.
//!
//! The engine is the crate `cel` with its extensions for texts, lists and numbers. Here are the limits, the way between its values
//! and those of templates and JSON (`value`), how deep an expression nests (`nesting`), and what it reads (`tree`).

mod nesting;
mod tree;
mod value;

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use cel::{Context, Env, ExecutionError, IdedExpr, Value as CelValue, extensions};
use serde_json::Value;

use crate::{
    problem::{Place, Problems},
    template::{MAX_OUTPUT_BYTES, Reads, TemplateValue},
};

/// Longest expression, in bytes.
const MAX_SOURCE_BYTES: usize = 16 * 1024;
/// Turns of all loops of one evaluation together, such as those of `map` and `filter`.
const MAX_TURNS: usize = 100_000;
/// What can be read, besides variables of its loops.
const VARIABLES: [&str; 7] = ["params", "steps", "config", "vars", "workflow", "forEach", "round"];

/// The functions; the same for all expressions.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    for extension in [extensions::strings, extensions::lists, extensions::math] {
        environment.add_extension(extension).expect("the extensions have no function in common");
    }
    Arc::new(environment)
});

/// A compiled expression.
pub(crate) struct Expression {
    /// The parts of the context that it reads, as far as they can be seen without evaluating it.
    pub(crate) reads: Reads,
    variables: Vec<&'static str>,
    tree: IdedExpr,
}

impl Expression {
    /// Compiles `source`. What is wrong with it becomes a problem; one that does not parse is none.
    pub(crate) fn compile(source: &str, place: Place, problems: &mut Problems) -> Option<Self> {
        if source.len() > MAX_SOURCE_BYTES {
            problems.add(&place, format!("longer than {} KB", MAX_SOURCE_BYTES / 1024));
            return None;
        }
        if !nesting::is_bearable(source) {
            problems.add(&place, "the expression is nested too deeply");
            return None;
        }
        let program = match ENVIRONMENT.compile(source) {
            Ok(program) => program,
            Err(errors) => {
                for error in errors.errors {
                    let (line, column) = error.pos;
                    let message = error.msg.trim_start_matches("Syntax error: ");
                    problems.add(&place, format!("the expression does not parse, at {line}:{column}: {message}"));
                }
                return None;
            }
        };
        let found = tree::analyse(program.expression());
        for name in found.unknown {
            problems.add(&place, format!("`{name}` is not defined"));
        }
        let mut tree = program.expression().clone();
        tree::count_turns(&mut tree);
        let variables = VARIABLES.into_iter().filter(|name| found.reads.iter().any(|path| path[0] == *name)).collect();
        Some(Self { reads: Reads { place, paths: found.reads }, variables, tree })
    }

    /// The value it has in `context`; the error says what went wrong.
    pub(crate) fn evaluate(&self, context: &TemplateValue) -> Result<Value, String> {
        let mut scope = Context::with_env(Arc::clone(&ENVIRONMENT));
        let turns = AtomicUsize::new(0);
        let count = move |list: CelValue| in_turns(list, &turns);
        scope.add_function(tree::COUNTED, count).map_err(|error| error.to_string())?;
        if let TemplateValue::Map(entries) = context {
            for name in &self.variables {
                if let Some(value) = entries.get(*name) {
                    scope.add_variable_from_value(*name, value::from_template(value)?);
                }
            }
        }
        let result = CelValue::resolve(&self.tree, &scope).map_err(|error| lower(&error.to_string()))?;
        let mut room = MAX_OUTPUT_BYTES;
        value::to_json(&result, &mut room)
    }
}

/// What a loop goes through: a list, or the keys of a map in their order. Refused when that is one turn too many.
fn in_turns(list: CelValue, turns: &AtomicUsize) -> Result<CelValue, ExecutionError> {
    let list = match list {
        CelValue::Map(map) => value::keys(&map),
        other => other,
    };
    if let CelValue::List(items) = &list
        && turns.fetch_add(items.len(), Ordering::Relaxed) + items.len() > MAX_TURNS
    {
        return Err(ExecutionError::function_error("loop", format!("more than {MAX_TURNS} turns")));
    }
    Ok(list)
}

/// The engine's message as part of a sentence.
fn lower(message: &str) -> String {
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
