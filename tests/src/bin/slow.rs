//! A service for tests to stop, restart and block.
//!
//! | | |
//! |---|---|
//! | `GET /sleep/{ms}` | sleeps, asks the database something, and answers `slept` |
//! | `GET /asleep` | how many requests sleep now |
//! | `GET /pool` | asks the database something |
//! | `POST /kill-pool` | closes the pool, which the repo does not survive |
//! | `POST /block` | blocks every worker thread for ever, in tasks of the child `blocker` |
//! | `GET /panic` | panics |

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::sleep;
use uptree::prelude::*;
use uptree::settings::duration;
use uptree::{Context, Starting};

#[derive(clap::Args, Debug)]
struct Settings {
    #[command(flatten)]
    http: HttpSettings,

    #[command(flatten)]
    database: DatabaseSettings,

    /// Takes the endpoint along when the repo fails, and not only what comes after it
    #[arg(long, env)]
    one_for_all: bool,

    /// How long the child `lingering`, which is stopped after the drain, takes for it
    #[arg(long, env, value_parser = duration, default_value = "0s")]
    linger: Duration,

    /// Begins the list with a child that is never ready
    #[arg(long, env)]
    never_ready: bool,

    /// Has the endpoint be followed by a child, `hanging`, whose start goes no further than this
    #[arg(long, env)]
    hangs: Option<Phase>,
}

/// What a start is at.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Phase {
    /// Nothing that it told of
    Silent,
    /// A step
    Step,
    /// Waiting for somebody else
    Waiting,
    /// An attempt after the other, all of which fail
    Attempts,
    /// Getting on, with no end to it
    Progress,
    /// Whatever it is, it takes half a second to clean up
    CleanUp,
    /// Blocking its thread
    Blocks,
}

/// How long the list lets `lingering` linger, and `hanging` clean up.
const LINGERS_AT_MOST: Duration = Duration::from_secs(60);

/// How often `hanging` tells of what it is at.
const OFTEN: Duration = Duration::from_millis(50);

fn main() -> Exit {
    uptree::main(|s: Settings| {
        let repo = Repo::new(&s.database);
        let blocker = Blocker::default();
        let endpoint = Endpoint::new(&s.http).routes(routes(&repo, &blocker));
        let strategy = match s.one_for_all {
            true => Strategy::OneForAll,
            false => Strategy::RestForOne,
        };

        App::new("slow")
            .strategy(strategy)
            .children(s.never_ready.then(|| service("sluggish", (), never_ready)))
            .child(endpoint.clone())
            .children(
                s.hangs
                    .map(|phase| service("hanging", phase, hang).cancel_grace(LINGERS_AT_MOST)),
            )
            .child(repo)
            .child(worker("blocker", blocker, Blocker::run))
            .child(
                worker("lingering", s.linger, linger).shutdown(Shutdown::Timeout(LINGERS_AT_MOST)),
            )
            .child(Ready::new(&endpoint))
    })
}

async fn never_ready((): (), cx: Starting) -> Result {
    tracing::info!("is never ready");
    // Kept: a start that is given up is an error.
    let _starting = cx;
    pending().await
}

async fn hang(phase: Phase, cx: Starting) -> Result {
    tracing::info!("hangs");
    match phase {
        Phase::Silent => {}
        Phase::Step => cx.step("connect"),
        Phase::Waiting => cx.waiting("a lock that nobody lets go of"),
        Phase::Attempts => loop {
            cx.attempt_failed("connection refused");
            until_called_off(&cx, OFTEN).await?;
        },
        Phase::Progress => loop {
            cx.progress(1, 2, "rows");
            until_called_off(&cx, OFTEN).await?;
        },
        Phase::CleanUp => {
            cx.cancelled().await;
            sleep(Duration::from_millis(500)).await;
            tracing::info!("has cleaned up");
            return Ok(());
        }
        Phase::Blocks => loop {
            std::thread::park();
        },
    }
    until_called_off(&cx, Duration::MAX).await
}

/// Lets time pass; fails as soon as the start is called off.
async fn until_called_off(cx: &Starting, time: Duration) -> Result {
    tokio::select! {
        () = cx.cancelled() => Err("called off".into()),
        () = sleep(time) => Ok(()),
    }
}

async fn linger(time: Duration, cx: Context) -> Result {
    cx.shutdown().await;
    tracing::info!(?time, "lingers");
    sleep(time).await;
    Ok(())
}

/// Blocks what it runs on when it is told to.
#[derive(Clone, Default)]
struct Blocker {
    told: Arc<Notify>,
}

impl Blocker {
    async fn run(self, cx: Context) -> Result {
        if cx.until_shutdown(self.told.notified()).await.is_none() {
            return Ok(());
        }
        let workers = Handle::current().metrics().num_workers();
        let all = Arc::new(Barrier::new(workers));
        for _ in 0..workers {
            let all = Arc::clone(&all);
            cx.spawn(async move {
                if all.wait().is_leader() {
                    tracing::info!("every worker is blocked");
                }
                loop {
                    std::thread::park();
                }
            });
        }
        pending().await
    }
}

#[derive(Clone)]
struct Service {
    repo: Repo,
    blocker: Blocker,
    asleep: Arc<AtomicU32>,
}

fn routes(repo: &Repo, blocker: &Blocker) -> Router {
    let service = Service {
        repo: repo.clone(),
        blocker: blocker.clone(),
        asleep: Arc::default(),
    };
    Router::new()
        .route("/sleep/{ms}", get(slept))
        .route("/asleep", get(asleep))
        .route("/pool", get(pool))
        .route("/kill-pool", post(kill_pool))
        .route("/block", post(block))
        .route("/panic", get(panics))
        .with_state(service)
}

async fn slept(
    State(service): State<Service>,
    Path(ms): Path<u64>,
) -> Result<&'static str, Problem> {
    service.asleep.fetch_add(1, Ordering::SeqCst);
    sleep(Duration::from_millis(ms)).await;
    service.asleep.fetch_sub(1, Ordering::SeqCst);
    ask(&service.repo).await?;
    Ok("slept")
}

async fn asleep(State(service): State<Service>) -> String {
    service.asleep.load(Ordering::SeqCst).to_string()
}

async fn pool(State(service): State<Service>) -> Result<&'static str, Problem> {
    ask(&service.repo).await?;
    Ok("answers")
}

/// Asks the database something.
async fn ask(repo: &Repo) -> Result<(), Problem> {
    let answer = sqlx::query("SELECT 1").execute(&repo.pool()?).await;
    answer.map(drop).map_err(|error| {
        tracing::warn!(%error, "the database does not answer");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE)
    })
}

async fn kill_pool(State(service): State<Service>) -> Result<StatusCode, Problem> {
    // Closed by the call; the future would wait for the connections in use.
    drop(service.repo.pool()?.close());
    Ok(StatusCode::ACCEPTED)
}

async fn block(State(service): State<Service>) -> StatusCode {
    service.blocker.told.notify_one();
    StatusCode::ACCEPTED
}

async fn panics() -> StatusCode {
    panic!("as a handler with a bug does")
}
