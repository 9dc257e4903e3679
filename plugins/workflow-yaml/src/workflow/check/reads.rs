//! What templates and expressions read of other steps: whether those exist, are done by then, and yield what is read.

use std::{
    collections::{HashMap, HashSet},
    iter, ptr,
};

use crate::{
    problem::Problems,
    step::{Kind, Step},
    steps::Steps,
    template::Reads,
};

/// What can be read.
#[derive(Clone, Default)]
pub(super) struct Scope<'w> {
    /// Steps that are done by then.
    pub(super) steps: HashSet<&'w str>,
    /// In a loop with a condition, its steps.
    pub(super) round: Option<&'w Steps>,
}

/// Where a step stands.
#[derive(Clone, Copy)]
struct Standing<'w> {
    step: &'w Step,
    list: &'w Steps,
    /// The step that the list is inside of.
    around: Option<&'w Step>,
}

/// Every step by its id.
pub(super) struct Known<'w>(HashMap<&'w str, Standing<'w>>);

impl<'w> Known<'w> {
    pub(super) fn of(outermost: &'w Steps) -> Self {
        let mut known = HashMap::new();
        let mut open: Vec<(&Steps, Option<&Step>)> = vec![(outermost, None)];
        while let Some((list, around)) = open.pop() {
            for step in &list.list {
                known.insert(step.id.as_str(), Standing { step, list, around });
                open.extend(step.lists().into_iter().map(|list| (list, Some(step))));
            }
        }
        Self(known)
    }

    /// Checks what the steps of a list read and of the lists inside it.
    ///
    /// - `scope`: what the step around it can read
    pub(super) fn list(&self, steps: &'w Steps, scope: &Scope<'w>, problems: &mut Problems) {
        for (index, step) in steps.list.iter().enumerate() {
            let mut own = scope.clone();
            let before = steps.list.iter().enumerate().filter(|(other, _)| steps.ancestors[index].contains(*other));
            own.steps.extend(before.map(|(_, step)| step.id.as_str()));
            let mut inside = own.clone();
            if let Kind::While(step) = &step.kind {
                inside.round = Some(&step.steps);
            }
            for reads in step.reads() {
                let is_of_round = reads.place == step.place.key("while");
                self.check(reads, Some(step), if is_of_round { &inside } else { &own }, problems);
            }
            own.steps.insert(step.undone_id());
            for reads in step.undo_reads() {
                self.check(reads, Some(step), &own, problems);
            }
            for list in step.lists() {
                self.list(list, &inside, problems);
            }
        }
    }

    /// Checks which steps are read; `reader` is none for the output of the workflow.
    pub(super) fn check(&self, reads: &Reads, reader: Option<&Step>, scope: &Scope<'w>, problems: &mut Problems) {
        let mut seen = HashSet::new();
        let mut tell = |message: String| {
            if seen.insert(message.clone()) {
                problems.add(&reads.place, message);
            }
        };
        for path in &reads.paths {
            match (path.first().map_or("", String::as_str), path.get(1), path.get(2)) {
                ("steps", Some(id), _) if !scope.steps.contains(id.as_str()) => tell(self.unreadable(id, reader)),
                ("round", ..) if scope.round.is_none() => {
                    tell("`.round` is there only inside a step of type `while`".to_owned());
                }
                ("round", Some(previous), Some(id))
                    if previous == "previous"
                        && !scope.round.is_some_and(|round| round.list.iter().any(|step| step.id == *id)) =>
                {
                    tell(format!("no step of the loop is called `{id}`"));
                }
                _ => {}
            }
        }
    }

    /// Why `reader` cannot read the step `id`.
    fn unreadable(&self, id: &str, reader: Option<&Step>) -> String {
        let Some(read) = self.0.get(id) else { return format!("no step is called `{id}`") };
        let inside = || read.around.map_or("", |around| &around.id);
        let Some(reader) = reader else {
            return format!("step `{id}` is inside step `{}`: read `.steps.{}.output.steps.{id}`", inside(), inside());
        };
        if reader.id == id {
            return format!("step `{id}` cannot read its own result");
        }
        let who = format!("step `{}` reads step `{id}`", reader.id);
        for place in self.outwards(reader) {
            if place.step.id == id {
                return format!("{who}, which it is inside of");
            }
            if ptr::eq(place.list, read.list) {
                let of = if place.step.id == reader.id { String::new() } else { format!(" of `{}`", place.step.id) };
                return format!("{who}, which need not be done before: add it to `dependsOn`{of}");
            }
            if place.around.is_some_and(|around| around.id == inside()) {
                return format!("{who}, which is in another case of step `{}`", inside());
            }
        }
        format!("{who}, which is inside step `{}`: read `.steps.{}.output.steps.{id}`", inside(), inside())
    }

    /// The step, the one that it is inside of, and so on.
    fn outwards(&self, step: &Step) -> impl Iterator<Item = Standing<'w>> {
        let place = |step: &Step| self.0.get(step.id.as_str()).copied();
        iter::successors(place(step), move |standing| place(standing.around?))
    }

    /// Whether the steps yield what is read of their outputs. One that may be skipped, or whose failure is passed over, needs a
    /// default for that.
    ///
    /// - `reads`: each with the step that has completed by then, if one has
    pub(super) fn outputs<'t>(
        &self,
        reads: impl Iterator<Item = (&'t Reads, Option<&'t str>)>,
        problems: &mut Problems,
    ) {
        let mut reported = HashSet::new();
        for (reads, completed) in reads {
            for path in &reads.paths {
                let [root, id, output, field, rest @ ..] = path.as_slice() else { continue };
                let found = self.0.get(id.as_str()).filter(|_| root == "steps" && output == "output");
                let Some(Standing { step, .. }) = found else { continue };
                let has_default = step.default_results.as_ref().is_some_and(|defaults| defaults.contains_key(field));
                let is_optional = step.is_optional() && completed != Some(id);
                if is_optional && !has_default && reported.insert((id, field)) {
                    let message =
                        format!("step `{id}` may yield nothing, and `{field}` of its output is read elsewhere");
                    problems.add(&step.place.key("defaultResults").key(field), message);
                }
                let Some(keys) = step.output_keys().filter(|_| !has_default) else { continue };
                if !keys.contains(&field.as_str()) {
                    let message = format!("the output of step `{id}` has `{}`, and no `{field}`", keys.join("`, `"));
                    problems.add(&reads.place, message);
                }
                let inner = rest.first().filter(|_| field == "steps");
                let mut lists = step.lists().into_iter().flat_map(|steps| &steps.list);
                if let Some(inner) = inner.filter(|inner| !lists.any(|step| step.id == **inner)) {
                    problems.add(&reads.place, format!("no step inside step `{id}` is called `{inner}`"));
                }
            }
        }
    }
}
