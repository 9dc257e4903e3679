//! Runs of composite tools, for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Characters of an id that tell runs apart.
const SHORT: usize = 12;

pub(crate) fn list(runs: &[Value]) {
    if runs.is_empty() {
        return super::line("no runs");
    }
    let mut table = super::table(&["run", "tool", "state", "began", "last change", "told"]);
    for run in runs {
        let tool = match run["within"].as_str() {
            Some(outer) => format!("{} (within {})", text(&run["tool"]), short(outer)),
            None => text(&run["tool"]),
        };
        table.add_row([
            short(&text(&run["id"])),
            tool,
            text(&run["state"]),
            ago(&run["began"]),
            ago(&run["changed"]),
            text(&run["told"]),
        ]);
    }
    super::line(&table.to_string());
}

pub(crate) fn one(run: &Value) {
    super::line(&format!("{}  {}  {}", text(&run["id"]), text(&run["tool"]), text(&run["state"])));
    super::line(&format!("began {}, changed {}", ago(&run["began"]), ago(&run["changed"])));
    super::line(&format!("component {}", text(&run["component"])));
    super::line(&format!("arguments {}", run["arguments"]));
    for wait in run["waits"].as_array().into_iter().flatten() {
        super::line(&format!("waits: it {}", text(wait)));
    }
    let began = run["began"].as_u64().unwrap_or_default();
    for event in run["events"].as_array().into_iter().flatten() {
        let after = Duration::from_millis(event["at"].as_u64().unwrap_or_default().saturating_sub(began));
        super::line(&format!("{:>10.3} s  {}", after.as_secs_f64(), text(&event["what"])));
    }
    if let Some(result) = run.get("result").filter(|result| !result.is_null()) {
        super::tool_result(result);
    }
}

fn short(id: &str) -> String {
    id.chars().take(SHORT).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How long ago a time in milliseconds since the Unix epoch was.
fn ago(at: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = Duration::from_millis(at.as_u64().unwrap_or_default());
    let seconds = now.saturating_sub(then).as_secs();
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        7200..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
