//! `SERVICE migrate`, as a process: what it prints, what it leaves, and its exit codes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use uptree_tests::{Database, Ended, Service, Signal, command, eventually, on_all, on_both, slow};

const SOON: Duration = Duration::from_secs(30);

on_all!(
    a_schema_is_planned_applied_and_shown,
    no_later_migration_is_applied_than_asked_for,
    settings_stand_before_and_after_a_command,
    a_failure_is_told_on_stderr_alone,
    a_signal_before_the_goal_is_never_a_success,
    a_second_signal_ends_what_does_not_stop,
    any_number_may_go_up_at_once,
    a_baseline_is_entered_and_not_run,
    a_baseline_does_not_contradict_the_ledger,
    what_sqlx_has_left_is_resolved,
    a_changed_file_is_accepted,
    a_statement_in_doubt_is_resolved,
    migrations_are_undone,
    what_was_not_asked_is_not_done,
    what_can_be_known_of_a_plan_is_known_without_a_database,
    going_up_is_applying_whatever_the_service_does,
    what_a_newer_release_has_left_is_said,
);

on_both!(
    a_dry_run_leaves_nothing,
    what_is_tried_ends_with_the_command,
    a_dry_run_says_what_cannot_be_tried,
    a_file_that_leads_back_is_whole_or_not_at_all,
);

/// Three migrations that any database takes.
fn own() -> TempDir {
    own_and(&[])
}

/// These and more.
fn own_and(more: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let own = [
        (
            "0001_readings.sql",
            "-- What sensors say.\nCREATE TABLE readings (id INT PRIMARY KEY, sensor VARCHAR(99))",
        ),
        (
            "0002_readings_newest_first.sql",
            "CREATE INDEX newest ON readings (id, sensor)",
        ),
        (
            "0003_readings_by_sensor.sql",
            "CREATE INDEX by_sensor ON readings (sensor)",
        ),
    ];
    for (name, sql) in own.iter().chain(more) {
        fs::write(folder.path().join(name), sql).expect("the folder is ours");
    }
    folder
}

/// A process that has ended.
struct Done {
    ended: Ended,
    stdout: String,
    stderr: String,
}

fn start(database: &Database, folder: &Path, arguments: &[&str]) -> Service {
    let mut command = command("migrating");
    command
        .env("DATABASE_URL", database.url())
        .env("MIGRATIONS_DIR", folder)
        .arg("migrate")
        .args(arguments)
        .current_dir(folder);
    Service::start(&mut command)
}

#[track_caller]
fn finish(process: &mut Service) -> Done {
    let ended = process.wait(SOON);
    let (stdout, stderr) = (process.stdout_lines().join("\n"), process.stderr());
    let all = format!("{stdout}\n{stderr}");
    assert!(!all.contains(Database::PASSWORD), "{all}");
    Done {
        ended,
        stdout,
        stderr,
    }
}

/// Runs a command to its end.
#[track_caller]
fn run(database: &Database, folder: &TempDir, arguments: &[&str]) -> Done {
    finish(&mut start(database, folder.path(), arguments))
}

/// Runs a command that must end with this code.
#[track_caller]
fn ends(database: &Database, folder: &TempDir, arguments: &[&str], code: i32) -> Done {
    let done = run(database, folder, arguments);
    let Done { stdout, stderr, .. } = &done;
    assert_eq!(done.ended, Ended::Code(code), "{stdout}\n{stderr}");
    done
}

/// Runs a command that must end with this code, and parses what it says.
#[track_caller]
fn json(database: &Database, folder: &TempDir, arguments: &[&str], code: i32) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    let done = ends(database, folder, &arguments, code);
    let parsed: Value = serde_json::from_str(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}:\n{}\n{}", done.stdout, done.stderr));
    assert_eq!(parsed["command"], arguments[0]);
    assert_eq!(parsed["child"], "migrating/migrator");
    assert_eq!(parsed["ledger"], "_sqlx_migrations");
    parsed
}

/// The states of all migrations, such as `applied applied pending`.
#[track_caller]
fn states(database: &Database, folder: &TempDir) -> String {
    let is_settled = run(database, folder, &["status"]).ended == Ended::Code(0);
    let code = i32::from(!is_settled);
    let status = json(database, folder, &["status"], code);
    assert_eq!(status["up_to_date"], is_settled);
    let all = status["migrations"].as_array().expect("a list");
    let words: Vec<_> = all.iter().filter_map(|it| it["state"].as_str()).collect();
    words.join(" ")
}

// ------------------------------------------------------------------ plan, status, up

fn a_schema_is_planned_applied_and_shown(database: &Database) {
    let folder = own();
    let plan = json(database, &folder, &["plan"], 0);
    assert_eq!(plan["applied"], 0);
    assert_eq!(plan["migrations"].as_array().map(Vec::len), Some(3));
    let first = &plan["migrations"][0];
    assert_eq!(first["file"], "0001_readings.sql");
    let mode = if database.kind() == "mariadb" {
        "stepwise"
    } else {
        "transaction"
    };
    assert_eq!(first["mode"], mode);
    assert_eq!(first["statements"][0]["kind"], "ddl");
    let line = first["statements"][0]["line"].as_u64();
    assert!(line.is_some_and(|line| line > 0), "{first}");

    assert_eq!(states(database, &folder), "pending pending pending");
    assert!(
        !database.has_table("_sqlx_migrations"),
        "to look is not to write"
    );

    let up = json(database, &folder, &["up"], 0);
    assert_eq!((&up["applied"], &up["pending"]), (&3.into(), &0.into()));
    assert_eq!(up["migrations"].as_array().map(Vec::len), Some(3));
    assert_eq!(database.ledger(), "1 2 3");

    let status = json(database, &folder, &["status"], 0);
    let first = &status["migrations"][0];
    assert_eq!(first["state"], "applied");
    assert!(
        first["took_ms"].as_f64().is_some_and(|took| took > 0.0),
        "{first}"
    );
    let at = first["applied_at"].as_str().unwrap_or_default();
    assert_eq!(
        (at.len(), at.as_bytes().get(10), at.ends_with('Z')),
        (20, Some(&b'T'), true),
        "{at}"
    );

    let again = json(database, &folder, &["up"], 0);
    assert_eq!(
        (&again["applied"], &again["migrations"]),
        (&3.into(), &Value::Array(vec![]))
    );
    let text = ends(database, &folder, &["status"], 0).stdout;
    assert!(
        text.contains("3 migrations: the schema is up to date."),
        "{text}"
    );
}

fn no_later_migration_is_applied_than_asked_for(database: &Database) {
    let folder = own();
    let up = json(database, &folder, &["up", "--to", "2"], 0);
    assert_eq!(up["applied"], 2);
    assert_eq!(database.ledger(), "1 2");
    assert_eq!(states(database, &folder), "applied applied pending");
    let again = ends(database, &folder, &["up", "--to", "2"], 0).stdout;
    assert!(again.ends_with("nothing to do, 2 applied"), "{again}");
    let refused = ends(database, &folder, &["up", "--to", "9"], 1);
    assert_eq!(
        refused.stderr,
        "error: there is no migration 9\n  help: the newest is 3"
    );
}

fn settings_stand_before_and_after_a_command(database: &Database) {
    let folder = own();
    let (url, dir) = (database.url(), folder.path().display().to_string());
    let before = [
        "--database-url",
        &url,
        "--migrations-dir",
        &dir,
        "migrate",
        "up",
    ];
    let between = [
        "migrate",
        "--migrations-dir",
        &dir,
        "status",
        "--database-url",
        &url,
    ];
    let after = [
        "migrate",
        "status",
        "--database-url",
        &url,
        "--migrations-dir",
        &dir,
    ];
    for arguments in [before, between, after] {
        let mut process = Service::start(command("migrating").args(arguments));
        let done = finish(&mut process);
        assert_eq!(done.ended, Ended::Code(0), "{arguments:?}: {}", done.stderr);
    }
    assert_eq!(database.ledger(), "1 2 3");
    let bad = [
        "--addr",
        "x",
        "migrate",
        "up",
        "--lock-retry-budget",
        "soon",
    ];
    let done = finish(&mut Service::start(command("migrating").args(bad)));
    assert_eq!(done.ended, Ended::Code(1));
    let told: Vec<_> = done.stderr.lines().collect();
    assert!(
        told[0].starts_with("error: ADDR (--addr): \"x\""),
        "{told:?}"
    );
    assert!(
        told[1].starts_with("error: LOCK_RETRY_BUDGET (--lock-retry-budget)"),
        "{told:?}"
    );
}

#[test]
fn an_unknown_command_is_told_with_what_it_may_be_meant_to_be() {
    for (arguments, tip) in [
        (&["migrat"][..], "'migrate'"),
        (&["migrate", "stauts"], "'status'"),
    ] {
        let done = finish(&mut Service::start(command("migrating").args(arguments)));
        assert_eq!(done.ended, Ended::Code(1));
        assert!(
            done.stderr.contains("unrecognized subcommand"),
            "{}",
            done.stderr
        );
        assert!(done.stderr.contains(tip), "{}", done.stderr);
    }
}

#[test]
fn every_command_has_a_help() {
    let names = [
        "plan", "status", "up", "dry-run", "resolve", "baseline", "grants", "down",
    ];
    let all = finish(&mut Service::start(
        command("migrating").args(["migrate", "--help"]),
    ));
    assert_eq!(all.ended, Ended::Code(0));
    for name in names {
        assert!(
            all.stdout.contains(&format!("\n  {name} ")),
            "{}",
            all.stdout
        );
        let words = ["migrate", name, "--help"];
        let one = finish(&mut Service::start(command("migrating").args(words)));
        assert_eq!(one.ended, Ended::Code(0), "{}", one.stderr);
        assert!(one.stdout.contains("--json"), "{}", one.stdout);
        assert!(one.stdout.contains("--database-url"), "{}", one.stdout);
        assert!(!one.stdout.contains("--addr"), "{}", one.stdout);
    }
}

fn a_failure_is_told_on_stderr_alone(database: &Database) {
    let folder = own_and(&[(
        "0004_words.sql",
        "CREATE TABLE words (word VARCHAR(9) PRIMARY KEY);\n\
         INSERT INTO words VALUES ('hush');\n\
         INSERT INTO words VALUES ('hush')",
    )]);
    let done = ends(database, &folder, &["up", "--json"], 1);
    assert_eq!(done.stdout, "");
    let chain = done
        .stderr
        .split_once("error: migrating/migrator did not start");
    let (_, chain) = chain.unwrap_or_else(|| panic!("{}", done.stderr));
    assert!(
        chain.contains("migration 0004_words.sql failed at line 3"),
        "{chain}"
    );
    let left = if database.kind() == "mariadb" {
        "running"
    } else {
        "pending"
    };
    assert_eq!(
        states(database, &folder),
        format!("applied applied applied {left}")
    );
    let status = ends(database, &folder, &["status"], 1);
    assert!(!format!("{}{}", status.stdout, status.stderr).contains("hush"));
}

/// What a person may want to know.
fn notes(status: &Value) -> String {
    let notes = status["notes"].as_array().expect("a list").iter();
    notes
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join("\n")
}

fn what_a_newer_release_has_left_is_said(database: &Database) {
    let folder = own_and(&[("0004_words.sql", "CREATE TABLE words (id INT)")]);
    ends(database, &folder, &["up"], 0);
    fs::remove_file(folder.path().join("0004_words.sql")).expect("it is there");
    assert_eq!(states(database, &folder), "applied applied applied newer");
    assert_eq!(notes(&json(database, &folder, &["status"], 0)), "");
    fs::remove_file(folder.path().join("0002_readings_newest_first.sql")).expect("it is there");
    assert_eq!(states(database, &folder), "applied gone applied newer");
    let requires = "DELETE FROM _uptree_migrations WHERE version = 4;
                    INSERT INTO _uptree_migrations (version, requires) VALUES (4, 4)";
    database.query(requires);
    let status = json(database, &folder, &["status"], 1);
    let told = "migration 4 (words) requires a program that knows migration 4; this one knows 3";
    assert!(notes(&status).contains(told), "{status}");
    ends(database, &folder, &["up"], 1);
    // As it is where sqlx alone has migrated.
    database.query("DROP TABLE _uptree_migrations; DROP TABLE _uptree_instances");
    let status = json(database, &folder, &["status"], 0);
    assert!(notes(&status).contains("set `ignore_missing`"), "{status}");
    ends(database, &folder, &["up"], 0);
    assert_eq!(notes(&json(database, &folder, &["status"], 0)), "");
}

// ------------------------------------------------------------------ signals

/// Starts `up` with a migration that takes long, and returns when that one is under way.
fn long(database: &Database) -> (TempDir, Service) {
    let folder = own();
    ends(database, &folder, &["up"], 0);
    let file = folder.path().join("0004_slow.sql");
    fs::write(file, slow(database, 60)).expect("the folder is ours");
    let process = start(database, folder.path(), &["up"]);
    let under_way = || {
        process
            .stderr()
            .contains("0004_slow.sql done=3")
            .then_some(())
    };
    eventually(SOON, under_way);
    (folder, process)
}

fn a_signal_before_the_goal_is_never_a_success(database: &Database) {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (folder, mut process) = long(database);
        process.signal(signal);
        let done = finish(&mut process);
        assert_eq!(done.ended, Ended::Code(code), "{}", done.stderr);
        let told = "not all migrations are applied";
        assert!(done.stderr.contains(told), "{}", done.stderr);
        // It is rolled back, and nothing is locked.
        assert_eq!(states(database, &folder), "applied applied applied pending");
        fs::remove_file(folder.path().join("0004_slow.sql")).expect("it is there");
        ends(database, &folder, &["up"], 0);
    }
}

fn a_second_signal_ends_what_does_not_stop(database: &Database) {
    let (folder, mut process) = long(database);
    process.signal(Signal::TERM);
    process.signal(Signal::TERM);
    let ended = finish(&mut process).ended;
    assert_eq!(ended, Ended::Code(143));
    // However it ended, the server rolls back.
    eventually(SOON, || {
        (states(database, &folder) == "applied applied applied pending").then_some(())
    });
}

fn any_number_may_go_up_at_once(database: &Database) {
    let folder = own();
    let mut all: Vec<_> = (0..12)
        .map(|_| start(database, folder.path(), &["up", "--json"]))
        .collect();
    let mut applied = 0;
    for process in &mut all {
        let done = finish(process);
        assert_eq!(done.ended, Ended::Code(0), "{}", done.stderr);
        let up: Value = serde_json::from_str(&done.stdout).expect("one object");
        assert_eq!(up["applied"], 3);
        applied += up["migrations"].as_array().map_or(0, Vec::len);
    }
    assert_eq!(applied, 3, "each by one of them");
}

fn what_is_tried_ends_with_the_command(database: &Database) {
    let folder = own();
    ends(database, &folder, &["up"], 0);
    let file = folder.path().join("0004_slow.sql");
    fs::write(&file, slow(database, 60)).expect("the folder is ours");
    let mut process = start(database, folder.path(), &["dry-run"]);
    eventually(SOON, || {
        let is_locked = match database {
            Database::Sqlite(sqlite) => sqlite.folder().join("shop.db-migrate").exists(),
            _ => json(database, &folder, &["status"], 1)["locked_by"].is_string(),
        };
        is_locked.then_some(())
    });
    let refused = ends(database, &folder, &["baseline", "--to", "4", "--yes"], 1);
    let told = "another process is migrating this database";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);
    process.signal(Signal::TERM);
    let done = finish(&mut process);
    assert_eq!(done.ended, Ended::Code(143), "{}", done.stderr);
    // What it did does not go on, and its lock is free.
    fs::write(&file, "CREATE TABLE words (id INT)").expect("the folder is ours");
    ends(database, &folder, &["up"], 0);
    assert!(!database.has_table("slept"));
}

// ------------------------------------------------------------------ dry-run

fn a_dry_run_leaves_nothing(database: &Database) {
    let folder = own();
    let before = database.schema();
    let tried = json(database, &folder, &["dry-run"], 0);
    let all = tried["migrations"].as_array().expect("a list");
    assert!(all.iter().all(|it| it["outcome"] == "works"), "{tried}");
    assert_eq!(database.schema(), before);

    let bad = folder.path().join("0004_bad.sql");
    fs::write(
        bad,
        "CREATE TABLE fine (id INT);\nCREATE TABEL typo (id INT)",
    )
    .expect("it is ours");
    let done = ends(database, &folder, &["dry-run"], 1);
    assert!(
        done.stdout.contains("0003_readings_by_sensor.sql: works"),
        "{}",
        done.stdout
    );
    assert!(
        done.stdout.contains("0004_bad.sql: fails"),
        "{}",
        done.stdout
    );
    assert!(
        done.stderr
            .contains("migration 0004_bad.sql failed at line "),
        "{}",
        done.stderr
    );
    assert_eq!(database.schema(), before);
}

fn a_dry_run_says_what_cannot_be_tried(database: &Database) {
    let folder = own_and(&[
        ("0004_vacuum.sql", "-- no-transaction\nVACUUM"),
        ("0005_after.sql", "CREATE TABLE after_it (id INT)"),
    ]);
    let tried = json(database, &folder, &["dry-run"], 0);
    let outcomes: Vec<_> = (0..5).map(|n| &tried["migrations"][n]["outcome"]).collect();
    assert_eq!(
        outcomes,
        ["works", "works", "works", "not tried", "not tried"]
    );
    let reason = tried["migrations"][3]["reason"].as_str();
    assert_eq!(reason, Some("it runs outside a transaction"));
    assert_eq!(database.ledger(), "");
}

// ------------------------------------------------------------------ baseline

fn a_baseline_is_entered_and_not_run(database: &Database) {
    let folder = own_and(&[("0004_words.sql", "CREATE TABLE words (id INT)")]);
    let entered = json(database, &folder, &["baseline", "--to", "2", "--yes"], 0);
    assert_eq!(entered["entered"].as_array().map(Vec::len), Some(2));
    assert_eq!(database.ledger(), "1 2");
    assert!(!database.has_table("readings"));
    let status = json(database, &folder, &["status"], 1);
    assert_eq!(status["migrations"][0]["took_ms"], Value::Null);
    // Again: there is nothing to do, and nothing to ask.
    let again = json(database, &folder, &["baseline", "--to", "2"], 0);
    assert_eq!(again["entered"], Value::Array(vec![]));
    ends(database, &folder, &["baseline", "--to", "3", "--yes"], 0);
    ends(database, &folder, &["up"], 0);
    assert_eq!(database.ledger(), "1 2 3 4");
    assert!(database.has_table("words") && !database.has_table("readings"));
}

fn a_baseline_does_not_contradict_the_ledger(database: &Database) {
    let folder = own();
    ends(database, &folder, &["up"], 0);
    // What is there already is no contradiction.
    ends(database, &folder, &["baseline", "--to", "3", "--yes"], 0);
    database.query("DELETE FROM _sqlx_migrations WHERE version = 1");
    let refused = ends(database, &folder, &["baseline", "--to", "1", "--yes"], 1);
    let why = "migration 2 (readings newest first) is applied, and is later";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    database.query("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 2");
    let refused = ends(database, &folder, &["baseline", "--to", "2", "--yes"], 1);
    assert!(
        refused.stderr.contains("is not finished"),
        "{}",
        refused.stderr
    );
    assert_eq!(database.ledger(), "3");
}

// ------------------------------------------------------------------ resolve

fn what_sqlx_has_left_is_resolved(database: &Database) {
    let folder = own();
    ends(database, &folder, &["up"], 0);
    let dirty = "DELETE FROM _uptree_migrations WHERE version = 3;
                 UPDATE _sqlx_migrations SET success = FALSE WHERE version = 3";
    database.query(dirty);
    assert_eq!(states(database, &folder), "applied applied dirty");
    let refused = ends(database, &folder, &["up"], 1);
    assert!(
        refused.stderr.contains("migrate resolve 3 --applied"),
        "{}",
        refused.stderr
    );
    let unsaid = ends(database, &folder, &["resolve", "3", "--yes"], 1);
    assert!(
        unsaid
            .stderr
            .contains("help: say --applied or --rolled-back"),
        "{}",
        unsaid.stderr
    );
    ends(database, &folder, &["resolve", "3", "--done", "--yes"], 1);
    ends(
        database,
        &folder,
        &["resolve", "3", "--applied", "--yes"],
        0,
    );
    assert_eq!(states(database, &folder), "applied applied applied");

    database.query(dirty);
    database.query(match database.kind() {
        "mariadb" => "DROP INDEX by_sensor ON readings",
        _ => "DROP INDEX by_sensor",
    });
    let resolved = json(
        database,
        &folder,
        &["resolve", "3", "--rolled-back", "--yes"],
        0,
    );
    assert_eq!(resolved["answer"], "rolled-back");
    assert_eq!(states(database, &folder), "applied applied pending");
    ends(database, &folder, &["up"], 0);
    let refused = ends(
        database,
        &folder,
        &["resolve", "3", "--applied", "--yes"],
        1,
    );
    assert!(
        refused
            .stderr
            .contains("there is no doubt about migration 3"),
        "{}",
        refused.stderr
    );
    ends(
        database,
        &folder,
        &["resolve", "9", "--applied", "--yes"],
        1,
    );
}

fn a_changed_file_is_accepted(database: &Database) {
    let folder = own_and(&[("0004_note.sql", "CREATE TABLE note (id INT)")]);
    ends(database, &folder, &["up"], 0);
    let file = folder.path().join("0004_note.sql");
    fs::write(file, "-- What it is for.\nCREATE TABLE note (id INT)").expect("it is ours");
    assert_eq!(states(database, &folder), "applied applied applied changed");
    ends(database, &folder, &["up"], 1);
    ends(
        database,
        &folder,
        &["resolve", "4", "--accept-change", "--yes"],
        0,
    );
    assert_eq!(states(database, &folder), "applied applied applied applied");
    ends(database, &folder, &["up"], 0);
}

fn a_statement_in_doubt_is_resolved(database: &Database) {
    let folder = own_and(&[(
        "0004_steps.sql",
        "-- no-transaction\nCREATE TABLE one (id INT);\nCREATE TABLE two (id INT);\nCREATE TABLE three (id INT)",
    )]);
    let file = folder.path().join("0004_steps.sql");
    let whole = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, whole.replace("TABLE two", "TABEL two")).expect("it is ours");
    ends(database, &folder, &["up"], 1);
    assert_eq!(states(database, &folder), "applied applied applied running");
    let status = json(database, &folder, &["status"], 1);
    let row = &status["migrations"][3];
    assert_eq!(
        (&row["statements_done"], &row["statements"]),
        (&1.into(), &3.into())
    );
    let refused = ends(database, &folder, &["resolve", "4", "--done", "--yes"], 1);
    assert!(
        refused.stderr.contains("1 of its 3 statements are done"),
        "{}",
        refused.stderr
    );

    let is_told = notes(&status).contains("which sqlx itself refuses");
    assert_eq!(is_told, database.kind() == "postgres", "{status}");

    // As a process leaves it that dies at the second statement.
    let begun =
        "UPDATE _uptree_migrations SET step_begun = TRUE, step_before = '?' WHERE version = 4";
    database.query(begun);
    fs::write(&file, &whole).expect("it is ours");
    let unsaid = ends(database, &folder, &["resolve", "4", "--yes"], 1);
    let told = "a process died at statement 2 of 0004_steps.sql, in line 3";
    assert!(unsaid.stderr.contains(told), "{}", unsaid.stderr);
    ends(
        database,
        &folder,
        &["resolve", "4", "--not-done", "--yes"],
        0,
    );
    database.query(begun);
    database.query("CREATE TABLE two (id INT)");
    ends(database, &folder, &["resolve", "4", "--done", "--yes"], 0);
    ends(database, &folder, &["up"], 0);
    assert!(database.has_table("three"));
    assert_eq!(states(database, &folder), "applied applied applied applied");
}

// ------------------------------------------------------------------ down

fn migrations_are_undone(database: &Database) {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    for (name, sql) in [
        ("0001_a.up.sql", "CREATE TABLE a (id INT)"),
        ("0001_a.down.sql", "DROP TABLE a"),
        (
            "0002_b.up.sql",
            "CREATE TABLE b (id INT); CREATE TABLE c (id INT)",
        ),
        ("0002_b.down.sql", "DROP TABLE b;\nDROP TABLE c"),
        ("0003_d.up.sql", "CREATE TABLE d (id INT)"),
        ("0003_d.down.sql", "-- no-transaction\nDROP TABLE d"),
    ] {
        fs::write(folder.path().join(name), sql).expect("the folder is ours");
    }
    ends(database, &folder, &["up"], 0);
    let refused = ends(database, &folder, &["down"], 1);
    assert!(
        refused.stderr.contains("help: say --yes-i-know"),
        "{}",
        refused.stderr
    );
    assert_eq!(database.ledger(), "1 2 3");

    let one = json(database, &folder, &["down", "--yes-i-know"], 0);
    assert_eq!(one["undone"][0], "0003_d.down.sql");
    assert!(!database.has_table("d"));
    assert_eq!(database.ledger(), "1 2");

    let rest = json(database, &folder, &["down", "--to", "0", "--yes-i-know"], 0);
    assert_eq!(rest["undone"].as_array().map(Vec::len), Some(2));
    assert_eq!(database.ledger(), "");
    ends(database, &folder, &["down", "--yes-i-know"], 0);

    ends(database, &folder, &["up"], 0);
    fs::remove_file(folder.path().join("0003_d.down.sql")).expect("it is there");
    let refused = ends(database, &folder, &["down", "--yes-i-know"], 1);
    assert!(
        refused.stderr.contains("has no file that leads back"),
        "{}",
        refused.stderr
    );
}

fn a_file_that_leads_back_is_whole_or_not_at_all(database: &Database) {
    let folder = own_and(&[
        (
            "0004_b.up.sql",
            "CREATE TABLE b (id INT); CREATE TABLE c (id INT)",
        ),
        ("0004_b.down.sql", "DROP TABLE b;\nDROP TABLE c"),
    ]);
    ends(database, &folder, &["up"], 0);
    database.query("DROP TABLE c");
    let failed = ends(database, &folder, &["down", "--yes-i-know"], 1);
    let told = "0004_b.down.sql failed at line 2";
    assert!(failed.stderr.contains(told), "{}", failed.stderr);
    assert_eq!(database.ledger(), "1 2 3 4");
    assert!(database.has_table("b"));
}

// ------------------------------------------------------------------ the rest

fn what_was_not_asked_is_not_done(database: &Database) {
    let folder = own();
    let refused = ends(database, &folder, &["baseline", "--to", "3"], 1);
    assert_eq!(
        refused.stderr,
        "error: there is no terminal to ask at, and nothing was done\n  \
         help: say --yes if it is to be done"
    );
    assert_eq!(database.ledger(), "");
    ends(database, &folder, &["baseline"], 1);
}

fn what_can_be_known_of_a_plan_is_known_without_a_database(database: &Database) {
    let folder = own();
    ends(database, &folder, &["up"], 0);
    let plan = json(database, &folder, &["plan", "--offline"], 0);
    assert_eq!(plan["applied"], Value::Null);
    assert_eq!(plan["migrations"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_database_that_is_not_there_is_told_with_what_can_be_done_without() {
    let folder = own();
    let mut command = command("migrating");
    let url = "postgres://clerk@127.0.0.1:1/shop";
    command.args(["migrate", "plan", "--database-url", url]);
    let mut process = Service::start(command.env("MIGRATIONS_DIR", folder.path()));
    let done = finish(&mut process);
    assert_eq!(done.ended, Ended::Code(1));
    assert!(
        done.stderr
            .contains("cannot connect to Postgres at 127.0.0.1:1"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("`migrate plan --offline`"),
        "{}",
        done.stderr
    );
}

fn going_up_is_applying_whatever_the_service_does(database: &Database) {
    let folder = own();
    for role in ["wait", "off"] {
        ends(
            database,
            &folder,
            &["up", "--to", "2", "--migrate", role],
            0,
        );
    }
    assert_eq!(database.ledger(), "1 2");
}

/// What is run, its literals aside, may be seen by whoever reads a plan.
#[test]
fn a_plan_has_no_values_in_it() {
    let database = Database::sqlite();
    let folder = own_and(&[(
        "0004_user.sql",
        "INSERT INTO readings VALUES (1, 'hunter2')",
    )]);
    for arguments in [&["plan"][..], &["plan", "--json"], &["plan", "--offline"]] {
        let plan = ends(&database, &folder, arguments, 0).stdout;
        assert!(
            plan.contains("INSERT INTO readings VALUES (1, '…')"),
            "{plan}"
        );
    }
    let folder = own_and(&[("0004_own.sql", "BEGIN; CREATE TABLE a (id INT); COMMIT")]);
    let refused = ends(&database, &folder, &["plan"], 1);
    assert!(
        refused.stdout.contains("  refused: 0004_own.sql at line 1"),
        "{}",
        refused.stdout
    );
    assert!(
        refused.stderr.contains("0004_own.sql at line 1"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_signal_ends_what_waits_for_a_database() {
    let folder = own();
    let mut command = command("migrating");
    let url = "postgres://clerk@127.0.0.1:1/shop";
    command.args([
        "migrate",
        "up",
        "--rust-log",
        "debug",
        "--database-url",
        url,
    ]);
    let mut process = Service::start(command.env("MIGRATIONS_DIR", folder.path()));
    eventually(SOON, || {
        process.stderr().contains("attempt failed").then_some(())
    });
    process.signal(Signal::INT);
    let done = finish(&mut process);
    assert_eq!(done.ended, Ended::Code(130), "{}", done.stderr);
}

#[test]
fn who_is_migrating_is_shown() {
    for database in [Database::postgres(), Database::mariadb()]
        .into_iter()
        .flatten()
    {
        let (folder, _process) = long(&database);
        let status = json(&database, &folder, &["status"], 1);
        let holder = status["locked_by"].as_str().unwrap_or_default();
        assert!(
            holder.contains("process") || holder.contains("connection"),
            "{status}"
        );
        for arguments in [
            &["baseline", "--to", "4", "--yes"][..],
            &["down", "--yes-i-know"],
        ] {
            let refused = ends(&database, &folder, arguments, 1);
            let known = [
                "another process is migrating",
                "is not finished",
                "no file that leads",
            ];
            let told = known.iter().any(|known| refused.stderr.contains(known));
            assert!(told, "{}", refused.stderr);
        }
    }
}

#[test]
fn a_table_that_is_rebuilt_on_the_way_back_keeps_what_refers_to_it() {
    let database = Database::sqlite();
    let rebuild = "PRAGMA foreign_keys = OFF;
        CREATE TABLE new (id INTEGER PRIMARY KEY);
        INSERT INTO new SELECT id FROM parent;
        DROP TABLE parent;
        ALTER TABLE new RENAME TO parent;
        PRAGMA foreign_keys = ON;";
    let folder = own_and(&[
        (
            "0004_parent.sql",
            "CREATE TABLE parent (id INTEGER PRIMARY KEY, more TEXT);
             CREATE TABLE child (id INT REFERENCES parent ON DELETE CASCADE);
             INSERT INTO parent (id) VALUES (1); INSERT INTO child VALUES (1)",
        ),
        ("0005_less.up.sql", "SELECT 1"),
        ("0005_less.down.sql", rebuild),
    ]);
    ends(&database, &folder, &["up"], 0);
    ends(&database, &folder, &["down", "--yes-i-know"], 0);
    assert_eq!(database.query("SELECT id FROM child"), "1");
    assert_eq!(database.ledger(), "1 2 3 4");

    let file = folder.path().join("0005_less.down.sql");
    ends(&database, &folder, &["up"], 0);
    let loses = rebuild.replace("SELECT id FROM parent", "SELECT 2");
    fs::write(&file, loses).expect("the folder is ours");
    let refused = ends(&database, &folder, &["down", "--yes-i-know"], 1);
    let told = "0005_less.down.sql leaves rows of child that refer to nothing";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);
    assert_eq!(database.ledger(), "1 2 3 4 5");
    fs::write(&file, "COMMIT; DROP TABLE child").expect("the folder is ours");
    let refused = ends(&database, &folder, &["down", "--yes-i-know"], 1);
    assert!(
        refused.stderr.contains("not its own to begin or end"),
        "{}",
        refused.stderr
    );
    assert!(database.has_table("child"));
}

#[test]
fn a_role_with_these_grants_can_apply() {
    let Some(mut database) = Database::postgres() else {
        return;
    };
    let folder = own_and(&[("0000_first.sql", "SELECT 1")]);
    let grants = json(&database, &folder, &["grants", "--role", "owner"], 0);
    assert_eq!(grants["for"], "apply");
    let sql = statements(&grants);
    let server = database.server();
    server.psql("postgres", "CREATE ROLE owner LOGIN PASSWORD 'o'");
    server.psql(Database::NAME, "REVOKE ALL ON SCHEMA public FROM PUBLIC");
    server.psql(Database::NAME, &sql);
    let url = server.url_as("owner", "o", Database::NAME);
    // It may not create schemas, and need not: this one is there.
    let there = ["--migrate-url", &url, "--migrations-schema", "public"];
    for words in [&["baseline", "--to", "0", "--yes"][..], &["up"]] {
        ends(&database, &folder, &[words, &there].concat(), 0);
    }
    assert_eq!(database.ledger(), "0 1 2 3");
    let new = [
        "baseline",
        "--to",
        "3",
        "--yes",
        "--migrations-schema",
        "ledgers",
    ];
    ends(&database, &folder, &new, 0);
    assert_eq!(
        database.query("SELECT count(*) FROM ledgers._sqlx_migrations"),
        "4"
    );
}

/// The SQL of `grants`.
fn statements(grants: &Value) -> String {
    let grants = grants["grants"].as_array().expect("a list").iter();
    let sql: Vec<_> = grants
        .flat_map(|grant| grant["sql"].as_array().expect("a list"))
        .filter_map(Value::as_str)
        .collect();
    sql.join(";\n")
}

#[test]
fn a_role_with_these_grants_can_wait() {
    let Some(mut database) = Database::postgres() else {
        return;
    };
    let folder = own();
    ends(&database, &folder, &["up"], 0);
    let grants = json(
        &database,
        &folder,
        &["grants", "--for", "wait", "--role", "reader"],
        0,
    );
    let sql = statements(&grants);
    let server = database.server();
    server.psql("postgres", "CREATE ROLE reader LOGIN PASSWORD 'r'");
    server.psql(Database::NAME, &sql);
    let url = server.url_as("reader", "r", Database::NAME);
    let mut command = command("migrating");
    command
        .env("DATABASE_URL", url)
        .env("MIGRATIONS_DIR", folder.path())
        .env("MIGRATE", "wait")
        .env("ADDR", uptree_tests::free_addr().to_string());
    let mut service = Service::start(&mut command);
    service.wait_for_line(|line| line.contains(" migrating booted in "), SOON);
    service.signal(Signal::TERM);
    assert_eq!(service.wait(SOON), Ended::Code(0), "{}", service.stderr());
}
