//! The `vmcp-host` program: reads the arguments, runs one command, and turns its outcome into an exit code.

mod cli;
mod commands;
mod exit;
mod lifecycle;
mod report;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // The watcher must outlive everything else in this process, so it runs before anything is set up.
    if matches!(cli.command, cli::Command::WatchChildren) {
        return vmcp_backend::watcher::run();
    }
    rustls::crypto::ring::default_provider().install_default().expect("no provider was installed before");
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            report::error(&error);
            exit::code_of(&error)
        }
    }
}
