//! The proxy against real servers.

use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, raw_sql};
use uptree_tests::{Database, Proxy};

#[tokio::test]
async fn a_proxy_tells_logins_from_what_comes_after_them() {
    let databases = [Database::postgres(), Database::mariadb()];
    for database in databases.into_iter().flatten() {
        let proxy = Proxy::to(database.addr().expect("it has a server"));
        let url = proxy.through(&database.url());
        // Each driver has settings of its own to make, once it is logged in.
        let (connected, asked) = match &database {
            Database::Postgres(_) => {
                let mut connection = sqlx::PgConnection::connect(&url).await.expect("it runs");
                let connected = (proxy.login_round_trips(), proxy.round_trips());
                let sql = raw_sql("SELECT 1; SELECT 2").execute(&mut connection).await;
                sql.expect("it is SQL");
                connection.close().await.expect("it is open");
                (connected, proxy.round_trips())
            }
            _ => {
                let mut connection = MySqlConnection::connect(&url).await.expect("it runs");
                let connected = (proxy.login_round_trips(), proxy.round_trips());
                let sql = raw_sql("SELECT 1; SELECT 2").execute(&mut connection).await;
                sql.expect("it is SQL");
                connection.close().await.expect("it is open");
                (connected, proxy.round_trips())
            }
        };
        println!("{}:\n{}", database.kind(), proxy.flights());
        assert!(connected.0 > 0, "{}", proxy.flights());
        assert_eq!(asked, connected.1 + 1, "{}", proxy.flights());
        assert!(proxy.messages() >= proxy.round_trips());
        assert_eq!(proxy.connections(), 1);
    }
}
