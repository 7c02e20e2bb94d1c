//! A service of Uptree's with one route, as it is shipped.

use axum::{Router, routing::get};
use uptree::prelude::*;

fn main() -> Exit {
    uptree::main(|http: HttpSettings| {
        let routes = Router::new().route("/hello", get(|| async { "hello" }));
        let endpoint = Endpoint::new(&http).routes(routes);
        App::new("bench")
            .child(endpoint.clone())
            .child(Ready::new(&endpoint))
    })
}
