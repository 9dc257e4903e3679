//! `cargo xtask plugins`: builds every component that is committed as `.wasm`, and the lock that ties them to their sources.
//!
//! The same compiler gives the same bytes in any checkout, so `--check` can compare. Another compiler gives other bytes;
//! then `--check` only shows that all of them still build, and leaves the result for the tests to run.

mod lock;
mod toolchain;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use wit_component::ComponentEncoder;
use xshell::{Shell, cmd};

use self::{lock::Lock, toolchain::Toolchain};
use crate::{cache::Cache, steps::step};

/// One committed `.wasm`. All paths are relative to the repository.
struct Component {
    /// Where it is committed.
    wasm: &'static str,
    source: Source,
}

enum Source {
    /// A crate of a guest workspace.
    Crate { workspace: &'static str, package: &'static str, feature: Option<&'static str>, profile: &'static str },
    /// WebAssembly text, for what no toolchain would make.
    Text(&'static str),
}

/// The profile of what is small.
const RELEASE: &str = "release";

const COMPONENTS: &[Component] = &[
    built_in("plugins/builtin/clause-blend.wasm", "clause-blend"),
    built_in("plugins/builtin/linear.wasm", "linear"),
    built_in("plugins/builtin/manual.wasm", "manual"),
    built_in("plugins/builtin/prefix.wasm", "prefix"),
    built_in("plugins/builtin/priority.wasm", "priority"),
    built_in("plugins/builtin/rrf.wasm", "rrf"),
    built_in("plugins/builtin/smart.wasm", "smart"),
    built_in("plugins/builtin/toolhive.wasm", "toolhive"),
    Component {
        wasm: "plugins/builtin/workflow-yaml.wasm",
        source: Source::Crate { workspace: "plugins", package: "workflow-yaml", feature: None, profile: "interpreter" },
    },
    example("examples/plugins/first-find.wasm", "first-find"),
    example("examples/plugins/server-boost.wasm", "server-boost"),
    example("examples/plugins/server-suffix.wasm", "server-suffix"),
    example("examples/plugins/short-names.wasm", "short-names"),
    resolver("tests/guests/allocates.wasm", "allocates"),
    resolver("tests/guests/illegal-names.wasm", "illegal-names"),
    resolver("tests/guests/loops.wasm", "loops"),
    resolver("tests/guests/marked-prefix.wasm", "marked-prefix"),
    resolver("tests/guests/panics.wasm", "panics"),
    resolver("tests/guests/repeated-names.wasm", "repeated-names"),
    resolver("tests/guests/too-few.wasm", "too-few"),
    resolver("tests/guests/unknown-import.wasm", "unknown-import"),
    resolver("tests/guests/wasi-clock.wasm", "wasi-clock"),
    ranking("tests/guests/both.wasm", "both"),
    ranking("tests/guests/marked-ranking.wasm", "marked-ranking"),
    ranking("tests/guests/rank-allocates.wasm", "rank-allocates"),
    ranking("tests/guests/rank-allocates-in-both.wasm", "rank-allocates-in-both"),
    ranking("tests/guests/rank-loops.wasm", "rank-loops"),
    ranking("tests/guests/rank-panics.wasm", "rank-panics"),
    ranking("tests/guests/rank-remembers.wasm", "rank-remembers"),
    ranking("tests/guests/rank-repeats.wasm", "rank-repeats"),
    ranking("tests/guests/rank-unknown.wasm", "rank-unknown"),
    ranking("tests/guests/plan-loops.wasm", "plan-loops"),
    ranking("tests/guests/plan-too-large.wasm", "plan-too-large"),
    workflow("tests/guests/marked-workflow.wasm", "marked-workflow"),
    workflow("tests/guests/run-allocates.wasm", "run-allocates"),
    workflow("tests/guests/run-calls-without-end.wasm", "run-calls-without-end"),
    workflow("tests/guests/run-gives-50-mib.wasm", "run-gives-50-mib"),
    workflow("tests/guests/run-gives-nonsense.wasm", "run-gives-nonsense"),
    workflow("tests/guests/run-joins.wasm", "run-joins"),
    workflow("tests/guests/run-loops.wasm", "run-loops"),
    workflow("tests/guests/run-panics.wasm", "run-panics"),
    workflow("tests/guests/run-ungranted.wasm", "run-ungranted"),
    text("tests/guests/core-module.wasm", "tests/guests/core-module.wat"),
    text("tests/guests/no-world.wasm", "tests/guests/no-world.wat"),
    text("tests/guests/wrong-type.wasm", "tests/guests/wrong-type.wat"),
];

const fn built_in(wasm: &'static str, package: &'static str) -> Component {
    Component { wasm, source: Source::Crate { workspace: "plugins", package, feature: None, profile: RELEASE } }
}

const fn example(wasm: &'static str, package: &'static str) -> Component {
    Component {
        wasm,
        source: Source::Crate { workspace: "examples/plugins", package, feature: None, profile: RELEASE },
    }
}

const fn resolver(wasm: &'static str, feature: &'static str) -> Component {
    guest(wasm, "resolvers", feature)
}

const fn ranking(wasm: &'static str, feature: &'static str) -> Component {
    guest(wasm, "rankings", feature)
}

const fn workflow(wasm: &'static str, feature: &'static str) -> Component {
    guest(wasm, "workflows", feature)
}

const fn guest(wasm: &'static str, package: &'static str, feature: &'static str) -> Component {
    Component {
        wasm,
        source: Source::Crate { workspace: "tests/guests", package, feature: Some(feature), profile: RELEASE },
    }
}

const fn text(wasm: &'static str, path: &'static str) -> Component {
    Component { wasm, source: Source::Text(path) }
}

impl Component {
    /// Files and folders that decide its bytes.
    fn inputs(&self) -> Vec<String> {
        match self.source {
            Source::Crate { workspace, package, .. } => vec![
                format!("{workspace}/Cargo.lock"),
                format!("{workspace}/Cargo.toml"),
                format!("{workspace}/{package}"),
                "sdk".into(),
                "wit".into(),
            ],
            Source::Text(path) => vec![path.into()],
        }
    }
}

/// Builds all components and writes them with their lock. With `check` it leaves the checkout alone: it compares, or where
/// the compiler is another one leaves each component under its path in `rebuilt-components/` of the cache.
pub(crate) fn run(check: bool) -> Result<()> {
    let cache = Cache::open()?;
    let repository = cache.root();
    let toolchain = Toolchain::find(&cache)?;
    let shell = Shell::new()?;
    shell.change_dir(repository);
    let output = if check { cache.dir().join("rebuilt-components") } else { repository.to_owned() };

    let mut lock = Lock::new(&toolchain.version);
    for component in COMPONENTS {
        let bytes = component.build(&shell, &cache, &toolchain, check)?;
        step(&format!("{:>7} bytes  {}", bytes.len(), component.wasm));
        shell.write_file(output.join(component.wasm), &bytes)?;
        lock.add(repository, component.wasm, &bytes, component.inputs())?;
    }

    if !check {
        return lock.write(repository);
    }
    let committed = Lock::read(repository)?;
    if committed.rustc != lock.rustc {
        step(&format!(
            "bytes are not compared: committed components are of\n{}\nthis is\n{}\nrebuilt components lie in {}",
            committed.rustc,
            lock.rustc,
            output.display()
        ));
        return Ok(());
    }
    compare(repository, &output)
}

impl Component {
    fn build(&self, shell: &Shell, cache: &Cache, toolchain: &Toolchain, locked: bool) -> Result<Vec<u8>> {
        match self.source {
            Source::Text(path) => Ok(wat::parse_file(cache.root().join(path))?),
            Source::Crate { workspace, package, feature, profile } => {
                let manifest = cache.root().join(workspace).join("Cargo.toml");
                let target = cache.dir().join("guest-target");
                let features = feature.map(|feature| format!("--features={feature}"));
                let locked = locked.then_some("--locked");
                cmd!(shell, "cargo build --quiet --target wasm32-unknown-unknown --manifest-path {manifest}")
                    .args(["--package", package, "--profile", profile])
                    .args(features)
                    .args(locked)
                    .envs(toolchain.environment(cache.root())?)
                    .env("CARGO_TARGET_DIR", &target)
                    .quiet()
                    .run()
                    .with_context(|| format!("building {}", self.wasm))?;
                let module = format!("{}.wasm", package.replace('-', "_"));
                let module =
                    shell.read_binary_file(target.join("wasm32-unknown-unknown").join(profile).join(module))?;
                componentise(&module).with_context(|| format!("making a component of {}", self.wasm))
            }
        }
    }
}

/// A core module with its embedded world as a component.
fn componentise(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default().module(module)?.validate(true).encode()
}

fn compare(repository: &Path, rebuilt: &Path) -> Result<()> {
    let differs = |wasm: &&Component| {
        let read = |folder: &Path| fs::read(folder.join(wasm.wasm)).ok();
        read(repository) != read(rebuilt)
    };
    let differing: Vec<&str> = COMPONENTS.iter().filter(differs).map(|component| component.wasm).collect();
    if differing.is_empty() {
        step("all committed components are what their sources give");
        return Ok(());
    }
    bail!("not what their sources give: {}\nrun `cargo xtask plugins` and commit the result", differing.join(", "))
}
