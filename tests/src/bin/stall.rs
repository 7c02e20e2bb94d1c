//! A service for tests to block in every way that a watchdog has to notice.
//!
//! | | |
//! |---|---|
//! | `POST /block/one` | the child `blocker` blocks a worker thread |
//! | `POST /block/all` | it blocks every worker thread |
//! | `POST /block/outside` | tasks that belong to no child block every worker thread |
//! | `POST /in-place` | the child `blocker` blocks as it may, by `block_in_place` |
//! | `POST /exhaust` | opens files until there is no file descriptor left |
//! | `POST /server/end`, `/server/hang` | the child `server`, which accepts for itself, no longer does |
//!
//! All of it lasts until there is a file `release` in the folder that it runs in.

use std::fs::File;
use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, Notify};
use tokio::task::block_in_place;
use tokio::time::sleep;
use uptree::prelude::*;
use uptree::{Context, Monitor};

#[derive(clap::Args, Debug)]
struct Settings {
    #[command(flatten)]
    http: HttpSettings,

    /// Where `server` listens, if it is to
    #[arg(long, env)]
    server_addr: Option<SocketAddr>,

    /// Has a child take so many steps in its start, one each 100 ms
    #[arg(long, env)]
    steps: Option<u64>,

    /// Has `blocker` block its thread when it is to stop
    #[arg(long, env)]
    blocks_in_stop: bool,
}

fn main() -> Exit {
    uptree::main(|s: Settings| {
        let (tell, orders) = unbounded_channel();
        let server = Arc::<Orders>::default();
        let endpoint = Endpoint::new(&s.http).routes(routes(tell, &server));
        let orders = Arc::new(Mutex::new(orders));
        let other = s.server_addr.map(|addr| {
            let state = (addr, Arc::clone(&server));
            worker("server", state, serve)
        });
        App::new("stall")
            .child(endpoint.clone())
            .children(s.steps.map(|steps| service("steps", steps, step)))
            .child(worker("blocker", (orders, s.blocks_in_stop), block))
            .children(other)
            .child(Ready::new(&endpoint))
    })
}

#[derive(Clone, Copy)]
enum Order {
    One,
    All,
    InPlace,
}

/// What the child `server` is told.
#[derive(Default)]
struct Orders {
    end: Notify,
    hang: Notify,
}

fn routes(tell: UnboundedSender<Order>, server: &Arc<Orders>) -> Router {
    let (end, hang) = (Arc::clone(server), Arc::clone(server));
    let in_place = tell.clone();
    let order = move |extract::Path(what): extract::Path<String>| async move {
        match what.as_str() {
            "one" => _ = tell.send(Order::One),
            "all" => _ = tell.send(Order::All),
            _ => for_every_worker().for_each(|task| drop(tokio::spawn(task))),
        }
        StatusCode::ACCEPTED
    };
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/block/{what}", post(order))
        .route(
            "/in-place",
            post(|| async move { _ = in_place.send(Order::InPlace) }),
        )
        .route("/exhaust", post(|| async { drop(thread::spawn(exhaust)) }))
        .route("/server/end", post(|| async move { end.end.notify_one() }))
        .route(
            "/server/hang",
            post(|| async move { hang.hang.notify_one() }),
        )
}

fn until_released() {
    while !Path::new("release").exists() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Tasks that block every worker.
fn for_every_worker() -> impl Iterator<Item = impl Future<Output = ()> + Send + 'static> {
    let workers = Handle::current().metrics().num_workers();
    let all = Arc::new(Barrier::new(workers));
    (0..workers).map(move |_| {
        let all = Arc::clone(&all);
        async move {
            if all.wait().is_leader() {
                tracing::info!("every worker is blocked");
            }
            until_released();
        }
    })
}

type Told = Arc<Mutex<UnboundedReceiver<Order>>>;

async fn block((told, blocks_in_stop): (Told, bool), cx: Context) -> Result {
    let mut told = told.lock().await;
    while let Some(Some(order)) = cx.until_shutdown(told.recv()).await {
        match order {
            Order::One => {
                tracing::info!("blocking one");
                until_released();
            }
            Order::All => for_every_worker().for_each(|task| cx.spawn(task)),
            Order::InPlace => {
                tracing::info!("blocking in place");
                block_in_place(until_released);
            }
        }
    }
    if blocks_in_stop {
        tracing::info!("blocking in the stop");
        until_released();
    }
    Ok(())
}

async fn step(steps: u64, cx: Starting) -> Result {
    for done in 1..=steps {
        cx.progress(done, steps, "stair");
        sleep(Duration::from_millis(100)).await;
    }
    cx.done()
}

/// Leaves no file descriptor, until it is released.
fn exhaust() {
    let mut held = Vec::new();
    while !Path::new("release").exists() {
        match File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Accepts for itself, and says `hello` to everybody.
async fn serve((addr, orders): (SocketAddr, Arc<Orders>), cx: Context) -> Result {
    let listener = StdListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    let monitor = cx.extension::<Monitor>().ok_or("not in an app")?;
    let guard = monitor.guard(listener.try_clone()?).without_detail();
    let listener = TcpListener::from_std(listener)?;
    let accepting = guard.accepting();
    loop {
        let accepted: io::Result<_> = tokio::select! {
            biased;
            _ = cx.shutdown() => return Ok(()),
            () = orders.end.notified() => break,
            () = orders.hang.notified() => return pending().await,
            accepted = listener.accept() => accepted,
            never = accepting.waiting() => match never {},
        };
        let (mut stream, _) = accepted?;
        accepting.accepted();
        let hello = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
        stream.write_all(hello).await?;
    }
    drop(accepting);
    cx.shutdown().await;
    Ok(())
}
