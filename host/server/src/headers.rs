//! The HTTP headers of a request: what they name, and whether they say what the body says.

use http::{HeaderMap, HeaderName, header};
use vmcp_gateway::{params::ParamHeaders, router::Incoming};
use vmcp_mcp::{
    era::{Era, Revision},
    error::{HEADER_MISMATCH, RpcError},
    header as mcp_header,
};

/// The value of a header, if it is text.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a header names one of the media types, whatever its parameters.
pub(crate) fn has_media_type(headers: &HeaderMap, name: &HeaderName, types: &[&str]) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |item| {
            let media_type = item.split(';').next().unwrap_or_default().trim();
            types.iter().any(|wanted| media_type.eq_ignore_ascii_case(wanted))
        },
    )
}

/// Whether the body is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    has_media_type(headers, &header::CONTENT_TYPE, &["application/json"])
}

/// The revision that `MCP-Protocol-Version` names, if there is one.
///
/// # Errors
/// When the host does not speak it.
pub(crate) fn revision(headers: &HeaderMap) -> Result<Option<Revision>, RpcError> {
    let Some(value) = headers.get(mcp_header::PROTOCOL_VERSION) else { return Ok(None) };
    let version = value.to_str().unwrap_or("?").trim();
    Revision::parse(version).map(Some).ok_or_else(|| RpcError::unsupported_version(version))
}

/// Whether the client says that it speaks a modern revision.
pub(crate) fn is_modern(headers: &HeaderMap) -> bool {
    matches!(revision(headers), Ok(Some(revision)) if revision.era() == Era::Modern)
}

/// Checks a modern request of revision `version`: that it is complete, and that its headers say what its body says.
pub(crate) fn check_modern(headers: &HeaderMap, incoming: &Incoming, version: &str) -> Result<(), RpcError> {
    mirrors(headers, mcp_header::PROTOCOL_VERSION, version, Coding::Plain)?;
    incoming.check_modern(version)?;
    mirrors(headers, mcp_header::METHOD, &incoming.method, Coding::Plain)?;
    match mcp_header::named_param(&incoming.method).and_then(|key| incoming.params.get_string(key)) {
        Some(name) => mirrors(headers, mcp_header::NAME, &name, Coding::Sentinel),
        None => Ok(()),
    }
}

/// The headers that mirror arguments of a call. One that is repeated counts as the list of its values, as HTTP has it.
pub(crate) fn of_arguments(headers: &HeaderMap) -> ParamHeaders {
    // No argument is what this stands for: a value that is no text.
    const ILLEGAL: &str = "\u{fffd}";
    let mut mirrors = ParamHeaders::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(mcp_header::PARAM_PREFIX) else { continue };
        let value = value.to_str().unwrap_or(ILLEGAL);
        match mirrors.iter_mut().find(|(known, _)| known == name) {
            Some((_, list)) => *list = format!("{list}, {value}"),
            None => mirrors.push((name.to_owned(), value.to_owned())),
        }
    }
    mirrors
}

/// How a header may write its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    /// In base64 between sentinels too.
    Sentinel,
}

/// Checks that the header `name` says `expected`, each time if it is repeated.
fn mirrors(headers: &HeaderMap, name: &str, expected: &str, coding: Coding) -> Result<(), RpcError> {
    let mut values = headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        let reason = format!("the header `{name}` is missing; it must be `{}`", mcp_header::encode(expected));
        return Err(RpcError::new(HEADER_MISMATCH, reason));
    }
    for value in values {
        let said = value.to_str().ok().map(str::trim);
        // Whatever begins like base64 between sentinels is looked at more closely.
        if said == Some(expected) && !expected.starts_with("=?") {
            continue;
        }
        let said = match coding {
            Coding::Plain => said.map(str::to_owned),
            Coding::Sentinel => said.and_then(mcp_header::decode),
        };
        if said.as_deref() != Some(expected) {
            let said = said.map_or("no legal value".to_owned(), |said| format!("`{said}`"));
            let reason = format!("the header `{name}` is {said}, the body says `{expected}`");
            return Err(RpcError::new(HEADER_MISMATCH, reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn mirrored_arguments_are_found_by_the_last_part_of_their_header() {
        let mut headers = HeaderMap::new();
        let sent: [(&str, &[u8]); 4] =
            [("Mcp-Param-Region", b"eu"), ("mcp-param-n", b"1"), ("MCP-PARAM-N", b"2"), ("mcp-param-odd", b"\xff")];
        for (name, value) in sent {
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        headers.append("mcp-method", HeaderValue::from_static("tools/call"));
        let expected = [("region", "eu"), ("n", "1, 2"), ("odd", "\u{fffd}")];
        assert_eq!(of_arguments(&headers), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_header_must_say_what_the_body_says() {
        let check = |values: &[&[u8]], expected: &str, coding: Coding, passes: bool| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(mcp_header::NAME, HeaderValue::from_bytes(value).unwrap());
            }
            let checked = mirrors(&headers, mcp_header::NAME, expected, coding);
            assert_eq!(checked.is_ok(), passes, "{expected}: {checked:?}");
        };
        check(&[b"search"], "search", Coding::Plain, true);
        check(&[b"  search\t"], "search", Coding::Plain, true);
        check(&[b"Search"], "search", Coding::Plain, false);
        check(&[], "search", Coding::Plain, false);
        check(&[b"search", b"search"], "search", Coding::Plain, true);
        check(&[b"search", b"other"], "search", Coding::Plain, false);
        check(&[b"=?base64?c2VhcmNo?="], "search", Coding::Sentinel, true);
        check(&[b"=?base64?c2VhcmNo?="], "search", Coding::Plain, false);
        check(&[b"=?base64?c2VhcmN?="], "search", Coding::Sentinel, false);
        check(&[b"=?base64?w6k=?="], "é", Coding::Sentinel, true);
        check(&["é".as_bytes()], "é", Coding::Sentinel, false);
        check(&[b"=?base64?c2VhcmNo?="], "=?base64?c2VhcmNo?=", Coding::Sentinel, false);
        check(&[b"=?base64?half"], "=?base64?half", Coding::Sentinel, true);
    }

    #[test]
    fn media_types_are_found_among_others() {
        let check = |value: &'static str, expected: bool| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(is_json(&headers), expected, "{value}");
        };
        check("application/json", true);
        check("Application/JSON; charset=utf-8", true);
        check("text/plain, application/json", true);
        check("application/json5", false);
        check("", false);
    }
}
