//! The trees that the tests run.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use tokio::{sync::Notify, time::timeout};
use uptree_app::{Context, IntoChild, Result, StopCause, Supervisor, Tree, worker};
use uptree_http::{Endpoint, HttpSettings, Ready};

use crate::client::Client;

/// A test that takes so long hangs.
const TOO_LONG: Duration = Duration::from_secs(20);

/// Runs a test on a runtime like a service's, and not for ever.
pub(crate) fn test(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let ended = runtime.block_on(async { timeout(TOO_LONG, test).await });
    ended.expect("it hangs");
}

/// Settings of a test: any port, no delay.
pub(crate) fn settings() -> HttpSettings {
    HttpSettings {
        addr: ([127, 0, 0, 1], 0).into(),
        drain_delay: Some(Duration::ZERO),
        ..HttpSettings::default()
    }
}

/// What stands between endpoint and readiness, as a pool does; it knows when it goes down.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    down: Arc<AtomicBool>,
    crash: Arc<Notify>,
    crashed: Arc<Notify>,
    /// Until it is told, its stop does not end.
    held: Arc<AtomicBool>,
    release: Arc<Notify>,
    stopping: Arc<Notify>,
}

impl Pool {
    pub(crate) fn is_up(&self) -> bool {
        !self.down.load(Ordering::SeqCst)
    }

    /// Makes it fail.
    pub(crate) fn crash(&self) {
        self.crash.notify_one();
    }

    /// Waits until it has failed, and is back.
    pub(crate) async fn has_crashed(&self) {
        self.crashed.notified().await;
    }

    /// Makes its stop wait for [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    pub(crate) async fn stopping(&self) {
        self.stopping.notified().await;
    }

    pub(crate) fn release(&self) {
        self.release.notify_one();
    }

    fn child(&self) -> impl IntoChild {
        worker("pool", self.clone(), Self::run)
    }

    async fn run(self, cx: Context) -> Result {
        if self.down.swap(false, Ordering::SeqCst) {
            self.crashed.notify_one();
        }
        tokio::select! {
            _ = cx.shutdown() => {}
            () = self.crash.notified() => {
                self.down.store(true, Ordering::SeqCst);
                return Err("crashed".into());
            }
        }
        self.stopping.notify_one();
        if self.held.load(Ordering::SeqCst) {
            self.release.notified().await;
        }
        self.down.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// A service: endpoint, pool, readiness.
pub(crate) struct Service {
    pub(crate) tree: Tree,
    pub(crate) pool: Pool,
    pub(crate) addr: SocketAddr,
}

impl Service {
    pub(crate) async fn start(settings: HttpSettings, routes: Router) -> Self {
        Self::start_with(settings, |_| routes).await
    }

    pub(crate) async fn start_with(
        settings: HttpSettings,
        routes: impl FnOnce(&Pool) -> Router,
    ) -> Self {
        let pool = Pool::default();
        let endpoint = Endpoint::new(&settings).routes(routes(&pool));
        let tree = Supervisor::new("service")
            .strategy(uptree_app::Strategy::RestForOne)
            .child(endpoint.clone())
            .child(pool.child())
            .child(Ready::new(&endpoint));
        let tree = tree.start().await.expect("it boots");
        let addr = endpoint.local_addr().expect("it runs");
        Self { tree, pool, addr }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.addr).await
    }

    pub(crate) fn stop(&self) {
        self.tree.stop(StopCause::Shutdown);
    }

    pub(crate) async fn stopped(mut self) {
        self.tree.wait().await.expect("an orderly stop");
    }

    /// Waits until `/ready` is answered so.
    pub(crate) async fn until_ready_says(&self, word: &str) {
        while self.connect().await.get("/ready").await.body != word {}
    }
}
