//! x
use uptree_app::*;
use uptree_sqlx::*;
#[derive(clap::Args)]
struct S { #[command(flatten)] database: DatabaseSettings }
async fn ready(repo: Repo, cx: Context) -> Result {
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&repo.pool()?).await?;
    println!("READY {n}");
    cx.shutdown().await; Ok(())
}
fn main() -> Exit {
    uptree_app::main(|s: S| {
        let repo = Repo::new(&s.database);
        App::new("service").child(repo.clone()).child(Migrator::new(&repo, sqlx::migrate::Migrator::with_migrations(vec![]))).child(worker("ready", repo, ready))
    })
}
