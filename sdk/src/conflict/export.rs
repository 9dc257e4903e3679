//! Forwards the component's exports to a [`ConflictResolver`].

use std::marker::PhantomData;

use super::{ConflictResolver, Contender, Decision, Kind, NameRule, Request, Resolution, ResolveError};
use crate::{
    bindings::conflict::exports::vmcp::conflict::conflict_resolver::{self as wit, CapabilityKind},
    component::{in_one_line, load_config},
    log,
};

/// The exports of the resolver `R`.
pub struct Exported<R>(PhantomData<R>);

impl<R: ConflictResolver> wit::Guest for Exported<R> {
    fn resolve(config: String, request: wit::Request) -> Result<Vec<wit::Resolution>, wit::ResolveError> {
        log::report_panics();
        let resolver =
            load_config(&config, R::check).map_err(|problems| wit::ResolveError::Config(in_one_line(&problems)))?;
        let resolutions = resolver.resolve(&request.into()).map_err(wit::ResolveError::from)?;
        Ok(resolutions.into_iter().map(wit::Resolution::from).collect())
    }
}

impl From<wit::Request> for Request {
    fn from(request: wit::Request) -> Self {
        Self {
            kind: match request.kind {
                CapabilityKind::Tool => Kind::Tool,
                CapabilityKind::Prompt => Kind::Prompt,
                CapabilityKind::Resource => Kind::Resource,
                CapabilityKind::ResourceTemplate => Kind::ResourceTemplate,
            },
            names: match request.names {
                wit::NameRule::Strict => NameRule::Strict,
                wit::NameRule::Protocol => NameRule::Protocol,
            },
            contenders: request.contenders.into_iter().map(Contender::from).collect(),
        }
    }
}

impl From<wit::Contender> for Contender {
    fn from(contender: wit::Contender) -> Self {
        Self {
            backend: contender.backend,
            slug: contender.slug,
            name: contender.name,
            original_name: contender.original_name,
            title: contender.title,
            description: contender.description,
            annotations: contender.annotations,
            schema_digest: contender.schema_digest,
            backend_metadata: contender.backend_metadata,
            extra: contender.extra,
        }
    }
}

impl From<Resolution> for wit::Resolution {
    fn from(Resolution { decision, why }: Resolution) -> Self {
        let decision = match decision {
            Decision::Expose(name) => wit::Decision::Expose(name),
            Decision::Hide => wit::Decision::Hide(why.clone()),
        };
        Self { decision, why, extra: String::new() }
    }
}

impl From<ResolveError> for wit::ResolveError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Unresolved(names) => Self::Unresolved(names),
            ResolveError::Config(message) => Self::Config(message),
            ResolveError::Other(message) => Self::Other(message),
        }
    }
}
