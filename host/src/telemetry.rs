//! Logs: to standard error, as text or JSON.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

use crate::cli::LogFormat;

/// Sets up logging for a host. `RUST_LOG` beats the level.
pub(crate) fn start(format: LogFormat, verbose: u8) {
    begin(format, verbose, "info");
}

/// Sets up logging for a command whose own output is what matters.
pub(crate) fn start_quiet(format: LogFormat, verbose: u8) {
    begin(format, verbose, "error");
}

fn begin(format: LogFormat, verbose: u8, normal: &str) {
    let level = match verbose {
        0 => normal,
        1 => "debug",
        _ => "trace",
    };
    // The compiler, the HTTP stack and the like say a lot that only their own developers want to know.
    let chatter = "wasmtime=warn,cranelift=warn,wasmtime_cranelift=warn,hyper=info,h2=info,reqwest=info,rustls=info";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("{level},{chatter}")));
    let subscriber = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(verbose > 0);
    match format {
        LogFormat::Text => subscriber.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}
