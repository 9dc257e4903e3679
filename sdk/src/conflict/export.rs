//! Forwards the component's exports to a [`ConflictResolver`].

use std::marker::PhantomData;

use super::{ConfigProblem, ConflictResolver, Contender, Decision, Kind, NameRule, Request, Resolution, ResolveError};
use crate::{
    bindings::exports::vmcp::{
        conflict::conflict_resolver::{self as wit, CapabilityKind},
        types::component as wit_component,
    },
    component::{Package, config_schema, parse_config},
    log,
};

/// The exported interface without its version, as `describe` names it.
const WORLD: &str = "vmcp:conflict/conflict-resolver";

/// A component that is the resolver `R`, built from the package `P`.
pub struct Exported<P, R>(PhantomData<(P, R)>);

impl<P: Package, R: ConflictResolver> wit_component::Guest for Exported<P, R> {
    fn describe() -> wit_component::Description {
        log::report_panics();
        wit_component::Description {
            name: P::NAME.into(),
            version: P::VERSION.into(),
            summary: P::SUMMARY.into(),
            worlds: vec![wit_component::WorldDescription {
                world: WORLD.into(),
                config_schema: config_schema::<R>(),
                extra: String::new(),
            }],
            extra: String::new(),
        }
    }

    fn check_config(world: String, config: String) -> Vec<wit_component::ConfigProblem> {
        log::report_panics();
        let problems = if world == WORLD {
            load::<R>(&config).err().unwrap_or_default()
        } else {
            vec![ConfigProblem::new("", format!("this component is no `{world}`"))]
        };
        problems
            .into_iter()
            .map(|ConfigProblem { pointer, message }| wit_component::ConfigProblem {
                pointer,
                message,
                extra: String::new(),
            })
            .collect()
    }
}

impl<P: Package, R: ConflictResolver> wit::Guest for Exported<P, R> {
    fn resolve(config: String, request: wit::Request) -> Result<Vec<wit::Resolution>, wit::ResolveError> {
        log::report_panics();
        let resolver = load::<R>(&config).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            wit::ResolveError::Config(problems.join("; "))
        })?;
        let resolutions = resolver.resolve(&request.into()).map_err(wit::ResolveError::from)?;
        Ok(resolutions.into_iter().map(wit::Resolution::from).collect())
    }
}

/// The config as the resolver itself, or everything that is wrong with it.
fn load<R: ConflictResolver>(config: &str) -> Result<R, Vec<ConfigProblem>> {
    let resolver: R = parse_config(config).map_err(|problem| vec![problem])?;
    let problems = resolver.check();
    if problems.is_empty() { Ok(resolver) } else { Err(problems) }
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
