//! Durations in Go's grammar: `30s`, `1h2m3.5s`, `500ms`; `0` needs no unit.

use std::time::Duration;

/// Nanoseconds of each unit, the longer name first where one begins with another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5, micro sign
    ("μs", 1_000), // U+03BC, Greek letter mu
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration of at least 0; the error says what is wrong.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    let bad = || format!("`{text}` is no duration like `1m30s`");
    let mut rest = unsigned;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let number = &rest[..rest.find(|c: char| c != '.' && !c.is_ascii_digit()).ok_or_else(bad)?];
        let after = &rest[number.len()..];
        let unit = &after[..after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len())];
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(bad());
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
        let part = whole.checked_mul(*scale).and_then(|part| part.checked_add(part_of(fraction, *scale)));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
        rest = &after[unit.len()..];
    }
    if unsigned.is_empty() { Err(bad()) } else { Ok(Duration::from_nanos(total)) }
}

/// `0.fraction` of `scale` nanoseconds, cut below one.
fn part_of(fraction: &str, scale: u64) -> u64 {
    let digits = fraction.bytes().take(13).map(|digit| u64::from(digit - b'0'));
    let (mut part, mut place) = (0_u128, 1_u128);
    for digit in digits {
        (part, place) = (part * 10 + u128::from(digit), place * 10);
    }
    u64::try_from(part * u128::from(scale) / place).unwrap_or(0)
}

/// As a person writes it: `1m30s`, `250ms`.
pub(crate) fn print(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (minutes, seconds) = (millis / 60_000, millis % 60_000 / 1000);
    match (minutes, seconds, millis % 1000) {
        (0, 0, millis) => format!("{millis}ms"),
        (0, seconds, 0) => format!("{seconds}s"),
        (minutes, 0, 0) => format!("{minutes}m"),
        (minutes, seconds, 0) => format!("{minutes}m{seconds}s"),
        _ => format!("{}s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let check =
            |text: &str, nanos: Option<u64>| assert_eq!(parse(text).ok(), nanos.map(Duration::from_nanos), "{text}");
        check("0", Some(0));
        check("1m30s", Some(90_000_000_000));
        check("1h2m3.5s", Some(3_723_500_000_000));
        check(".5s", Some(500_000_000));
        check("1.s", Some(1_000_000_000));
        check("250ms", Some(250_000_000));
        check("3µs", Some(3_000));
        check("+2ns", Some(2));
        for bad in ["", "5", "s", "-1s", "1.2.3s", ".s", "1d", "99999999999h", "1m 2s"] {
            check(bad, None);
        }
    }

    #[test]
    fn durations_print_short() {
        let check = |millis: u64, text: &str| assert_eq!(print(Duration::from_millis(millis)), text);
        check(90_000, "1m30s");
        check(300_000, "5m");
        check(250, "250ms");
        check(2_000, "2s");
        check(1_500, "1.5s");
    }
}
