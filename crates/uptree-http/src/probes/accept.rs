//! Whether a probe is asked for JSON.

use axum::http::{HeaderMap, header};

/// Whether `Accept` wants JSON at least as much as plain text, and names it: what takes anything
/// gets text.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let (mut json, mut text) = (0, None);
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';');
            let kind = parts.next().unwrap_or_default().trim();
            if kind.eq_ignore_ascii_case("application/json") {
                json = weight(parts);
            } else if kind.eq_ignore_ascii_case("text/plain") {
                text = Some(weight(parts));
            }
        }
    }
    json > 0 && json >= text.unwrap_or(0)
}

/// How much a range is wanted, in thousandths.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u32 {
    let weight = parameters.find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value)
    });
    let Some(weight) = weight else {
        return 1000;
    };
    match weight.trim().split_once('.') {
        // Three digits at the most; whatever else it is, it wants nothing.
        Some(("0", digits)) if digits.len() <= 3 => format!("{digits:0<3}").parse().unwrap_or(0),
        Some(("1", digits)) if digits.bytes().all(|digit| digit == b'0') => 1000,
        None if weight.trim() == "1" => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_is_named_and_not_wanted_less_than_text() {
        for (accept, json) in [
            (&[][..], false),
            (&["*/*"], false),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], false),
            (&["application/json"], true),
            (&["APPLICATION/JSON; charset=utf-8"], true),
            (&["application/json, text/plain, */*"], true),
            (&["text/plain, application/json"], true),
            (&["text/plain", "application/json"], true),
            (&["application/json;q=0.5, text/plain"], false),
            (&["application/json;q=0.5, text/plain;q=0.4"], true),
            (&["application/json;q=0.05, text/plain;q=0.4"], false),
            (&["application/json; q=1.000, text/plain"], true),
            (&["application/json;q=0"], false),
            (&["application/json;q=0.000"], false),
            (&["application/json;q=much"], false),
            (&["application/json;q=0.12345"], false),
            (&["application/jsonp"], false),
            (&[",;=,q=;"], false),
            (&["\u{e4}"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                let value = axum::http::HeaderValue::from_bytes(value.as_bytes());
                headers.append(header::ACCEPT, value.expect("a header"));
            }
            assert_eq!(wants_json(&headers), json, "{accept:?}");
        }
    }
}
