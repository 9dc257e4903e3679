//! Running other programs and telling the user which.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

/// Says what comes next.
pub(crate) fn step(what: &str) {
    eprintln!("==> {what}");
}

/// Runs `command` in the foreground; its failure is ours.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    step(&describe(command));
    let status = command.stdin(Stdio::null()).status().with_context(|| start_failure(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", describe(command));
    }
    Ok(())
}

/// What `command` writes to stdout.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| start_failure(command))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", describe(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether `program` answers to `--version`.
pub(crate) fn is_there(program: &Path) -> bool {
    let asked = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn start_failure(command: &Command) -> String {
    format!("`{}` cannot be started", command.get_program().to_string_lossy())
}
