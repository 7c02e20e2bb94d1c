//! Looking from a second connection at what the first one waits for.

mod look;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection,
    postgres::{PgConnectOptions, PgConnection, PgRow},
    raw_sql,
};
use tokio::time::{Instant, sleep, timeout};

use self::look::{Blocker, Look};
use super::badge::Badge;
use crate::activity::Activity;

/// How long a statement may take before anybody looks at it.
const QUIET: Duration = Duration::from_secs(1);

/// How often it is looked at then.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked at once an attempt has had to give up, to see who keeps it waiting: more
/// often than it gives up.
const CLOSELY: Duration = Duration::from_millis(30);

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);

/// How long the server may be out of reach.
const UNREACHED: Duration = Duration::from_secs(15);

/// How long nobody may work on a message that the server has begun: its answer is on the way, or
/// will never come.
const ANSWER: Duration = Duration::from_secs(3);

/// How many bytes a second reach the server at least.
const SLOWEST: u64 = 1 << 16;

/// How much longer than a try an attempt waits that is to have an autovacuum cancelled.
const BEYOND_DEADLOCK: Duration = Duration::from_millis(200);

/// Looks at a session from a connection of its own, that is opened when a message takes long, or
/// has failed for a lock: who blocks it, how far it has come, and whether the server still knows of
/// it.
///
/// It never has a transaction open for longer than a look: who builds an index waits for
/// transactions.
pub(super) struct Observer {
    options: PgConnectOptions,
    badge: Arc<Badge>,
    connection: Option<PgConnection>,
    /// Whether to look at once, and often.
    closely: bool,
    /// Who blocked the message, or the one before, when last somebody did.
    blockers: Vec<Blocker>,
    deadlock_timeout: Duration,
    autovacuum: Autovacuum,
}

/// An autovacuum gives way to whoever has waited for `deadlock_timeout`, and not before.
#[derive(Debug, Default, PartialEq, Eq)]
enum Autovacuum {
    #[default]
    None,
    /// The next attempt is to wait for longer than that.
    WaitFor(i32),
    /// The one under way does.
    WaitingFor(i32),
    /// It did not help: the others have waited long enough.
    Tried(i32),
}

impl Observer {
    pub(super) fn new(options: PgConnectOptions, badge: Arc<Badge>) -> Self {
        Self {
            options: options.application_name("uptree observer"),
            badge,
            connection: None,
            closely: false,
            blockers: Vec::new(),
            deadlock_timeout: QUIET,
            autovacuum: Autovacuum::None,
        }
    }

    /// A statement has got its lock.
    pub(super) fn relax(&mut self) {
        self.closely = false;
        self.blockers.clear();
        self.autovacuum = Autovacuum::None;
    }

    /// Nothing is migrated for now: others may need the connection.
    pub(super) fn rest(&mut self) {
        self.relax();
        self.connection = None;
    }

    /// A statement has not got its lock. Returns who had it, in words, if that was seen.
    pub(super) async fn give_up(&mut self, activity: &Activity) -> Vec<String> {
        // The next attempt may be shorter than it takes to connect.
        let _ = timeout(LOOK, self.connect()).await;
        self.note(activity)
    }

    fn note(&mut self, activity: &Activity) -> Vec<String> {
        self.closely = true;
        self.autovacuum = match (&self.autovacuum, self.only_autovacuum()) {
            (Autovacuum::WaitingFor(last) | Autovacuum::Tried(last), Some(pid)) if *last == pid => {
                Autovacuum::Tried(pid)
            }
            (_, Some(pid)) => Autovacuum::WaitFor(pid),
            (_, None) => Autovacuum::None,
        };
        self.words(activity)
    }

    /// How long an attempt may wait that usually waits for a moment only.
    pub(super) fn patience(&mut self, usual: Duration) -> Duration {
        let Autovacuum::WaitFor(pid) = self.autovacuum else {
            return usual;
        };
        self.autovacuum = Autovacuum::WaitingFor(pid);
        let patience = self.deadlock_timeout + BEYOND_DEADLOCK;
        tracing::info!(
            pid,
            ?patience,
            "an autovacuum holds a lock that the migration needs: the next attempt waits until the \
             server has it give way"
        );
        patience.max(usual)
    }

    /// The autovacuum that gives way, if nobody else has the lock.
    fn only_autovacuum(&self) -> Option<i32> {
        match &self.blockers[..] {
            [blocker] if blocker.is_vacuum_that_gives_way() => Some(blocker.pid),
            _ => None,
        }
    }

    fn words(&self, activity: &Activity) -> Vec<String> {
        let with_query = activity.shows_queries();
        let words = |blocker: &Blocker| blocker.words(with_query);
        self.blockers.iter().map(words).collect()
    }

    /// Tells of a message for as long as it is under way, that has so many bytes, and of which so many
    /// statements are completed. Completes only when there is nothing to wait for any more.
    pub(super) async fn watch(
        &mut self,
        length: usize,
        completed: &AtomicUsize,
        activity: &Activity,
    ) -> sqlx::Error {
        let arrives = UNREACHED + Duration::from_secs(length as u64 / SLOWEST);
        let since = Instant::now();
        let mut last = None;
        // Where it moves on there is nothing to be seen.
        while !self.closely && last != Some(completed.load(Ordering::Relaxed)) {
            last = Some(completed.load(Ordering::Relaxed));
            sleep(QUIET).await;
        }
        let mut reached = Instant::now();
        let mut worked_on = since;
        let mut was_worked_on = false;
        loop {
            match timeout(LOOK, self.look()).await {
                Ok(Ok(look)) => {
                    reached = Instant::now();
                    if look.is_at_work {
                        worked_on = reached;
                        was_worked_on = true;
                        self.tell(look, activity);
                    }
                }
                Ok(Err(sqlx::Error::Database(error))) => {
                    // It is there, and has no room or no time for this.
                    tracing::debug!(%error, "the migration cannot be looked at");
                    self.connection = None;
                    reached = Instant::now();
                    worked_on = reached;
                }
                Ok(Err(_)) => self.connection = None,
                // A pooler that has no session to lend lets one in, and answers nothing.
                Err(_) if self.connection.take().is_some() => {
                    reached = Instant::now();
                    worked_on = reached;
                }
                Err(_) => {}
            }
            let answer = if was_worked_on { ANSWER } else { arrives };
            if worked_on + answer < reached {
                self.end_it().await;
                return lost("the server does not work on the migration any more");
            }
            if reached.elapsed() > UNREACHED {
                return lost("the server cannot be reached any more");
            }
            sleep(if self.closely { CLOSELY } else { INTERVAL }).await;
        }
    }

    async fn connect(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        Ok(match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.options.connect().await?),
        })
    }

    async fn look(&mut self) -> Result<Look, sqlx::Error> {
        let is_worn = self.badge.is_worn();
        let connection = self.connect().await?;
        let version = connection.server_version_num().unwrap_or_default();
        let sql = look::sql(&is_worn, version);
        let rows: Vec<PgRow> = raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await?;
        look::read(&rows)
    }

    fn tell(&mut self, look: Look, activity: &Activity) {
        activity.detail(look.detail);
        if let Some(timeout) = look.deadlock_timeout {
            self.deadlock_timeout = timeout;
        }
        if look.blockers.is_empty() {
            // It may have got the lock; if not, these are the ones that it has last waited for.
            if !self.closely {
                self.blockers.clear();
                activity.blocked_by(Vec::new());
            }
            return;
        }
        self.blockers = look.blockers;
        activity.blocked_by(self.words(activity));
    }

    /// Ends what the server may still have of a session whose answers do not come any more: its lock
    /// would be in the next one's way.
    async fn end_it(&mut self) {
        if let Some(connection) = &mut self.connection {
            let sql = AssertSqlSafe(self.badge.signal("pg_terminate_backend"));
            let _ = timeout(LOOK, raw_sql(sql).execute(connection)).await;
        }
    }

    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            let _ = connection.close().await;
        }
    }
}

fn lost(why: &str) -> sqlx::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, why).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observer() -> Observer {
        Observer::new(PgConnectOptions::new(), Badge::new())
    }

    const USUAL: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_millis(1200);

    #[test]
    fn an_autovacuum_is_waited_for_once() {
        let mut observer = observer();
        let activity = Activity::default();
        observer.blockers = vec![Blocker::autovacuum(7)];
        observer.note(&activity);
        assert_eq!(observer.patience(USUAL), LONG);
        assert_eq!(observer.patience(USUAL), USUAL);
        // It is still there.
        for _ in 0..3 {
            observer.note(&activity);
            assert_eq!(observer.patience(USUAL), USUAL);
        }
        // Another one.
        observer.blockers = vec![Blocker::autovacuum(8)];
        observer.note(&activity);
        assert_eq!(observer.patience(USUAL), LONG);
        // It has given way.
        observer.relax();
        assert_eq!(observer.patience(USUAL), USUAL);
    }

    #[test]
    fn an_autovacuum_beside_another_is_not_waited_for() {
        let mut observer = observer();
        let activity = Activity::default();
        let mut other = Blocker::autovacuum(8);
        other.autovacuum = false;
        let mut strict = Blocker::autovacuum(7);
        strict.query = Some("autovacuum: VACUUM public.t (to prevent wraparound)".into());
        for blockers in [
            vec![Blocker::autovacuum(7), other.clone()],
            vec![other],
            vec![strict],
            vec![],
        ] {
            observer.blockers = blockers;
            observer.note(&activity);
            assert_eq!(observer.patience(USUAL), USUAL);
        }
    }
}
