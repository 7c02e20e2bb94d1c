//! The program on real databases.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use uptree_tests::{MariaDb, Postgres, eventually, migrations};

const PROGRAM: &str = env!("CARGO_BIN_EXE_migrate-folder");

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    for (name, sql) in files {
        fs::write(folder.path().join(name), sql).expect("the folder is ours");
    }
    folder
}

fn command(folder: &Path, url: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg(folder).arg(url);
    command
}

/// What it prints, and its exit code.
#[track_caller]
fn run(folder: &TempDir, url: &str) -> (String, Option<i32>) {
    let output = command(folder.path(), url).output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("it can be executed");
    println!("{}", String::from_utf8_lossy(&stderr));
    (String::from_utf8_lossy(&stdout).into_owned(), status.code())
}

/// Whether there is nothing on the server that was not there before.
fn is_clean(server: &Postgres) -> bool {
    let left = "SELECT datname FROM pg_database WHERE datname LIKE 'uptree%'
        UNION ALL SELECT rolname FROM pg_roles WHERE rolname LIKE 'shop%'";
    server.psql("postgres", left).is_empty()
}

#[test]
fn the_same_is_the_same_on_postgres() {
    let Some(server) = Postgres::start() else {
        return;
    };
    // A role is the server's: the second to make it would fail, if it were still there.
    let role = "CREATE ROLE shop_reader; GRANT SELECT ON readings TO shop_reader;
        CREATE TABLE chance (a int, b float8 DEFAULT random());
        INSERT INTO chance (a) SELECT generate_series(1, 100);";
    let folder = migrations(&[("0100_role.sql", role)]);
    let (said, code) = run(&folder, &server.url(""));
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].ends_with(" migrations, same"), "{said}");
    assert!(lines[1].ends_with(": public.chance.b"), "{said}");
    assert_eq!((lines.len(), code), (2, Some(0)));
    assert!(is_clean(&server));
}

#[test]
fn the_same_is_the_same_on_sqlite() {
    let files = tempfile::tempdir().expect("the temporary folder can be written");
    let folder = migrations::<&str>(&[]);
    let url = format!("sqlite://{}", files.path().display());
    let (said, code) = run(&folder, &url);
    assert!(said.ends_with(" migrations, same\n"), "{said}");
    assert_eq!(code, Some(0));
    let left = fs::read_dir(files.path()).expect("it is there").count();
    assert_eq!(left, 0);
}

#[test]
fn the_same_is_the_same_on_mariadb() {
    let Some(server) = MariaDb::start() else {
        return;
    };
    let folder = folder(&[
        ("1_t.sql", "CREATE TABLE t (a int AUTO_INCREMENT PRIMARY KEY, b varchar(9), c double DEFAULT (rand()));
            INSERT INTO t (b) VALUES ('x;'), ('y')"),
        ("2_v.sql", "CREATE VIEW v AS SELECT a FROM t; ALTER TABLE t ADD d int DEFAULT 5"),
        ("3_b.sql", "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.b = 'z'; END;
            INSERT INTO t (d) VALUES (1)"),
        ("4_u.sql", "CREATE USER shop_reader; GRANT SELECT ON t TO shop_reader"),
    ]);
    let (said, code) = run(&folder, &server.url(""));
    let (first, second) = said.split_once('\n').expect("it says two lines");
    assert_eq!((first, code), ("4 migrations, same", Some(0)));
    assert!(second.ends_with(": t.c\n"), "{said}");
    let left =
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'uptree%'
        UNION ALL SELECT user FROM mysql.user WHERE user LIKE 'shop%'";
    assert_eq!(server.query("mysql", left), "");
}

#[test]
fn where_both_fail_with_one_error_nothing_differs() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let folder = folder(&[
        ("1_first.sql", "CREATE TABLE t (a int)"),
        (
            "2_second.sql",
            "INSERT INTO t VALUES (1); INSERT INTO nowhere VALUES (1)",
        ),
        ("3_third.sql", "CREATE TABLE u (a int)"),
    ]);
    let (said, code) = run(&folder, &server.url(""));
    let expected = "3 migrations, same\n\
        fails in 2_second.sql with both: relation \"nowhere\" does not exist\n";
    assert_eq!((said.as_str(), code), (expected, Some(0)));
    assert!(is_clean(&server));
}

#[test]
fn it_says_who_fails_where_only_one_does() {
    let Some(server) = Postgres::start() else {
        return;
    };
    // sqlx does not find its ledger any more, as after a dump's first lines.
    let folder = folder(&[
        (
            "1_dump.sql",
            "SELECT set_config('search_path', '', false); CREATE TABLE public.t ()",
        ),
        ("2_more.sql", "CREATE TABLE public.u ()"),
    ]);
    let (said, code) = run(&folder, &server.url(""));
    assert!(
        said.starts_with("2 migrations, different\nsqlx fails in 1_dump.sql:\n"),
        "{said}"
    );
    assert!(said.ends_with("\nUptree applies them all\n"), "{said}");
    assert_eq!(code, Some(1));
    assert!(is_clean(&server));
}

/// What is compared where there is no `pg_dump` for the server.
#[test]
fn the_catalogs_say_what_a_dump_says() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let definitions = || server.psql("postgres", include_str!("../src/postgres.sql"));
    let empty = definitions();
    server.psql(
        "postgres",
        "CREATE TYPE mood AS ENUM ('well', 'ill');
         CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b mood DEFAULT 'ill');
         CREATE TABLE _uptree_instances (id bigint PRIMARY KEY);
         CREATE VIEW v AS SELECT a FROM t;
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
         COMMENT ON COLUMN t.b IS 'how it is'",
    );
    let full = definitions();
    for said in [
        "TYPE mood|",
        "labels well, ill",
        "COLUMN public.t.a|1 integer, not null",
        "CONSTRAINT t_pkey on t|PRIMARY KEY (a)",
        "INDEX public.t_pkey|CREATE UNIQUE INDEX",
        "v public.v|",
        "ROUTINE f()|",
        "TRIGGER g on public.t|CREATE TRIGGER g BEFORE INSERT",
        "COMMENT on column b of table t|how it is",
        "SEQUENCE public.t_a_seq|integer from 1",
    ] {
        assert!(
            full.contains(said) && !empty.contains(said),
            "{said} in {full}"
        );
    }
    assert!(!full.contains("_uptree"), "{full}");
}

#[test]
fn a_signal_leaves_nothing_on_the_server() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let folder = folder(&[("1_slow.sql", "SELECT pg_sleep(3600)")]);
    let mut command = command(folder.path(), &server.url(""));
    let mut program = command
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be executed");
    let seconds = Duration::from_secs(10);
    let sleeps = "SELECT 1 FROM pg_stat_activity
        WHERE query LIKE '%pg_sleep(3600)' AND state = 'active' AND pid <> pg_backend_pid()";
    eventually(seconds, || {
        (!server.psql("postgres", sleeps).is_empty()).then_some(())
    });
    kill_process(Pid::from_child(&program), Signal::INT).expect("it runs");
    let status = program.wait().expect("it is a child of this process");
    assert_eq!(status.code(), Some(2));
    assert!(is_clean(&server));
}
