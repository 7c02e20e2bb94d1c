//! Uptree as shipped: ids, the default observer, start timeouts, the snapshot table.

mod dynamic;
mod list;

pub use dynamic::Dynamic;
pub use list::List;

use uptree_supervisor::{ChildSpec, Context, IntoChild, Result, worker};

use crate::child::{self, How, Role};

fn spec(i: usize, role: Role) -> ChildSpec {
    let id = format!("c{i}");
    match role {
        Role::Idle => worker(id, (), idle).into_child(),
        Role::Crash(how) => worker(id, how, crash).into_child(),
        Role::Bomb => worker(id, (), bomb).into_child(),
        Role::Last => worker(id, (), last).into_child(),
    }
}

async fn idle((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

async fn crash(how: How, _cx: Context) -> Result {
    child::crash(how).await
}

async fn bomb((): (), cx: Context) -> Result {
    child::bomb(cx.shutdown()).await
}

async fn last((): (), cx: Context) -> Result {
    child::last(cx.shutdown()).await
}
