//! `aggregation`: what of the backends is shown, and under which names.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::value::NameRule;

/// The resolver of a file that names none.
pub const DEFAULT_RESOLVER: &str = "smart";

/// What of the backends is shown, and under which names.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Aggregation")]
pub struct AggregationConfig {
    /// Name of the component that resolves name conflicts: `prefix`, `priority`, `manual`, `smart` or an entry of
    /// `plugins`. Absent: `smart`, which prefixes only what clashes.
    #[schemars(length(min = 1))]
    pub conflict_resolution: Option<String>,
    /// Handed to that component, which says what belongs in it. `prefix` reads `prefixFormat`, `priority` reads
    /// `priorityOrder`.
    pub conflict_resolution_config: Option<Map<String, Value>>,
    /// Which names may be advertised. Absent: `strict`, and `protocol` when the file sets `prefixFormat`, `priorityOrder`
    /// or the name of an override.
    pub names: Option<NameRule>,
    /// Filters and overrides of tools, one entry per backend.
    #[serde(default)]
    pub tools: Vec<ToolRule>,
    /// Shows no backend's tools; composite tools still reach them.
    #[serde(default)]
    pub exclude_all_tools: bool,
    /// Whether tools of a backend without an entry in `tools` are shown; empty means `allow`.
    #[serde(default)]
    pub default_tool_visibility: Visibility,
    /// Filters and overrides of resources and resource templates, one entry per backend.
    #[serde(default)]
    pub resources: Vec<ResourceRule>,
    /// Shows no backend's resources.
    #[serde(default)]
    pub exclude_all_resources: bool,
    /// Whether resources of a backend without an entry in `resources` are shown.
    #[serde(default)]
    pub default_resource_visibility: Visibility,
    /// Filters and overrides of prompts, one entry per backend.
    #[serde(default)]
    pub prompts: Vec<PromptRule>,
    /// Shows no backend's prompts.
    #[serde(default)]
    pub exclude_all_prompts: bool,
    /// Whether prompts of a backend without an entry in `prompts` are shown.
    #[serde(default)]
    pub default_prompt_visibility: Visibility,
}

impl AggregationConfig {
    /// The component that resolves name conflicts.
    pub fn resolver(&self) -> &str {
        self.conflict_resolution.as_deref().unwrap_or(DEFAULT_RESOLVER)
    }

    /// What the component is configured with; `{}` where the file says nothing.
    pub fn resolver_config(&self) -> Value {
        Value::Object(self.conflict_resolution_config.clone().unwrap_or_default())
    }

    /// The rule for advertised names that is in force.
    pub fn name_rule(&self) -> NameRule {
        let decides_names =
            |key| self.conflict_resolution_config.as_ref().is_some_and(|config| config.contains_key(key));
        let renames = self.tools.iter().flat_map(|rule| rule.overrides.values()).any(|o| o.name.is_some())
            || self.prompts.iter().flat_map(|rule| rule.overrides.values()).any(|o| o.name.is_some());
        let relaxed = decides_names("prefixFormat") || decides_names("priorityOrder") || renames;
        self.names.unwrap_or(if relaxed { NameRule::Protocol } else { NameRule::Strict })
    }
}

/// Whether something is shown unless an entry says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    #[default]
    Allow,
    Deny,
}

/// Filter and overrides for the tools of one backend.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolRule {
    /// Name of the backend.
    #[schemars(length(min = 1))]
    pub workload: String,
    /// Names an `MCPToolConfig` of Kubernetes; without an operator it has no effect.
    pub tool_config_ref: Option<ToolConfigRef>,
    /// Tools to show, by their names after overrides. Absent or empty: all.
    #[serde(default)]
    pub filter: Vec<String>,
    /// Changes to single tools, by the names the backend gives them.
    #[serde(default)]
    pub overrides: IndexMap<String, ToolOverride>,
    /// Shows none of this backend's tools.
    #[serde(default)]
    pub exclude_all: bool,
}

/// A reference to a Kubernetes resource.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolConfigRef {
    /// Name of the resource, in the same namespace.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// What is shown of one tool instead of what its backend says.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolOverride {
    /// The tool's name.
    pub name: Option<String>,
    /// The tool's description.
    pub description: Option<String>,
    /// Hints about what the tool does; what is absent stays as the backend has it.
    pub annotations: Option<AnnotationOverride>,
    /// Changes to single top-level parameters, by name.
    #[serde(default)]
    pub parameters: IndexMap<String, ParameterOverride>,
}

/// Hints about what a tool does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnnotationOverride {
    /// A title for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The tool changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// The tool may destroy something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// Calling the tool again changes nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// The tool reaches things outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

/// What is shown of one parameter, and what the host sends for it.
///
/// `fixed` takes the parameter out of the advertised schema, and the host sends the value with every call, whatever the
/// client sent. `hidden` takes it out and the host sends nothing. `default` and `description` change the advertised
/// schema; the host sends the default when the client sends nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterOverride {
    /// The value that the host sends in every call; clients neither see nor set the parameter.
    #[serde(default, deserialize_with = "present")]
    pub fixed: Option<Value>,
    /// Clients neither see nor set the parameter, and the host sends nothing for it.
    #[serde(default)]
    pub hidden: bool,
    /// The value that the host sends when the client sends none; the parameter is no longer required.
    #[serde(default, deserialize_with = "present")]
    pub default: Option<Value>,
    /// The parameter's description.
    pub description: Option<String>,
}

/// A key that is there has a value, even when that is null.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Filter and overrides for the resources and resource templates of one backend.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceRule {
    /// Name of the backend.
    #[schemars(length(min = 1))]
    pub workload: String,
    /// Resources to show: URIs and URI templates as the backend writes them. Absent or empty: all.
    #[serde(default)]
    pub filter: Vec<String>,
    /// Changes to single resources, by the URI or URI template the backend gives them.
    #[serde(default)]
    pub overrides: IndexMap<String, ResourceOverride>,
    /// Shows none of this backend's resources.
    #[serde(default)]
    pub exclude_all: bool,
}

/// What is shown of one resource instead of what its backend says. Its URI stays.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceOverride {
    /// The resource's name.
    pub name: Option<String>,
    /// A title for people.
    pub title: Option<String>,
    /// The resource's description.
    pub description: Option<String>,
    /// Annotations that replace the backend's, key by key.
    pub annotations: Option<Map<String, Value>>,
}

/// Filter and overrides for the prompts of one backend.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromptRule {
    /// Name of the backend.
    #[schemars(length(min = 1))]
    pub workload: String,
    /// Prompts to show, by their names after overrides. Absent or empty: all.
    #[serde(default)]
    pub filter: Vec<String>,
    /// Changes to single prompts, by the names the backend gives them.
    #[serde(default)]
    pub overrides: IndexMap<String, PromptOverride>,
    /// Shows none of this backend's prompts.
    #[serde(default)]
    pub exclude_all: bool,
}

/// What is shown of one prompt instead of what its backend says.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromptOverride {
    /// The prompt's name.
    pub name: Option<String>,
    /// A title for people.
    pub title: Option<String>,
    /// The prompt's description.
    pub description: Option<String>,
}
