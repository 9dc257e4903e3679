//! What is wrong with a file, where, and what to do about it.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{key_path::KeyPath, tree::Tree};

/// A place in a file; both counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    pub line: usize,
    pub column: usize,
}

impl Location {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One thing wrong with a configuration file. Its `Display` is `file:line:column: key: message`, the hint on a line of
/// its own below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named; for an entry of `backendsFrom` that file.
    pub file: Arc<str>,
    pub location: Location,
    /// The key it is about; empty when it is about the whole file.
    pub path: KeyPath,
    pub rule: Rule,
    pub message: String,
    /// What would put it right.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, location: Location { line, column }, path, message, hint, .. } = self;
        write!(f, "{file}:{line}:{column}: ")?;
        if !path.steps().is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)?;
        match hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Problem", 7)?;
        object.serialize_field("file", self.file.as_ref())?;
        object.serialize_field("line", &self.location.line)?;
        object.serialize_field("column", &self.location.column)?;
        object.serialize_field("path", &self.path.to_string())?;
        object.serialize_field("rule", self.rule.id())?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("hint", &self.hint)?;
        object.end()
    }
}

/// Collects what is wrong with one file, each problem at the place its key path leads to.
pub(crate) struct Report<'a> {
    tree: &'a Tree,
    /// What keeps the file from being used.
    pub(crate) errors: Vec<Problem>,
    /// What the user should know and may leave.
    pub(crate) warnings: Vec<Problem>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(tree: &'a Tree) -> Self {
        Self { tree, errors: Vec::new(), warnings: Vec::new() }
    }

    /// An error at the value of `path`; where that is absent, at the nearest enclosing key.
    pub(crate) fn error(&mut self, rule: Rule, path: &KeyPath, message: impl Into<String>) {
        self.errors.push(self.problem(rule, path, message.into(), None));
    }

    /// As [`error`](Self::error), with what would put it right.
    pub(crate) fn error_with_hint(
        &mut self,
        rule: Rule,
        path: &KeyPath,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.errors.push(self.problem(rule, path, message.into(), Some(hint.into())));
    }

    /// An error about the key itself rather than its value.
    pub(crate) fn error_at_key(
        &mut self,
        rule: Rule,
        path: &KeyPath,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let mut problem = self.problem(rule, path, message.into(), hint);
        problem.location = self.tree.locate_key(path);
        self.errors.push(problem);
    }

    /// A warning at the key of `path`.
    pub(crate) fn warning(&mut self, rule: Rule, path: &KeyPath, message: impl Into<String>) {
        let mut problem = self.problem(rule, path, message.into(), None);
        problem.location = self.tree.locate_key(path);
        self.warnings.push(problem);
    }

    fn problem(&self, rule: Rule, path: &KeyPath, message: String, hint: Option<String>) -> Problem {
        let location = self.tree.locate(path);
        Problem { file: Arc::clone(&self.tree.file), location, path: path.clone(), rule, message, hint }
    }
}

/// Orders problems by position and drops repetitions.
pub(crate) fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    let order = |problem: &Problem| (problem.location, problem.path.clone(), problem.message.clone());
    problems.sort_by(|a, b| a.file.cmp(&b.file).then_with(|| order(a).cmp(&order(b))));
    problems.dedup();
    problems
}

/// The known name nearest to `given`, when it is near enough to be a slip: `did you mean …?`.
pub(crate) fn did_you_mean<'n>(given: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    nearest(given, known).first().map(|name| format!("did you mean `{name}`?"))
}

/// The known names near enough to `given` for a slip, the nearest first.
pub(crate) fn nearest<'n>(given: &str, known: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let folded = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    let mut near: Vec<_> = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&folded(given), &folded(name)), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    near.into_iter().map(|(_, name)| name).collect()
}

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $id:literal,)+) => {
        /// What a [`Problem`] offends against. The id is stable; the negative files of the tests are named after it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$doc])* $variant,)+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Short and stable, e.g. `unknown-key`.
            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$variant => $id,)+
                }
            }
        }
    };
}

rules! {
    /// The text is no YAML.
    YamlSyntax = "yaml-syntax",
    /// The file holds nothing.
    EmptyFile = "empty-file",
    /// A second document follows.
    MultipleDocuments = "multiple-documents",
    /// Beyond the limits on size, depth or number of values, aliases counted as often as they are used.
    TooComplex = "too-complex",
    /// A key stands twice in one mapping.
    DuplicateKey = "duplicate-key",
    /// A key that is a list, a mapping or null.
    BadKey = "bad-key",
    /// `<<` with something else than a mapping or a list of mappings.
    BadMerge = "bad-merge",
    /// An alias inside the value that it names.
    RecursiveAlias = "recursive-alias",
    /// A value that does not fit its tag, such as `!!int x`.
    BadTag = "bad-tag",
    /// Infinity or not-a-number in a place that becomes JSON.
    NotJson = "not-json",
    /// A key that the format does not have.
    UnknownKey = "unknown-key",
    /// A value of another type than the key has.
    WrongType = "wrong-type",
    /// A word that is none of those allowed.
    BadValue = "bad-value",
    /// Text that is not of the form the key asks for, such as a duration without unit.
    BadFormat = "bad-format",
    /// A key that must be there is not.
    MissingKey = "missing-key",
    /// A number or count outside its bounds.
    OutOfRange = "out-of-range",
    /// Text that must not be empty.
    EmptyValue = "empty-value",
    /// A duration that must be positive.
    NotPositive = "not-positive",

    /// Two backends of one name.
    DuplicateBackend = "duplicate-backend",
    /// Two backend names that look the same in tool names.
    EqualSlugs = "equal-slugs",
    /// A backend with neither `command` nor `url`.
    MissingTransport = "missing-transport",
    /// A key of one transport at a backend of another.
    TransportMismatch = "transport-mismatch",
    /// A `transport` without its `url` or `command`.
    IncompleteTransport = "incomplete-transport",
    /// A path with `..` or a NUL.
    UnsafePath = "unsafe-path",
    /// A path that must be absolute is not.
    RelativePath = "relative-path",
    /// A name that cannot be a header name, or a value that cannot be a header value.
    BadHeader = "bad-header",
    /// Two spellings of one header.
    DuplicateHeader = "duplicate-header",
    /// A header the host owns.
    ReservedHeader = "reserved-header",
    /// A file named by `backendsFrom` that cannot be read or is no `mcpServers` file.
    BadClientFile = "bad-client-file",
    /// A placeholder that only an editor can fill in.
    EditorPlaceholder = "editor-placeholder",
    /// A variable without a value in the environment.
    UnsetVariable = "unset-variable",

    /// `type: oidc` without `oidc`, or without issuer or audience.
    IncompleteOidc = "incomplete-oidc",
    /// `type: cedar` without a policy.
    MissingPolicies = "missing-policies",
    /// An outgoing strategy without its section or a key of it.
    IncompleteStrategy = "incomplete-strategy",
    /// Two keys of which exactly one is allowed, or none of them.
    ExactlyOne = "exactly-one",
    /// A secret for a client id that is not there, or the reverse.
    SecretWithoutClient = "secret-without-client",

    /// `conflictResolution` names no component.
    UnknownComponent = "unknown-component",
    /// `conflictResolutionConfig` without what the named strategy needs.
    IncompleteStrategyConfig = "incomplete-strategy-config",
    /// `conflictResolution: manual` without `tools`.
    ManualWithoutTools = "manual-without-tools",
    /// Two entries for one backend.
    DuplicateWorkload = "duplicate-workload",
    /// An override that overrides nothing.
    EmptyOverride = "empty-override",
    /// `defaultToolVisibility: deny` with `priority`, and a backend of `priorityOrder` without a `tools` entry.
    DenyWithoutEntry = "deny-without-entry",
    /// A name that belongs to no configured backend.
    UnknownBackend = "unknown-backend",

    /// Two plugins of one name.
    DuplicatePlugin = "duplicate-plugin",
    /// A plugin named like a component that comes with the host.
    BuiltinName = "builtin-name",

    /// The probe may not take longer than the time between probes.
    ProbeTooLong = "probe-too-long",
    /// A circuit breaker that is enabled and cannot work.
    BadCircuitBreaker = "bad-circuit-breaker",
    /// `rateLimiting` without a shared session store.
    RateLimitWithoutRedis = "rate-limit-without-redis",
    /// A rate limit for a tool that limits nothing.
    EmptyRateLimit = "empty-rate-limit",
    /// `provider: redis` without an address.
    IncompleteSessionStorage = "incomplete-session-storage",
    /// The embedding provider needs the address of a service.
    MissingService = "missing-service",
    /// The address of an embedding service that the provider does not ask.
    UnusedService = "unused-service",
    /// The embedding provider needs a model.
    MissingModel = "missing-model",
    /// Embedding headers where the provider takes none.
    UnusedHeaders = "unused-headers",

    /// Two composite tools or two references of one name.
    DuplicateComposite = "duplicate-composite",
    /// The folder of `compositeToolsFrom` cannot be read.
    BadCompositeFolder = "bad-composite-folder",
    /// A composite tool with `workflow` and `steps`, or with neither.
    WorkflowOrSteps = "workflow-or-steps",
    /// A composite tool made of steps without a description.
    MissingDescription = "missing-description",
    /// A schema that is no JSON Schema, or not of an object.
    BadSchema = "bad-schema",
    /// Two steps of one id.
    DuplicateStep = "duplicate-step",
    /// A step with both `tool` and `message` and no `type`.
    AmbiguousStep = "ambiguous-step",
    /// A step without what its type needs.
    IncompleteStep = "incomplete-step",
    /// A key that a step of its type does not have.
    MisplacedKey = "misplaced-key",
    /// A case of a `switch` that equals no text, number or boolean, or the same as another.
    BadCase = "bad-case",
    /// Composite tools whose steps of type `workflow` lead back to where they began.
    CallCycle = "call-cycle",
    /// `dependsOn` names no step.
    UnknownStep = "unknown-step",
    /// Steps that wait for each other.
    DependencyCycle = "dependency-cycle",
    /// A step that may not run, read by another, without `defaultResults` for what is read.
    MissingDefaultResult = "missing-default-result",
    /// A loop variable that is no identifier, or reserved.
    BadLoopVariable = "bad-loop-variable",
    /// A loop over a list that repeats a question, or steps that are more than one.
    NestedLoop = "nested-loop",
    /// An output property with both or none of `value` and `properties`.
    BadOutput = "bad-output",

    /// A step, or a component, calls a tool that is not there.
    UnknownTool = "unknown-tool",
    /// A step does not give an argument that its tool needs.
    MissingArgument = "missing-argument",
    /// A step gives an argument that its tool does not have.
    UnknownArgument = "unknown-argument",
    /// A step gives an argument a value that its tool does not take.
    BadArgument = "bad-argument",
    /// A call that could not be checked against its tool.
    UncheckedCall = "unchecked-call",

    /// What a component finds wrong with its configuration.
    ComponentConfig = "component-config",
    /// A key whose feature this build does not have.
    Unsupported = "unsupported",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["best_effort", "conflictResolution", "prefix", "url"];
        let check = |given: &str, expected: Option<&str>| {
            let expected = expected.map(|name| format!("did you mean `{name}`?"));
            assert_eq!(did_you_mean(given, known), expected, "{given}");
        };
        check("bestEffort", Some("best_effort"));
        check("conflict_resolution", Some("conflictResolution"));
        check("prefx", Some("prefix"));
        check("URL", Some("url"));
        check("nothing", None);
    }

    #[test]
    fn rule_ids_are_unique() {
        let mut ids: Vec<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Rule::ALL.len());
    }
}
