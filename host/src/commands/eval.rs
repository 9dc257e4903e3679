//! `eval`: measures tool search with golden queries, or lays one search open.

mod provider;

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use serde_json::json;
use vmcp_config::Loaded;
use vmcp_host::search::{Rankings, optimizer, rankings_named};
use vmcp_optimizer::{
    eval::{Comparison, Costs, GoldenSet, Metric, Run, Summary, measure, read_queries},
    search::{Optimizer, Reasons, SearchRequest},
    tokens::TokenCounter,
};

use self::provider::Provider;
use super::snapshot::live_tools;
use crate::{cli::Eval, exit::Failure, report};

/// Name of the row that sums several sets up.
const MEAN: &str = "mean of the sets";

pub(crate) async fn run(arguments: Eval) -> anyhow::Result<ExitCode> {
    let loaded = Arc::new(load(arguments.config.as_deref())?);
    let sets = Box::pin(sets(&arguments, &loaded)).await?;
    let contestants = contestants(&arguments, loaded).await?;
    if let Some(query) = &arguments.explain {
        return explain(&arguments, &sets, &contestants, query).await;
    }
    let runs = measure_all(&arguments, &sets, &contestants).await?;
    if let Some(folder) = &arguments.run_out {
        write_runs(folder, runs.iter().flatten()).await?;
    }
    let (summaries, comparisons) = (summaries(&runs), comparisons(&runs, &arguments.compare));
    match arguments.json {
        true => report::json(&json!({ "rows": summaries, "comparisons": comparisons })),
        false => report::search::evaluation(&summaries, &comparisons),
    }
    check_recall(&arguments, &summaries, sets.len())
}

/// The configuration that is measured: the file, or the defaults.
fn load(file: Option<&Path>) -> anyhow::Result<Loaded> {
    match file {
        Some(file) => super::load(file),
        None => vmcp_config::load_str("name: eval\n", "defaults", Path::new("")).context("the defaults are no good"),
    }
}

/// The tools to search in and what is to be found among them; for an explanation there is nothing to be found.
async fn sets(arguments: &Eval, loaded: &Loaded) -> anyhow::Result<Vec<GoldenSet>> {
    let Eval { tools, queries, live, explain, .. } = arguments;
    let wanted = if *live { 1 } else { tools.len() };
    let has_queries = queries.len() == wanted || (explain.is_some() && queries.is_empty());
    if wanted == 0 {
        bail!("nothing to search in: name a file with `--tools`, or search a host with `--live --config FILE`");
    }
    if !has_queries {
        bail!("each set of tools needs its queries: there are {wanted} sets and {} `--queries`", queries.len());
    }
    let mut sets = Vec::with_capacity(wanted);
    for (index, file) in tools.iter().enumerate() {
        sets.push(GoldenSet::read(file, queries.get(index).map(|file| &**file))?);
    }
    if let (true, Some(config)) = (*live, &arguments.config) {
        let queries = queries.first().map(|file| read_queries(file)).transpose()?.unwrap_or_default();
        sets.push(GoldenSet { name: loaded.config.name.clone(), tools: Box::pin(live_tools(config)).await?, queries });
    }
    for set in &sets {
        let missing = set.missing();
        if !missing.is_empty() {
            report::search::missing_tools(&set.name, &missing);
        }
    }
    Ok(sets)
}

/// One ranking with one provider of vectors.
struct Contestant {
    ranking: String,
    rankings: Rankings,
    provider: Arc<Provider>,
}

/// Every ranking with every provider.
async fn contestants(arguments: &Eval, loaded: Arc<Loaded>) -> anyhow::Result<Vec<Contestant>> {
    let config = loaded.config.optimizer.clone().unwrap_or_default();
    let mut names = arguments.rankings.clone();
    if names.is_empty() {
        names.push(config.ranking().to_owned());
    }
    for name in &arguments.compare {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let mut providers = Vec::new();
    match arguments.embeddings.as_slice() {
        [] => providers.push(Arc::new(Provider::open(config.provider().name(), config).await?)),
        specs => {
            for spec in specs {
                providers.push(Arc::new(Provider::open(spec, provider::configured(&config, spec)?).await?));
            }
        }
    }
    // Compiling takes a while where the cache is cold.
    let (names, rankings) = tokio::task::spawn_blocking(move || {
        let rankings = rankings_named(&loaded, &names);
        rankings.map(|rankings| (names, rankings))
    })
    .await??;
    let pairs = providers.iter().flat_map(|provider| names.iter().zip(&rankings).map(move |pair| (provider, pair)));
    Ok(pairs
        .map(|(provider, (name, rankings))| Contestant {
            ranking: name.clone(),
            // A ranking that fails is told, not replaced.
            rankings: Rankings { fallback: None, ..rankings.clone() },
            provider: provider.clone(),
        })
        .collect())
}

/// A run for each set, per contestant.
async fn measure_all(
    arguments: &Eval,
    sets: &[GoldenSet],
    contestants: &[Contestant],
) -> anyhow::Result<Vec<Vec<Run>>> {
    let counter = TokenCounter::new().map_err(anyhow::Error::msg).context("tokens cannot be counted")?;
    let mut runs: Vec<_> = contestants.iter().map(|_| Vec::with_capacity(sets.len())).collect();
    for set in sets {
        let mut costs = Costs::new(&counter, set, arguments.limit);
        for (contestant, runs) in contestants.iter().zip(&mut runs) {
            let (ranking, embedding) = (&contestant.ranking, &contestant.provider.name);
            let bar = report::search::progress(&format!("{} · {ranking} · {embedding}", set.name));
            let optimizer = engine(arguments, set, contestant, &bar).await?;
            bar.set_position(0);
            bar.set_length(set.queries.len() as u64);
            let mut run = Run::new(&set.name, ranking, embedding);
            let measured = measure(&optimizer, set, &mut costs, &mut run, || bar.inc(1)).await;
            bar.finish_and_clear();
            measured.with_context(|| format!("`{ranking}` with `{embedding}` cannot be measured on {}", set.name))?;
            runs.push(run);
        }
    }
    Ok(runs)
}

/// An engine with the tools of `set`, all of them embedded.
async fn engine(
    arguments: &Eval,
    set: &GoldenSet,
    contestant: &Contestant,
    bar: &ProgressBar,
) -> anyhow::Result<Arc<Optimizer>> {
    let provider = &contestant.provider;
    let mut config = provider.config.clone();
    config.max_tools_to_return = arguments.limit;
    config.index.path = provider.index_file(&set.name);
    let engine = optimizer(&config, contestant.rankings.clone(), provider.embedder.clone()).await?;
    let documents = set.documents();
    tokio::task::spawn_blocking({
        let engine = engine.clone();
        move || engine.update(documents)
    })
    .await?;
    let mut progress = engine.progress();
    let follow = async {
        while progress.changed().await.is_ok() {
            let now = *progress.borrow_and_update();
            bar.set_length(now.total as u64);
            bar.set_position(now.done as u64);
        }
    };
    tokio::select! {
        filled = engine.fill() => filled.with_context(|| format!("`{}` cannot embed the tools", provider.name))?,
        () = follow => {}
    }
    Ok(engine)
}

async fn explain(
    arguments: &Eval,
    sets: &[GoldenSet],
    contestants: &[Contestant],
    query: &str,
) -> anyhow::Result<ExitCode> {
    let mut explanations = Vec::new();
    for set in sets {
        for contestant in contestants {
            let (ranking, embedding) = (&contestant.ranking, &contestant.provider.name);
            let title = format!("{} · {ranking} · {embedding}", set.name);
            let bar = report::search::progress(&title);
            let engine = engine(arguments, set, contestant, &bar).await?;
            bar.finish_and_clear();
            let answer = engine.search(SearchRequest { reasons: Reasons::All, ..SearchRequest::new(query) }).await?;
            let explanation = answer.explanation.context("the search was not explained")?;
            match arguments.json {
                true => explanations.push(json!({
                    "set": set.name, "ranking": ranking, "embedding": embedding, "explanation": explanation,
                })),
                false => report::search::explanation(&title, &explanation),
            }
        }
    }
    if arguments.json {
        report::json(&json!(explanations));
    }
    Ok(ExitCode::SUCCESS)
}

/// The row of every run, contestant by contestant, and the mean of several sets below them.
fn summaries(runs: &[Vec<Run>]) -> Vec<Summary> {
    let means =
        runs.iter().filter(|runs| runs.len() > 1).map(|runs| Summary::of(&runs.iter().collect::<Vec<_>>(), MEAN));
    let sets = runs.first().map_or(0, Vec::len);
    let rows = (0..sets).flat_map(|set| runs.iter().map(move |runs| Summary::of(&[&runs[set]], MEAN)));
    rows.chain(means).collect()
}

/// What the second of the `compared` rankings gains over the first, set by set and on the whole, per provider.
fn comparisons(runs: &[Vec<Run>], compared: &[String]) -> Vec<Comparison> {
    let [a, b] = compared else { return Vec::new() };
    let of = |ranking: &String| runs.iter().filter(|runs| runs[0].ranking == *ranking).collect::<Vec<_>>();
    // Both were measured with the same providers, in the same order.
    let pairs = of(a).into_iter().zip(of(b));
    pairs
        .flat_map(|(a, b)| {
            let (a, b): (Vec<_>, Vec<_>) = (a.iter().collect(), b.iter().collect());
            let each: Vec<_> = a.iter().zip(&b).map(|(a, b)| Comparison::of(&[a], &[b], MEAN)).collect();
            let whole = (a.len() > 1).then(|| Comparison::of(&a, &b, MEAN));
            each.into_iter().chain(whole)
        })
        .collect()
}

/// The gate of `--min-recall@8`: of the first contestant, on the whole where there are several sets.
fn check_recall(arguments: &Eval, summaries: &[Summary], sets: usize) -> anyhow::Result<ExitCode> {
    let Some(least) = arguments.min_recall else { return Ok(ExitCode::SUCCESS) };
    let contestants = if sets > 1 { summaries.len() / (sets + 1) } else { summaries.len() };
    let row = &summaries[summaries.len() - contestants];
    let recall = row.figure(Metric::Recall(8)).map_or(0.0, |estimate| estimate.mean * 100.0);
    if recall < least {
        let Summary { set, ranking, embedding, .. } = row;
        return Err(anyhow::anyhow!("R@8 is {recall:.2} %, below {least} %: {set}, `{ranking}` with `{embedding}`")
            .context(Failure::Recall));
    }
    Ok(ExitCode::SUCCESS)
}

async fn write_runs(folder: &Path, runs: impl Iterator<Item = &Run>) -> anyhow::Result<()> {
    tokio::fs::create_dir_all(folder).await.with_context(|| format!("cannot make {}", folder.display()))?;
    for run in runs {
        let name = format!("{}.{}.{}", run.set, run.ranking, run.embedding);
        let legal = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let file = folder.join(format!("{}.json", name.chars().map(legal).collect::<String>()));
        let text = serde_json::to_string(&run.found()).context("a run is plain data")?;
        tokio::fs::write(&file, text).await.with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
