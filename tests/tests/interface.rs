//! The example service's interface, to the letter: bodies, errors, limits, on both databases.

use std::fmt::Write;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uptree_tests::http::{Connection, Response};
use uptree_tests::{Database, Example, eventually, http, on_both};

const SOON: Duration = Duration::from_secs(10);

on_both!(
    a_reading_is_accepted_written_and_shown,
    a_reading_has_an_id_and_a_time_of_its_own_or_is_given_them,
    an_id_that_is_sent_again_is_written_once,
    what_the_database_would_refuse_is_refused_before_the_202,
    the_extremes_of_what_is_taken_come_back_as_they_were,
    an_array_is_taken_whole_or_not_at_all,
    an_array_longer_than_the_queue_is_refused_with_the_limit,
    readings_are_shown_newest_first,
    a_limit_is_from_1_to_1000,
    a_sensor_is_summed_up,
    every_error_is_a_problem,
    a_full_queue_refuses_at_once_and_does_not_grow,
    a_body_is_as_long_as_the_limit_at_most,
);

fn a_reading_is_accepted_written_and_shown(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    let reading = json!({"sensor": "attic", "value": 21.5, "at": "2026-11-23T10:00:00.25+01:00"});
    let answer = service.post(&reading);
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let id = answer.json()["ids"][0].clone();
    assert_eq!(answer.json(), json!({"accepted": 1, "ids": [id]}));

    wait_until_written(database, 1);
    let at = "2026-11-23T09:00:00.25Z";
    let shown = json!([{"id": id, "sensor": "attic", "value": 21.5, "at": at}]);
    let summary = json!({
        "sensor": "attic", "count": 1, "mean": 21.5, "last": {"value": 21.5, "at": at}
    });
    for (path, body) in [
        ("/readings", &shown),
        ("/readings?sensor=attic", &shown),
        ("/readings?sensor=attic&limit=1", &shown),
        ("/readings?sensor=cellar", &json!([])),
        ("/sensors/attic", &summary),
    ] {
        let answer = service.get(path);
        assert_eq!((answer.status, &answer.json()), (200, body), "{path}");
        let content_type = answer.header("content-type");
        assert_eq!(content_type, Some("application/json"), "{path}");
    }
    service.stop();
}

fn a_reading_has_an_id_and_a_time_of_its_own_or_is_given_them(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    let micros = "SELECT measured_at FROM readings";
    let before = now_micros();
    let answer = service.post(&json!({"sensor": "a", "value": 1})).json();
    let id = answer["ids"][0].as_str().expect("an id").to_owned();
    let after = now_micros();
    // Canonical, and of version 7.
    let dashes: Vec<_> = id.match_indices('-').map(|(at, _)| at).collect();
    assert_eq!(dashes, [8, 13, 18, 23], "{id}");
    assert_eq!((id.len(), &id[14..15]), (36, "7"), "{id}");
    wait_until_written(database, 1);
    let at: i128 = database.query(micros).parse().expect("microseconds");
    assert!((before..=after).contains(&at), "{before} {at} {after}");
    assert_eq!(service.get("/readings").json()[0]["id"], json!(id));

    // However it is written, it is one id, and shown in one way.
    let own = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    for text in [
        own.to_owned(),
        own.to_uppercase(),
        own.replace('-', ""),
        format!("{{{own}}}"),
        format!("urn:uuid:{own}"),
    ] {
        let reading = json!({"sensor": "b", "value": 1, "id": text});
        let answer = service.post(&reading);
        assert_eq!(answer.json(), json!({"accepted": 1, "ids": [own]}));
    }
    service.stop();
    assert_eq!(database.query("SELECT count(*) FROM readings"), "2");
}

fn an_id_that_is_sent_again_is_written_once(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let reading = |value: i32| json!({"sensor": "a", "value": value, "id": id});
    let answer = service.post(&reading(1));
    assert_eq!(answer.json(), json!({"accepted": 1, "ids": [id]}));
    wait_until_written(database, 1);
    // Alone, and twice in one array with others.
    assert_eq!(service.post(&reading(2)).status, 202);
    let other = json!({"sensor": "a", "value": 4});
    let answer = service.post(&json!([reading(3), other, reading(4), reading(5)]));
    assert_eq!(answer.json()["accepted"], 4);
    service.stop();
    let written = database.query("SELECT value FROM readings ORDER BY value");
    assert_eq!(whole(&written), "1\n4", "the first is left as it is");
}

/// With 422 and a pointer to the place, or with 400 if it is no JSON at all.
fn what_the_database_would_refuse_is_refused_before_the_202(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    for (reading, pointer, what) in refused() {
        let problem = problem(&service.post(&reading), 422);
        assert_eq!(problem["pointer"], pointer, "{reading}: {problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(what), "{reading}: {problem}");
        assert!(detail.starts_with(pointer), "{reading}: {problem}");
    }
    for (body, line, column) in [
        ("", 1, 0),
        ("{", 1, 1),
        ("{\"sensor\": \"a\",\n \"value\": NaN}", 2, 11),
        (r#"{"sensor": "a", "value": -Infinity}"#, 1, 27),
        (r#"{"sensor": "\ud800", "value": 1}"#, 1, 19),
        (r#"{"sensor": "a", "value": 1} x"#, 1, 29),
    ] {
        let answer = http::post_json(service.addr, "/readings", body).expect("an answer");
        let problem = problem(&answer, 400);
        let place = (&problem["line"], &problem["column"]);
        assert_eq!(place, (&json!(line), &json!(column)), "{body}: {problem}");
    }
    // A number that no float holds: that it is refused is what counts.
    let huge = r#"{"sensor": "a", "value": 1e999}"#;
    let answer = http::post_json(service.addr, "/readings", huge).expect("an answer");
    assert!([400, 422].contains(&answer.status), "{}", answer.text());
    service.stop();
    assert_eq!(database.query("SELECT count(*) FROM readings"), "0");
}

/// Bodies that are JSON and no readings; where they are not, and what is said of it.
fn refused() -> Vec<(Value, &'static str, &'static str)> {
    let characters = "takes 1 to 200 characters, none of them a control character";
    let sensors = ["", &"x".repeat(201), "a\u{0}b", "a\nb", "\u{7f}", "\u{9f}"]
        .map(|sensor| (with("sensor", json!(sensor)), "/sensor", characters));
    let time = "takes a time as in RFC 3339, in the years 1 to 9999";
    let times = [
        "",
        "2026-11-23",
        "2026-11-23T10:00:00",
        "2026-02-29T10:00:00Z",
        "0000-12-31T23:59:59Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01T00:00:00Z",
    ]
    .map(|at| (with("at", json!(at)), "/at", time));
    let others = [
        (with("sensor", json!(1)), "/sensor", "invalid type"),
        (with("sensor", Value::Null), "/sensor", "invalid type"),
        (with("value", json!("1")), "/value", "expected f64"),
        (with("value", json!(true)), "/value", "expected f64"),
        (with("value", Value::Null), "/value", "expected f64"),
        (with("id", json!("1")), "/id", "takes a UUID"),
        (with("id", Value::Null), "/id", "invalid type"),
        (with("at", json!(1_700_000_000)), "/at", "invalid type"),
        (with("at", Value::Null), "/at", "invalid type"),
        (with("unit", json!("C")), "/unit", "unknown field `unit`"),
        (json!({"value": 1}), "", "missing field `sensor`"),
        (json!({"sensor": "a"}), "", "missing field `value`"),
        (json!("a"), "", "expected a reading or an array of readings"),
        (json!([[]]), "/0", "expected a reading"),
        (json!([["a", 1]]), "/0", "expected a reading"),
    ];
    sensors.into_iter().chain(times).chain(others).collect()
}

/// A reading with one field changed.
fn with(field: &str, value: Value) -> Value {
    let mut reading = json!({"sensor": "a", "value": 1});
    reading[field] = value;
    reading
}

fn the_extremes_of_what_is_taken_come_back_as_they_were(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    let sensors = [
        "x".to_owned(),
        "é".repeat(200),
        "🌡".repeat(200),
        "a/b?c=d&e f%20'\"\\;--".to_owned(),
        "\u{a0}\u{200b}\u{feff}".to_owned(),
    ];
    let times = [
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        // What is finer than a microsecond is cut, also before 1970.
        (
            "9999-12-31T23:59:59.9999999Z",
            "9999-12-31T23:59:59.999999Z",
        ),
        (
            "1969-12-31T23:59:59.9999999Z",
            "1969-12-31T23:59:59.999999Z",
        ),
        ("2026-11-23t10:00:00z", "2026-11-23T10:00:00Z"),
    ];
    let values = [f64::MAX, f64::MIN, 5e-324, 0.1 + 0.2, -0.0];
    for ((sensor, (at, shown_at)), value) in sensors.iter().zip(times).zip(values) {
        let answer = service.post(&json!({"sensor": sensor, "value": value, "at": at}));
        assert_eq!(answer.status, 202, "{sensor} {at}: {}", answer.text());
        let path = format!("/readings?sensor={}", escape(sensor));
        let shown = eventually(SOON, || {
            let shown = service.get(&path).json();
            (shown != json!([])).then_some(shown)
        });
        let expected = json!([
            {"id": answer.json()["ids"][0], "sensor": sensor, "value": value, "at": shown_at}
        ]);
        assert_eq!(shown, expected);
        let summary = service.get(&format!("/sensors/{}", escape(sensor)));
        let expected = json!({
            "sensor": sensor, "count": 1, "mean": value, "last": {"value": value, "at": shown_at}
        });
        assert_eq!(summary.json(), expected);
    }
    service.stop();
}

fn an_array_is_taken_whole_or_not_at_all(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    let reading = |value: i32| json!({"sensor": "a", "value": value});
    let answer = service.post(&json!([reading(1), reading(2), {"sensor": "a", "value": "3"}]));
    assert_eq!(problem(&answer, 422)["pointer"], "/2/value");
    let answer = service.post(&json!([reading(4), reading(5)]));
    assert_eq!(answer.status, 202);
    let answer = answer.json();
    assert_eq!(answer["accepted"], 2);
    assert_eq!(answer["ids"].as_array().map(Vec::len), Some(2));
    let answer = service.post(&json!([]));
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json(), json!({"accepted": 0, "ids": []}));
    service.stop();
    let written = database.query("SELECT value FROM readings ORDER BY value");
    assert_eq!(whole(&written), "4\n5");
}

fn an_array_longer_than_the_queue_is_refused_with_the_limit(database: &Database) {
    let mut service = Example::boot(&database.url(), &[("QUEUE_SIZE", "5")]);
    let readings = |count: usize| Value::from(vec![json!({"sensor": "a", "value": 1}); count]);
    let answer = problem(&service.post(&readings(6)), 413);
    assert_eq!(answer["limit"], 5);
    assert_eq!(answer["detail"], "at most 5 readings at once (QUEUE_SIZE)");
    assert_eq!(service.post(&readings(5)).status, 202);
    service.stop();
    assert_eq!(database.query("SELECT count(*) FROM readings"), "5");
}

fn readings_are_shown_newest_first(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    // Of equal times, what arrived last comes first: also of one array.
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z");
    let reading = |value: i32, at: &str| json!({"sensor": "a", "value": value, "at": at});
    service.post(&json!([
        reading(1, old),
        reading(2, new),
        reading(3, old),
        reading(4, new)
    ]));
    service.post(&json!(reading(5, old)));
    service.post(&json!({"sensor": "b", "value": 6, "at": old}));
    wait_until_written(database, 6);
    let values = |path: &str| {
        let readings = service.get(path).json();
        let readings = readings.as_array().expect("an array").clone();
        let values = readings.iter().map(|reading| reading["value"].as_f64());
        values.map(Option::unwrap_or_default).collect::<Vec<_>>()
    };
    assert_eq!(values("/readings"), [4.0, 2.0, 6.0, 5.0, 3.0, 1.0]);
    assert_eq!(values("/readings?sensor=a"), [4.0, 2.0, 5.0, 3.0, 1.0]);
    assert_eq!(values("/readings?limit=3"), [4.0, 2.0, 6.0]);
    assert_eq!(values("/readings?limit=2&sensor=b"), [6.0]);
    let last = &service.get("/sensors/a").json()["last"];
    assert_eq!(last, &json!({"value": 4.0, "at": new}));
    service.stop();
}

fn a_limit_is_from_1_to_1000(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    let reading = json!({"sensor": "a", "value": 1});
    let answer = service.post(&Value::from(vec![reading; 1001]));
    assert_eq!(answer.status, 202);
    wait_until_written(database, 1001);
    let count = |path: &str| service.get(path).json().as_array().map(Vec::len);
    for (path, expected) in [
        ("/readings", 100),
        ("/readings?sensor=a", 100),
        ("/readings?limit=1", 1),
        ("/readings?limit=1000", 1000),
        ("/readings?sensor=a&limit=1000", 1000),
    ] {
        assert_eq!(count(path), Some(expected), "{path}");
    }
    for limit in ["0", "1001", "-1", "1.5", "many", "", "99999999999999999999"] {
        let answer = problem(&service.get(&format!("/readings?limit={limit}")), 400);
        let detail = "query parameter `limit`: takes a whole number from 1 to 1000";
        assert_eq!(answer["detail"], detail, "{limit}");
        assert_eq!(answer["parameter"], "limit");
    }
    let answer = problem(&service.get("/readings?senser=a"), 400);
    let detail = answer["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("senser"), "{detail}");
    service.stop();
}

fn a_sensor_is_summed_up(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    let at = |second: u32| format!("2026-01-01T00:00:0{second}Z");
    let reading = |sensor: &str, value: f64, second: u32| json!({"sensor": sensor, "value": value, "at": at(second)});
    service.post(&json!([
        reading("a", 1.0, 3),
        reading("a", 2.0, 1),
        reading("a", 6.0, 2),
        reading("max", f64::MAX, 1),
        reading("max", f64::MAX, 2),
        reading("none", f64::MAX, 1),
        reading("none", f64::MIN, 2),
        reading("far", 3e160, 1),
        reading("far", -1e160, 2),
    ]));
    wait_until_written(database, 9);
    for (sensor, count, mean, last) in [
        ("a", 3, 3.0, json!({"value": 1.0, "at": at(3)})),
        ("max", 2, f64::MAX, json!({"value": f64::MAX, "at": at(2)})),
        ("none", 2, 0.0, json!({"value": f64::MIN, "at": at(2)})),
        ("far", 2, 1e160, json!({"value": -1e160, "at": at(2)})),
    ] {
        let expected = json!({"sensor": sensor, "count": count, "mean": mean, "last": last});
        assert_eq!(service.get(&format!("/sensors/{sensor}")).json(), expected);
    }
    let longest = "x".repeat(201);
    for unknown in ["b", "A", "%00", &longest] {
        let answer = problem(&service.get(&format!("/sensors/{unknown}")), 404);
        assert_eq!(answer["detail"], "no reading of this sensor");
    }
    service.stop();
}

fn every_error_is_a_problem(database: &Database) {
    let mut service = Example::boot(&database.url(), &[]);
    let reading = br#"{"sensor": "a", "value": 1}"#;
    let mut connection = Connection::open(service.addr).expect("it listens");
    for (method, path, content_type, body, status) in [
        ("GET", "/", "", &b""[..], 404),
        ("GET", "/nothing/here", "", b"", 404),
        ("GET", "/readings/", "", b"", 404),
        ("GET", "/sensors/", "", b"", 404),
        ("GET", "/sensors/a", "", b"", 404),
        ("GET", "/sensors/a/b", "", b"", 404),
        ("GET", "/sensors/%FF", "", b"", 400),
        ("POST", "/", "application/json", reading, 404),
        ("POST", "/readings", "", reading, 415),
        ("POST", "/readings", "text/plain", reading, 415),
        (
            "POST",
            "/readings",
            "application/x-www-form-urlencoded",
            b"sensor=a",
            415,
        ),
        (
            "POST",
            "/readings",
            "application/json; charset=utf-8",
            reading,
            202,
        ),
        ("DELETE", "/readings", "", b"", 405),
        ("PUT", "/readings", "application/json", reading, 405),
        ("POST", "/sensors/a", "application/json", reading, 405),
    ] {
        let headers = [("content-type", content_type)];
        let headers = if content_type.is_empty() {
            &[]
        } else {
            &headers[..]
        };
        let answer = connection.request(method, path, headers, body);
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        if status == 202 {
            assert_eq!(answer.status, 202, "{content_type}");
            continue;
        }
        problem(&answer, status);
        let allow = answer.header("allow");
        let expected = match (status, path) {
            (405, "/readings") => Some("GET,HEAD,POST"),
            (405, _) => Some("GET,HEAD"),
            _ => None,
        };
        assert_eq!(allow, expected, "{method} {path}");
    }
    let head = connection.request("HEAD", "/nothing", &[], b"");
    let head = head.expect("an answer");
    assert_eq!((head.status, head.body.len()), (404, 0));
    drop(connection);
    service.stop();
}

/// The queue is full and nothing of it can be written: each refusal comes at once, and nothing of
/// what is refused is kept.
fn a_full_queue_refuses_at_once_and_does_not_grow(database: &Database) {
    let size = 3;
    let queue_size = size.to_string();
    let mut service = Example::boot(&database.url(), &[("QUEUE_SIZE", &queue_size)]);
    let reading = json!({"sensor": "a".repeat(200), "value": 1});
    let held = database.hold();
    for _ in 0..size {
        assert_eq!(service.post(&reading).status, 202);
    }
    let array = Value::from(vec![reading.clone(); size]);
    for refused in [&reading, &json!([reading, reading]), &array] {
        let answer = service.post(refused);
        let detail = problem(&answer, 503)["detail"].clone();
        assert_eq!(detail, "too many readings wait to be written");
        let retry_after = answer.header("retry-after");
        assert!(retry_after.is_some_and(|value| value.parse::<u8>().is_ok()));
    }

    let mut connection = Connection::open(service.addr).expect("it listens");
    // What a client can send as one reading, and be refused: 32 KiB of white space in it.
    let body = format!("{}{reading}", " ".repeat(32 * 1024));
    let mut refuse = |times: usize| {
        for _ in 0..times {
            let asked = Instant::now();
            let answer = connection.post_json("/readings", &body);
            assert_eq!(answer.expect("an answer").status, 503);
            let took = asked.elapsed();
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
    };
    refuse(100);
    let before = resident_kib(service.process.pid());
    refuse(1000);
    let grown = resident_kib(service.process.pid()).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more for 32 MiB refused");
    // Those who read are not held up, and the probes say what they said.
    assert_eq!(service.get("/readings").json(), json!([]));
    assert_eq!(service.status("/ready"), 200);

    drop(held);
    wait_until_written(database, size);
    assert_eq!(service.post(&array).status, 202);
    service.stop();
    let written = database.query("SELECT count(*) FROM readings");
    assert_eq!(written, (2 * size).to_string());
}

fn a_body_is_as_long_as_the_limit_at_most(database: &Database) {
    let mut service = Example::boot(&database.url(), &[("BODY_LIMIT", "1KiB")]);
    let answer = http::post_json(service.addr, "/readings", of_length(1024));
    assert_eq!(answer.expect("an answer").status, 202);
    let answer = http::post_json(service.addr, "/readings", of_length(1025));
    let answer = problem(&answer.expect("an answer"), 413);
    assert_eq!(answer["limit"], 1024);
    assert_eq!(answer["detail"], "a body may be at most 1024 bytes long");

    // One that does not say how long it is.
    let chunked = |length: usize| {
        let mut connection = Connection::open(service.addr).expect("it listens");
        let head = "POST /readings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        let mut bytes = head.to_owned();
        for chunk in of_length(length).as_bytes().chunks(100) {
            let chunk = std::str::from_utf8(chunk).expect("it is ASCII");
            let _ = write!(bytes, "{:x}\r\n{chunk}\r\n", chunk.len());
        }
        bytes.push_str("0\r\n\r\n");
        // It may have answered, and hung up, before all is sent.
        match connection.send(bytes.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{error}"),
            _ => connection.read_response().expect("an answer"),
        }
    };
    assert_eq!(chunked(1024).status, 202);
    assert_eq!(problem(&chunked(1025), 413)["limit"], 1024);
    assert_eq!(problem(&chunked(100_000), 413)["limit"], 1024);
    service.stop();
    assert_eq!(database.query("SELECT count(*) FROM readings"), "2");
}

#[test]
fn a_megabyte_is_taken_by_default_and_a_byte_more_is_not() {
    let database = Database::sqlite();
    let mut service = Example::boot(&database.url(), &[]);
    for (length, status) in [(1 << 20, 202), ((1 << 20) + 1, 413)] {
        let answer = http::post_json(service.addr, "/readings", of_length(length));
        assert_eq!(answer.expect("an answer").status, status);
    }
    service.stop();
}

/// A reading as JSON, with white space behind it.
fn of_length(length: usize) -> String {
    let reading = r#"{"sensor": "a", "value": 1}"#;
    format!("{reading}{}", " ".repeat(length - reading.len()))
}

/// The body of an error, which has to be a problem of this status (RFC 9457).
#[track_caller]
fn problem(answer: &Response, status: u16) -> Value {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/problem+json"), "{text}");
    let problem = answer.json();
    assert_eq!(problem["type"], "about:blank", "{text}");
    assert_eq!(problem["status"], status, "{text}");
    assert!(problem["title"].is_string(), "{text}");
    problem
}

#[track_caller]
fn wait_until_written(database: &Database, count: usize) {
    let count = count.to_string();
    eventually(SOON, || {
        (database.query("SELECT count(*) FROM readings") == count).then_some(())
    });
}

/// Floats that are whole as Postgres shows them.
fn whole(rows: &str) -> String {
    rows.replace(".0", "")
}

fn now_micros() -> i128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i128::try_from(now.expect("it is after 1970").as_micros()).expect("in range")
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        let _ = write!(escaped, "%{byte:02X}");
        escaped
    })
}

/// How much memory a process has, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    // Where there is no such file, nothing is measured.
    kib.unwrap_or_default()
}
