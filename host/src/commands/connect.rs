//! `connect`: a stdio front that attaches to the running host, so that several clients share its backends.

use std::process::ExitCode;

use super::session::pass_through;
use crate::cli::Connect;

pub(crate) async fn run(arguments: Connect) -> anyhow::Result<ExitCode> {
    pass_through(&arguments.file.config).await
}
