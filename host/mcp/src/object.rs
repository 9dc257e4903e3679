//! A JSON object taken apart one level deep: the members stay raw and keep their order.

use std::{borrow::Cow, fmt};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use vmcp_core::json::RawJson;

/// The members of a JSON object, each with its raw value, in the order they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<(String, RawJson)>,
}

impl Object {
    /// Takes `json` apart; the members are slices of it. Of repeated keys the last counts, as in most JSON readers.
    pub fn parse(json: &RawJson) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(json.as_bytes());
        let members = reader.deserialize_map(Members { parent: json })?;
        Ok(Self { members })
    }

    /// The members of `json`, or none when it is absent or no object.
    pub fn parse_lenient(json: Option<&RawJson>) -> Self {
        json.and_then(|json| Self::parse(json).ok()).unwrap_or_default()
    }

    pub fn get(&self, key: &str) -> Option<&RawJson> {
        self.members.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// The member `key` if it is a string.
    pub fn get_string(&self, key: &str) -> Option<String> {
        self.get(key).and_then(RawJson::as_string)
    }

    /// The member `key` as an object; empty when it is absent or none.
    #[must_use]
    pub fn get_object(&self, key: &str) -> Self {
        Self::parse_lenient(self.get(key))
    }

    /// Replaces the member in its place, or appends it.
    pub fn set(&mut self, key: &str, value: RawJson) {
        match self.members.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value,
            None => self.members.push((key.to_owned(), value)),
        }
    }

    /// Appends the member unless there is one.
    pub fn set_default(&mut self, key: &str, value: impl FnOnce() -> RawJson) {
        if self.get(key).is_none() {
            self.members.push((key.to_owned(), value()));
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<RawJson> {
        let at = self.members.iter().position(|(k, _)| k == key)?;
        Some(self.members.remove(at).1)
    }

    /// Removes `key` from the object `member`, which goes too when nothing else is in it.
    pub fn remove_in(&mut self, member: &str, key: &str) -> Option<RawJson> {
        let mut inner = self.get_object(member);
        let removed = inner.remove(key)?;
        match inner.is_empty() {
            true => drop(self.remove(member)),
            false => self.set(member, inner.to_json()),
        }
        Some(removed)
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.members.retain(|(key, _)| keep(key));
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawJson)> {
        self.members.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Appends the object as JSON text to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (i, (key, value)) in self.members.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_string(key, out);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
    }

    pub fn to_json(&self) -> RawJson {
        let mut out =
            Vec::with_capacity(2 + self.members.iter().map(|(k, v)| k.len() + v.as_bytes().len() + 4).sum::<usize>());
        self.write(&mut out);
        RawJson::from_built(out)
    }
}

impl<const N: usize> From<[(&str, RawJson); N]> for Object {
    fn from(members: [(&str, RawJson); N]) -> Self {
        Self { members: members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
    }
}

/// Appends `text` as a JSON string to `out`.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing to memory does not fail");
}

struct Members<'a> {
    parent: &'a RawJson,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Vec<(String, RawJson)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, RawJson)> = Vec::with_capacity(4);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let value = RawJson::part_of(self.parent.bytes(), map.next_value::<&'de RawValue>()?);
            match members.iter_mut().find(|(k, _)| *k == key) {
                Some((_, old)) => *old = value,
                None => members.push((key.into_owned(), value)),
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        Object::parse(&RawJson::parse(text.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn members_keep_their_bytes_and_order() {
        let mut o = object(r#"{"b" : 1.0e0, "a":{"x" :[ ]}, "\u00e9":"\ud83d\ude00", "b":2.50}"#);
        assert_eq!(o.to_json().as_str(), r#"{"b":2.50,"a":{"x" :[ ]},"é":"\ud83d\ude00"}"#);
        o.set("a", RawJson::of(&"new"));
        o.set("z", RawJson::of(&true));
        assert_eq!(o.remove("é").unwrap().as_str(), r#""\ud83d\ude00""#);
        assert_eq!(o.to_json().as_str(), r#"{"b":2.50,"a":"new","z":true}"#);
    }

    #[test]
    fn a_member_goes_with_the_last_of_its_keys() {
        let check = |text: &str, removed: Option<&str>, expected: &str| {
            let mut o = object(text);
            assert_eq!(o.remove_in("m", "k").as_ref().map(RawJson::as_str), removed, "{text}");
            assert_eq!(o.to_json().as_str(), expected);
        };
        check(r#"{"m":{"k":1},"n":{}}"#, Some("1"), r#"{"n":{}}"#);
        check(r#"{"m":{"a":2,"k":1},"n":{}}"#, Some("1"), r#"{"m":{"a":2},"n":{}}"#);
        check(r#"{"m":{ "a": 2 }}"#, None, r#"{"m":{ "a": 2 }}"#);
        check(r#"{"m":{}}"#, None, r#"{"m":{}}"#);
        check(r#"{"m":"k"}"#, None, r#"{"m":"k"}"#);
        check("{}", None, "{}");
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for text in ["[]", "1", "null", "\"{}\""] {
            assert!(Object::parse(&RawJson::parse(text).unwrap()).is_err(), "{text}");
        }
        assert!(Object::parse_lenient(None).is_empty());
    }
}
