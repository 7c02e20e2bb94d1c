//! The smallest service: an endpoint, a worker, no database.

use std::time::Duration;
use uptree::prelude::*;

fn main() -> Exit {
    uptree::main(|http: HttpSettings| {
        let hello = axum::routing::get(|| async { "hello" });
        let endpoint = Endpoint::new(&http).routes(axum::Router::new().route("/", hello));

        App::new("minimal")
            .child(endpoint.clone())
            .child(worker("ticker", Duration::from_secs(10), tick))
            .child(Ready::new(&endpoint))
    })
}
async fn tick(every: Duration, cx: Context) -> Result {
    while cx.until_shutdown(tokio::time::sleep(every)).await.is_some() {
        tracing::info!("tick");
    }
    Ok(())
}
