//! The smallest service: an endpoint, and a worker that fails at every third tick. No database.
use tokio::time::{Duration, sleep};
use uptree::prelude::*;

fn main() -> Exit {
    uptree::main(|http: HttpSettings| {
        let endpoint = Endpoint::new(&http);
        App::new("minimal")
            .child(endpoint.clone())
            .child(worker("ticker", (Duration::from_secs(1), 2), tick))
            .child(Ready::new(&endpoint))
    })
}
async fn tick((every, mut left): (Duration, u32), cx: Context) -> Result {
    while cx.until_shutdown(sleep(every)).await.is_some() {
        tracing::info!("tick");
        left = left.checked_sub(1).ok_or("out of ticks")?;
    }
    Ok(())
}
