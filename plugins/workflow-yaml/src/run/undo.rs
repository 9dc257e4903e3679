//! What a run that fails takes back.

use std::{rc::Rc, time::Duration};

use super::{Run, RunError};
use crate::{
    duration,
    step::{Call, Failure, Outcome, Step},
    template::TemplateValue,
    world::{Level, World},
};

/// The call that takes back what a step did.
pub(super) struct Undo {
    id: String,
    call: Rc<Call>,
    /// What the step saw, and itself at its end.
    context: TemplateValue,
    timeout: Duration,
}

impl<W: World> Run<'_, W> {
    /// Notes that `step` has completed, in case the run fails later.
    pub(crate) fn can_undo(&self, step: &Step, call: &Rc<Call>, context: &TemplateValue, outcome: &Outcome) {
        let context = self.facts.with_steps(context, [(step, outcome)].into_iter(), "failed", || self.time.now());
        let undo = Undo { id: step.id.clone(), call: Rc::clone(call), context, timeout: step.timeout };
        self.undo.borrow_mut().push(undo);
    }

    /// Undoes the steps that completed, the last first and one at a time. One that cannot be undone does not keep the others.
    pub(super) async fn undo(&self, cause: RunError) -> RunError {
        let (mut undone, mut left) = (Vec::new(), Vec::new());
        let steps = self.undo.take();
        for Undo { id, call, context, timeout } in steps.into_iter().rev() {
            let attempt = async { call.once(self, &call.arguments(self, &context)?, Some(timeout)).await };
            let late = || Err(Failure::lasting(format!("timed out after {}", duration::print(timeout))));
            match self.time.within(timeout, attempt).await.unwrap_or_else(late) {
                Ok(_) => {
                    self.world.log(Level::Debug, &format!("step `{id}` undone"));
                    undone.push(id);
                }
                Err(Failure { message, .. }) => {
                    self.world.log(Level::Warn, &format!("step `{id}` could not be undone: {message}"));
                    left.push((id, message));
                }
            }
        }
        if undone.is_empty() && left.is_empty() {
            cause
        } else {
            RunError::Undone { cause: Box::new(cause), undone, left }
        }
    }
}
