//! sqlx's own migrator, on one connection.

use std::path::PathBuf;

use anyhow::Result;
use sqlx::{Connection, PgConnection, migrate::Migrator};

fn main() -> Result<()> {
    bench_migrate::main(
        async |folder: PathBuf| Ok(Migrator::new(folder).await?),
        async |migrator, url| {
            let mut connection = PgConnection::connect(&url).await?;
            migrator.run(&mut connection).await?;
            Ok(connection.close().await?)
        },
    )
}
