//! What the tests of both databases share.

#![allow(dead_code, reason = "each test uses a part of it")]

#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::{
    fs,
    future::Future,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};
use uptree_app::{
    BoxError, Event, EventKind, IntoChild, Observer, StopCause, Supervisor, Tree, TreeOptions,
    chain,
};
use uptree_sqlx::{DatabaseSettings, Migrator, Repo};

/// Longer than anything takes, also on a machine that is busy.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Fails the test when `future` takes too long.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let at = std::panic::Location::caller();
    async move {
        let output = timeout(LONG, future).await;
        output.unwrap_or_else(|_| panic!("it did not happen within {LONG:?}: {at}"))
    }
}

/// Tries again until a value is there.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    mut attempt: impl FnMut() -> F,
) -> T {
    soon(async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// A folder with these migrations.
pub(crate) fn migrations(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    for (name, sql) in files {
        write(folder.path(), name, sql);
    }
    folder
}

pub(crate) fn write(folder: &Path, name: &str, sql: &str) {
    fs::write(folder.join(name), sql).expect("the folder can be written");
}

/// Settings for a database and a folder of migrations.
pub(crate) fn settings(url: &str, migrations: &Path) -> DatabaseSettings {
    let mut settings = DatabaseSettings::new(url.parse().expect(url));
    settings.migrate.dir = Some(migrations.to_owned());
    settings
}

/// No embedded migrations: the settings' folder replaces them.
pub(crate) fn embedded() -> sqlx::migrate::Migrator {
    sqlx::migrate::Migrator::with_migrations(Vec::new())
}

/// What sqlx itself makes of a folder.
pub(crate) async fn sqlx_migrator(folder: &Path) -> sqlx::migrate::Migrator {
    sqlx::migrate::Migrator::new(folder)
        .await
        .expect("the folder can be read")
}

/// A repo and its migrator under a supervisor, and what happens to them.
pub(crate) struct Service {
    pub(crate) repo: Repo,
    tree: Tree,
    events: mpsc::UnboundedReceiver<String>,
}

impl Service {
    /// Starts it, and returns at once.
    pub(crate) fn spawn(settings: &DatabaseSettings) -> Self {
        Self::spawn_within(settings, LONG)
    }

    /// Starts it, with the start timeout that each child has.
    pub(crate) fn spawn_within(settings: &DatabaseSettings, start_timeout: Duration) -> Self {
        let repo = Repo::new(settings);
        let migrator = Migrator::new(&repo, embedded());
        let root = Supervisor::new("app")
            .child(repo.clone())
            .child(migrator)
            .into_child();
        let (sender, events) = mpsc::unbounded_channel();
        let mut options = TreeOptions::default();
        options.start_timeout = start_timeout;
        options.observer = Arc::new(Recorder(sender));
        Self {
            repo,
            tree: Tree::spawn(root, options),
            events,
        }
    }

    /// Waits until both are up.
    pub(crate) async fn ready(&mut self) -> Result<(), BoxError> {
        soon(self.tree.ready()).await
    }

    /// Waits for the boot to fail, and returns what a person would read.
    pub(crate) async fn failure(&mut self) -> String {
        match self.ready().await {
            Ok(()) => panic!("it is ready"),
            Err(error) => chain(&*error),
        }
    }

    /// Waits for an event that has all these texts in it.
    pub(crate) async fn event(&mut self, texts: &[&str]) -> String {
        soon(async {
            loop {
                let event = self.events.recv().await.expect("the tree is alive");
                if texts.iter().all(|text| event.contains(text)) {
                    return event;
                }
            }
        })
        .await
    }

    /// Stops it in order, and returns how long that took.
    pub(crate) async fn stop(&mut self) -> Duration {
        let since = Instant::now();
        self.tree.stop(StopCause::Shutdown);
        soon(self.tree.wait()).await.expect("it stops in order");
        since.elapsed()
    }
}

/// Boots until all is up, and leaves it running.
pub(crate) async fn boot(settings: &DatabaseSettings) -> Service {
    let mut service = Service::spawn(settings);
    if let Err(error) = service.ready().await {
        panic!("{}", chain(&*error));
    }
    service
}

/// Boots, stops, and returns the failure if there was one.
pub(crate) async fn boot_and_stop(settings: &DatabaseSettings) -> Result<(), String> {
    let mut service = Service::spawn(settings);
    service.ready().await.map_err(|error| chain(&*error))?;
    service.stop().await;
    Ok(())
}

/// Boots many at once, and has every one of them come up.
pub(crate) async fn herd(settings: &DatabaseSettings, size: usize) {
    let boots: Vec<_> = (0..size)
        .map(|_| {
            let settings = settings.clone();
            tokio::spawn(async move { boot_and_stop(&settings).await })
        })
        .collect();
    for boot in boots {
        let outcome = soon(boot).await.expect("no panic");
        assert_eq!(outcome, Ok(()));
    }
}

struct Recorder(mpsc::UnboundedSender<String>);

impl Observer for Recorder {
    fn observe(&self, event: &Event<'_>) {
        let kind = match &event.kind {
            EventKind::Progress { done, total, what } => {
                format!("progress {done}/{total} {what}")
            }
            EventKind::AttemptFailed(error) => format!("attempt failed: {error:?}"),
            kind => format!("{kind:?}"),
        };
        // Nobody listens any more: then nobody needs to know.
        let _ = self.0.send(format!("{}: {kind}", event.path()));
    }
}
