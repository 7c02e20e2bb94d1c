//! A service that migrates the folder `MIGRATIONS_DIR`, and no more: what herds and faults are tried
//! on. It takes every database, and answers `/alive` and `/ready`.

use sqlx::migrate::Migrator as Embedded;
use uptree::prelude::*;

#[derive(clap::Args, Debug)]
struct Settings {
    #[command(flatten)]
    http: HttpSettings,

    #[command(flatten)]
    database: DatabaseSettings,
}

fn main() -> Exit {
    uptree::main(|s: Settings| {
        let repo = Repo::new(&s.database);
        let endpoint = Endpoint::new(&s.http);
        let none = Embedded::with_migrations(Vec::new());

        App::new("migrating")
            .child(endpoint.clone())
            .child(repo.clone())
            .child(Migrator::new(&repo, none))
            .child(Ready::new(&endpoint))
    })
}
