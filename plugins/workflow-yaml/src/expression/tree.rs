//! What the syntax tree of an expression tells before it is evaluated.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
};

use super::VARIABLES;
use crate::template::Path;

/// The function that every loop asks for what it goes through. No expression can name it.
pub(super) const COUNTED: &str = "@counted";
/// Names that stand for types.
const TYPES: [&str; 12] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "optional_type", "string", "type", "uint", "dyn"];
/// Prefixes of functions.
const NAMESPACES: [&str; 4] = ["lists", "math", "optional", "strings"];

#[derive(Default)]
pub(super) struct Found<'e> {
    /// Keys from the root of the context: `[steps, a, output]` for `steps.a.output`.
    pub(super) reads: Vec<Path>,
    pub(super) unknown: Vec<&'e str>,
    /// Of the loops that are open.
    variables: Vec<&'e str>,
}

pub(super) fn analyse(tree: &IdedExpr) -> Found<'_> {
    let mut found = Found::default();
    found.visit(tree);
    found
}

impl<'e> Found<'e> {
    /// Looks through `tree` and gives the path that it stands for.
    fn visit(&mut self, tree: &'e IdedExpr) -> Option<Path> {
        let path = match &tree.expr {
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => extended(self.visit(&select.operand), &select.field),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(inner) => {
                self.comprehension(inner);
                None
            }
            Expr::List(list) => {
                list.elements.iter().for_each(|element| drop(self.visit(element)));
                None
            }
            Expr::Map(map) => {
                self.entries(map.entries.iter().map(|entry| &entry.expr));
                None
            }
            Expr::Struct(strct) => {
                self.entries(strct.entries.iter().map(|entry| &entry.expr));
                None
            }
            Expr::Literal(_) | Expr::Unspecified => None,
        };
        if let Some(path) = path.as_ref().filter(|path| !self.reads.contains(path)) {
            self.reads.push(path.clone());
        }
        path
    }

    fn name(&mut self, name: &'e str) -> Option<Path> {
        if self.variables.contains(&name) || TYPES.contains(&name) {
            return None;
        }
        if VARIABLES.contains(&name) {
            return Some(vec![name.to_owned()]);
        }
        if !self.unknown.contains(&name) {
            self.unknown.push(name);
        }
        None
    }

    fn call(&mut self, call: &'e CallExpr) -> Option<Path> {
        match call.target.as_deref() {
            Some(IdedExpr { expr: Expr::Ident(name), .. }) if NAMESPACES.contains(&name.as_str()) => {}
            Some(target) => drop(self.visit(target)),
            None => {}
        }
        let paths: Vec<_> = call.args.iter().map(|argument| self.visit(argument)).collect();
        let reads_key = [operators::INDEX, operators::OPT_INDEX, operators::OPT_SELECT].contains(&&*call.func_name);
        match (paths.into_iter().next().flatten(), call.args.get(1).map(|key| &key.expr)) {
            (path, Some(Expr::Literal(LiteralValue::String(key)))) if reads_key => extended(path, key.inner()),
            _ => None,
        }
    }

    fn comprehension(&mut self, inner: &'e ComprehensionExpr) {
        self.visit(&inner.iter_range);
        self.visit(&inner.accu_init);
        let before = self.variables.len();
        self.variables.extend([inner.iter_var.as_str(), inner.accu_var.as_str()]);
        self.variables.extend(inner.iter_var2.as_deref());
        for part in [&inner.loop_cond, &inner.loop_step, &inner.result] {
            self.visit(part);
        }
        self.variables.truncate(before);
    }

    fn entries(&mut self, entries: impl Iterator<Item = &'e EntryExpr>) {
        for entry in entries {
            match entry {
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key);
                    self.visit(&entry.value);
                }
                EntryExpr::StructField(field) => drop(self.visit(&field.value)),
            }
        }
    }
}

fn extended(path: Option<Path>, key: &str) -> Option<Path> {
    let mut path = path?;
    path.push(key.to_owned());
    Some(path)
}

/// Has every loop ask [`COUNTED`] for what it goes through.
pub(super) fn count_turns(tree: &mut IdedExpr) {
    match &mut tree.expr {
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(count_turns),
        Expr::Comprehension(inner) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = &mut **inner;
            [&mut *iter_range, accu_init, loop_cond, loop_step, result].into_iter().for_each(count_turns);
            let range = std::mem::take(iter_range);
            let call = CallExpr { func_name: COUNTED.to_owned(), target: None, args: vec![range] };
            *iter_range = IdedExpr { id: 0, expr: Expr::Call(call) };
        }
        Expr::List(list) => list.elements.iter_mut().for_each(count_turns),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| count_in_entry(&mut entry.expr)),
        Expr::Struct(strct) => strct.entries.iter_mut().for_each(|entry| count_in_entry(&mut entry.expr)),
        Expr::Select(select) => count_turns(&mut select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

fn count_in_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::MapEntry(entry) => [&mut entry.key, &mut entry.value].into_iter().for_each(count_turns),
        EntryExpr::StructField(field) => count_turns(&mut field.value),
    }
}
