//! sqlx's own migrator, on one connection.

use anyhow::Result;
use sqlx::{Connection, PgConnection, migrate::Migrator};

use super::Ask;

pub(super) fn run(ask: &Ask) -> Result<()> {
    ask.answer(
        async |folder| Ok(Migrator::new(folder).await?),
        async |migrator, url| {
            let mut connection = PgConnection::connect(url).await?;
            migrator.run(&mut connection).await?;
            Ok(connection.close().await?)
        },
    )
}
