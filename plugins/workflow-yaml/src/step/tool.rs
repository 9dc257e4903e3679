//! Steps of type `tool`: one call. Those of type `workflow` are the same with a composite tool.

use std::rc::Rc;

use serde_json::Value;

use super::{
    Failure, Outcome, Status, Step,
    call::{self, Call},
    content,
};
use crate::{
    document::{self, RawStep, RawUndo},
    problem::{Place, Problems},
    run::Run,
    template::TemplateValue,
    world::World,
};

pub(crate) struct ToolStep {
    pub(super) call: Call,
    /// The composite tool that it calls, of type `workflow`.
    pub(super) workflow: Option<String>,
    /// The call that takes back what this one did.
    pub(super) undo: Option<Rc<Call>>,
}

impl ToolStep {
    pub(super) fn compile(raw: &RawStep, place: &Place, problems: &mut Problems) -> Option<Self> {
        let Some(name) = raw.tool.as_deref().filter(|name| !name.is_empty()) else {
            problems.add(&place.key("tool"), "a step of type `tool` needs `tool`");
            return None;
        };
        let tool = call::tool(name, &place.key("tool"), problems);
        Some(Self::calling(tool, None, raw, place, problems))
    }

    pub(super) fn of_workflow(raw: &RawStep, place: &Place, problems: &mut Problems) -> Option<Self> {
        let Some(name) = raw.workflow.as_deref().filter(|name| !name.is_empty()) else {
            problems.add(&place.key("workflow"), "a step of type `workflow` needs `workflow`");
            return None;
        };
        let tool = call::workflow(name, &place.key("workflow"), problems);
        Some(Self::calling(tool, Some(name.to_owned()), raw, place, problems))
    }

    fn calling(
        tool: (String, String),
        workflow: Option<String>,
        raw: &RawStep,
        place: &Place,
        problems: &mut Problems,
    ) -> Self {
        let call = Call::compile(tool, raw.arguments.as_ref(), &place.key("arguments"), problems);
        let undo = raw.undo.as_ref().and_then(|raw| undo(raw, &place.key("undo"), problems));
        Self { call, workflow, undo: undo.map(Rc::new) }
    }

    /// Arguments are made once, so that every try is the same call.
    pub(super) async fn run<W: World>(
        &self,
        step: &Step,
        run: &Run<'_, W>,
        context: &TemplateValue,
    ) -> Result<Outcome, Failure> {
        let arguments = self.call.arguments(run, context)?;
        let attempt = async || self.call.once(run, &arguments, step.own_timeout).await;
        let mut result = step.on_error.attempt(&step.id, run, attempt).await?;
        let output = content::output(&result);
        let outcome = Outcome::new(Status::Completed, output, result.get_mut("content").map(Value::take), None);
        if let Some(undo) = &self.undo {
            run.can_undo(step, undo, context, &outcome);
        }
        Ok(outcome)
    }
}

fn undo(raw: &Value, place: &Place, problems: &mut Problems) -> Option<Call> {
    let RawUndo { tool, arguments } = document::read(raw, place, problems)?;
    let tool = call::tool(&tool, &place.key("tool"), problems);
    Some(Call::compile(tool, arguments.as_ref(), &place.key("arguments"), problems))
}
