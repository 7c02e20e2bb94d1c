//! Takes readings of sensors. The list of children is the architecture.

use service::{Ingestion, Settings, routes};
use uptree::prelude::*;

fn main() -> Exit {
    uptree::main(|s: Settings| {
        let repo = Repo::new(&s.database);
        let ingestion = Ingestion::new(&repo, s.queue_size);
        let endpoint = Endpoint::new(&s.http).routes(routes(&repo, &ingestion));

        App::new("service")
            .child(endpoint.clone())
            .child(repo.clone())
            .child(Migrator::new(&repo, sqlx::migrate!("../../migrations")))
            .child(ingestion)
            .child(Ready::new(&endpoint))
    })
}
