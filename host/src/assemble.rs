//! All wiring, in the order of startup: components, the resolver that the configuration names, backends, gateway.
//! Nothing else builds parts for others.

pub(crate) mod search;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;
use vmcp_backend::{Backend, BackendContext, BackendSpec, Transport, Watcher};
use vmcp_config::{
    BackendConfig, ByteSize, Config, GoDuration, Loaded, OptimizerConfig, PartialFailureMode, PluginConfig, Rule,
    Secret, SessionSharing, TransportConfig,
};
use vmcp_core::{
    extension::{ComponentConfigProblem, ConflictResolver},
    json::RawJson,
    ranking::RankingStrategy,
};
use vmcp_gateway::{
    Gateway, GatewayOptions,
    authored::HostInfo,
    last_seen::LastSeen,
    rules::Rules,
    seal::{Sealer, SealingKey},
};
use vmcp_plugin::{Component, ComponentSource, EngineOptions, Grants, Limits, PluginEngine, PluginError};

/// How long the first catalog waits for backends that are still starting. Those join later; clients are told.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much longer than its client a backend's question waits: whoever waits for the client gives up first, and cancels the call.
const INPUT_MARGIN: Duration = Duration::from_secs(30);

/// Answers searches where the configured ranking fails.
const FALLBACK_RANKING: &str = "linear";

/// Where a component's bytes come from when the program carries them.
const BUILT_IN: &str = "built-in";

/// Marks an error that a component caused.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a component was refused")]
pub struct ComponentRefused;

/// Puts a host together.
pub struct HostBuilder {
    loaded: Loaded,
    carried: Carried,
    patience: Duration,
}

/// A host, ready to start.
pub struct Host {
    gateway: Arc<Gateway>,
    config: Config,
    /// What serves clients. It ends first, so that requests under way still find their backends.
    fronts: TaskTracker,
    stopping: CancellationToken,
    /// Backends, and what keeps the catalog true.
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl HostBuilder {
    /// A host as `loaded` describes it, with the components that this build carries.
    pub fn new(loaded: Loaded) -> Self {
        Self { loaded, carried: carried_components(), patience: PATIENCE }
    }

    /// Carries `bytes` as the component `name`, in place of the one of that name if there is one.
    #[must_use]
    pub fn component(mut self, name: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        self.carried.insert(name.to_owned(), bytes.into());
        self
    }

    /// Carries no component but those that the configuration loads.
    #[must_use]
    pub fn without_components(mut self) -> Self {
        self.carried.clear();
        self
    }

    /// How long the first catalog waits for backends that are still starting.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Compiles and checks the components and makes the parts. No backend starts before [`Host::start`].
    pub async fn build(self) -> anyhow::Result<Host> {
        let Self { loaded, carried, patience } = self;
        // Compiling takes a while where the cache is cold.
        let (loaded, resolver, rankings) = tokio::task::spawn_blocking(move || {
            let (resolver, rankings) = {
                let components = Components::load(&loaded, &carried)?;
                let rankings =
                    loaded.config.optimizer.as_ref().map(|optimizer| components.rankings(optimizer)).transpose()?;
                (components.conflict_resolver()?, rankings)
            };
            anyhow::Ok((loaded, resolver, rankings))
        })
        .await?
        .map_err(|error| error.context(ComponentRefused))?;
        let host = HostInfo {
            title: loaded.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: canonical(loaded.file()),
        };
        let config = loaded.config;
        let tool_search = match (&config.optimizer, rankings) {
            (Some(optimizer), Some(rankings)) => Some(search::tool_search(optimizer, rankings).await?),
            _ => None,
        };
        let tasks = TaskTracker::new();
        let ending = CancellationToken::new();
        let context = Arc::new(BackendContext {
            input_timeout: config.server.input_timeout.as_duration() + INPUT_MARGIN,
            host_info: RawJson::of(&host.implementation()),
            watcher: watcher(&config),
            tasks: tasks.clone(),
            shutdown: ending.clone(),
        });
        let backend = |backend| Ok(Backend::new(backend_spec(&config, backend)?, context.clone()));
        let backends = config.backends.iter().map(backend).collect::<anyhow::Result<Vec<_>>>()?;
        let state = state_dir(&config)?;
        make_private_folder(&state)?;
        let last_seen = LastSeen::new(Some(state.join("last-seen")))
            .with_context(|| format!("cannot use the state folder {}", state.display()))?;
        let sealer = sealer(&config, &state)?;
        let failure_mode = config.operational.failure_handling.partial_failure_mode;
        let gateway = Gateway::new(GatewayOptions {
            host,
            backends,
            rules: Rules::from_config(&config),
            resolver,
            last_seen,
            sealer: Arc::new(sealer),
            input_timeout: config.server.input_timeout.as_duration(),
            patience,
            tool_search,
            all_or_nothing: failure_mode == Some(PartialFailureMode::Fail),
        });
        let (fronts, stopping) = (TaskTracker::new(), CancellationToken::new());
        Ok(Host { gateway, config, fronts, stopping, tasks, ending })
    }
}

impl Host {
    /// Starts the backends and begins to build the catalog.
    pub fn start(&self) {
        self.gateway.start(&self.tasks, &self.ending);
    }

    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the tasks of fronts are tracked: the host waits for them when it stops.
    pub fn fronts(&self) -> &TaskTracker {
        &self.fronts
    }

    /// Fires when the host begins to stop: fronts take no more requests and finish those under way.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Lets requests under way finish, then ends the backends; at most as long as `server.shutdownGrace` says.
    pub async fn stop(self) {
        let grace = self.config.server.shutdown_grace.as_duration();
        self.stop_within(grace).await;
    }

    /// As [`stop`](Self::stop), within `grace`: half of it for requests under way, what is left for the backends.
    pub async fn stop_within(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.stopping.cancel();
        self.fronts.close();
        if timeout(grace / 2, self.fronts.wait()).await.is_err() {
            warn!(remaining = self.fronts.len(), "requests under way are given up");
        }
        self.tasks.close();
        let everything = async {
            self.gateway.stop(deadline.saturating_duration_since(Instant::now()).mul_f64(0.7)).await;
            self.ending.cancel();
            self.tasks.wait().await;
        };
        if timeout_at(deadline, everything).await.is_err() {
            warn!(?grace, remaining = self.tasks.len(), "tasks outlived the grace period");
        }
    }
}

/// `file` as an absolute path where it has one.
fn canonical(file: &str) -> String {
    std::fs::canonicalize(file).map_or_else(|_| file.to_owned(), |path| path.display().to_string())
}

/// Components by name.
type Carried = BTreeMap<String, Cow<'static, [u8]>>;

/// The components that this build carries.
#[cfg(feature = "builtin-plugins")]
fn carried_components() -> Carried {
    vmcp_builtin::all().iter().map(|builtin| (builtin.name.to_owned(), Cow::Borrowed(builtin.wasm))).collect()
}

/// This build carries none.
#[cfg(not(feature = "builtin-plugins"))]
fn carried_components() -> Carried {
    Carried::new()
}

/// The components that a configuration may name: those it loads, and those that the build carries.
struct Components<'a> {
    loaded: &'a Loaded,
    carried: &'a Carried,
    engine: Arc<PluginEngine>,
    plugins: BTreeMap<String, Component>,
}

impl<'a> Components<'a> {
    /// Compiles every component of the configuration, so that a broken one is found now.
    fn load(loaded: &'a Loaded, carried: &'a Carried) -> anyhow::Result<Self> {
        let engine = engine(&loaded.config)?;
        let plugins = load_plugins(&engine, &loaded.config, carried)?;
        Ok(Self { loaded, carried, engine, plugins })
    }

    /// The component that `key` of the configuration names.
    fn get(&self, key: &str, name: &str) -> anyhow::Result<Component> {
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
        let PluginError::ConfigRefused { problems, .. } = error else { return with_hint(error) };
        let line = |problem: &ComponentConfigProblem| {
            let pointer = format!("{pointer}{}", problem.pointer);
            self.loaded.problem_at(&pointer, Rule::ComponentConfig, problem.message.clone(), None).to_string()
        };
        let lines: Vec<_> = problems.iter().map(line).collect();
        anyhow!("component `{name}` does not accept its config\n{}", lines.join("\n"))
    }

    /// The component that resolves name conflicts, with its config.
    fn conflict_resolver(&self) -> anyhow::Result<Arc<dyn ConflictResolver>> {
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
    fn rankings(&self, optimizer: &OptimizerConfig) -> anyhow::Result<Rankings> {
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
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedComponents {
    /// Label of the component that decides names.
    pub conflict_resolver: String,
    /// Label of the component that ranks, where tools are searched.
    pub ranking: Option<String>,
    /// Names and versions of the components that the configuration loads.
    pub loaded: Vec<String>,
}

/// Compiles and checks the components of a configuration, as starting a host would.
pub fn check_components(loaded: &Loaded) -> anyhow::Result<CheckedComponents> {
    let carried = carried_components();
    let components = Components::load(loaded, &carried)?;
    let resolver = components.conflict_resolver()?;
    let rankings = loaded.config.optimizer.as_ref().map(|optimizer| components.rankings(optimizer)).transpose()?;
    for backend in &loaded.config.backends {
        backend_spec(&loaded.config, backend)?;
    }
    configured_keys(&loaded.config)?;
    let label = |(name, component): (&String, &Component)| format!("{name} {}", component.description().version);
    Ok(CheckedComponents {
        conflict_resolver: resolver.label().to_owned(),
        ranking: rankings.map(|rankings| rankings.chosen.label().to_owned()),
        loaded: components.plugins.iter().map(label).collect(),
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

fn source(name: &str, bytes: Cow<'static, [u8]>, origin: &str) -> ComponentSource {
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

/// One watcher ends the processes of all stdio backends if the host cannot.
fn watcher(config: &Config) -> Option<Watcher> {
    let has_processes = config.backends.iter().any(|b| matches!(b.transport, TransportConfig::Stdio { .. }));
    has_processes.then(Watcher::spawn)
}

fn backend_spec(config: &Config, backend: &BackendConfig) -> anyhow::Result<BackendSpec> {
    let headers: HeaderMap = config.headers_for(&backend.name)?.into_iter().collect();
    let ca_bundle = backend.ca_bundle_path.clone();
    let transport = match &backend.transport {
        TransportConfig::StreamableHttp { url } => Transport::StreamableHttp { url: url.clone(), headers, ca_bundle },
        TransportConfig::Sse { url } => Transport::Sse { url: url.clone(), headers, ca_bundle },
        TransportConfig::Stdio { command, args, env, env_from, cwd } => {
            let inherited = env_from.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
            let mut variables: Vec<_> = inherited.collect();
            for (name, secret) in env {
                let value = secret
                    .resolve()
                    .with_context(|| format!("variable `{name}` of backend `{}` has no value", backend.name))?;
                variables.push((name.clone(), value));
            }
            Transport::Stdio {
                command: command.to_string_lossy().into_owned(),
                args: args.clone(),
                env: variables,
                cwd: cwd.clone(),
            }
        }
    };
    Ok(BackendSpec {
        id: backend.name.clone(),
        transport,
        request_timeout: config.request_timeout(&backend.name),
        start_timeout: backend.start_timeout.as_duration(),
        idle_timeout: backend.idle_timeout.map(GoDuration::as_duration),
        lazy: backend.lazy,
        max_concurrency: backend.max_concurrency,
        max_processes: backend.max_processes,
        shared_sessions: backend.sessions == SessionSharing::Shared,
        reply_limit: config.server.reply_limit.as_usize(),
    })
}

/// What seals for clients: with the keys that the configuration names, else with the one that is kept in `state`. Where none
/// can be kept the host serves all the same.
fn sealer(config: &Config, state: &Path) -> anyhow::Result<Sealer> {
    let keys = configured_keys(config)?;
    if !keys.is_empty() {
        return Ok(Sealer::new(keys));
    }
    match SealingKey::kept_in(state) {
        Ok(key) => Ok(Sealer::new([key])),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            warn!(%error, cause, "sessions will not outlive this process, whose sealing key is kept nowhere");
            Ok(Sealer::default())
        }
    }
}

/// The keys of `sealing.keys`, newest first.
fn configured_keys(config: &Config) -> anyhow::Result<Vec<SealingKey>> {
    let key = |(index, secret): (usize, &Secret)| {
        let named = || format!("`sealing.keys[{index}]` is no key");
        SealingKey::parse(&secret.resolve().with_context(named)?).with_context(named)
    };
    config.sealing.keys.iter().enumerate().map(key).collect()
}

/// The folder for what must last: `stateDir`, else the user's state folder, per `name`.
pub fn state_dir(config: &Config) -> anyhow::Result<PathBuf> {
    match &config.state_dir {
        Some(folder) => Ok(folder.clone()),
        None => Ok(user_folder("XDG_STATE_HOME", ".local/state")?.join(vmcp_core::id::legalised(&config.name))),
    }
}

/// The folder for what can be made again: `cacheDir`, else the user's cache folder.
pub fn cache_dir(config: &Config) -> anyhow::Result<PathBuf> {
    config.cache_dir.clone().map_or_else(|| user_folder("XDG_CACHE_HOME", ".cache"), Ok)
}

/// `vmcp-host` below the folder that `variable` names, or below `default` in the home folder.
fn user_folder(variable: &str, default: &str) -> anyhow::Result<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let named = std::env::var_os(variable).map(PathBuf::from).and_then(absolute);
    let folder = named.or_else(|| Some(std::env::home_dir().and_then(absolute)?.join(default)));
    let folder =
        folder.with_context(|| format!("neither {variable} nor HOME is set; set `stateDir` and `cacheDir`"))?;
    Ok(folder.join("vmcp-host"))
}

/// Makes `folder` for its owner alone.
fn make_private_folder(folder: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).with_context(|| format!("cannot make the state folder {}", folder.display()))
}
