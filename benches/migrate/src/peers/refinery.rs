//! refinery, by tokio-postgres.

use anyhow::Result;
use refinery::{Migration, Runner};
use tokio_postgres::NoTls;

use super::{Ask, files};

pub(super) fn run(ask: &Ask) -> Result<()> {
    ask.answer(
        async |folder| {
            let mut migrations = Vec::new();
            for file in files(folder)? {
                let name = format!("V{}__{}", file.version, file.description);
                migrations.push(Migration::unapplied(&name, &file.sql)?);
            }
            Ok(Runner::new(&migrations))
        },
        async |runner, url| {
            let (mut client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            runner.run_async(&mut client).await?;
            Ok(())
        },
    )
}
