//! What the configuration says of the capabilities of each backend: what is shown, under which name, with which parameters.
//! Plain data; `definition` and `aggregator` apply it. Nothing here decides between backends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::{Map, Value};
use vmcp_config::{
    AggregationConfig, Config, ParameterOverride, PromptOverride, ResourceOverride, ToolOverride,
    Visibility as DefaultVisibility,
};
use vmcp_core::{
    capability::{Kind, NameRule},
    id::BackendId,
};

/// The rules of a whole view.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Which names may be advertised.
    pub names: NameRule,
    pub backends: HashMap<BackendId, Arc<BackendRules>>,
}

impl Rules {
    /// What `config` says of its backends.
    pub fn from_config(config: &Config) -> Self {
        let backend_rules = |backend: &vmcp_config::BackendConfig| {
            let rules = BackendRules {
                slug: backend.name.slug().into(),
                metadata: serde_json::to_string(&backend.metadata).expect("a map of strings is JSON").into(),
                tools: tool_rules(&config.aggregation, backend.name.as_str()),
                prompts: prompt_rules(&config.aggregation, backend.name.as_str()),
                resources: resource_rules(&config.aggregation, backend.name.as_str()),
                uri_prefix: backend.resources.uri_prefix.clone(),
            };
            (backend.name.clone(), Arc::new(rules))
        };
        Self {
            names: match config.aggregation.name_rule() {
                vmcp_config::NameRule::Strict => NameRule::Strict,
                vmcp_config::NameRule::Protocol => NameRule::Protocol,
            },
            backends: config.backends.iter().map(backend_rules).collect(),
        }
    }
}

fn tool_rules(aggregation: &AggregationConfig, backend: &str) -> KindRules {
    let entry = aggregation.tools.iter().find(|rule| rule.workload == backend);
    let own = entry.map(|rule| (rule.exclude_all, &*rule.filter));
    KindRules {
        visibility: visibility(
            aggregation.exclude_all_tools.then_some("excludeAllTools"),
            (aggregation.default_tool_visibility == DefaultVisibility::Deny).then_some("defaultToolVisibility"),
            own,
        ),
        overrides: entry
            .into_iter()
            .flat_map(|rule| &rule.overrides)
            .map(|(name, o)| (name.clone(), o.into()))
            .collect(),
    }
}

fn prompt_rules(aggregation: &AggregationConfig, backend: &str) -> KindRules {
    let entry = aggregation.prompts.iter().find(|rule| rule.workload == backend);
    let own = entry.map(|rule| (rule.exclude_all, &*rule.filter));
    KindRules {
        visibility: visibility(
            aggregation.exclude_all_prompts.then_some("excludeAllPrompts"),
            (aggregation.default_prompt_visibility == DefaultVisibility::Deny).then_some("defaultPromptVisibility"),
            own,
        ),
        overrides: entry
            .into_iter()
            .flat_map(|rule| &rule.overrides)
            .map(|(name, o)| (name.clone(), o.into()))
            .collect(),
    }
}

fn resource_rules(aggregation: &AggregationConfig, backend: &str) -> KindRules {
    let entry = aggregation.resources.iter().find(|rule| rule.workload == backend);
    let own = entry.map(|rule| (rule.exclude_all, &*rule.filter));
    KindRules {
        visibility: visibility(
            aggregation.exclude_all_resources.then_some("excludeAllResources"),
            (aggregation.default_resource_visibility == DefaultVisibility::Deny).then_some("defaultResourceVisibility"),
            own,
        ),
        overrides: entry
            .into_iter()
            .flat_map(|rule| &rule.overrides)
            .map(|(name, o)| (name.clone(), o.into()))
            .collect(),
    }
}

/// All hidden, else what stands where there is no entry, else what the entry says.
fn visibility(
    all_hidden: Option<&'static str>,
    hidden_by_default: Option<&'static str>,
    entry: Option<(bool, &[String])>,
) -> Visibility {
    match (all_hidden, entry, hidden_by_default) {
        (Some(key), ..) | (None, None, Some(key)) => Visibility::Nothing(key),
        (None, Some((true, _)), _) => Visibility::Nothing("excludeAll"),
        (None, Some((false, filter)), _) if !filter.is_empty() => Visibility::Only(filter.iter().cloned().collect()),
        (None, ..) => Visibility::All,
    }
}

impl From<&ToolOverride> for Override {
    fn from(over: &ToolOverride) -> Self {
        let annotations = over.annotations.as_ref().and_then(|annotations| serde_json::to_value(annotations).ok());
        Self {
            name: over.name.clone(),
            title: None,
            description: over.description.clone(),
            annotations: annotations.and_then(|value| value.as_object().cloned()).unwrap_or_default(),
            parameters: over.parameters.iter().map(|(name, rule)| (name.clone(), rule.into())).collect(),
        }
    }
}

impl From<&ParameterOverride> for ParameterRule {
    fn from(over: &ParameterOverride) -> Self {
        Self {
            fixed: over.fixed.clone(),
            hidden: over.hidden,
            default: over.default.clone(),
            description: over.description.clone(),
        }
    }
}

impl From<&PromptOverride> for Override {
    fn from(over: &PromptOverride) -> Self {
        Self {
            name: over.name.clone(),
            title: over.title.clone(),
            description: over.description.clone(),
            ..Self::default()
        }
    }
}

impl From<&ResourceOverride> for Override {
    fn from(over: &ResourceOverride) -> Self {
        Self {
            name: over.name.clone(),
            title: over.title.clone(),
            description: over.description.clone(),
            annotations: over.annotations.clone().unwrap_or_default(),
            parameters: BTreeMap::new(),
        }
    }
}

/// The rules of one backend.
#[derive(Clone, Debug, Default)]
pub struct BackendRules {
    /// The backend's slug.
    pub slug: Arc<str>,
    /// `metadata` of the backend, as JSON text.
    pub metadata: Arc<str>,
    pub tools: KindRules,
    pub prompts: KindRules,
    /// For resources and templates alike.
    pub resources: KindRules,
    /// Put before every URI and template of the backend, and taken off again on the way back.
    pub uri_prefix: Option<String>,
}

impl BackendRules {
    pub fn of(&self, kind: Kind) -> &KindRules {
        match kind {
            Kind::Tool => &self.tools,
            Kind::Prompt => &self.prompts,
            Kind::Resource | Kind::ResourceTemplate => &self.resources,
        }
    }
}

/// The rules for one kind of capability of one backend.
#[derive(Clone, Debug, Default)]
pub struct KindRules {
    pub visibility: Visibility,
    /// By the backend's own name.
    pub overrides: BTreeMap<String, Override>,
}

/// What is advertised.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Visibility {
    #[default]
    All,
    /// Only these names, as they are after the overrides.
    Only(BTreeSet<String>),
    /// Nothing, and the key of the configuration that says so.
    Nothing(&'static str),
}

impl Visibility {
    /// Why `name` is not advertised, if so.
    pub fn reason_to_hide(&self, name: &str) -> Option<String> {
        match self {
            Self::All => None,
            Self::Only(names) if names.contains(name) => None,
            Self::Only(_) => Some("not in the `filter` of its backend".into()),
            Self::Nothing(key) => Some(format!("hidden by `{key}`")),
        }
    }
}

/// Changes to one definition; what is absent stays as the backend has it.
#[derive(Clone, Debug, Default)]
pub struct Override {
    /// For resources the `name` of the definition; what identifies them is their URI, which stays.
    pub name: Option<String>,
    pub title: Option<String>,
    pub description: Option<String>,
    /// Merged key by key.
    pub annotations: Map<String, Value>,
    /// By parameter name; tools only.
    pub parameters: BTreeMap<String, ParameterRule>,
}

/// Changes to one parameter of a tool.
#[derive(Clone, Debug, Default)]
pub struct ParameterRule {
    /// The host puts this value into every call, and clients do not see the parameter.
    pub fixed: Option<Value>,
    /// Clients do not see the parameter, and what they send for it is dropped.
    pub hidden: bool,
    /// Advertised as default, and put into calls that leave the parameter out.
    pub default: Option<Value>,
    pub description: Option<String>,
}
