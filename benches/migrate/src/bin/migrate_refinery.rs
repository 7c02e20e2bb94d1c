//! refinery, by tokio-postgres.

use std::path::PathBuf;

use anyhow::Result;
use bench_migrate::files;
use refinery::{Migration, Runner};
use tokio_postgres::NoTls;

fn main() -> Result<()> {
    bench_migrate::main(
        async |folder: PathBuf| {
            let mut migrations = Vec::new();
            for file in files(&folder)? {
                let name = format!("V{}__{}", file.version, file.description);
                migrations.push(Migration::unapplied(&name, &file.sql)?);
            }
            Ok(Runner::new(&migrations))
        },
        async |runner, url| {
            let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            tokio::spawn(connection);
            runner.run_async(&mut client).await?;
            Ok(())
        },
    )
}
