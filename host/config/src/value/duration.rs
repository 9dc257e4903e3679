//! Durations in Go's grammar.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration as Go writes it: `30s`, `1h2m3.5s`, `-1.5ms`. Units are ns, us (µs), ms, s, m and h; `0` needs none.
///
/// A negative one parses; where it makes no sense a rule refuses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GoDuration {
    nanoseconds: i64,
}

const NANOSECOND: i64 = 1;
const MICROSECOND: i64 = 1000 * NANOSECOND;
const MILLISECOND: i64 = 1000 * MICROSECOND;
const SECOND: i64 = 1000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Longest unit first where one begins with another.
const UNITS: [(&str, i64); 8] = [
    ("ns", NANOSECOND),
    ("us", MICROSECOND),
    ("µs", MICROSECOND), // U+00B5, micro sign
    ("μs", MICROSECOND), // U+03BC, Greek letter mu
    ("ms", MILLISECOND),
    ("s", SECOND),
    ("m", MINUTE),
    ("h", HOUR),
];

impl GoDuration {
    pub const ZERO: Self = Self { nanoseconds: 0 };

    pub const fn from_secs(seconds: u32) -> Self {
        Self { nanoseconds: seconds as i64 * SECOND }
    }

    pub const fn from_millis(milliseconds: u32) -> Self {
        Self { nanoseconds: milliseconds as i64 * MILLISECOND }
    }

    /// Reads Go's notation. The error says what is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if unsigned == "0" {
            return Ok(Self::ZERO);
        }
        if unsigned.is_empty() {
            return Err("it is empty".into());
        }
        let mut total: i128 = 0;
        let mut rest = unsigned;
        while !rest.is_empty() {
            let (nanoseconds, after) = parse_part(rest)?;
            total += nanoseconds;
            if total > i128::from(i64::MAX) + i128::from(negative) {
                return Err("it is longer than 292 years".into());
            }
            rest = after;
        }
        let signed = if negative { -total } else { total };
        i64::try_from(signed).map(|nanoseconds| Self { nanoseconds }).map_err(|_| "it is longer than 292 years".into())
    }

    /// As a [`Duration`]; a negative one is zero.
    pub fn as_duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanoseconds).unwrap_or(0))
    }

    pub fn is_positive(self) -> bool {
        self.nanoseconds > 0
    }

    pub fn is_negative(self) -> bool {
        self.nanoseconds < 0
    }
}

/// `digits[.digits]unit` at the start of `text`: nanoseconds, and what follows.
fn parse_part(text: &str) -> Result<(i128, &str), String> {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (whole, mut rest) = text.split_at(digits(text));
    let mut fraction = "";
    if let Some(after_point) = rest.strip_prefix('.') {
        (fraction, rest) = after_point.split_at(digits(after_point));
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(format!("`{text}` does not begin with a number"));
    }
    let number_end = rest;
    let unit_length = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_length);
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(match number_end {
            "" => format!("`{text}` has no unit (ns, us, ms, s, m, h)"),
            _ => format!("`{unit}` is no unit (ns, us, ms, s, m, h)"),
        });
    };
    let scale = i128::from(*scale);
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| "it is longer than 292 years")? };
    // Digits below a nanosecond are dropped; 18 are more than a nanosecond of an hour needs.
    let fraction = &fraction[..fraction.len().min(18)];
    let parts: i128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| "it is no number")? };
    let divisor = 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(18));
    let nanoseconds = whole.checked_mul(scale).ok_or("it is longer than 292 years")? + parts * scale / divisor;
    Ok((nanoseconds, rest))
}

/// Go's `String`: the largest unit first, no zero units in front, a fraction only at the end.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.nanoseconds.unsigned_abs();
        if self.nanoseconds < 0 {
            f.write_str("-")?;
        }
        let unit = |scale: i64| scale.unsigned_abs();
        match magnitude {
            0 => f.write_str("0s"),
            n if n < unit(MICROSECOND) => write!(f, "{n}ns"),
            n if n < unit(MILLISECOND) => write!(f, "{}µs", decimal(n, unit(MICROSECOND))),
            n if n < unit(SECOND) => write!(f, "{}ms", decimal(n, unit(MILLISECOND))),
            n => {
                let (hours, minutes) = (n / unit(HOUR), n % unit(HOUR) / unit(MINUTE));
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write!(f, "{}s", decimal(n % unit(MINUTE), unit(SECOND)))
            }
        }
    }
}

/// `value / scale`, written without trailing zeros.
fn decimal(value: u64, scale: u64) -> String {
    let (whole, rest) = (value / scale, value % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{rest:0width$}").trim_end_matches('0').to_owned()
}

impl TryFrom<String> for GoDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<GoDuration> for String {
    fn from(duration: GoDuration) -> Self {
        duration.to_string()
    }
}

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.as_duration()
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "go-duration",
            "pattern": r"^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
            "description": "A duration in Go's grammar: `30s`, `1h2m3.5s`; units ns, us, ms, s, m, h.",
            "x-expect": "a duration like `30s`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_gos_grammar() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let parsed = GoDuration::parse(text).map(|duration| duration.to_string());
            assert_eq!(parsed.as_deref().map_err(String::as_str), expected, "{text:?}");
        };
        check("30s", Ok("30s"));
        check("1h2m3.5s", Ok("1h2m3.5s"));
        check("90m", Ok("1h30m0s"));
        check("60s", Ok("1m0s"));
        check("1.5ms", Ok("1.5ms"));
        check("1500us", Ok("1.5ms"));
        check("15µs", Ok("15µs"));
        check("15μs", Ok("15µs"));
        check("7ns", Ok("7ns"));
        check(".5s", Ok("500ms"));
        check("1.s", Ok("1s"));
        check("-1.5h", Ok("-1h30m0s"));
        check("+2s", Ok("2s"));
        check("0", Ok("0s"));
        check("1h1h", Ok("2h0m0s"));
        check("9223372036854775807ns", Ok("2562047h47m16.854775807s"));
        check("30", Err("`30` has no unit (ns, us, ms, s, m, h)"));
        check("30sec", Err("`sec` is no unit (ns, us, ms, s, m, h)"));
        check("1d", Err("`d` is no unit (ns, us, ms, s, m, h)"));
        check("s", Err("`s` does not begin with a number"));
        check("", Err("it is empty"));
        check("-", Err("it is empty"));
        check("1 s", Err("` s` is no unit (ns, us, ms, s, m, h)"));
        check("3000000h", Err("it is longer than 292 years"));
        check("9999999999999999999999999999999999999999s", Err("it is longer than 292 years"));
    }

    #[test]
    fn a_negative_duration_is_no_wait_at_all() {
        assert_eq!(GoDuration::parse("-3s").unwrap().as_duration(), Duration::ZERO);
        assert_eq!(GoDuration::from_millis(1500).as_duration(), Duration::from_millis(1500));
    }
}
