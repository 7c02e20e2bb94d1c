//! A service with a setting that is secret, and that it does not run without.

use uptree::{http::HttpSettings, prelude::*};

#[derive(clap::Args)]
struct Settings {
    /// The shop's key, a number
    #[arg(long, env, hide_env_values = true)]
    shop_key: u64,

    /// The shop's name
    name: String,

    /// How much is told
    #[arg(long)]
    detail: Option<String>,

    #[command(flatten)]
    http: HttpSettings,
}

fn main() -> Exit {
    uptree::main(|s: Settings| {
        let endpoint = Endpoint::new(&s.http);
        // Whoever only looks at the list has a key that stands in for it.
        let _ = (s.shop_key, &s.name, &s.detail);
        App::new("secretive")
            .child(endpoint.clone())
            .child(Ready::new(&endpoint))
    })
}
