//! From bytes to a component that can be called: digest, compilation, imports, exports, and its own description.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;
use sha2::{Digest, Sha256};
use vmcp_core::{
    extension::{ComponentConfigProblem, ComponentDescription, ConflictResolver},
    ranking::RankingStrategy,
    workflow::{Workflow, WorkflowSource},
};
use wasmtime::component::InstancePre;

use crate::{
    bindings::{
        component::ComponentExportIndices, conflict::ConflictExportIndices, ranking::RankingExportIndices,
        workflow::WorkflowExportIndices,
    },
    cache::CompiledCode,
    call::{CallState, Callee},
    engine::{MAX_COMPONENT_BYTES, PluginEngine},
    error::PluginError,
    exports::{
        component::{self, COMPONENT},
        conflict::{CONFLICT_RESOLVER, CONFLICT_RESOLVER_VERSION, ComponentConflictResolver},
        has_export,
        ranking::{ComponentRankingStrategy, RANKING_STRATEGY, RANKING_STRATEGY_VERSION},
        workflow::{ComponentWorkflow, Place, Runnable, WORKFLOW, WORKFLOW_VERSION},
    },
    grant::{self, Grants},
    imports::{self, PROGRESS},
    limits::{Limits, RANKING_TIME, RUNNING_TIME, WORKFLOW_OUTPUT, WORKFLOW_TIME},
};

/// How a component file begins: the magic number, then its version and layer.
const COMPONENT_HEADER: [u8; 8] = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];
const MODULE_HEADER: [u8; 8] = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/// A component as the configuration (or the binary) has it.
#[derive(Clone, Debug)]
pub struct ComponentSource {
    /// Its name in the configuration.
    pub name: String,
    pub bytes: Cow<'static, [u8]>,
    /// Where the bytes are from, for messages: `built-in` or a path.
    pub origin: String,
    /// The digest that the bytes must have, as hex; `sha256:` may stand before it.
    pub sha256: Option<String>,
    pub grants: Grants,
    pub limits: Limits,
}

/// A component that was compiled and checked. Cheap to clone.
#[derive(Clone)]
pub struct Component(Arc<Loaded>);

struct Loaded {
    callee: Callee,
    grants: Grants,
    limits: Limits,
    digest: String,
    description: ComponentDescription,
    component: ComponentExportIndices,
    conflict: Option<ConflictExportIndices>,
    ranking: Option<RankingExportIndices>,
    /// With the instance for the pool, if it fits there.
    workflow: Option<(WorkflowExportIndices, Option<PooledWorkflow>)>,
    reports_progress: bool,
}

/// A workflow for the engine that has a pool: each engine knows exports by indices of its own.
#[derive(Clone)]
struct PooledWorkflow {
    instance: InstancePre<CallState>,
    indices: WorkflowExportIndices,
}

impl PluginEngine {
    /// Compiles (or finds compiled) and checks a component, and asks it for its description. Blocking: a large component
    /// compiles for seconds.
    pub fn load(self: &Arc<Self>, source: ComponentSource) -> Result<Component, PluginError> {
        let digest = check_bytes(&source)?;
        let compiled = self.compile(&source, &digest)?;
        let needs = grant::needs(compiled.engine(), &compiled);
        let is_workflow = has_export(&compiled, WORKFLOW_VERSION, &source.name)?;
        let reports_progress = needs.iter().any(|(import, _)| import.starts_with(PROGRESS));
        let with_wasi = grant::check(&needs, &source.grants, is_workflow, &source.name)?;
        if !has_export(&compiled, COMPONENT, &source.name)? {
            return Err(PluginError::MissingExport { component: source.name, interface: COMPONENT.into() });
        }
        let resolves_conflicts = has_export(&compiled, CONFLICT_RESOLVER_VERSION, &source.name)?;
        let ranks = has_export(&compiled, RANKING_STRATEGY_VERSION, &source.name)?;

        let mismatch =
            |error: wasmtime::Error| PluginError::Mismatch { component: source.name.clone(), source: error.into() };
        let instance = imports::linker(compiled.engine(), with_wasi, is_workflow)
            .and_then(|linker| linker.instantiate_pre(&compiled))
            .map_err(mismatch)?;
        let component = ComponentExportIndices::new(&instance).map_err(mismatch)?;
        let conflict =
            resolves_conflicts.then(|| ConflictExportIndices::new(&instance)).transpose().map_err(mismatch)?;
        let ranking = ranks.then(|| RankingExportIndices::new(&instance)).transpose().map_err(mismatch)?;
        let workflow = is_workflow.then(|| WorkflowExportIndices::new(&instance)).transpose().map_err(mismatch)?;
        let limits = source.limits.or(self.limits);
        let pooled = is_workflow.then(|| self.pooled_workflow(&source, &digest, with_wasi)).flatten();
        let callee = Callee {
            engine: Arc::clone(self),
            name: source.name.as_str().into(),
            instance,
            allowance: limits.allowance(RUNNING_TIME),
            with_wasi,
        };
        let description = component::describe(&callee, &component)?;
        Ok(Component(Arc::new(Loaded {
            callee,
            grants: source.grants,
            limits,
            digest,
            description,
            component,
            conflict,
            ranking,
            workflow: workflow.map(|indices| (indices, pooled)),
            reports_progress,
        })))
    }

    /// A workflow for the engine that has a pool.
    fn pooled_workflow(&self, source: &ComponentSource, digest: &str, with_wasi: bool) -> Option<PooledWorkflow> {
        let engine = self.pooled_workflows.as_ref()?;
        let code = match self.cache.find(&self.workflows, digest) {
            Some(code) => code,
            None => self.cache.compile(&self.workflows, digest, &source.bytes).ok()?,
        };
        let compiled = code.load(engine).ok()?;
        let instance = imports::linker(engine, with_wasi, true).ok()?.instantiate_pre(&compiled).ok()?;
        let indices = WorkflowExportIndices::new(&instance).ok()?;
        Some(PooledWorkflow { instance, indices })
    }

    /// The compiled component, on the pooling engine if it fits there.
    pub(crate) fn compile(
        &self,
        source: &ComponentSource,
        digest: &str,
    ) -> Result<wasmtime::component::Component, PluginError> {
        let compile_error = |error: wasmtime::Error| PluginError::Compile {
            component: source.name.clone(),
            origin: source.origin.clone(),
            source: error.into(),
        };
        let may_wait = may_be_workflow(&source.bytes);
        let engine = if may_wait { &self.workflows } else { &self.on_demand };
        let load = |code: CompiledCode| match &self.pooling {
            Some(pooling) if !may_wait => code.load(pooling).or_else(|_too_large| code.load(engine)),
            _ => code.load(engine),
        };
        if let Some(Ok(component)) = self.cache.find(engine, digest).map(load) {
            return Ok(component);
        }
        self.cache.compile(engine, digest, &source.bytes).and_then(load).map_err(compile_error)
    }
}

impl Component {
    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.0.callee.name
    }

    /// What the component says of itself.
    pub fn description(&self) -> &ComponentDescription {
        &self.0.description
    }

    /// Other bytes in its place: with its name, its grants and its limits. Blocking.
    ///
    /// - `origin`: where they are from, for messages
    pub fn replaced(&self, bytes: Vec<u8>, origin: &str) -> Result<Self, PluginError> {
        self.0.callee.engine.load(ComponentSource {
            name: self.name().to_owned(),
            bytes: bytes.into(),
            origin: origin.to_owned(),
            sha256: None,
            grants: self.0.grants.clone(),
            limits: self.0.limits,
        })
    }

    /// Hex sha256 of the component's bytes.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    pub fn implements_conflict_resolver(&self) -> bool {
        self.0.conflict.is_some()
    }

    pub fn implements_ranking_strategy(&self) -> bool {
        self.0.ranking.is_some()
    }

    pub fn implements_workflow(&self) -> bool {
        self.0.workflow.is_some()
    }

    /// All that the component finds wrong in `config` for `world`, e.g. [`CONFLICT_RESOLVER`]. Blocking.
    pub fn check_config(&self, world: &str, config: &Value) -> Result<Vec<ComponentConfigProblem>, PluginError> {
        self.problems(world, config, None)
    }

    /// This component as a conflict resolver, once it accepts `config`. Blocking.
    pub fn conflict_resolver(&self, config: &Value) -> Result<Arc<dyn ConflictResolver>, PluginError> {
        let indices = self.0.conflict.clone().ok_or_else(|| self.lacks(CONFLICT_RESOLVER_VERSION))?;
        self.accept_config(CONFLICT_RESOLVER, config)?;
        Ok(Arc::new(ComponentConflictResolver {
            callee: self.0.callee.clone(),
            indices,
            label: self.label(),
            config: config.to_string(),
        }))
    }

    /// This component as a ranking, once it accepts `config`. Blocking.
    pub fn ranking_strategy(&self, config: &Value) -> Result<Arc<dyn RankingStrategy>, PluginError> {
        let indices = self.0.ranking.clone().ok_or_else(|| self.lacks(RANKING_STRATEGY_VERSION))?;
        self.accept_config(RANKING_STRATEGY, config)?;
        let allowance = self.0.limits.allowance(RANKING_TIME);
        Ok(Arc::new(ComponentRankingStrategy::new(
            Callee { allowance, ..self.0.callee.clone() },
            indices,
            self.label(),
            config.to_string(),
        )))
    }

    /// This component as a workflow, once it accepts `config`. Blocking.
    ///
    /// - `document`: JSON text that it interprets, if it is an interpreter; what it refuses are then places in the document
    pub fn workflow(&self, config: &Value, document: Option<&str>) -> Result<Arc<dyn Workflow>, PluginError> {
        let (indices, pooled) = self.0.workflow.clone().ok_or_else(|| self.lacks(WORKFLOW_VERSION))?;
        let document: Option<Arc<str>> = document.map(Into::into);
        self.accept(self.problems(WORKFLOW, config, document.clone())?)?;
        let limits = Limits { output: self.0.limits.output.or(Some(WORKFLOW_OUTPUT)), ..self.0.limits };
        let callee = Callee { allowance: limits.allowance(WORKFLOW_TIME), ..self.0.callee.clone() };
        Ok(Arc::new(ComponentWorkflow {
            pooled: pooled.map(|PooledWorkflow { instance, indices }| Runnable {
                callee: Callee { instance, ..callee.clone() },
                indices,
            }),
            plain: Runnable { callee, indices },
            label: self.label(),
            source: WorkflowSource {
                component: self.0.digest.as_str().into(),
                config: config.to_string().into(),
                document,
            },
            reports_progress: self.0.reports_progress,
            place: Place::new(&self.0.callee.engine.ready_workflows),
        }))
    }

    fn label(&self) -> String {
        format!("{} {}", self.name(), self.0.description.version)
    }

    fn lacks(&self, interface: &str) -> PluginError {
        PluginError::MissingExport { component: self.name().to_owned(), interface: interface.into() }
    }

    fn problems(
        &self,
        world: &str,
        config: &Value,
        document: Option<Arc<str>>,
    ) -> Result<Vec<ComponentConfigProblem>, PluginError> {
        component::check_config(&self.0.callee, &self.0.component, world, &config.to_string(), document)
    }

    fn accept_config(&self, world: &str, config: &Value) -> Result<(), PluginError> {
        self.accept(self.check_config(world, config)?)
    }

    fn accept(&self, problems: Vec<ComponentConfigProblem>) -> Result<(), PluginError> {
        if problems.is_empty() {
            return Ok(());
        }
        Err(PluginError::ConfigRefused { component: self.name().to_owned(), problems })
    }
}

/// Checks size, format and digest, and returns the digest.
pub(crate) fn check_bytes(source: &ComponentSource) -> Result<String, PluginError> {
    let (component, origin) = (source.name.clone(), source.origin.clone());
    let bytes = &*source.bytes;
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(PluginError::TooLarge { component, origin, size: bytes.len(), allowed: MAX_COMPONENT_BYTES });
    }
    let actual = digest(bytes);
    if let Some(expected) = &source.sha256 {
        let hex = expected.strip_prefix("sha256:").unwrap_or(expected);
        if !hex.eq_ignore_ascii_case(&actual) {
            return Err(PluginError::DigestMismatch { component, origin, expected: expected.clone(), actual });
        }
    }
    if bytes.starts_with(&MODULE_HEADER) {
        return Err(PluginError::CoreModule { component, origin });
    }
    if !bytes.starts_with(&COMPONENT_HEADER) {
        return Err(PluginError::NotWasm { component, origin, begins: beginning(bytes) });
    }
    Ok(actual)
}

/// Hex sha256: what the configuration's `sha256` wants.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whether the component may export a workflow, in which case it is compiled for the engine of workflows. The name of an export
/// stands in the file as it is, so what it does not contain it does not export; that it stands elsewhere does no harm.
fn may_be_workflow(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, WORKFLOW.as_bytes()).is_some()
}

/// The first bytes of a file for people: as text if they are, else in hex.
fn beginning(bytes: &[u8]) -> String {
    let first = &bytes[..bytes.len().min(16)];
    match std::str::from_utf8(first) {
        Ok("") => "nothing, it is empty".into(),
        Ok(text) if !text.contains(|c: char| c.is_control() && !c.is_whitespace()) => format!("{text:?}"),
        _ => format!("the bytes {}", hex::encode(first)),
    }
}
