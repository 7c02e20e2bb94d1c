//! The harness's own test of PgBouncer: it pools as it is told to.

use std::net::TcpStream;

use sqlx::{Connection, PgConnection, Row, raw_sql};
use uptree_tests::{Database, PgBouncer, PoolMode};

/// The process at the server that answers.
async fn backend(connection: &mut PgConnection) -> i32 {
    let row = raw_sql("SELECT pg_backend_pid()").fetch_one(connection);
    row.await.expect("it answers").get(0)
}

#[tokio::test]
async fn clients_share_a_connection_by_transactions_but_not_by_sessions() {
    let Some(mut database) = Database::postgres() else {
        return;
    };
    let url = database.url();
    let one = ["default_pool_size=1", "query_wait_timeout=1"];
    let postgres = database.server();
    let Some(by_transaction) = PgBouncer::start_with(postgres, PoolMode::Transaction, one) else {
        return;
    };
    let pooled = by_transaction.through(&url);
    let mut one_client = PgConnection::connect(&pooled).await.expect("it listens");
    let mut other = PgConnection::connect(&pooled).await.expect("it listens");
    assert_eq!(backend(&mut one_client).await, backend(&mut other).await);
    assert!(by_transaction.admin("SHOW POOLS").contains("shop|clerk"));

    let Some(by_session) = PgBouncer::start_with(postgres, PoolMode::Session, one) else {
        return;
    };
    let pooled = by_session.through(&url);
    let mut one_client = PgConnection::connect(&pooled).await.expect("it listens");
    backend(&mut one_client).await;
    // It waits for the first to go.
    let mut other = PgConnection::connect(&pooled).await.expect("it listens");
    let waited = raw_sql("SELECT 1").execute(&mut other).await;
    let waited = waited.map(drop).map_err(|error| error.to_string());
    assert!(
        waited
            .as_ref()
            .is_err_and(|error| error.contains("query_wait_timeout")),
        "{waited:?}"
    );
}

#[tokio::test]
async fn it_is_reloaded_stopped_and_started_again() {
    let Some(mut database) = Database::postgres() else {
        return;
    };
    let url = database.url();
    let Some(mut bouncer) = PgBouncer::start(database.server(), PoolMode::Transaction) else {
        return;
    };
    let pooled = bouncer.through(&url);
    let wrong = pooled.replace(Database::PASSWORD, "wrong");
    assert!(PgConnection::connect(&wrong).await.is_err());
    bouncer.reload(["default_pool_size=7"]);
    let config = bouncer.admin("SHOW CONFIG");
    assert!(config.contains("default_pool_size|7|"), "{config}");
    let mut connection = PgConnection::connect(&pooled).await.expect("it listens");
    backend(&mut connection).await;
    bouncer.stop();
    assert!(raw_sql("SELECT 1").execute(&mut connection).await.is_err());
    assert!(TcpStream::connect(bouncer.addr()).is_err());
    bouncer.start_again();
    let mut connection = PgConnection::connect(&pooled).await.expect("it listens");
    backend(&mut connection).await;
}
