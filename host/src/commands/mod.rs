//! One file per subcommand.

mod answers;
mod call;
mod connect;
mod doctor;
mod eval;
mod find;
mod plugin;
mod serve;
mod session;
mod snapshot;
mod tools;
mod validate;
mod workflow;

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use vmcp_config::Loaded;

use crate::{
    cli::{Cli, Command},
    exit::Failure,
    report, telemetry,
};

/// Runs the command that the arguments name.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let verbose = cli.verbose;
    match cli.command {
        Command::Serve(arguments) => {
            let loaded = load(&arguments.file.config)?;
            let debug = u8::from(loaded.config.operational.log_level.is_some());
            telemetry::start(cli.log_format, verbose.max(debug));
            block_on(serve::run(arguments, loaded))
        }
        Command::Validate(arguments) => {
            telemetry::start_quiet(cli.log_format, verbose);
            validate::run(&arguments)
        }
        Command::Plugin(arguments) => plugin::run(&arguments),
        Command::Workflow(arguments) => {
            telemetry::start_quiet(cli.log_format, verbose);
            block_on(workflow::run(arguments))
        }
        Command::Version => {
            report::line(&format!("vmcp-host {}", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
        Command::ExampleServer(arguments) => {
            let server: vmcp_examples::Server = arguments.name.parse()?;
            block_on(async { vmcp_examples::serve_stdio(server).await.map(|()| ExitCode::SUCCESS) })
        }
        // What follows speaks to a host, which logs for itself unless it is started for this command alone.
        Command::Tools(arguments) => {
            telemetry::start_quiet(cli.log_format, verbose);
            block_on(tools::run(arguments))
        }
        Command::Call(arguments) => {
            telemetry::start_quiet(cli.log_format, verbose);
            block_on(call::run(arguments))
        }
        Command::Find(arguments) => {
            telemetry::start_quiet(cli.log_format, verbose);
            block_on(find::run(arguments))
        }
        Command::Snapshot(arguments) => {
            telemetry::start_quiet(cli.log_format, verbose);
            block_on(snapshot::run(arguments))
        }
        Command::Eval(arguments) => {
            telemetry::start_quiet(cli.log_format, verbose);
            block_on(eval::run(arguments))
        }
        Command::Doctor(arguments) => {
            telemetry::start_quiet(cli.log_format, verbose);
            block_on(doctor::run(arguments))
        }
        Command::Connect(arguments) => {
            telemetry::start_quiet(cli.log_format, verbose);
            block_on(connect::run(arguments))
        }
        Command::WatchChildren => unreachable!("handled before anything is set up"),
    }
}

fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(command);
    // A read of standard input cannot be cancelled; it must not hold up the end of the process.
    runtime.shutdown_background();
    outcome
}

/// Loads a configuration that is to be run: its problems are printed, and so is what this build does not honour.
fn load(path: &Path) -> anyhow::Result<Loaded> {
    let loaded = vmcp_config::load(path).map_err(|error| {
        report::config_error(&error);
        Failure::Config
    })?;
    for warning in &loaded.warnings {
        report::problem(warning);
    }
    let refused = loaded.refused();
    if !refused.is_empty() {
        refused.iter().for_each(report::problem);
        return Err(Failure::Config.into());
    }
    Ok(loaded)
}
