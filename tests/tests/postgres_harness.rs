//! The harness's own test: a server is what it says, and leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use rustix::process::{Pid, test_kill_process};
use uptree_tests::{Postgres, eventually};

/// Logs in over TCP, as a service does, and returns what psql says against it.
fn login(url: &str) -> Result<(), String> {
    let folder = xtask::servers::postgres().expect("the server was started from it");
    let output = Command::new(folder.join("psql"))
        .args([url, "-c", "SELECT 1"])
        .output()
        .expect("psql is there");
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("it is a pid");
    test_kill_process(pid).is_ok()
}

#[test]
fn a_database_is_created_and_reached_by_its_url() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.create_database("shop");
    assert_eq!(login(&url), Ok(()));
    assert_eq!(
        postgres.psql("shop", "SELECT 1, current_database(), NULL"),
        "1|shop|"
    );
    assert_eq!(
        postgres.psql("shop", "SELECT generate_series(1, 3)"),
        "1\n2\n3"
    );
    let error = postgres
        .try_psql("shop", "SELECT 1; SELEC 2")
        .expect_err("it is no SQL");
    assert!(
        error.contains("syntax error at or near \"SELEC\""),
        "{error}"
    );
}

#[test]
fn a_wrong_password_a_wrong_role_and_a_wrong_database_are_refused() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    postgres.create_database("shop");
    postgres.psql("postgres", "CREATE ROLE clerk LOGIN PASSWORD 'right'");
    assert_eq!(login(&postgres.url_as("clerk", "right", "shop")), Ok(()));
    for (user, password, database, refusal) in [
        (
            "clerk",
            "wrong",
            "shop",
            "password authentication failed for user \"clerk\"",
        ),
        (
            "postgres",
            "wrong",
            "shop",
            "password authentication failed for user \"postgres\"",
        ),
        (
            "nobody_here",
            "right",
            "shop",
            "password authentication failed for user \"nobody_here\"",
        ),
        ("clerk", "right", "shoe", "database \"shoe\" does not exist"),
    ] {
        let error = login(&postgres.url_as(user, password, database)).expect_err("it is refused");
        assert!(error.contains(refusal), "{error}");
    }
}

#[test]
fn what_was_committed_outlives_a_crash_and_a_stop() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.create_database("shop");
    postgres.psql(
        "shop",
        "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)",
    );

    postgres.kill();
    assert_eq!(postgres.pid(), None);
    assert!(TcpStream::connect(postgres.addr()).is_err());
    postgres.start_again();
    assert!(
        postgres.log().contains("automatic recovery in progress"),
        "{}",
        postgres.log()
    );
    assert_eq!(
        postgres.psql(
            "shop",
            "INSERT INTO orders VALUES (2); SELECT sum(id) FROM orders"
        ),
        "3"
    );

    postgres.stop();
    assert!(TcpStream::connect(postgres.addr()).is_err());
    postgres.start_again();
    assert_eq!(postgres.psql("shop", "SELECT sum(id) FROM orders"), "3");
    assert_eq!(login(&url), Ok(()));
}

#[test]
fn a_busy_session_ends_with_a_killed_server() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.url("postgres");
    let session = thread::spawn({
        let sql = "SELECT sum(a) FROM generate_series(1, 1000000000) a";
        let folder = xtask::servers::postgres().expect("the server was started from it");
        move || {
            Command::new(folder.join("psql"))
                .args([&url, "-c", sql])
                .output()
                .expect("psql is there")
        }
    });
    let busy = "SELECT pid FROM pg_stat_activity \
                WHERE query LIKE '%generate_series%' AND pid <> pg_backend_pid()";
    let pid = eventually(Duration::from_secs(10), || {
        postgres.psql("postgres", busy).parse().ok()
    });
    postgres.kill();
    assert!(!is_running(pid));
    assert!(!session.join().expect("it does not panic").status.success());
}

#[test]
fn two_servers_run_at_once_with_settings_of_their_own() {
    let Some(one) = Postgres::start_with(["max_connections=7", "superuser_reserved_connections=2"])
    else {
        return;
    };
    let Some(other) = Postgres::start() else {
        return;
    };
    assert_ne!(one.addr(), other.addr());
    assert_ne!(one.folder(), other.folder());
    one.create_database("shop");
    assert!(other.try_psql("shop", "SELECT 1").is_err());
    assert_eq!(one.psql("postgres", "SHOW max_connections"), "7");
    assert_eq!(other.psql("postgres", "SHOW max_connections"), "100");
}

#[test]
fn a_dropped_server_leaves_no_process_and_no_folder() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let (pid, folder) = (
        postgres.pid().expect("it runs"),
        postgres.folder().to_owned(),
    );
    assert!(is_running(pid) && folder.join("data").is_dir());
    drop(postgres);
    assert!(!is_running(pid));
    assert!(!folder.exists());
}

#[test]
fn a_test_that_panics_leaves_no_process_and_no_folder() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let (pid, folder) = (
        postgres.pid().expect("it runs"),
        postgres.folder().to_owned(),
    );
    let panicked = thread::spawn(move || {
        let _postgres = postgres;
        panic!("as a failing test does");
    });
    assert!(panicked.join().is_err());
    assert!(!is_running(pid));
    assert!(!folder.exists());
}

#[test]
fn a_test_that_is_killed_leaves_no_process_and_no_folder() {
    const VICTIM: &str = "UPTREE_TESTS_VICTIM";
    if env::var_os(VICTIM).is_some() {
        // This is the test that is killed, run by the one below.
        let Some(postgres) = Postgres::start() else {
            return;
        };
        println!(
            "\nvictim {} {}",
            postgres.addr(),
            postgres.folder().display()
        );
        thread::sleep(Duration::from_mins(1));
        return;
    }
    let Some(postgres) = Postgres::start() else {
        return;
    };
    drop(postgres);
    let mut victim = Command::new(env::current_exe().expect("the system knows"))
        .args([
            "--exact",
            "a_test_that_is_killed_leaves_no_process_and_no_folder",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test is a program");
    let mut lines = BufReader::new(victim.stdout.take().expect("it is piped"))
        .lines()
        .map_while(Result::ok);
    let line = lines
        .find_map(|line| line.strip_prefix("victim ").map(str::to_owned))
        .expect("it starts a server");
    let (addr, folder) = line.split_once(' ').expect("two words");
    let (addr, folder): (SocketAddr, _) =
        (addr.parse().expect("an address"), PathBuf::from(folder));
    assert!(TcpStream::connect(addr).is_ok() && folder.join("data").is_dir());

    victim.kill().expect("it runs");
    victim.wait().expect("it is a child of this process");
    // By its pid it could still be there, as a zombie: that is for the system to reap.
    eventually(Duration::from_secs(10), || {
        (TcpStream::connect(addr).is_err() && !folder.exists()).then_some(())
    });
}
