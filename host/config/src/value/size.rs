//! Sizes in bytes.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A size: `32MiB`, `8MB` or a plain number of bytes. KiB, MiB and GiB count in 1024s; kB, MB and GB in 1000s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// Largest unit first, so that the first that divides a size writes it.
const UNITS: [(&str, u64); 9] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("KB", 1000),
    ("B", 1),
    ("", 1),
];

impl ByteSize {
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn from_mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// For sizes of things in memory; more than the address space holds becomes all of it.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads a whole or decimal number with a unit, with or without a space between. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number_length = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(number_length);
        let unit = unit.trim_start();
        if number.is_empty() {
            return Err(format!("`{text}` does not begin with a number"));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("`{unit}` is no unit (B, KiB, MiB, GiB, kB, MB, GB)"));
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if fraction.len() > 9 || fraction.is_empty() || fraction.contains('.') {
            return Err(format!("`{number}` is no number of at most nine decimals"));
        }
        let too_large = || "it is larger than any memory".to_owned();
        let whole: u64 = whole.parse().map_err(|_| too_large())?;
        let divisor = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
        let fraction: u128 = fraction.parse().map_err(|_| too_large())?;
        let bytes = u128::from(whole) * u128::from(*scale) + fraction * u128::from(*scale) / divisor;
        u64::try_from(bytes).map(Self).map_err(|_| too_large())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS.iter().filter(|(name, _)| name.ends_with("iB"));
        match binary.into_iter().find(|(_, scale)| self.0 != 0 && self.0.is_multiple_of(*scale)) {
            Some((name, scale)) => write!(f, "{}{name}", self.0 / scale),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "format": "byte-size",
            "pattern": "^[0-9]+(\\.[0-9]{1,9})? *(B|KiB|MiB|GiB|kB|KB|MB|GB)?$",
            "description": "A size: `32MiB`, `8MB` or a plain number of bytes.",
            "x-expect": "a size like `32MiB`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_kinds_of_units() {
        let check = |text: &str, expected: Result<u64, &str>| {
            let parsed = ByteSize::parse(text).map(ByteSize::as_bytes);
            assert_eq!(parsed.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e), "{text:?}");
        };
        check("32MiB", Ok(32 << 20));
        check("8MB", Ok(8_000_000));
        check("1.5KiB", Ok(1536));
        check("4096", Ok(4096));
        check("7 B", Ok(7));
        check("2GB", Ok(2_000_000_000));
        check("32mib", Err("`mib` is no unit (B, KiB, MiB, GiB, kB, MB, GB)"));
        check("MiB", Err("`MiB` does not begin with a number"));
        check("-1", Err("`-1` does not begin with a number"));
        check("1.2.3MB", Err("`1.2.3` is no number of at most nine decimals"));
        check("99999999999GiB", Err("it is larger than any memory"));
    }

    #[test]
    fn sizes_are_written_in_the_largest_whole_unit() {
        let check = |bytes: u64, expected: &str| assert_eq!(ByteSize::from_bytes(bytes).to_string(), expected);
        check(0, "0B");
        check(1000, "1000B");
        check(8 << 20, "8MiB");
        check(1 << 30, "1GiB");
        check((1 << 20) + 1024, "1025KiB");
    }
}
