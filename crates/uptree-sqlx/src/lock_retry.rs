//! Trying again while others hold a lock that a migration needs.
//!
//! Whoever waits in a lock's queue holds up all that come after, readers too: so a statement waits
//! for a moment only, and the pauses between belong to the others.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uptree_app::Starting;

use crate::{
    MigrateError, activity::Activity, error::DriverError, files::File, place::Place,
    retry::Reminder,
};

/// The first pause between two attempts, and the longest: half of it to the whole.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// After how many attempts at least it is given up if nobody was seen to hold the lock.
const UNSEEN: u32 = 3;

/// The attempts of one statement, or of one file in a transaction.
pub(crate) struct LockRetry<'a> {
    cx: &'a Starting,
    budget: Duration,
    since: Option<Instant>,
    attempts: u32,
    pause: Duration,
    reminder: Reminder,
}

impl<'a> LockRetry<'a> {
    /// Attempts for as long as `budget`, from the first that failed.
    pub(crate) fn new(cx: &'a Starting, budget: Duration) -> Self {
        Self {
            cx,
            budget,
            since: None,
            attempts: 1,
            pause: PAUSES.0,
            reminder: Reminder::new(),
        }
    }

    /// It has got its locks: the next one has a budget of its own.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.cx, self.budget);
    }

    /// Waits before another attempt.
    ///
    /// # Errors
    ///
    /// The budget is used up, or the start is called off.
    pub(crate) async fn again(
        &mut self,
        file: &File,
        activity: &Activity,
        place: Option<Place>,
        error: sqlx::Error,
        blockers: Vec<String>,
    ) -> Result<(), MigrateError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        // Who was in the way is not known after the first attempt, and should be said at the end.
        let nobody_seen = blockers.is_empty() && self.attempts <= UNSEEN;
        if since.elapsed() >= self.budget && !nobody_seen {
            return Err(MigrateError::Locked {
                file: file.to_string(),
                place,
                budget: self.budget,
                attempts: self.attempts,
                blockers,
                source: DriverError::from(error),
            });
        }
        if self.reminder.is_due() {
            let attempt = self.attempts;
            let blockers = match &blockers[..] {
                [] => "somebody who is gone again".to_owned(),
                blockers => blockers.join(" and "),
            };
            tracing::warn!(
                file = %file, attempt, %blockers,
                "others hold a lock that the migration needs; trying again"
            );
        }
        self.attempts += 1;
        activity.blocked_by(blockers);
        activity.attempt(self.attempts);
        let left = (since + self.budget).saturating_duration_since(Instant::now());
        let pause = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0).min(left);
        self.pause = PAUSES.1.min(self.pause.mul_f64(1.5));
        self.cx.waiting("locks that others hold");
        tokio::select! {
            () = self.cx.cancelled() => return Err(MigrateError::Cancelled),
            () = sleep(pause) => {}
        }
        self.cx.step("apply");
        Ok(())
    }
}
