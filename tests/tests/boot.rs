//! How a process starts, and how it does not: settings, and each failure with its one message and
//! its exit code.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use uptree_tests::{Database, Ended, Example, Service, Signal, command, failure, free_addr};

const SOON: Duration = Duration::from_secs(20);

// ------------------------------------------------------------------ settings

/// Every setting: its flag, its variable, what `--help` says it defaults to.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("addr", "ADDR", "127.0.0.1:4000"),
    ("body-limit", "BODY_LIMIT", "1MiB"),
    ("drain-delay", "DRAIN_DELAY", "0s; 5s in Kubernetes"),
    ("drain-limit", "DRAIN_LIMIT", "10s"),
    ("probe-detail", "PROBE_DETAIL", "on"),
    ("admin-addr", "ADMIN_ADDR", "127.0.0.1:4001, if it is free"),
    ("admin-token", "ADMIN_TOKEN", ""),
    ("metrics-addr", "METRICS_ADDR", "none"),
    (
        "database-url",
        "DATABASE_URL",
        "sqlite://service.db?mode=rwc",
    ),
    ("pool-size", "POOL_SIZE", "10"),
    ("migrate", "MIGRATE", "apply"),
    ("migrate-url", "MIGRATE_URL", "the database's"),
    ("migrations-dir", "MIGRATIONS_DIR", ""),
    (
        "migrations-table",
        "MIGRATIONS_TABLE",
        "sqlx's, _sqlx_migrations",
    ),
    (
        "migrations-schema",
        "MIGRATIONS_SCHEMA",
        "the search path's",
    ),
    ("lock-retry-budget", "LOCK_RETRY_BUDGET", "10m"),
    ("show-blocking-queries", "SHOW_BLOCKING_QUERIES", ""),
    ("queue-size", "QUEUE_SIZE", "10000"),
    ("start-timeout", "START_TIMEOUT", "60s"),
    ("stop-budget", "STOP_BUDGET", "what the children need"),
    ("stall-limit", "STALL_LIMIT", "30s"),
    ("log-format", "LOG_FORMAT", "pretty"),
    ("rust-log", "RUST_LOG", "info"),
    ("spans", "SPANS", "off"),
];

#[test]
fn the_help_lists_every_setting_with_its_variable_and_its_default() {
    let mut help = Service::start(command("service").arg("--help"));
    assert_eq!(help.wait(SOON), Ended::Code(0));
    assert_eq!(help.stderr(), "");
    // What is said of each begins with its flag.
    let all = help.stdout_lines().join("\n");
    let (_, settings) = all
        .split_once("\n\n")
        .expect("the usage, then the settings");
    let settings: Vec<&str> = settings.split("\n      --").skip(1).collect();
    assert_eq!(settings.len(), SETTINGS.len(), "{all}");
    for &(flag, variable, default) in SETTINGS {
        let of_flag = |text: &&&str| text.split_whitespace().next() == Some(flag);
        let text = settings.iter().find(of_flag);
        let text = text.unwrap_or_else(|| panic!("no {flag} in {all}"));
        // `[env: NAME=value]`, and for a secret one `[env: NAME]`.
        let named = [format!("[env: {variable}="), format!("[env: {variable}]")];
        assert!(named.iter().any(|named| text.contains(named)), "{text}");
        if !default.is_empty() {
            assert!(text.contains(&format!("[default: {default}]")), "{text}");
        }
    }
    assert!(all.contains("DATABASE_URL_FILE"), "{all}");
}

#[test]
fn the_help_does_not_show_a_secret() {
    let url = format!("postgres://clerk:{}@db/shop", Database::PASSWORD);
    let mut command = command("service");
    let mut help = Service::start(command.arg("--help").env("DATABASE_URL", url));
    assert_eq!(help.wait(SOON), Ended::Code(0));
    let all = help.stdout_lines().join("\n");
    assert!(!all.contains(Database::PASSWORD), "{all}");
}

#[test]
fn all_bad_values_are_told_at_once_before_anything_starts() {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let url = format!("oracle://clerk:{}@db/shop", Database::PASSWORD);
    let bad = [
        (
            "ADDR",
            "localhost",
            "takes an IP address and a port, such as 127.0.0.1:4000",
        ),
        (
            "BODY_LIMIT",
            "1MB",
            "takes a number of bytes, such as 65536, 64KiB or 1MiB",
        ),
        (
            "DRAIN_DELAY",
            "1",
            "takes a length of time, such as 500ms, 60s or 2m",
        ),
        (
            "DRAIN_LIMIT",
            "-1s",
            "takes a length of time, such as 500ms, 60s or 2m",
        ),
        (
            "DATABASE_URL",
            &url,
            "unknown scheme `oracle`: it takes postgres://user:password@host:port/database, mysql://user:password@host:port/database or sqlite://file?mode=rwc",
        ),
        ("POOL_SIZE", "0", "takes a number of connections, 1 or more"),
        (
            "QUEUE_SIZE",
            "many",
            "takes a whole number of readings, from 1 up",
        ),
        (
            "START_TIMEOUT",
            "soon",
            "takes a length of time, such as 500ms, 60s or 2m",
        ),
        (
            "STOP_BUDGET",
            "never",
            "takes a length of time, such as 500ms, 60s or 2m",
        ),
        ("LOG_FORMAT", "xml", "takes pretty or json"),
        (
            "RUST_LOG",
            "a=b=c",
            "takes a filter, such as info or warn,my_service=debug",
        ),
        // Found by the child's constructor, and told with the rest.
        (
            "MIGRATIONS_DIR",
            "/no/such/folder",
            "cannot read the migrations in /no/such/folder",
        ),
    ];
    let envs = bad.iter().map(|(name, value, _)| (name, value));
    let mut service = Service::spawn_in(folder.path(), "service", envs);
    let stderr = told(&mut service);
    for (name, value, takes) in bad {
        if name == "MIGRATIONS_DIR" {
            assert!(
                stderr.contains("error: service/migrator is not set up right\n"),
                "{stderr}"
            );
            assert!(
                stderr.contains(&format!("  caused by: {takes}\n")),
                "{stderr}"
            );
            continue;
        }
        let shown = match name {
            "DATABASE_URL" => String::new(),
            _ => format!(" {value:?}:"),
        };
        let flag = name.to_lowercase().replace('_', "-");
        let expected = format!("error: {name} (--{flag}):{shown} {takes}");
        assert!(
            stderr.lines().any(|line| line.starts_with(&expected)),
            "{expected}\nis not in\n{stderr}"
        );
    }
    assert_eq!(stderr.matches("error: ").count(), bad.len(), "{stderr}");
    assert!(service.stdout_lines().is_empty());
    let left = fs::read_dir(folder.path()).expect("it is ours").count();
    assert_eq!(left, 0, "nothing was started that would have made a file");
}

#[test]
fn a_flag_is_as_good_as_a_variable_and_goes_before_it() {
    let database = Database::sqlite();
    let addr = free_addr().to_string();
    let mut command = command("service");
    command
        .args(["--addr", &addr, "--database-url", &database.url()])
        .args(["--queue-size=7", "--start-timeout", "5s"])
        .envs([("ADDR", "127.0.0.1:1"), ("QUEUE_SIZE", "1")]);
    let mut service = Service::start(&mut command);
    service.wait_for_line(|line| line.contains(&format!("addr={addr}")), SOON);
    service.wait_for_line(|line| line.contains(" service booted in "), SOON);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(SOON), Ended::Code(0));
}

#[test]
fn a_flag_that_there_is_not_is_named() {
    let mut service = Service::start(command("service").arg("--pool"));
    let stderr = told(&mut service);
    let first = stderr.lines().next();
    assert_eq!(first, Some("error: unexpected argument '--pool' found"));
}

#[test]
fn a_secret_is_read_from_the_file_that_its_variable_names() {
    let database = Database::sqlite();
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let file = folder.path().join("url");
    // As editors and `echo` leave it.
    fs::write(&file, format!("{}\n", database.url())).expect("it is ours");
    let (file, addr) = (file.display().to_string(), free_addr().to_string());
    let envs = [("ADDR", &addr), ("DATABASE_URL_FILE", &file)];
    let mut service = Service::spawn("service", envs);
    service.wait_for_line(|line| line.contains(" service booted in "), SOON);
    assert_eq!(database.ledger(), "1 2 3");
    service.signal(Signal::TERM);
    assert_eq!(service.wait(SOON), Ended::Code(0));
    assert!(!service.folder().join("service.db").exists());
}

#[test]
fn a_secret_in_a_file_is_not_shown_when_it_is_bad() {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let file = folder.path().join("url").display().to_string();
    let text = format!("oracle://clerk:{}@db/shop", Database::PASSWORD);
    fs::write(&file, text).expect("it is ours");
    let mut service = Service::spawn("service", [("DATABASE_URL_FILE", &file)]);
    let stderr = told(&mut service);
    let expected = "error: DATABASE_URL (--database-url): unknown scheme `oracle`: ";
    assert!(stderr.starts_with(expected), "{stderr}");

    let missing = folder.path().join("missing").display().to_string();
    let mut service = Service::spawn("service", [("DATABASE_URL_FILE", &missing)]);
    let expected = format!(
        "error: DATABASE_URL_FILE: cannot read {missing}: No such file or directory (os error 2)"
    );
    assert_eq!(told(&mut service), expected);

    let both = [("DATABASE_URL_FILE", &*file), ("DATABASE_URL", "sqlite:x")];
    let expected = "error: DATABASE_URL, DATABASE_URL_FILE: both are set; set one of them";
    assert_eq!(told(&mut Service::spawn("service", both)), expected);
}

#[test]
fn a_json_log_has_one_object_a_line_with_the_path_of_its_child() {
    let database = Database::sqlite();
    let mut service = Example::spawn(&database.url(), &[("LOG_FORMAT", "json")]);
    service.wait_for(r#""child":"service","level":"INFO","message":"booted in"#);
    service.stop();
    let lines = service.process.stdout_lines();
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| match serde_json::from_str(line) {
            Ok(Value::Object(object)) => Value::Object(object),
            _ => panic!("no object: {line}"),
        })
        .collect();
    for field in ["timestamp", "level", "message", "target"] {
        let all = lines.iter().all(|line| line[field].is_string());
        assert!(all, "{field} is missing in {lines:#?}");
    }
    for child in ["endpoint", "repo", "migrator", "ingestion", "ready"] {
        let path = format!("service/{child}");
        let of_child = lines.iter().any(|line| line["child"] == path);
        assert!(of_child, "{path} is missing in {lines:#?}");
    }
    let applied = |line: &&Value| line["message"] == "migrations applied";
    let applied: Vec<_> = lines.iter().filter(applied).collect();
    assert_eq!(applied.len(), 1, "{lines:#?}");
    assert_eq!(applied[0]["first"], "0001_readings.sql");
    assert_eq!(applied[0]["child"], "service/migrator");
}

#[test]
fn the_log_is_as_much_as_rust_log_says() {
    let database = Database::sqlite();
    let mut service = Example::spawn(&database.url(), &[("RUST_LOG", "warn")]);
    uptree_tests::eventually(SOON, || (service.status("/ready") == 200).then_some(()));
    service.stop();
    assert_eq!(service.log(), "");
}

// ------------------------------------------------------------------ what does not start

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let database = Database::sqlite();
    let addr = free_addr();
    let _taken = TcpListener::bind(addr).expect("it is free");
    let addr = addr.to_string();
    let mut service = Example::spawn(&database.url(), &[("ADDR", &addr)]);
    assert_eq!(
        service.fails(1),
        format!(
            "error: service/endpoint did not start\n  \
               caused by: cannot listen on {addr}\n  \
               caused by: Address already in use (os error 98)\n  \
               help: stop what listens there, or set ADDR to another port"
        )
    );
    starts_nothing_after(&service, "service/endpoint");
}

#[test]
fn a_program_without_tls_does_not_answer_in_the_clear_instead() {
    let database = Database::sqlite();
    let files = [("TLS_CERT", "tls.crt"), ("TLS_KEY", "tls.key")];
    let mut service = Example::spawn(&database.url(), &files);
    let failure = service.fails(1);
    assert!(
        failure.contains("TLS_CERT and TLS_KEY are set, and this program is built without TLS"),
        "{failure}"
    );
    let remedy = "help: build it with the feature `tls` of uptree, or unset TLS_CERT and TLS_KEY";
    assert!(failure.contains(remedy), "{failure}");
}

#[test]
fn an_address_of_another_machine_is_told_with_its_cause() {
    let database = Database::sqlite();
    // For documentation: nobody has it.
    let mut service = Example::spawn(&database.url(), &[("ADDR", "192.0.2.1:4000")]);
    assert_eq!(
        service.fails(1),
        "error: service/endpoint did not start\n  \
           caused by: cannot listen on 192.0.2.1:4000\n  \
           caused by: Cannot assign requested address (os error 99)\n  \
           help: set ADDR to an address of this machine; 0.0.0.0 or [::] is all of them"
    );
}

#[test]
fn a_scheme_of_no_database_is_told_with_what_is_taken() {
    let url = format!("oracle://clerk:{}@db/shop", Database::PASSWORD);
    let mut service = Example::spawn(&url, &[]);
    assert_eq!(
        service.fails(1),
        "error: DATABASE_URL (--database-url): unknown scheme `oracle`: it takes \
         postgres://user:password@host:port/database, \
         mysql://user:password@host:port/database or sqlite://file?mode=rwc"
    );
    assert_eq!(service.log(), "");
}

/// As root, whom no permission stops: a folder that is a file, and one that takes no files.
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("it is ours");
    let mut unwritable = vec![
        (file.join("shop.db"), file),
        (folder.path().join("no/shop.db"), folder.path().join("no")),
    ];
    if cfg!(target_os = "linux") {
        unwritable.push(("/proc/shop.db".into(), "/proc".into()));
    }
    for (path, at_fault) in unwritable {
        let path = path.display();
        let mut service = Example::spawn(&format!("sqlite://{path}?mode=rwc"), &[]);
        let (causes, help) = chain(&service.fails(1));
        let expected = format!(
            "error: service/repo did not start\n  \
               caused by: cannot open SQLite file {path}\n  \
               caused by: unable to open database file (SQLite code 14)"
        );
        assert_eq!(causes, expected);
        assert!(help.contains(&at_fault.display().to_string()), "{help}");
        starts_nothing_after(&service, "service/repo");
    }
}

#[test]
fn a_file_that_is_no_database_or_is_not_there_is_told_at_once() {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let text = folder.path().join("text");
    fs::write(&text, "not a database, and long enough to tell".repeat(20)).expect("it is ours");
    let fails = |path: &Path, mode: &str| {
        let url = format!("sqlite://{}{mode}", path.display());
        let began = Instant::now();
        let (causes, help) = chain(&Example::spawn(&url, &[]).fails(1));
        // Not tried again for START_TIMEOUT: it would not change.
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(!help.is_empty());
        causes.lines().last().unwrap_or_default().to_owned()
    };
    let cause = fails(&text, "?mode=rwc");
    assert_eq!(
        cause,
        "  caused by: file is not a database (SQLite code 26)"
    );
    let unable = "  caused by: unable to open database file (SQLite code 14)";
    assert_eq!(fails(&folder.path().join("missing"), ""), unable);
    assert_eq!(fails(folder.path(), "?mode=rwc"), unable);
}

// ------------------------------------------------------------------ children that are odd

/// The probe with this scenario and these variables.
fn probe(scenario: &str, envs: &[(&str, &str)]) -> Service {
    Service::start(command("probe").arg(scenario).envs(envs.iter().copied()))
}

/// How the probe's start failed, which came to stop what had started, and to start nothing else.
#[track_caller]
fn probe_fails(scenario: &str, envs: &[(&str, &str)], code: i32) -> String {
    let mut probe = probe(scenario, envs);
    let stderr = failure(&mut probe, code);
    let log = probe.stdout_lines().join("\n");
    assert!(log.contains("probe/first stopped"), "{log}");
    assert!(!log.contains("probe/last"), "{log}");
    assert!(log.contains(&format!("exit code={code}")), "{log}");
    stderr
}

#[test]
fn a_child_that_panics_in_its_start_is_told_with_its_message() {
    assert_eq!(
        probe_fails("panics-in-start", &[], 1),
        "error: probe/odd did not start\n  caused by: panicked: the odd child is odd"
    );
}

#[test]
fn a_childs_own_error_is_told_with_its_causes_and_its_remedy() {
    assert_eq!(
        probe_fails("fails-in-start", &[], 1),
        "error: probe/odd did not start\n  \
           caused by: cannot read the paper\n  \
           caused by: No such file or directory (os error 2)\n  \
           help: give it a file"
    );
}

#[test]
fn a_child_that_is_never_ready_is_given_up_at_its_start_timeout() {
    let began = Instant::now();
    let (causes, help) = chain(&probe_fails(
        "never-ready",
        &[("START_TIMEOUT", "700ms")],
        1,
    ));
    assert!(began.elapsed() >= Duration::from_millis(700));
    assert_eq!(
        causes,
        "error: probe/odd did not start\n  caused by: not ready within 700ms"
    );
    assert!(help.contains("START_TIMEOUT"), "{help}");
}

#[test]
fn a_child_that_returns_before_it_is_ready_is_told_what_it_forgot() {
    assert_eq!(
        probe_fails("returns-in-start", &[], 1),
        "error: probe/odd did not start\n  \
           caused by: returned before `cx.ready()` or `cx.done()`"
    );
}

#[test]
fn a_child_that_blocks_in_its_start_is_stuck_and_ends_the_process_with_3() {
    let (causes, help) = chain(&probe_fails(
        "blocks-in-start",
        &[("START_TIMEOUT", "200ms")],
        3,
    ));
    assert_eq!(
        causes,
        "error: probe/odd is stuck: still running 5s after it was killed\n  \
           caused by: code that never awaits cannot be aborted"
    );
    assert!(help.contains("spawn_blocking"), "{help}");
}

#[test]
fn a_child_that_keeps_failing_ends_the_process_with_2() {
    let mut probe = probe("keeps-failing", &[]);
    assert_eq!(
        failure(&mut probe, 2),
        "error: probe gave up: probe/odd failed once more than 3 times within 5s\n  \
           caused by: out of paper"
    );
    let log = probe.stdout_lines().join("\n");
    assert_eq!(
        log.matches("probe/odd terminated: restarting").count(),
        3,
        "{log}"
    );
    assert!(log.contains("probe/first stopped"), "{log}");
    assert!(log.contains("probe/last stopped"), "{log}");
}

// ------------------------------------------------------------------ children that do not stop

#[test]
fn a_child_that_ignores_its_stop_is_killed_at_its_timeout_and_reported() {
    let probe = stopped("ignores-its-stop", &[]);
    let log = in_order(
        &probe,
        &["probe/last stopped", "probe/odd out of time: killed"],
    );
    let reported = "probe/odd did not stop in order incarnation=0 reason=killed";
    assert!(log.contains(reported), "{log}");
    in_order(&probe, &[reported, "probe/first stopped", "exit code=0"]);
}

#[test]
fn a_child_that_panics_in_its_stop_is_reported_and_the_others_stop_in_order() {
    let probe = stopped("panics-in-stop", &[]);
    let reported =
        r#"probe/odd did not stop in order incarnation=0 reason="panicked: the odd child is odd""#;
    in_order(
        &probe,
        &[
            "probe/last stopped",
            reported,
            "probe/first stopped",
            "exit code=0",
        ],
    );
}

/// It stops a probe that runs, which has to end with 0.
#[track_caller]
fn stopped(scenario: &str, envs: &[(&str, &str)]) -> Service {
    let mut probe = probe(scenario, envs);
    probe.wait_for_line(|line| line.contains(" probe booted in "), SOON);
    probe.signal(Signal::TERM);
    assert_eq!(probe.wait(SOON), Ended::Code(0), "{}", probe.stderr());
    assert_eq!(probe.stderr(), "");
    probe
}

#[test]
fn a_child_that_blocks_its_thread_for_ever_is_stuck_and_ends_the_process_with_3() {
    let mut probe = probe("blocks", &[]);
    probe.wait_for_line(|line| line.ends_with("probe/odd blocking"), SOON);
    probe.signal(Signal::TERM);
    let (causes, _) = chain(&failure(&mut probe, 3));
    assert_eq!(
        causes,
        "error: probe/odd is stuck: still running 5s after it was killed\n  \
           caused by: code that never awaits cannot be aborted"
    );
    let stopped = [
        "probe/last stopped",
        "probe/odd out of time: killed",
        "probe/first stopped",
    ];
    in_order(&probe, &stopped);
}

#[test]
fn a_child_that_blocks_its_thread_for_longer_than_the_budget_is_named() {
    let mut probe = probe("blocks", &[("STOP_BUDGET", "1s")]);
    probe.wait_for_line(|line| line.ends_with("probe/odd blocking"), SOON);
    probe.signal(Signal::TERM);
    let stderr = failure(&mut probe, 3);
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(
        lines[0],
        "error: the stop took longer than its budget of 1s"
    );
    // The one at fault, and the one that was to stop after it.
    assert!(lines[1].starts_with("  still there: probe/first, running for "));
    assert!(lines[2].starts_with("  still there: probe/odd, stopping for "));
    assert!(lines[2].contains("; it blocks a worker thread"), "{stderr}");
    assert!(lines[3].starts_with("  help: code that blocks its thread cannot be stopped"));
    assert_eq!(lines.len(), 4, "{stderr}");
}

// ------------------------------------------------------------------ helpers

/// Waits until it has refused to start, and returns what it says: no log, and no secret.
#[track_caller]
fn told(service: &mut Service) -> String {
    let ended = service.wait(SOON);
    let stderr = service.stderr();
    assert_eq!(ended, Ended::Code(1), "{stderr}");
    assert!(!stderr.contains(Database::PASSWORD), "{stderr}");
    assert!(service.stdout_lines().is_empty());
    stderr
}

/// The chain without its remedy, and the remedy.
fn chain(stderr: &str) -> (String, String) {
    match stderr.split_once("\n  help: ") {
        Some((causes, help)) => (causes.to_owned(), help.to_owned()),
        None => (stderr.to_owned(), String::new()),
    }
}

/// The order of the service's children.
const CHILDREN: [&str; 5] = ["endpoint", "repo", "migrator", "ingestion", "ready"];

#[track_caller]
fn starts_nothing_after(service: &Example, failed: &str) {
    let log = service.log();
    let after = CHILDREN.iter().map(|child| format!("service/{child}"));
    for child in after.skip_while(|child| child != failed).skip(1) {
        assert!(!log.contains(&child), "{log}");
    }
}

/// The log, in which these parts of lines stand one after the other.
#[track_caller]
fn in_order(process: &Service, parts: &[&str]) -> String {
    let log = process.stdout_lines().join("\n");
    let mut rest = &*log;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            panic!("{part:?} is missing, or too early, in:\n{log}");
        };
        rest = after;
    }
    log
}
