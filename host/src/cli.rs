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
    /// Check a configuration, its components and the calls of its composite tools included, and summarise it.
    Validate(Validate),
    /// Look at WebAssembly components.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Share composite tools, and look at them.
    #[command(subcommand)]
    Workflow(Workflow),
    /// List every tool, prompt and resource: its name, where it comes from, why it is named so.
    Tools(Tools),
    /// Call a tool.
    Call(Call),
    /// Search the tools, as clients do with `find_tool`.
    Find(Find),
    /// Write the tools as a file that `eval` reads.
    Snapshot(Snapshot),
    /// Measure the tool search: how often it finds the tools that are needed, in how many tokens and how much time.
    Eval(Eval),
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
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
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
    /// Show `find_tool` and `call_tool` in place of all tools, with the defaults where the configuration has no `optimizer`.
    #[arg(long)]
    pub optimizer: bool,
    /// The same with an embedding server that the host runs in a container.
    #[arg(long)]
    pub optimizer_embedding: bool,
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
    /// Tools that composite tools are checked against, as `snapshot` writes them. Absent: those that each backend offered when it
    /// was last up.
    #[arg(long, value_name = "FILE")]
    pub tools: Option<PathBuf>,
    /// Start the backends for the moment, and check composite tools against what they offer now.
    #[arg(long, conflicts_with = "tools")]
    pub live: bool,
    /// Print problems, components and the fate of every key as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Show what a component file is: worlds, version, imports, config, size, digest.
    Inspect(Inspect),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workflow {
    /// Make one component of a composite tool that is made of steps: a file that runs in any vmcp-host.
    Bake(Bake),
    /// Run a composite tool against the backends of a configuration, and show its steps as they are done.
    Run(RunWorkflow),
    /// Run a composite tool once more as a journal tells it, without any backend; anything that differs is an error.
    Replay(Replay),
    /// Draw the steps of a composite tool as a Mermaid flowchart.
    Graph(Graph),
    /// List the runs of composite tools that the running host keeps.
    List(ListRuns),
    /// Show one run: what it waits for, and what happened so far.
    Show(ShowRun),
    /// Cancel a run.
    Cancel(CancelRun),
}

#[derive(Debug, Args)]
pub(crate) struct ListRuns {
    #[command(flatten)]
    pub config: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowRun {
    /// Its id, as `list` shows it; the beginning is enough.
    pub id: String,
    #[command(flatten)]
    pub config: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CancelRun {
    /// Its id, as `list` shows it; the beginning is enough.
    pub id: String,
    #[command(flatten)]
    pub config: ConfigFile,
}

#[derive(Debug, Args)]
pub(crate) struct Bake {
    /// A file with one entry of `compositeTools`.
    pub file: PathBuf,
    /// Where the component goes. Absent: beside the file, as `.wasm`.
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunWorkflow {
    /// A file with one entry of `compositeTools`, or a component.
    pub file: PathBuf,
    #[command(flatten)]
    pub config: ConfigFile,
    /// Its arguments.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub arguments: String,
    /// The config of a component.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub workflow_config: String,
    /// A JSON list of answers to what it asks, in order: each `{action, content}`, or the content alone. Absent: it asks in the
    /// terminal.
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// Write down what the run was told, for `replay`.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Print the whole result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The file of the composite tool, or a component.
    pub file: PathBuf,
    /// What `workflow run --journal` wrote.
    #[arg(long, value_name = "FILE")]
    pub journal: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// A file with one entry of `compositeTools`, or a component that was baked from one.
    pub file: PathBuf,
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
pub(crate) struct Find {
    #[command(flatten)]
    pub file: ConfigFile,
    /// What is to be done, in words.
    pub query: String,
    /// Word that the right tool should have; may be repeated.
    #[arg(short, long = "keyword", value_name = "WORD")]
    pub keywords: Vec<String>,
    /// Only tools of this server.
    #[arg(short, long)]
    pub server: Option<String>,
    /// Most tools to find; never more than the configuration allows.
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Say why each tool was found.
    #[arg(long)]
    pub explain: bool,
    /// Print the answer that clients get as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    #[command(flatten)]
    pub file: ConfigFile,
    /// File to write; standard output when absent.
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// Tools to search in, one JSON object per line: `server`, `name`, `description`, `input_schema`. Several sets are several
    /// pairs of `--tools` and `--queries`, in order; the last row is then their mean, in which each set weighs the same.
    #[arg(long, value_name = "FILE")]
    pub tools: Vec<PathBuf>,
    /// What is to be found, one JSON object per line: `id`, `query`, `gold` (ids `server/name` of the needed tools), and if
    /// wanted `groups` (a list for each needed tool of the ids that will do) and `keywords`.
    #[arg(long, value_name = "FILE")]
    pub queries: Vec<PathBuf>,
    /// Search in the tools of the host that runs, or that would run, instead of `--tools`.
    #[arg(long, requires = "config", conflicts_with = "tools")]
    pub live: bool,
    /// Configuration whose ranking, embedding provider, ratio, threshold and plugins count. Absent: the defaults.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Component that ranks; may be repeated. Absent: that of the configuration.
    #[arg(long = "ranking", value_name = "NAME")]
    pub rankings: Vec<String>,
    /// Embedding provider; may be repeated, and each is measured with each ranking. Absent: that of the configuration.
    /// `builtin`, `none`, `tei:URL`, `openai:URL:MODEL`, `ollama:URL:MODEL` or `local:FOLDER`; the key for `openai` is in
    /// `OPENAI_API_KEY`.
    #[arg(long = "embedding", value_name = "PROVIDER")]
    pub embeddings: Vec<String>,
    /// Tools that a search returns. R@8 needs 8 and nDCG@10 needs 10; a ranking that divides the places among its lists, as
    /// `toolhive` does, answers differently with another number, so give 8 to see what its clients see.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: u32,
    /// Tell how much better the ranking B is than A, query by query, with its interval.
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub compare: Vec<String>,
    /// Fail with exit code 9 when the recall among the first eight is lower, in percent as the table shows it, e.g. 74: of the
    /// first ranking with the first provider, and of the mean where there are several sets.
    #[arg(long = "min-recall@8", value_name = "PERCENT", value_parser = percent)]
    pub min_recall: Option<f64>,
    /// Do not measure, but lay one search open: what each arm found for each subquery, and what the ranking made of it.
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["compare", "min_recall", "run_out"])]
    pub explain: Option<String>,
    /// Write what was found into this folder, one file per set, ranking and provider: `{query id: [ids, best first]}`.
    #[arg(long, value_name = "FOLDER")]
    pub run_out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A percentage as the table shows it; a share of 1 would always pass.
fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if percent == 0.0 || (1.0..=100.0).contains(&percent) => Ok(percent),
        Ok(share) if (0.0..1.0).contains(&share) => Err(format!("is in percent: did you mean {}?", share * 100.0)),
        _ => Err("is no percentage from 1 to 100".into()),
    }
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
    fn a_share_is_not_taken_for_a_percentage() {
        let check = |text: &str, expected: Result<f64, &str>| {
            assert_eq!(super::percent(text), expected.map_err(str::to_owned), "{text}");
        };
        check("74", Ok(74.0));
        check("0", Ok(0.0));
        check("0.75", Err("is in percent: did you mean 75?"));
        check("101", Err("is no percentage from 1 to 100"));
        check("x", Err("is no percentage from 1 to 100"));
    }

    #[test]
    fn the_arguments_fit_together() {
        super::Cli::command().debug_assert();
    }
}
