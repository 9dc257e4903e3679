//! Rules of `plugins`, of `runs` and of `server`.

use super::{aggregation::BUILTIN_RESOLVERS, positive, unique};
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::{Document, plugin::LimitsConfig},
    value::size::ByteSize,
};

pub(super) fn check(document: &Document, report: &mut Report<'_>) {
    let path = KeyPath::root().key("plugins");
    let names = document.plugins.iter().enumerate();
    let places = names.map(|(index, plugin)| (plugin.name.as_str(), path.index(index).key("name")));
    unique(places, Rule::DuplicatePlugin, "plugin", report);
    for (index, plugin) in document.plugins.iter().enumerate() {
        let path = path.index(index);
        if BUILTIN_RESOLVERS.contains(&plugin.name.as_str()) {
            let message = format!("`{}` is the name of a component that comes with the host", plugin.name);
            report.error_with_hint(Rule::BuiltinName, &path.key("name"), message, "choose another name");
        }
        limits(&plugin.limits, &path.key("limits"), report);
    }
    let path = KeyPath::root().key("runs");
    positive(Some(document.runs.lifetime), false, &path.key("lifetime"), report);
    positive(Some(document.runs.kept), true, &path.key("kept"), report);
    let server = &document.server;
    let path = KeyPath::root().key("server");
    positive(Some(server.shutdown_grace), true, &path.key("shutdownGrace"), report);
    positive(Some(server.input_timeout), false, &path.key("inputTimeout"), report);
    size(Some(server.body_limit), &path.key("bodyLimit"), report);
    size(Some(server.reply_limit), &path.key("replyLimit"), report);
    size(Some(server.bytes_in_flight), &path.key("bytesInFlight"), report);
}

fn limits(limits: &LimitsConfig, path: &KeyPath, report: &mut Report<'_>) {
    size(limits.memory, &path.key("memory"), report);
    positive(limits.running_time, false, &path.key("runningTime"), report);
    positive(limits.wall_time, false, &path.key("wallTime"), report);
    size(limits.output_size, &path.key("outputSize"), report);
}

fn size(size: Option<ByteSize>, path: &KeyPath, report: &mut Report<'_>) {
    if size.is_some_and(|size| size.as_bytes() == 0) {
        report.error(Rule::OutOfRange, path, "must be more than nothing");
    }
}
