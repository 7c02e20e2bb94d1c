//! The harness's own test of MariaDB: a server is what it says, and leaves nothing behind. What it
//! shares with Postgres is tested there.

use std::net::TcpStream;
use std::time::Duration;

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use uptree_tests::{MariaDb, eventually};

/// Logs in over TCP, as a service does, and returns what the server says against it.
async fn login(url: &str) -> Result<(), String> {
    let connection = MySqlConnection::connect(url).await;
    let connection = connection.map_err(|error| error.to_string())?;
    connection.close().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_database_is_created_and_reached_by_its_url_with_the_right_password() {
    let Some(mariadb) = MariaDb::start() else {
        return;
    };
    let url = mariadb.create_database("shop");
    assert_eq!(login(&url).await, Ok(()));
    let clerk = "CREATE USER clerk@'%' IDENTIFIED BY 'right'; GRANT ALL ON shop.* TO clerk@'%'";
    mariadb.query("mysql", clerk);
    for (password, database, refusal) in [
        ("right", "shop", None),
        ("wrong", "shop", Some("Access denied for user 'clerk'")),
        ("right", "mysql", Some("Access denied for user 'clerk'")),
    ] {
        let answer = login(&mariadb.url_as("clerk", password, database)).await;
        let is_as_expected = match (&answer, refusal) {
            (Ok(()), None) => true,
            (Err(error), Some(refusal)) => error.contains(refusal),
            _ => false,
        };
        assert!(is_as_expected, "{password} {database}: {answer:?}");
    }
    let error = mariadb.try_query("shop", "SELECT 1; SELEC 2");
    let error = error.expect_err("it is no SQL");
    assert!(error.contains("near 'SELEC 2'"), "{error}");
}

#[tokio::test]
async fn what_was_committed_outlives_a_crash_and_a_stop() {
    let Some(mut mariadb) = MariaDb::start_with(["max-connections=17"]) else {
        return;
    };
    let url = mariadb.create_database("shop");
    mariadb.query("shop", "CREATE TABLE orders (id INT)");
    // The last of them a moment before the end.
    for order in 1..=20 {
        mariadb.query("shop", &format!("INSERT INTO orders VALUES ({order})"));
    }
    mariadb.kill();
    assert_eq!(mariadb.pid(), None);
    assert!(TcpStream::connect(mariadb.addr()).is_err());
    mariadb.start_again();
    assert!(
        mariadb.log().contains("Starting crash recovery"),
        "{}",
        mariadb.log()
    );
    assert_eq!(mariadb.query("shop", "SELECT count(*) FROM orders"), "20");
    mariadb.stop();
    assert!(TcpStream::connect(mariadb.addr()).is_err());
    mariadb.start_again();
    assert_eq!(mariadb.query("shop", "SELECT count(*) FROM orders"), "20");
    assert_eq!(mariadb.query("shop", "SELECT @@max_connections"), "17");
    assert_eq!(login(&url).await, Ok(()));
}

#[test]
fn a_session_holds_its_locks_until_it_is_dropped() {
    let Some(mariadb) = MariaDb::start() else {
        return;
    };
    let session = mariadb.session("mysql", "SELECT GET_LOCK('it', 0)");
    let taken = || mariadb.query("mysql", "SELECT IS_USED_LOCK('it') IS NOT NULL");
    assert_eq!(taken(), "1");
    drop(session);
    eventually(Duration::from_secs(10), || (taken() == "0").then_some(()));
}

#[test]
fn a_dropped_server_leaves_no_process_and_no_folder() {
    let Some(mariadb) = MariaDb::start() else {
        return;
    };
    let (addr, folder) = (mariadb.addr(), mariadb.folder().to_owned());
    drop(mariadb);
    assert!(TcpStream::connect(addr).is_err());
    assert!(!folder.exists());
}
