//! JSON that is passed on as the bytes it came in.

use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;

/// One JSON value as text, known to be well formed. Cheap to clone; usually a slice of the message it came in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawJson(Bytes);

impl RawJson {
    /// Checks that `text` is one JSON value and takes it.
    pub fn parse(text: impl Into<Bytes>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        let value: &RawValue = serde_json::from_slice(&text)?;
        let slice = text.slice_ref(value.get().as_bytes());
        Ok(Self(slice))
    }

    /// The part `value` of `parent`, without a copy where it lies inside (it does when it was parsed from it).
    pub fn part_of(parent: &Bytes, value: &RawValue) -> Self {
        let part = value.get().as_bytes();
        let (start, end) = (parent.as_ptr() as usize, parent.as_ptr() as usize + parent.len());
        let at = part.as_ptr() as usize;
        if at >= start && at + part.len() <= end {
            Self(parent.slice_ref(part))
        } else {
            Self(Bytes::copy_from_slice(part))
        }
    }

    /// `value` as JSON text.
    ///
    /// # Panics
    /// When `value` has a map key that is no string: none of our types does.
    pub fn of(value: &impl serde::Serialize) -> Self {
        Self(serde_json::to_vec(value).expect("our types serialise to JSON").into())
    }

    /// Takes bytes that the caller built as one JSON value.
    pub fn from_built(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        debug_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok(), "built JSON is well formed");
        Self(bytes)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("JSON text was checked to be UTF-8")
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    pub fn to_value<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }

    /// The text of a JSON string; `None` for any other value.
    pub fn as_string(&self) -> Option<String> {
        self.0.starts_with(b"\"").then(|| self.to_value().ok()).flatten()
    }
}

impl Default for RawJson {
    /// `null`.
    fn default() -> Self {
        Self(Bytes::from_static(b"null"))
    }
}

impl serde::Serialize for RawJson {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // `RawValue` has no public constructor that borrows unchecked, and checking again is cheap off the request path.
        let raw: &RawValue = serde_json::from_slice(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for RawJson {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Bytes::copy_from_slice(raw.get().as_bytes())))
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let text = self.as_str();
        match text.char_indices().nth(SHOWN) {
            Some((cut, _)) => write!(f, "{}… ({} bytes)", &text[..cut], text.len()),
            None => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_message_share_its_bytes() {
        let parent = Bytes::from_static(br#"{"a": {"b": 1}}"#);
        let map: std::collections::BTreeMap<&str, &RawValue> = serde_json::from_slice(&parent).unwrap();
        let part = RawJson::part_of(&parent, map["a"]);
        assert_eq!(part.as_str(), r#"{"b": 1}"#);
        assert_eq!(part.bytes().as_ptr(), parent[6..].as_ptr());
    }

    #[test]
    fn malformed_json_is_refused() {
        for text in ["", "{", "nope", "{}{}", "\"\u{1}\""] {
            assert!(RawJson::parse(text.as_bytes().to_vec()).is_err(), "{text:?}");
        }
        assert!(RawJson::parse(vec![b'"', 0xff, b'"']).is_err());
    }
}
