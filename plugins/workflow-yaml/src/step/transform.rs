//! Steps of type `transform`: the value of an expression.

use serde_json::{Map, Value};

use super::{Failure, Outcome};
use crate::{
    document::RawStep,
    expression::Expression,
    problem::{Place, Problems},
    template::TemplateValue,
};

pub(crate) struct TransformStep {
    pub(super) expression: Expression,
}

impl TransformStep {
    pub(super) fn compile(raw: &RawStep, place: &Place, problems: &mut Problems) -> Option<Self> {
        let place = place.key("expression");
        let Some(source) = &raw.expression else {
            problems.add(&place, "a step of type `transform` needs `expression`");
            return None;
        };
        Some(Self { expression: Expression::compile(source, place, problems)? })
    }

    /// An object is the output; any other value is `output` in it.
    pub(super) fn run(&self, context: &TemplateValue) -> Result<Outcome, Failure> {
        let value = self.expression.evaluate(context);
        let output = match value.map_err(|error| Failure::lasting(format!("expression: {error}")))? {
            Value::Object(output) => output,
            other => Map::from_iter([("output".to_owned(), other)]),
        };
        Ok(Outcome::completed(output))
    }
}
