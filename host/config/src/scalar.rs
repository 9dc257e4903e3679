//! What a scalar means where the format gives it no type: as Go's yaml.v3 resolves it.
//!
//! That is YAML 1.2 with a foot in 1.1: `no` is text but `0755` is octal, `1_000` is a thousand, and a date is a point in
//! time. Values end as JSON, so a time becomes RFC 3339 text and a whole float a whole number, as Go's encoder writes
//! them.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Number, Value};

use crate::{problem::Rule, tree::ScalarText};

/// A scalar without a JSON value: the rule it offends, and how.
#[derive(Debug, PartialEq)]
pub(crate) struct Unresolvable {
    pub(crate) rule: Rule,
    pub(crate) message: String,
}

/// What yaml.v3 takes a scalar for.
#[derive(Debug, PartialEq)]
enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Time(String),
    Text(String),
}

impl Resolved {
    fn tag(&self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool(_) => "!!bool",
            Self::Int(_) | Self::Uint(_) => "!!int",
            Self::Float(_) => "!!float",
            Self::Time(_) => "!!timestamp",
            Self::Text(_) => "!!str",
        }
    }
}

/// The JSON value of a scalar in a place without a type.
pub(crate) fn untyped(scalar: &ScalarText) -> Result<Value, Unresolvable> {
    let text = scalar.text.as_str();
    let resolved = match scalar.tag.as_deref() {
        None | Some("!") if scalar.plain => resolve(text, true),
        Some(tag @ ("!!null" | "!!bool" | "!!int" | "!!float" | "!!timestamp")) => tagged(text, tag)?,
        Some("!!binary") => Resolved::Text(binary(text)?),
        // A quoted scalar, `!!str`, and any tag that yaml.v3 does not know.
        _ => Resolved::Text(text.to_owned()),
    };
    json(resolved)
}

/// Whether a scalar in a typed place is null, and thereby absent.
pub(crate) fn is_null(scalar: &ScalarText) -> bool {
    match scalar.tag.as_deref() {
        None | Some("!") => scalar.plain && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
        tag => tag == Some("!!null"),
    }
}

/// The text of a scalar in a place for text: as written, whatever it looks like.
pub(crate) fn text(scalar: &ScalarText) -> Result<String, Unresolvable> {
    match scalar.tag.as_deref() {
        Some("!!binary") => binary(&scalar.text),
        _ => Ok(scalar.text.clone()),
    }
}

/// A scalar in a place for true or false, where yaml.v3 also takes the words of YAML 1.1.
pub(crate) fn boolean(scalar: &ScalarText) -> Option<bool> {
    match scalar.text.as_str() {
        "true" | "True" | "TRUE" if scalar.plain => Some(true),
        "false" | "False" | "FALSE" if scalar.plain => Some(false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn tagged(text: &str, tag: &str) -> Result<Resolved, Unresolvable> {
    match (resolve(text, tag == "!!timestamp"), tag) {
        (Resolved::Int(value), "!!float") =>
        {
            #[expect(clippy::cast_precision_loss, reason = "what `!!float` asks for")]
            Ok(Resolved::Float(value as f64))
        }
        (resolved, tag) if resolved.tag() == tag => Ok(resolved),
        (resolved, tag) => {
            Err(Unresolvable { rule: Rule::BadTag, message: format!("`{text}` is a {}, not a {tag}", resolved.tag()) })
        }
    }
}

fn resolve(text: &str, try_time: bool) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
        "true" | "True" | "TRUE" => return Resolved::Bool(true),
        "false" | "False" | "FALSE" => return Resolved::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Resolved::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let as_text = || Resolved::Text(text.to_owned());
    match text.as_bytes()[0] {
        b'.' => float(text).unwrap_or_else(as_text),
        b'+' | b'-' | b'0'..=b'9' => {
            let time = || if try_time { timestamp(text).map(Resolved::Time) } else { None };
            time().or_else(|| number(&text.replace('_', ""))).unwrap_or_else(as_text)
        }
        _ => as_text(),
    }
}

/// A number of any base, its underscores already removed.
fn number(text: &str) -> Option<Resolved> {
    static STYLE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$").expect("a legal pattern")
    });
    integer(text).or_else(|| STYLE.is_match(text).then(|| float(text)).flatten())
}

/// Go's integer literals: `0x`, `0o`, `0b`, and a leading zero for octal. Unsigned beyond 63 bits.
fn integer(text: &str) -> Option<Resolved> {
    let (negative, unsigned, signed) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..], true),
        b'+' => (false, &text[1..], true),
        _ => (false, text, false),
    };
    let prefixed = |lower: &str, upper: &str| unsigned.strip_prefix(lower).or_else(|| unsigned.strip_prefix(upper));
    let (digits, radix) = if let Some(digits) = prefixed("0x", "0X") {
        (digits, 16)
    } else if let Some(digits) = prefixed("0b", "0B") {
        (digits, 2)
    } else if let Some(digits) = prefixed("0o", "0O") {
        (digits, 8)
    } else if unsigned.len() > 1 && unsigned.starts_with('0') {
        (&unsigned[1..], 8)
    } else {
        (unsigned, 10)
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None; // a second sign
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    match (i64::try_from(value), signed) {
        (Ok(value), _) => Some(Resolved::Int(value)),
        (Err(_), false) => Some(Resolved::Uint(magnitude)),
        (Err(_), true) => None,
    }
}

fn float(text: &str) -> Option<Resolved> {
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Resolved::Float)
}

/// A time in one of the four forms that yaml.v3 reads, as Go writes it: RFC 3339, no trailing zeros.
fn timestamp(text: &str) -> Option<String> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        let clock = |name: &str| {
            format!(r"(?<h{name}>\d{{1,2}}):(?<m{name}>\d{{1,2}}):(?<s{name}>\d{{1,2}})(?:[.,](?<f{name}>\d+))?")
        };
        let form = format!(
            r"^(?<year>\d{{4}})-(?<month>\d{{1,2}})-(?<day>\d{{1,2}})(?:[Tt]{}(?<zone>Z|[+-]\d{{2}}:\d{{2}})| +{})?$",
            clock("1"),
            clock("2"),
        );
        Regex::new(&form).expect("a legal pattern")
    });
    let parts = FORM.captures(text)?;
    let field = |first: &str, second: &str| {
        let digits = parts.name(first).or_else(|| parts.name(second));
        digits.map_or(Some(0), |digits| digits.as_str().parse::<u32>().ok())
    };
    let (year, month, day) = (field("year", "")?, field("month", "")?, field("day", "")?);
    let (hour, minute, second) = (field("h1", "h2")?, field("m1", "m2")?, field("s1", "s2")?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = parts.name("f1").or_else(|| parts.name("f2")).map_or("", |fraction| fraction.as_str());
    let fraction = fraction[..fraction.len().min(9)].trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let zone = parts.name("zone").map_or("Z", |zone| zone.as_str());
    let offset_in_range = |zone: &str| zone == "Z" || (zone[1..3] <= *"23" && zone[4..6] <= *"59");
    if !offset_in_range(zone) {
        return None;
    }
    let zone = if matches!(zone, "+00:00" | "-00:00") { "Z" } else { zone };
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{point}{fraction}{zone}"))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// What `!!binary` holds, as text: bytes that are no UTF-8 are replaced, as Go's JSON encoder does.
fn binary(text: &str) -> Result<String, Unresolvable> {
    let bad = || Unresolvable { rule: Rule::BadTag, message: "`!!binary` holds no base64".into() };
    base64(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok_or_else(bad)
}

/// Standard base64 with padding; line breaks are skipped, as Go does.
fn base64(text: &str) -> Option<Vec<u8>> {
    let symbols: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let unpadded = symbols.strip_suffix(b"==").or_else(|| symbols.strip_suffix(b"=")).unwrap_or(&symbols);
    if !symbols.len().is_multiple_of(4) {
        return None;
    }
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for symbol in unpadded {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFFFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xFF) as u8);
        }
    }
    Some(bytes)
}

fn json(resolved: Resolved) -> Result<Value, Unresolvable> {
    Ok(match resolved {
        Resolved::Null => Value::Null,
        Resolved::Bool(value) => value.into(),
        Resolved::Int(value) => value.into(),
        Resolved::Uint(value) => value.into(),
        Resolved::Float(value) => number_value(value)?,
        Resolved::Time(text) | Resolved::Text(text) => text.into(),
    })
}

/// A float as Go's encoder writes it: a whole one without a point.
fn number_value(value: f64) -> Result<Value, Unresolvable> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if value.fract() == 0.0 && value.abs() <= EXACT && !(value == 0.0 && value.is_sign_negative()) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return Ok((value as i64).into());
    }
    let not_json = || Unresolvable { rule: Rule::NotJson, message: format!("{value} has no place in JSON") };
    Number::from_f64(value).map(Value::Number).ok_or_else(not_json)
}
