//! The arguments of the program, and nothing but.

use std::{net::IpAddr, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Many MCP servers behind one endpoint; every decision is a WebAssembly component.
#[derive(Debug, Parser)]
#[command(name = "vmcp-host", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Log more: once for debug, twice for every message.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// How log lines look on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the backends of a configuration as one MCP server.
    Serve(Serve),
    /// Check a configuration, its components included, and summarise it.
    Validate(Validate),
    /// Look at WebAssembly components.
    #[command(subcommand)]
    Plugin(Plugin),
    /// List every tool, prompt and resource: its name, where it comes from, why it is named so.
    Tools(Tools),
    /// Call a tool.
    Call(Call),
    /// Check every backend: found, started, protocol, tools, time, last error.
    Doctor(Doctor),
    /// Attach standard input and output to the host that is already running.
    Connect(Connect),
    /// Run one of the example MCP servers on standard input and output.
    ExampleServer(ExampleServer),
    /// Print the version.
    Version,
    /// Ends the processes of a host that died. Started by the host itself.
    #[command(hide = true)]
    WatchChildren,
}

/// The configuration that a command is about.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// Configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = address)]
    pub host: IpAddr,
    /// Port to listen on; 0 picks a free one.
    #[arg(short, long, default_value_t = 4483)]
    pub port: u16,
    /// Serve one client on standard input and output instead of HTTP.
    #[arg(long)]
    pub stdio: bool,
    /// Listen on an address that others can reach although nobody has to prove who they are.
    #[arg(long)]
    pub allow_anonymous_remote: bool,
}

/// An address to listen on; the one name that is understood is `localhost`.
fn address(text: &str) -> Result<IpAddr, std::net::AddrParseError> {
    if text == "localhost" { Ok(IpAddr::from([127, 0, 0, 1])) } else { text.parse() }
}

#[derive(Debug, Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Print problems, components and the fate of every key as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Show what a component file is: worlds, version, imports, config, size, digest.
    Inspect(Inspect),
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Component file, or the name of a component that comes with the host.
    pub file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tools {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Show hidden and unavailable ones too.
    #[arg(long)]
    pub all: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Name of the tool, as clients see it.
    pub name: String,
    /// Arguments as `key=value`: JSON where the tool's schema does not ask for a string, else text as it is.
    #[arg(value_name = "KEY=VALUE")]
    pub arguments: Vec<String>,
    /// All arguments as one JSON object.
    #[arg(long, value_name = "JSON", conflicts_with = "arguments")]
    pub arguments_json: Option<String>,
    /// Print the whole result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    #[command(flatten)]
    pub file: ConfigFile,
}

#[derive(Debug, Args)]
pub(crate) struct ExampleServer {
    /// Which one: `notes` or `tasks`.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_fit_together() {
        super::Cli::command().debug_assert();
    }
}
