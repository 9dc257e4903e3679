//! One call of a tool: what a step does, or what undoes it.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Failure, content};
use crate::{
    argument::Arguments,
    problem::{Place, Problems},
    run::Run,
    template::TemplateValue,
    typing::coerce,
    world::World,
};

pub(crate) struct Call {
    pub(crate) tool: String,
    /// What errors call it, e.g. "tool `github.create_issue`".
    what: String,
    pub(crate) arguments: Arguments,
}

impl Call {
    /// - `place`: of the arguments
    pub(super) fn compile(
        (tool, what): (String, String),
        arguments: Option<&Map<String, Value>>,
        place: &Place,
        problems: &mut Problems,
    ) -> Self {
        let none = Map::new();
        Self { tool, what, arguments: Arguments::compile(arguments.unwrap_or(&none), place, problems) }
    }

    /// The arguments, of the types that the tool's schema asks for.
    pub(crate) fn arguments<W: World>(
        &self,
        run: &Run<'_, W>,
        context: &TemplateValue,
    ) -> Result<Map<String, Value>, Failure> {
        let arguments = self.arguments.expand(context).map_err(Failure::lasting)?;
        // Only texts are given types.
        let schema = if self.arguments.have_texts() { run.schema(&self.tool) } else { None };
        let Some(schema) = schema else { return Ok(arguments) };
        match coerce(Value::Object(arguments), &schema) {
            Value::Object(typed) => Ok(typed),
            _ => Err(Failure::lasting(format!("{}: its schema does not ask for an object", self.what))),
        }
    }

    /// Makes the call once; a result that is an error is a failure.
    pub(crate) async fn once<W: World>(
        &self,
        run: &Run<'_, W>,
        arguments: &Map<String, Value>,
        timeout: Option<Duration>,
    ) -> Result<Value, Failure> {
        match run.world.call(&self.tool, arguments, timeout).await {
            Ok(result) if content::is_error(&result) => {
                Err(Failure::passing(format!("{}: {}", self.what, content::error_text(&result))))
            }
            Ok(result) => Ok(result),
            Err(error) if error.is_passing() => Err(Failure::passing(format!("{}: {error}", self.what))),
            Err(error) => Err(Failure::lasting(format!("{}: {error}", self.what))),
        }
    }
}

/// A tool as errors call it. Its name is a letter or digit, then those, `.`, `_` and `-`.
pub(super) fn tool(name: &str, place: &Place, problems: &mut Problems) -> (String, String) {
    if !is_name(name) {
        problems.add(place, format!("`{name}` is no name of a tool, like `github.create_issue`"));
    }
    (name.to_owned(), format!("tool `{name}`"))
}

/// A composite tool of the configuration, by the name that no tool of a backend can have.
pub(super) fn workflow(name: &str, place: &Place, problems: &mut Problems) -> (String, String) {
    if !is_name(name) {
        problems.add(place, format!("`{name}` is no name of a composite tool"));
    }
    (format!("vmcp/composite.{name}"), format!("workflow `{name}`"))
}

fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(legal)
}
