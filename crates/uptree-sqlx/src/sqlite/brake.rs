//! Stopping a statement, which runs in a thread of this process.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sqlx::sqlite::SqliteConnection;

use crate::session::Brake;

/// How many of SQLite's instructions run between two looks: some tens of microseconds.
const INSTRUCTIONS: i32 = 1000;

/// Interrupts what a migrating session does.
#[derive(Clone, Default)]
pub(crate) struct SqliteBrake {
    engaged: Arc<AtomicBool>,
}

impl SqliteBrake {
    /// Whether the session is to end.
    pub(super) fn is_engaged(&self) -> bool {
        self.engaged.load(Ordering::Relaxed)
    }

    /// Fits a connection with it.
    pub(super) async fn fit(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<Engaged, sqlx::Error> {
        let engaged = self.engaged.clone();
        let gone = Arc::new(AtomicBool::new(false));
        let guard = Engaged(gone.clone());
        connection
            .lock_handle()
            .await?
            .set_progress_handler(INSTRUCTIONS, move || {
                let stop = engaged.load(Ordering::Relaxed) || gone.load(Ordering::Relaxed);
                !stop
            });
        Ok(guard)
    }
}

impl Brake for SqliteBrake {
    async fn engage(&self) {
        self.engaged.store(true, Ordering::Relaxed);
        // The statement ends, and the session sees that the start was called off.
        std::future::pending::<()>().await;
    }
}

/// A session's end of the brake: when it is dropped, what its thread still executes is interrupted.
pub(super) struct Engaged(Arc<AtomicBool>);

impl Drop for Engaged {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
