//! What a service tells of itself: the admin port, metrics, and one log line for each event.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};
use uptree_tests::http::{self, Connection, Response};
use uptree_tests::{Database, Ended, Example, Service, Signal, eventually, failure, free_addr};

/// Longer than anything takes that is not stuck, on a machine that has much to do.
const LONG: Duration = Duration::from_secs(20);

const TOKEN: &str = "a token that is long enough";

fn get(addr: SocketAddr, path: &str) -> Response {
    http::get(addr, path).expect("an answer")
}

#[track_caller]
fn get_with(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut connection = Connection::open(addr).expect("it listens");
    let answer = connection.request("GET", path, headers, b"");
    answer.expect("an answer")
}

/// The value of a series, as `/metrics` shows it.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| {
        let rest = line.strip_prefix(series);
        rest.is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[track_caller]
fn is(metrics: &str, series: &str, expected: f64) {
    let found = value(metrics, series);
    let same = found.is_some_and(|found| (found - expected).abs() < 1e-9);
    assert!(same, "{series} is {found:?}, not {expected}, in\n{metrics}");
}

/// The example on SQLite with both ports, ready.
fn boot(database: &Database) -> (Example, SocketAddr, SocketAddr) {
    let (admin, metrics) = (free_addr(), free_addr());
    let example = Example::boot(
        &database.url(),
        &[
            ("ADMIN_ADDR", &admin.to_string()),
            ("METRICS_ADDR", &metrics.to_string()),
        ],
    );
    (example, admin, metrics)
}

#[test]
fn the_admin_port_tells_of_the_tree_the_boot_and_what_is_measured() {
    let database = Database::sqlite();
    let (mut example, admin, metrics) = boot(&database);
    example.wait_for("service booted in ");
    let accepted = example.post(&json!({"sensor": "attic", "value": 21.5}));
    assert_eq!(accepted.status, 202);
    assert_eq!(example.get("/nothing").status, 404);

    let tree = get(admin, "/tree").json();
    assert_eq!(tree["id"], "service");
    assert_eq!(tree["state"], "running");
    let children: Vec<_> = tree["children"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    let told: Vec<_> = children
        .iter()
        .map(|child| (child["id"].as_str(), child["state"].as_str()))
        .collect();
    let expected = [
        ("endpoint", "running"),
        ("repo", "running"),
        ("migrator", "done"),
        ("ingestion", "running"),
        ("ready", "running"),
    ];
    assert_eq!(told, expected.map(|(id, state)| (Some(id), Some(state))));

    let timeline = get(admin, "/timeline").json();
    let starts = timeline["starts"].as_array().expect("a list");
    let start = |child: &str| -> &Value {
        let found = starts.iter().find(|start| start["child"] == child);
        found.unwrap_or_else(|| panic!("{child} is missing in {timeline:#}"))
    };
    assert_eq!(start("service/migrator")["outcome"], "done");
    assert_eq!(start("service/repo")["steps"][0]["name"], "connect");
    let took = |start: &Value| start["took_ms"].as_f64().expect("a number");
    let whole = timeline["boot_ms"].as_f64().expect("it has booted");
    let children = ["endpoint", "repo", "migrator", "ingestion", "ready"];
    let sum: f64 = children
        .map(|child| took(start(&format!("service/{child}"))))
        .iter()
        .sum();
    assert!(sum <= whole, "{sum} ms of {whole} ms");

    for (port, only) in [(admin, false), (metrics, true)] {
        let answer = get(port, "/metrics");
        assert_eq!(answer.status, 200);
        let format = answer.header("content-type").unwrap_or_default();
        assert!(format.starts_with("text/plain; version=0.0.4"), "{format}");
        let text = answer.text();
        for child in ["endpoint", "repo", "migrator", "ingestion", "ready"] {
            is(
                &text,
                &format!("uptree_child_up{{child=\"service/{child}\"}}"),
                1.0,
            );
        }
        is(
            &text,
            "uptree_child_starts_total{child=\"service/repo\"}",
            1.0,
        );
        let requests = "uptree_http_requests_total{child=\"service/endpoint\",class=";
        is(&text, &format!("{requests}\"2xx\"}}"), 1.0);
        is(&text, &format!("{requests}\"4xx\"}}"), 1.0);
        let count = "uptree_http_request_duration_seconds_count{child=\"service/endpoint\"}";
        is(&text, count, 2.0);
        let pool = |state| {
            let series = "uptree_pool_connections{child=\"service/repo\",state=";
            value(&text, &format!("{series}\"{state}\"}}"))
        };
        let open = pool("idle").zip(pool("used"));
        let open = open.map(|(idle, used)| idle + used);
        assert!(open.is_some_and(|open| open >= 1.0), "{text}");
        assert!(text.contains("# HELP uptree_boot_seconds"), "{text}");
        assert!(text.contains("# TYPE uptree_http_request_duration_seconds histogram"));
        for page in ["/", "/tree", "/timeline"] {
            let expected = if only { 404 } else { 200 };
            assert_eq!(get(port, page).status, expected, "{page}");
        }
    }
    example.stop();
}

#[test]
fn metrics_are_not_on_the_main_port() {
    let database = Database::sqlite();
    let (example, ..) = boot(&database);
    for page in ["/metrics", "/tree", "/timeline"] {
        assert_eq!(example.get(page).status, 404, "{page}");
    }
}

#[test]
fn a_name_that_a_stranger_may_have_made_is_not_answered() {
    let database = Database::sqlite();
    let (_example, admin, metrics) = boot(&database);
    let mut named = Connection::open(admin).expect("it listens");
    let request = b"GET /tree HTTP/1.1\r\nhost: evil.example\r\n\r\n";
    named.send(request).expect("it is open");
    let refused = named.read_response().expect("an answer");
    assert_eq!(refused.status, 421);
    assert!(!refused.text().contains("service"), "{}", refused.text());
    let mut scraped = Connection::open(metrics).expect("it listens");
    let request = b"GET /metrics HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    scraped.send(request).expect("it is open");
    assert_eq!(scraped.read_response().expect("an answer").status, 200);
}

#[test]
fn an_admin_port_for_others_demands_its_token() {
    let database = Database::sqlite();
    let admin = free_addr();
    let anywhere = format!("0.0.0.0:{}", admin.port());
    let mut without = Example::spawn(&database.url(), &[("ADMIN_ADDR", &anywhere)]);
    let told = without.fails(1);
    assert!(told.contains("there is no ADMIN_TOKEN"), "{told}");
    assert!(told.contains("help: set ADMIN_TOKEN"), "{told}");

    let envs = [("ADMIN_ADDR", &*anywhere), ("ADMIN_TOKEN", TOKEN)];
    let mut example = Example::boot(&database.url(), &envs);
    for page in ["/", "/metrics", "/tree", "/timeline", "/nothing"] {
        let refused = get(admin, page);
        assert_eq!(refused.status, 401, "{page}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    let bearer = format!("Bearer {TOKEN}");
    let wrong = format!("Bearer {}", TOKEN.to_uppercase());
    assert_eq!(
        get_with(admin, "/tree", &[("authorization", &bearer)]).status,
        200
    );
    assert_eq!(
        get_with(admin, "/tree", &[("authorization", &wrong)]).status,
        401
    );
    example.stop();
    assert!(!example.log().contains(TOKEN), "{}", example.log());
}

#[test]
fn a_default_admin_port_that_is_taken_is_a_warning_and_an_explicit_one_a_failure() {
    let database = Database::sqlite();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("an address").to_string();
    for name in ["ADMIN_ADDR", "METRICS_ADDR"] {
        let mut example = Example::spawn(&database.url(), &[(name, &addr)]);
        let told = example.fails(1);
        assert!(told.contains(&format!("cannot listen on {addr}")), "{told}");
        assert!(
            told.contains(&format!("set {name} to another address")),
            "{told}"
        );
    }
    // Whoever has it, we or another: the second of two finds it taken.
    let _taken = TcpListener::bind("127.0.0.1:4001");
    let mut example = Example::boot(&database.url(), &[("ADMIN_ADDR", "")]);
    let warned = example.wait_for("there is no admin port");
    assert!(warned.contains("WARN service/endpoint"), "{warned}");
    example.stop();
}

#[test]
fn clients_that_are_slow_keep_nobody_else_from_the_admin_port() {
    let database = Database::sqlite();
    let (example, admin, metrics) = boot(&database);
    let slow = |addr: SocketAddr| {
        let mut connection = Connection::open(addr).expect("it listens");
        connection.send(b"GET /metrics HTT").expect("it is open");
        connection
    };
    let _admins: Vec<_> = (0..100).map(|_| slow(admin)).collect();
    let _scrapers: Vec<_> = (0..100).map(|_| slow(metrics)).collect();
    // What is served is not held up at all, and the ports are free again once the slow are gone.
    assert_eq!(example.status("/alive"), 200);
    for addr in [admin, metrics] {
        assert_eq!(get(addr, "/metrics").status, 200);
    }
}

#[test]
fn a_crash_is_one_line_and_is_counted() {
    let (addr, metrics) = (free_addr(), free_addr());
    let envs = [("ADDR", addr), ("METRICS_ADDR", metrics)];
    let envs = envs.map(|(name, addr)| (name, addr.to_string()));
    let mut service = Service::spawn("slow", envs);
    service.wait_for_line(|line| line.contains("slow booted in "), LONG);
    let killed = http::post_json(addr, "/kill-pool", "").expect("an answer");
    assert_eq!(killed.status, 202);
    service.wait_for_line(|line| line.contains("slow/repo ready incarnation=1"), LONG);
    eventually(LONG, || (get(addr, "/ready").status == 200).then_some(()));

    let lines = service.stdout_lines();
    let told: Vec<_> = lines
        .iter()
        .filter(|it| it.contains("the pool was closed"))
        .collect();
    let [line] = told[..] else {
        panic!("the reason stands in one line: {told:#?}");
    };
    for part in [
        " ERROR slow/repo terminated: restarting ",
        "incarnation=0",
        "reason=\"the pool was closed\"",
        "restarts_left=2",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }

    let text = get(metrics, "/metrics").text();
    is(&text, "uptree_child_starts_total{child=\"slow/repo\"}", 2.0);
    is(
        &text,
        "uptree_child_restarts_total{child=\"slow/repo\"}",
        1.0,
    );
    is(
        &text,
        "uptree_child_exits_total{child=\"slow/repo\",reason=\"error\"}",
        1.0,
    );
    is(&text, "uptree_child_up{child=\"slow/repo\"}", 1.0);
    is(
        &text,
        "uptree_child_restarts_total{child=\"slow/ready\"}",
        1.0,
    );
    service.signal(Signal::TERM);
    assert_eq!(service.wait(LONG), Ended::Code(0));
}

#[test]
fn a_boot_says_what_took_longest_and_for_what_it_waited() {
    // Nobody listens there yet: the repo waits.
    let Some(mut database) = Database::postgres() else {
        return;
    };
    database.stop();
    let mut example = Example::spawn(&database.url(), &[]);
    example.wait_for("trying again");
    database.start_again();
    let line = example.wait_for("service booted in ");
    assert!(line.contains("slowest=service/repo"), "{line}");
    assert!(line.contains("waited="), "{line}");
    example.stop();
}

#[test]
fn a_bad_admin_setting_is_told_with_what_is_taken() {
    let envs = [("ADMIN_ADDR", "4001"), ("ADMIN_TOKEN", "short")];
    let told = failure(&mut Service::spawn("service", envs), 1);
    assert!(told.contains("ADMIN_ADDR (--admin-addr)"), "{told}");
    assert!(told.contains("or off"), "{told}");
    assert!(told.contains("at least 16 characters"), "{told}");
    assert!(!told.contains("short"), "{told}");
}
