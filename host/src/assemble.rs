//! All wiring, in the order of startup: components, the resolver that the configuration names, backends, gateway.
//! Nothing else builds parts for others.

mod components;
mod composite;
mod known_tools;
mod runs;
pub(crate) mod search;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use http::HeaderMap;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;
use vmcp_backend::{Backend, BackendContext, BackendSpec, Transport, Watcher};
use vmcp_config::{
    BackendConfig, Config, GoDuration, Loaded, PartialFailureMode, Secret, SessionSharing, TransportConfig,
};
use vmcp_core::{journal::Recorder, json::RawJson};
use vmcp_gateway::{
    Gateway, GatewayOptions,
    authored::HostInfo,
    last_seen::LastSeen,
    rules::Rules,
    seal::{Sealer, SealingKey},
};
use vmcp_plugin::Component;
use vmcp_workflow::Composite;

use components::{Carried, Components, carried_components};
pub use components::{
    CheckedComponents, Rankings, carried_component, check_components, engine_for_files, rankings_named, with_hint,
};
pub use composite::{interpreted, workflow, workflow_name};
pub use known_tools::{ToolSource, check_calls};

/// How long the first catalog waits for backends that are still starting. Those join later; clients are told.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much longer than its client a backend's question waits: whoever waits for the client gives up first, and cancels the call.
const INPUT_MARGIN: Duration = Duration::from_secs(30);

/// Marks an error that a component caused.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a component was refused")]
pub struct ComponentRefused;

/// Puts a host together.
pub struct HostBuilder {
    loaded: Loaded,
    carried: Carried,
    patience: Duration,
    recorders: Vec<(String, Arc<dyn Recorder>)>,
}

/// A host, ready to start.
pub struct Host {
    gateway: Arc<Gateway>,
    config: Box<Config>,
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
        Self { loaded, carried: carried_components(), patience: PATIENCE, recorders: Vec::new() }
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

    /// Has `recorder` take down what the runs of the composite tool `name` are told.
    #[must_use]
    pub fn recorder(mut self, name: &str, recorder: Arc<dyn Recorder>) -> Self {
        self.recorders.push((name.to_owned(), recorder));
        self
    }

    /// Compiles and checks the components and makes the parts. No backend starts before [`Host::start`].
    pub async fn build(self) -> anyhow::Result<Host> {
        let Self { loaded, carried, patience, mut recorders } = self;
        let runs = runs::store(&loaded.config.runs)?;
        let keeper = runs.clone();
        // Compiling takes a while where the cache is cold.
        let (loaded, resolver, rankings, composites) = tokio::task::spawn_blocking(move || {
            let (resolver, rankings, composites) = {
                let mut components = Components::load(&loaded, &carried)?;
                components.runs = Some(keeper);
                let rankings =
                    loaded.config.optimizer.as_ref().map(|optimizer| components.rankings(optimizer)).transpose()?;
                (components.conflict_resolver()?, rankings, components.composites()?)
            };
            anyhow::Ok((loaded, resolver, rankings, composites))
        })
        .await?
        .map_err(|error| error.context(ComponentRefused))?;
        let revive = runs::revive(&composites);
        let recorded = |(mut composite, _): (Composite, Component)| {
            let wanted = recorders.iter().position(|(name, _)| **name == *composite.name);
            composite.recorder = wanted.map(|at| recorders.swap_remove(at).1);
            Arc::new(composite)
        };
        let composites = composites.into_iter().map(recorded).collect();
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
            composites,
            runs,
            run_lifetime: config.runs.lifetime.as_duration(),
            revive,
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
        self.gateway.begin_stop();
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
