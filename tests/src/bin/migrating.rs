//! A service that migrates the folder `MIGRATIONS_DIR`, and no more: what herds and faults are tried
//! on. It takes every database, and answers `/alive` and `/ready`.

use sqlx::migrate::Migrator as Embedded;
use sqlx::{Database, Executor, MySql, Postgres, Sqlite, raw_sql};
use uptree::prelude::*;

#[derive(clap::Args, Debug)]
struct Settings {
    #[command(flatten)]
    http: HttpSettings,

    #[command(flatten)]
    database: DatabaseSettings,

    /// Has a migration in Rust, after all those of the folder: it works on the tables `steps` and
    /// `readings`
    #[arg(long, env)]
    code: bool,
}

/// After any file's.
const VERSION: i64 = 1000;

fn main() -> Exit {
    uptree::main(|s: Settings| {
        let repo = Repo::new(&s.database);
        let endpoint = Endpoint::new(&s.http);
        let mut migrator = Migrator::new(&repo, Embedded::with_migrations(Vec::new()));
        if s.code {
            migrator = migrator
                .code::<Postgres>(VERSION, "raise", |connection| Box::pin(raise(connection)))
                .code::<MySql>(VERSION, "raise", |connection| Box::pin(raise(connection)))
                .code::<Sqlite>(VERSION, "raise", |connection| Box::pin(raise(connection)));
        }

        App::new("migrating")
            .child(endpoint.clone())
            .child(repo)
            .child(migrator)
            .child(Ready::new(&endpoint))
    })
}

/// Shows if it is done by half, or twice.
async fn raise<Db, C>(connection: &mut C) -> Result
where
    Db: Database<Connection = C>,
    for<'c> &'c mut C: Executor<'c, Database = Db>,
{
    for sql in [
        "INSERT INTO steps VALUES (1000, 1)",
        "UPDATE readings SET value = value + 1000",
        "INSERT INTO steps VALUES (1000, 2)",
    ] {
        raw_sql(sql).execute(&mut *connection).await?;
    }
    Ok(())
}
