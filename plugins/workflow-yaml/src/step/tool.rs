//! Steps of type `tool`: one call.

use serde_json::{Map, Value};

use super::{Failure, Outcome, Status, Step, content};
use crate::{
    argument::Arguments,
    document::RawStep,
    problem::{Place, Problems},
    run::Run,
    template::TemplateValue,
    typing::coerce,
    world::World,
};

pub(crate) struct ToolStep {
    pub(super) tool: String,
    pub(super) arguments: Arguments,
}

impl ToolStep {
    pub(super) fn compile(raw: &RawStep, place: &Place, problems: &mut Problems) -> Option<Self> {
        let none = Map::new();
        let arguments = raw.arguments.as_ref().unwrap_or(&none);
        let arguments = Arguments::compile(arguments, &place.key("arguments"), problems);
        match raw.tool.as_deref() {
            None | Some("") => {
                problems.add(&place.key("tool"), "a step of type `tool` needs `tool`");
                None
            }
            Some(tool) => {
                check_name(tool, &place.key("tool"), problems);
                Some(Self { tool: tool.to_owned(), arguments })
            }
        }
    }

    /// Arguments are made once, so that every try is the same call.
    pub(super) async fn run<W: World>(
        &self,
        step: &Step,
        run: &Run<'_, W>,
        context: &TemplateValue,
    ) -> Result<Outcome, Failure> {
        let mut arguments = self.arguments.expand(context).map_err(Failure::lasting)?;
        if let Some(schema) = run.schema(&self.tool)
            && let Value::Object(typed) = coerce(Value::Object(arguments.clone()), &schema)
        {
            arguments = typed;
        }
        let call = async || match run.world.call(&self.tool, arguments.clone(), step.own_timeout).await {
            Ok(result) if content::is_error(&result) => {
                Err(Failure::passing(format!("tool `{}`: {}", self.tool, content::error_text(&result))))
            }
            Ok(result) => Ok(result),
            Err(error) if error.is_passing() => Err(Failure::passing(format!("tool `{}`: {error}", self.tool))),
            Err(error) => Err(Failure::lasting(format!("tool `{}`: {error}", self.tool))),
        };
        let result = step.on_error.attempt(&step.id, run.world, call).await?;
        Ok(Outcome::new(Status::Completed, content::output(&result), result.get("content"), None))
    }
}

/// A letter or digit, then those, `.`, `_` and `-`.
fn check_name(tool: &str, place: &Place, problems: &mut Problems) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !tool.starts_with(|c: char| c.is_ascii_alphanumeric()) || !tool.chars().all(legal) {
        problems.add(place, format!("`{tool}` is no name of a tool, like `github.create_issue`"));
    }
}
