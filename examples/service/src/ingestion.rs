//! The child that writes accepted readings, and the bounded queue in which they wait.
//!
//! The queue belongs to the handle, so it outlives the child's incarnations. A reading leaves it
//! only when the database has it, or has refused it for good; whatever is in it when the process
//! ends is told as lost. Writes are idempotent, so one whose outcome is unclear is repeated.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use uptree::{HealthCheck, Lost, Options, StopCause, prelude::*, sqlx::is_rejected};

use crate::{
    reading::Reading,
    store::{self, Accepted, BATCH},
};

/// Accepts readings and writes them in batches: the handle and the child.
#[derive(Clone, Debug)]
pub struct Ingestion {
    repo: Repo,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    size: usize,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Accepted>,
    last_arrival: i64,
    /// The last write is done and there will be no other.
    closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why readings are not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// There will never be room for so many.
    TooMany,
    /// There is no room now, or the service stops.
    NotNow,
}

impl Ingestion {
    /// An ingestion into `repo` with room for `size` readings.
    pub fn new(repo: &Repo, size: usize) -> Self {
        let shared = Shared {
            size,
            queue: Mutex::default(),
            filled: Notify::new(),
        };
        Self {
            repo: repo.clone(),
            shared: Arc::new(shared),
        }
    }

    /// How many readings may wait.
    pub(crate) fn size(&self) -> usize {
        self.shared.size
    }

    /// Takes all of `readings`, or none. Never waits.
    pub(crate) fn accept(&self, readings: Vec<Reading>) -> Result<(), Refused> {
        let mut queue = self.queue();
        if readings.len() > self.shared.size {
            return Err(Refused::TooMany);
        }
        if queue.closed || queue.waiting.len() + readings.len() > self.shared.size {
            return Err(Refused::NotNow);
        }
        let now = crate::reading::At::default().micros();
        for reading in readings {
            queue.last_arrival = now.max(queue.last_arrival + 1);
            let arrived_at = queue.last_arrival;
            queue.waiting.push_back(Accepted {
                reading,
                arrived_at,
            });
        }
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }

    /// Has whoever asks for readiness told when the queue is nearly full. Another replica has the
    /// same database: to take this one out of traffic would help nobody.
    fn watch_the_queue(&self, cx: &Context) {
        let shared = Arc::clone(&self.shared);
        let check = HealthCheck::new("queue").every(Duration::from_secs(1));
        check.register(cx, move || {
            let (waiting, size) = (shared.queue().waiting.len(), shared.size);
            async move {
                match waiting < size.div_ceil(10) * 9 {
                    true => Ok(()),
                    false => Err(format!("{waiting} readings wait, of {size} at the most").into()),
                }
            }
        });
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue()
    }

    /// What to write next; a power of two of them, so that few statements are to be prepared.
    fn batch(&self) -> Vec<Accepted> {
        let queue = self.queue();
        let len = match queue.waiting.len().min(BATCH) {
            0 => 0,
            len => 1 << len.ilog2(),
        };
        queue.waiting.iter().take(len).cloned().collect()
    }

    /// Writes `readings`, the first that wait, however long it takes, and takes them off the queue.
    async fn write(&self, readings: Vec<Accepted>) {
        // Parts that are still to be written, the next one last.
        let mut parts = vec![readings];
        while let Some(mut part) = parts.pop() {
            match self.persist(&part).await {
                Ok(()) => {}
                Err(error) if part.len() == 1 => {
                    let id = part[0].reading.id;
                    tracing::error!(%id, %error, "a reading is refused by the database: dropped");
                }
                Err(_) => {
                    parts.push(part.split_off(part.len() / 2));
                    parts.push(part);
                    continue;
                }
            }
            self.queue().waiting.drain(..part.len());
        }
    }

    /// Tries until the database has the readings, or refuses them for good.
    async fn persist(&self, readings: &[Accepted]) -> sqlx::Result<()> {
        let mut delay = Duration::from_millis(50);
        let mut failures = 0_u32;
        loop {
            let written = match self.repo.pool() {
                Ok(pool) => store::write(&pool, readings).await,
                Err(_) => Err(sqlx::Error::PoolClosed),
            };
            match written {
                Ok(()) if failures > 0 => {
                    tracing::info!(failures, "readings are written again");
                    return Ok(());
                }
                Ok(()) => return Ok(()),
                Err(error) if is_rejected(&error) => return Err(error),
                Err(error) => {
                    failures += 1;
                    // The 1st, 2nd, 4th, 8th...
                    if failures.is_power_of_two() {
                        tracing::warn!(%error, failures, "readings cannot be written: trying again");
                    }
                }
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(Duration::from_secs(1));
        }
    }
}

impl Child for Ingestion {
    /// Ten seconds to write what waits.
    fn defaults(&self, options: Options) -> Options {
        options.shutdown(Shutdown::Timeout(Duration::from_secs(10)))
    }

    fn lost(&self) -> Option<Lost> {
        Lost::new(
            self.queue().waiting.len(),
            "readings that were answered 202",
        )
    }

    async fn run(&self, cx: Starting) -> Result {
        self.queue().closed = false;
        let cx = cx.ready();
        self.watch_the_queue(&cx);
        loop {
            let batch = self.batch();
            if !batch.is_empty() {
                // Once the tree goes down this is the last chance; the stop timeout ends it.
                let again = cx.stop_cause() == Some(StopCause::GroupRestart);
                if again || cx_restarts(&cx, self.write(batch)).await {
                    return Ok(());
                }
                continue;
            }
            tokio::select! {
                () = self.shared.filled.notified() => {}
                _ = cx.shutdown() => {
                    let mut queue = self.queue();
                    if queue.waiting.is_empty() {
                        queue.closed = cx.stop_cause() != Some(StopCause::GroupRestart);
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Runs `write` to its end, unless this incarnation is to make way for the next: then `true`. What
/// it was writing stays in the queue.
async fn cx_restarts(cx: &Context, write: impl Future<Output = ()>) -> bool {
    let restart = async {
        if cx.shutdown().await != StopCause::GroupRestart {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = write => false,
        () = restart => true,
    }
}
