//! Who may look at what.

use axum::http::{Request, StatusCode};
use uptree_app::settings::Secret;

use super::{access::Access, *};

const TOKEN: &str = "a token of some length";

fn asked(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

#[track_caller]
fn check(access: &Access, request: &Request<()>, expected: u16) {
    let status = match access.look_up(request) {
        Ok(_) => StatusCode::OK,
        Err(refusal) => refusal.answer().status(),
    };
    assert_eq!(status.as_u16(), expected, "{request:?} by {access:?}");
}

fn local(token: Option<&str>) -> Access {
    Access::to_all(([127, 0, 0, 1], 4001).into(), token.map(Secret::new))
}

fn remote(token: Option<&str>) -> Access {
    Access::to_all(([0, 0, 0, 0], 4001).into(), token.map(Secret::new))
}

const PAGES: [&str; 4] = ["/", "/metrics", "/tree", "/timeline"];

#[test]
fn on_loopback_a_request_calls_by_address() {
    for (host, expected) in [
        ("127.0.0.1:4001", 200),
        ("127.0.0.1", 200),
        ("localhost:4001", 200),
        ("LOCALHOST", 200),
        ("[::1]:4001", 200),
        ("10.0.0.7:80", 200),
        ("evil.example:4001", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("127.0.0.1@evil.example", 421),
        ("", 421),
        ("::1", 421),
    ] {
        for page in PAGES {
            check(
                &local(None),
                &asked("GET", page, &[("host", host)]),
                expected,
            );
        }
    }
    check(&local(None), &asked("GET", "/tree", &[]), 421);
    let two = [("host", "127.0.0.1"), ("host", "evil.example")];
    check(&local(None), &asked("GET", "/tree", &two), 421);
    let absolute = asked("GET", "http://evil.example/tree", &[("host", "127.0.0.1")]);
    check(&local(None), &absolute, 421);
}

#[test]
fn on_loopback_whoever_knows_the_token_may_call_it_by_any_name() {
    let bearer = format!("Bearer {TOKEN}");
    let named = [("host", "admin.example"), ("authorization", &*bearer)];
    check(&local(Some(TOKEN)), &asked("GET", "/tree", &named), 200);
    check(&local(None), &asked("GET", "/tree", &named), 421);
    check(
        &local(Some(TOKEN)),
        &asked("GET", "/tree", &[("host", "localhost")]),
        200,
    );
}

#[test]
fn elsewhere_the_token_is_demanded_for_everything() {
    let bearer = format!("Bearer {TOKEN}");
    let lower = format!("bearer {TOKEN}");
    let longer = format!("Bearer {TOKEN}x");
    let shorter = &bearer[..bearer.len() - 1];
    let basic = format!("Basic {TOKEN}");
    for (given, expected) in [
        (&*bearer, 200),
        (&*lower, 200),
        (&*longer, 401),
        (shorter, 401),
        (&*basic, 401),
        (TOKEN, 401),
        ("Bearer ", 401),
        ("Bearer", 401),
        ("", 401),
    ] {
        for page in PAGES {
            let request = asked("GET", page, &[("host", "x"), ("authorization", given)]);
            check(&remote(Some(TOKEN)), &request, expected);
            check(&remote(None), &request, 401);
        }
    }
    check(&remote(Some(TOKEN)), &asked("GET", "/nothing", &[]), 401);
}

#[test]
fn the_metrics_port_has_metrics_alone_for_anybody() {
    let access = Access::to_metrics();
    for (page, expected) in [
        ("/metrics", 200),
        ("/", 404),
        ("/tree", 404),
        ("/timeline", 404),
        ("/metrics/", 404),
        ("/alive", 404),
    ] {
        check(
            &access,
            &asked("GET", page, &[("host", "shop.example")]),
            expected,
        );
    }
}

#[test]
fn nothing_is_changed_by_a_request() {
    for access in [local(None), Access::to_metrics()] {
        let host = [("host", "localhost")];
        check(&access, &asked("HEAD", "/metrics", &host), 200);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            check(&access, &asked(method, "/metrics", &host), 405);
        }
    }
}

#[test]
fn an_address_that_others_can_reach_needs_a_token() {
    let settings = |addr: &str, token: Option<&str>| AdminSettings {
        admin_addr: Some(addr.parse().expect("an address")),
        admin_token: token.map(Secret::new),
        metrics_addr: None,
    };
    for (addr, token, is_wrong) in [
        ("off", None, false),
        ("127.0.0.1:1", None, false),
        ("[::1]:1", None, false),
        ("0.0.0.0:1", None, true),
        ("[::]:1", None, true),
        ("10.1.2.3:1", None, true),
        ("0.0.0.0:1", Some(TOKEN), false),
    ] {
        let found = super::check(&settings(addr, token));
        assert_eq!(found.is_some(), is_wrong, "{addr}");
    }
    assert!(super::check(&AdminSettings::default()).is_none());
}

#[test]
fn a_token_is_in_nothing_that_is_printed() {
    let settings = AdminSettings {
        admin_token: Some(Secret::new(TOKEN)),
        ..AdminSettings::default()
    };
    assert!(!format!("{settings:?}").contains(TOKEN));
    assert!(!format!("{:?}", remote(Some(TOKEN))).contains(TOKEN));
}
