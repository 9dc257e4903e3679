//! The benches of the shipped binary. `cargo xtask bench` builds both in release and starts this.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use clap::{Parser, Subcommand};
use vmcp_tests::bench::{able, faults, overhead, search, sessions, start, workflows};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Bench {
    Able,
    Overhead,
    Start,
    Faults,
    Sessions,
    Search(search::Options),
    Workflows,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { bench, json } = Arguments::parse();
    match bench {
        Bench::Overhead => {
            let rows = overhead::run().await?;
            println!("{}", if json { serde_json::to_string_pretty(&rows)? } else { overhead::table(&rows) });
        }
        Bench::Able => {
            let rows = able::run().await;
            println!("{}", if json { serde_json::to_string_pretty(&rows)? } else { able::table(&rows) });
        }
        Bench::Faults => {
            let rows = faults::run().await;
            println!("{}", if json { serde_json::to_string_pretty(&rows)? } else { faults::table(&rows) });
        }
        Bench::Sessions => {
            let report = sessions::run().await?;
            println!("{}", if json { serde_json::to_string_pretty(&report)? } else { report.table() });
            report.check()?;
        }
        Bench::Search(options) => {
            let reports = search::run(&options).await?;
            println!("{}", if json { serde_json::to_string_pretty(&reports)? } else { search::table(&reports) });
            search::check(&reports)?;
        }
        Bench::Workflows => {
            let report = workflows::run().await?;
            println!("{}", if json { serde_json::to_string_pretty(&report)? } else { report.table() });
            report.check()?;
        }
        Bench::Start => {
            let start = start::run().await;
            println!("{}", if json { serde_json::to_string_pretty(&start)? } else { start.sentence() });
        }
    }
    Ok(())
}
