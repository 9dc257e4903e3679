//! `vmcp:conflict/conflict-resolver` as a [`ConflictResolver`].

use vmcp_core::{
    capability::{Kind, NameRule},
    extension::{ConflictResolver, Contender, Decision, Resolution, ResolveError, ResolveRequest},
};

use crate::{
    bindings::conflict::{
        ConflictExportIndices, exports::vmcp::conflict::conflict_resolver as wit, vmcp::types::types as wit_types,
    },
    call::Callee,
    error::PluginError,
};

/// The world's name, as `describe` and `check_config` have it.
pub const CONFLICT_RESOLVER: &str = "vmcp:conflict/conflict-resolver";
/// The same with the version that this host accepts.
pub(crate) const CONFLICT_RESOLVER_VERSION: &str = "vmcp:conflict/conflict-resolver@0.1.0";

/// A component with its config, asked anew each time.
pub(crate) struct ComponentConflictResolver {
    pub(crate) callee: Callee,
    pub(crate) indices: ConflictExportIndices,
    pub(crate) label: String,
    /// JSON text.
    pub(crate) config: String,
}

impl ConflictResolver for ComponentConflictResolver {
    fn label(&self) -> &str {
        &self.label
    }

    fn resolve(&self, request: &ResolveRequest<'_>) -> Result<Vec<Resolution>, ResolveError> {
        let contenders: Vec<_> = request.contenders.iter().map(to_wit).collect();
        let wit_request =
            wit::Request { kind: kind(request.kind), names: names(request.names), contenders: &contenders, extra: "" };
        let answer = self.callee.call("resolve", None, async |store, instance| {
            let resolver = self.indices.load(&mut *store, instance)?;
            resolver.vmcp_conflict_conflict_resolver().call_resolve(store, &self.config, wit_request).await
        });
        let resolutions = answer.map_err(|error| self.component_error(error))?.map_err(|error| self.refusal(error))?;
        if resolutions.len() != contenders.len() {
            return Err(self.component_error(PluginError::BadReply {
                component: self.callee.name.to_string(),
                during: "resolve",
                message: format!("{} resolutions for {} contenders", resolutions.len(), contenders.len()),
            }));
        }
        Ok(resolutions.into_iter().map(from_wit).collect())
    }
}

impl ComponentConflictResolver {
    fn component_error(&self, error: PluginError) -> ResolveError {
        ResolveError::Component { resolver: self.label.clone(), source: error.into() }
    }

    /// What the component itself gives as the reason.
    fn refusal(&self, error: wit::ResolveError) -> ResolveError {
        let resolver = self.label.clone();
        match error {
            wit::ResolveError::Unresolved(names) => ResolveError::Unresolved { resolver, names },
            wit::ResolveError::Config(message) => ResolveError::Config { resolver, message },
            wit::ResolveError::Other(message) => ResolveError::Failed { resolver, message },
        }
    }
}

fn to_wit(contender: &Contender) -> wit::Contender<'_> {
    let capability = &*contender.capability;
    wit::Contender {
        backend: capability.backend.as_str(),
        slug: &contender.slug,
        name: &capability.name,
        original_name: &capability.original_name,
        title: capability.title.as_deref(),
        description: capability.description.as_deref(),
        annotations: capability.annotations.as_ref().map_or("", |annotations| annotations.as_str()),
        schema_digest: &capability.schema_digest,
        backend_metadata: &contender.backend_metadata,
        extra: "",
    }
}

fn from_wit(resolution: wit::Resolution) -> Resolution {
    let decision = match resolution.decision {
        wit::Decision::Expose(name) => Decision::ExposeAs(name),
        wit::Decision::Hide(reason) => Decision::Hide(reason),
    };
    Resolution { decision, why: resolution.why }
}

fn kind(kind: Kind) -> wit_types::CapabilityKind {
    match kind {
        Kind::Tool => wit_types::CapabilityKind::Tool,
        Kind::Prompt => wit_types::CapabilityKind::Prompt,
        Kind::Resource => wit_types::CapabilityKind::Resource,
        Kind::ResourceTemplate => wit_types::CapabilityKind::ResourceTemplate,
    }
}

fn names(names: NameRule) -> wit::NameRule {
    match names {
        NameRule::Strict => wit::NameRule::Strict,
        NameRule::Protocol => wit::NameRule::Protocol,
    }
}
