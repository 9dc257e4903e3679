//! The components that a configuration names: loaded, checked, and given their configs.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};
use tracing::warn;
use vmcp_config::{ByteSize, Config, GoDuration, Loaded, OptimizerConfig, PluginConfig, Problem, Rule};
use vmcp_core::{
    extension::{ComponentConfigProblem, ConflictResolver},
    ranking::RankingStrategy,
    workflow::WorkflowDefinition,
};
use vmcp_plugin::{Component, ComponentSource, EngineOptions, Grants, Limits, PluginEngine, PluginError};
use vmcp_workflow::runs::RunStore;

use super::{backend_spec, cache_dir, configured_keys, user_folder};

/// Answers searches where the configured ranking fails.
const FALLBACK_RANKING: &str = "linear";

/// Where a component's bytes come from when the program carries them.
pub(super) const BUILT_IN: &str = "built-in";

/// Components by name.
pub(super) type Carried = BTreeMap<String, Cow<'static, [u8]>>;

/// The components that this build carries.
#[cfg(feature = "builtin-plugins")]
pub(super) fn carried_components() -> Carried {
    vmcp_builtin::all().iter().map(|builtin| (builtin.name.to_owned(), Cow::Borrowed(builtin.wasm))).collect()
}

/// This build carries none.
#[cfg(not(feature = "builtin-plugins"))]
pub(super) fn carried_components() -> Carried {
    Carried::new()
}

/// The components that a configuration may name: those it loads, and those that the build carries.
pub(super) struct Components<'a> {
    pub(super) loaded: &'a Loaded,
    carried: &'a Carried,
    pub(super) engine: Arc<PluginEngine>,
    plugins: BTreeMap<String, Component>,
    /// Where the bytes of components go that runs may need after a restart.
    pub(super) runs: Option<Arc<dyn RunStore>>,
}

impl<'a> Components<'a> {
    /// Compiles every component of the configuration, so that a broken one is found now.
    pub(super) fn load(loaded: &'a Loaded, carried: &'a Carried) -> anyhow::Result<Self> {
        let engine = engine(&loaded.config)?;
        let plugins = load_plugins(&engine, &loaded.config, carried)?;
        Ok(Self { loaded, carried, engine, plugins, runs: None })
    }

    /// Keeps the bytes of `component`, which runs workflows, for runs that outlive the process.
    ///
    /// - `bytes`: those of a file that it alone is from
    pub(super) fn keep(&self, component: &Component, bytes: Option<&[u8]>) {
        let Some(runs) = self.runs.as_ref().filter(|runs| runs.is_durable()) else { return };
        let name = component.name();
        let of_plugin = || {
            let plugin = self.loaded.config.plugins.iter().find(|plugin| plugin.name == name)?;
            std::fs::read(&plugin.source).ok().map(Cow::Owned)
        };
        let bytes = bytes.map(Cow::Borrowed).or_else(of_plugin).or_else(|| self.carried.get(name).cloned());
        match bytes.filter(|bytes| vmcp_plugin::digest(bytes) == component.digest()) {
            Some(bytes) => runs.keep_component(component.digest(), &bytes),
            None => warn!(component = name, "its file changed while it was loaded: runs cannot outlast a change of it"),
        }
    }

    /// The component that `key` of the configuration names.
    pub(super) fn get(&self, key: &str, name: &str) -> anyhow::Result<Component> {
        match (self.plugins.get(name), self.carried.get(name)) {
            (Some(component), _) => Ok(component.clone()),
            (None, Some(bytes)) => self.engine.load(source(name, bytes.clone(), BUILT_IN)).map_err(with_hint),
            (None, None) => {
                let known: Vec<_> = self.plugins.keys().chain(self.carried.keys()).map(String::as_str).collect();
                let hint = match known.as_slice() {
                    [] => "this build carries no components; load one under `plugins`".to_owned(),
                    known => format!("there are: {}", known.join(", ")),
                };
                bail!("`{key}` needs the component `{name}`, which is not loaded ({hint})");
            }
        }
    }

    /// What a component says against its config, with the places in the file.
    ///
    /// - `pointer`: where the file has that config
    fn refusal(&self, name: &str, pointer: &str, error: PluginError) -> anyhow::Error {
        refusal(name, error, |problem| {
            let pointer = format!("{pointer}{}", problem.pointer);
            self.loaded.problem_at(&pointer, Rule::ComponentConfig, problem.message.clone(), None)
        })
    }

    /// The component that resolves name conflicts, with its config.
    pub(super) fn conflict_resolver(&self) -> anyhow::Result<Arc<dyn ConflictResolver>> {
        let aggregation = &self.loaded.config.aggregation;
        let name = aggregation.resolver();
        let component = self.get("aggregation.conflictResolution", name)?;
        component
            .conflict_resolver(&aggregation.resolver_config())
            .map_err(|error| self.refusal(name, "/aggregation/conflictResolutionConfig", error))
    }

    /// The component `name` as a ranking, with `config`.
    fn ranking(&self, name: &str, config: &Value) -> anyhow::Result<Arc<dyn RankingStrategy>> {
        let component = self.get("optimizer.ranking", name)?;
        component.ranking_strategy(config).map_err(|error| self.refusal(name, "/optimizer/rankingConfig", error))
    }

    /// The ranking that the configuration names, and the one that stands in for it.
    pub(super) fn rankings(&self, optimizer: &OptimizerConfig) -> anyhow::Result<Rankings> {
        let config = optimizer.ranking_config.clone().map_or_else(|| json!({}), Value::Object);
        let chosen = self.ranking(optimizer.ranking(), &config)?;
        // The ranking that stands in is a component as well: without one that is so named, there is none.
        let fallback = match self.carried.contains_key(FALLBACK_RANKING) {
            true => Some(self.ranking(FALLBACK_RANKING, &json!({}))?),
            false => None,
        };
        Ok(Rankings { chosen, fallback })
    }
}

/// The error of a component that was given something; each of its problems has its place.
pub(super) fn refusal(
    name: &str,
    error: PluginError,
    locate: impl Fn(&ComponentConfigProblem) -> Problem,
) -> anyhow::Error {
    let PluginError::ConfigRefused { problems, .. } = error else { return with_hint(error) };
    let lines: Vec<_> = problems.iter().map(|problem| locate(problem).to_string()).collect();
    anyhow!("component `{name}` does not accept its config\n{}", lines.join("\n"))
}

/// Rankings for one engine.
#[derive(Clone)]
pub struct Rankings {
    pub chosen: Arc<dyn RankingStrategy>,
    /// Answers when `chosen` fails.
    pub fallback: Option<Arc<dyn RankingStrategy>>,
}

/// The rankings `names` with the configuration's `rankingConfig` for the one that it names and an empty one for others, and
/// the ranking that stands in for each.
pub fn rankings_named(loaded: &Loaded, names: &[String]) -> anyhow::Result<Vec<Rankings>> {
    let carried = carried_components();
    let components = Components::load(loaded, &carried)?;
    let named = |name: &String| {
        let mut optimizer = loaded.config.optimizer.clone().unwrap_or_default();
        if optimizer.ranking() != name {
            optimizer.ranking = Some(name.clone());
            optimizer.ranking_config = None;
        }
        components.rankings(&optimizer)
    };
    names.iter().map(named).collect()
}

/// Every component of the configuration, by name.
fn load_plugins(
    engine: &Arc<PluginEngine>,
    config: &Config,
    carried: &Carried,
) -> anyhow::Result<BTreeMap<String, Component>> {
    let mut components = BTreeMap::new();
    for plugin in &config.plugins {
        if carried.contains_key(&plugin.name) {
            bail!("plugin `{}` has the name of a component that comes with the host; give it another", plugin.name);
        }
        components.insert(plugin.name.clone(), load_plugin(engine, plugin)?);
    }
    Ok(components)
}

/// The components of a configuration that were compiled and checked.
#[derive(Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedComponents {
    /// Label of the component that decides names.
    pub conflict_resolver: String,
    /// Label of the component that ranks, where tools are searched.
    pub ranking: Option<String>,
    /// Names of the composite tools.
    pub composite_tools: Vec<String>,
    /// Names and versions of the components that the configuration loads.
    pub loaded: Vec<String>,
    #[serde(skip)]
    pub(super) resolver: Arc<dyn ConflictResolver>,
    /// The composite tools by name, those of `compositeTools` first.
    #[serde(skip)]
    pub(super) composites: Vec<(Arc<str>, WorkflowDefinition)>,
}

/// Compiles and checks the components of a configuration, as starting a host would.
pub fn check_components(loaded: &Loaded) -> anyhow::Result<CheckedComponents> {
    let carried = carried_components();
    let components = Components::load(loaded, &carried)?;
    let resolver = components.conflict_resolver()?;
    let rankings = loaded.config.optimizer.as_ref().map(|optimizer| components.rankings(optimizer)).transpose()?;
    let composites = components.composites()?;
    for backend in &loaded.config.backends {
        backend_spec(&loaded.config, backend)?;
    }
    configured_keys(&loaded.config)?;
    let label = |(name, component): (&String, &Component)| format!("{name} {}", component.description().version);
    Ok(CheckedComponents {
        conflict_resolver: resolver.label().to_owned(),
        ranking: rankings.map(|rankings| rankings.chosen.label().to_owned()),
        composite_tools: composites.iter().map(|(composite, _)| composite.name.to_string()).collect(),
        loaded: components.plugins.iter().map(label).collect(),
        resolver,
        composites: composites.into_iter().map(|(composite, _)| (composite.name, composite.definition)).collect(),
    })
}

/// The component `name` that this build carries.
pub fn carried_component(name: &str) -> Option<Cow<'static, [u8]>> {
    carried_components().remove(name)
}

/// The engine that all components share, with the compile cache of `config`.
fn engine(config: &Config) -> anyhow::Result<Arc<PluginEngine>> {
    PluginEngine::new(EngineOptions { cache_dir: Some(cache_dir(config)?), ..EngineOptions::default() })
        .map_err(with_hint)
}

/// An engine for files apart from any configuration; what it compiles is kept in the user's cache folder.
pub fn engine_for_files() -> anyhow::Result<Arc<PluginEngine>> {
    let cache_dir = user_folder("XDG_CACHE_HOME", ".cache").ok();
    PluginEngine::new(EngineOptions { cache_dir, ..EngineOptions::default() }).map_err(with_hint)
}

fn load_plugin(engine: &Arc<PluginEngine>, plugin: &PluginConfig) -> anyhow::Result<Component> {
    if plugin.source.contains("://") {
        bail!("plugin `{}`: this build loads components from files only, not from `{}`", plugin.name, plugin.source);
    }
    let bytes = std::fs::read(&plugin.source)
        .with_context(|| format!("plugin `{}`: cannot read `{}`", plugin.name, plugin.source))?;
    let limits = Limits {
        memory: plugin.limits.memory.map(ByteSize::as_bytes),
        running_time: plugin.limits.running_time.map(GoDuration::as_duration),
        output: plugin.limits.output_size.map(ByteSize::as_bytes),
    };
    let source = ComponentSource {
        sha256: plugin.sha256.clone(),
        grants: Grants { wasi: plugin.grants.wasi.clone() },
        limits,
        ..source(&plugin.name, bytes.into(), &plugin.source)
    };
    engine.load(source).map_err(with_hint)
}

pub(super) fn source(name: &str, bytes: Cow<'static, [u8]>, origin: &str) -> ComponentSource {
    ComponentSource {
        name: name.to_owned(),
        bytes,
        origin: origin.to_owned(),
        sha256: None,
        grants: Grants::default(),
        limits: Limits::default(),
    }
}

/// An error of a component with its cause, and what to do about it.
pub fn with_hint(error: PluginError) -> anyhow::Error {
    let hint = error.hint();
    let error = anyhow::Error::new(error);
    match hint {
        Some(hint) => {
            let message = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
            anyhow!("{message}\nhint: {hint}")
        }
        None => error,
    }
}
