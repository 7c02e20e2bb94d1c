//! Uptree: a tree with the migrator alone, which opens a connection of its own.

use anyhow::{Result, anyhow};
use sqlx::migrate::Migrator as Embedded;
use uptree_app::{Supervisor, chain};
use uptree_sqlx::{DatabaseSettings, Migrator, Repo};

use super::Ask;

pub(super) fn run(ask: &Ask) -> Result<()> {
    ask.answer(
        // As `sqlx::migrate!` does when the program is built.
        async |folder| Ok(Embedded::new(folder).await?),
        async |migrations, url| {
            let repo: Repo = Repo::new(&DatabaseSettings::new(url.parse()?));
            let migrator = Migrator::new(&repo, migrations);
            let tree = Supervisor::new("bench").child(migrator).start().await;
            tree.map(drop).map_err(|error| anyhow!(chain(&*error)))
        },
    )
}
