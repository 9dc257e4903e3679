//! The document as written, key by key. What it means is worked out by `workflow` and the kinds of step.

mod step;

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

pub(crate) use self::step::{ErrorAction, ErrorHandling, KindName, NoAnswerAction, RawCase, RawStep, RawUndo};
use crate::{
    duration,
    problem::{Place, Problems},
};

/// Reads the part of the document at `place`; what does not fit is one problem there.
pub(crate) fn read<T: DeserializeOwned>(value: &Value, place: &Place, problems: &mut Problems) -> Option<T> {
    T::deserialize(value).map_err(|error| problems.add(place, error.to_string())).ok()
}

/// A duration of at least 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct GoDuration(pub(crate) Duration);

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = GoDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like `1m30s`")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<GoDuration, E> {
                duration::parse(text).map(GoDuration).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// The value of a key whose absence, or 0, stands for `default`.
pub(crate) fn time_or(given: Option<GoDuration>, default: Duration) -> Duration {
    given.map(|given| given.0).filter(|time| !time.is_zero()).unwrap_or(default)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) parameters: Option<Map<String, Value>>,
    pub(crate) timeout: Option<GoDuration>,
    pub(crate) steps: Option<Vec<Value>>,
    pub(crate) output: Option<Value>,
    pub(crate) annotations: Option<Map<String, Value>>,
    pub(crate) config: Option<Map<String, Value>>,
    pub(crate) config_schema: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOutput {
    pub(crate) properties: Option<Map<String, Value>>,
    pub(crate) required: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProperty {
    #[serde(rename = "type")]
    pub(crate) kind: JsonType,
    pub(crate) description: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) properties: Option<Map<String, Value>>,
    pub(crate) default: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JsonType {
    String,
    Integer,
    Number,
    Boolean,
    Object,
    Array,
}

impl JsonType {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "object" => Self::Object,
            "array" => Self::Array,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
        }
    }
}
