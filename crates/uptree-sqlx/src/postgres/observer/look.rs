//! One look: the query, and what its rows mean.

use std::{fmt::Write, time::Duration};

use sqlx::{Row as _, postgres::PgRow};

/// How much of a query is shown.
const QUERY: usize = 200;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Whether a process works for the session.
    pub(super) is_at_work: bool,
    pub(super) deadlock_timeout: Option<Duration>,
    pub(super) blockers: Vec<Blocker>,
    /// How far a long statement has come.
    pub(super) detail: Option<String>,
}

/// Who has a lock that the session waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Blocker {
    /// 0: a prepared transaction, which has no process.
    pub(super) pid: i32,
    pub(super) autovacuum: bool,
    user: Option<String>,
    application: Option<String>,
    /// Not seen without the right to see it, as are the next two.
    state: Option<String>,
    since: Option<String>,
    pub(super) query: Option<String>,
}

impl Blocker {
    /// Not one against wraparound, as far as may be seen: that one does not give way.
    pub(super) fn is_vacuum_that_gives_way(&self) -> bool {
        let query = self.query.as_deref().unwrap_or_default();
        self.autovacuum && !query.contains("(to prevent wraparound)")
    }

    pub(super) fn words(&self, with_query: bool) -> String {
        if self.pid == 0 {
            return "a prepared transaction".to_owned();
        }
        let who = if self.autovacuum {
            Some("autovacuum".to_owned())
        } else {
            self.user.as_ref().map(|user| format!("user {user}"))
        };
        let since = self.since.as_ref().map(|since| format!("since {since}"));
        let state = match (&self.state, since) {
            (Some(state), Some(since)) => Some(format!("{state} {since}")),
            (Some(one), None) => Some(one.clone()),
            (None, since) => since,
        };
        let parts: Vec<_> = [who, self.application.clone(), state]
            .into_iter()
            .flatten()
            .collect();
        let mut words = format!("process {}", self.pid);
        let mut say = |text: std::fmt::Arguments<'_>| {
            words
                .write_fmt(text)
                .expect("a string takes all that is written to it");
        };
        if !parts.is_empty() {
            say(format_args!(" ({})", parts.join(", ")));
        }
        if let Some(query) = self.query.as_ref().filter(|_| with_query) {
            say(format_args!(": {query}"));
        }
        words
    }

    #[cfg(test)]
    pub(super) fn autovacuum(pid: i32) -> Self {
        Self {
            pid,
            autovacuum: true,
            ..Self::default()
        }
    }
}

/// A table of progress.
struct Progress {
    table: &'static str,
    /// The first version of the server that has it.
    since: u32,
    /// What is being done.
    phase: &'static str,
    /// How much is done, how much there is, and of what: the first that there is any of counts.
    amounts: &'static [(&'static str, &'static str, &'static str)],
}

const PROGRESS: [Progress; 4] = [
    Progress {
        table: "pg_stat_progress_create_index",
        since: 120_000,
        phase: "phase",
        amounts: &[
            ("blocks_done", "blocks_total", "blocks"),
            ("tuples_done", "tuples_total", "rows"),
            ("lockers_done", "lockers_total", "transactions"),
        ],
    },
    Progress {
        table: "pg_stat_progress_vacuum",
        since: 90_600,
        phase: "'vacuum: ' || phase",
        amounts: &[("heap_blks_scanned", "heap_blks_total", "blocks")],
    },
    Progress {
        table: "pg_stat_progress_cluster",
        since: 120_000,
        phase: "lower(command) || ': ' || phase",
        amounts: &[("heap_blks_scanned", "heap_blks_total", "blocks")],
    },
    Progress {
        table: "pg_stat_progress_copy",
        since: 140_000,
        phase: "lower(command) || ': ' || tuples_processed || ' rows'",
        amounts: &[("bytes_processed", "bytes_total", "bytes")],
    },
];

/// Rows of eight texts, the first of which says what it is about.
pub(super) fn sql(is_worn: &str, version: u32) -> String {
    // An autovacuum shows itself only to whom may see it: who may not sees a session of this
    // database that nobody has logged in for.
    let mut sql = format!(
        "WITH own AS (SELECT l.pid FROM pg_catalog.pg_locks AS l WHERE {is_worn} LIMIT 1)
         SELECT 'own', own.pid::text, a.state,
                (EXTRACT(EPOCH FROM pg_catalog.current_setting('deadlock_timeout')::interval)
                 * 1000)::bigint::text, NULL, NULL, NULL, NULL
         FROM own LEFT JOIN pg_catalog.pg_stat_activity AS a USING (pid)
         UNION ALL
         SELECT 'blocker', b.pid::text,
                (coalesce(a.backend_type = 'autovacuum worker',
                          a.pid IS NOT NULL AND a.usesysid IS NULL))::text,
                a.usename::text, nullif(a.application_name, ''), a.state,
                pg_catalog.to_char(coalesce(a.xact_start, a.state_change) AT TIME ZONE 'UTC',
                                   'YYYY-MM-DD HH24:MI:SS') || ' UTC',
                CASE WHEN a.state IS NOT NULL OR a.backend_type IS NOT NULL THEN a.query END
         FROM (SELECT DISTINCT unnest(pg_catalog.pg_blocking_pids(own.pid)) AS pid FROM own) AS b
         LEFT JOIN pg_catalog.pg_stat_activity AS a USING (pid)"
    );
    for progress in PROGRESS {
        let Progress {
            table,
            since,
            phase,
            amounts,
        } = progress;
        if version < since {
            continue;
        }
        let amounts = amounts.iter().map(|(done, total, what)| {
            format!("WHEN {total} > 0 THEN ', ' || {done} || ' of ' || {total} || ' {what}'")
        });
        let amounts: Vec<_> = amounts.collect();
        let amounts = amounts.join(" ");
        write!(
            sql,
            "\nUNION ALL
             SELECT 'progress', ({phase}) || CASE {amounts} ELSE '' END,
                    NULL, NULL, NULL, NULL, NULL, NULL
             FROM own JOIN pg_catalog.{table} AS p USING (pid)"
        )
        .expect("a string takes all that is written to it");
    }
    sql
}

pub(super) fn read(rows: &[PgRow]) -> Result<Look, sqlx::Error> {
    let mut look = Look::default();
    for row in rows {
        let kind: String = row.try_get(0)?;
        let mut texts: [Option<String>; 7] = Default::default();
        for (index, text) in texts.iter_mut().enumerate() {
            *text = row.try_get(index + 1)?;
        }
        look.take(&kind, texts);
    }
    // In no order of their own.
    look.blockers.sort_by_key(|blocker| blocker.pid);
    Ok(look)
}

impl Look {
    fn take(&mut self, kind: &str, texts: [Option<String>; 7]) {
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        match (kind, texts) {
            ("own", [_, state, deadlock_timeout, ..]) => {
                // It has done all that it has heard of, and waits for more.
                self.is_at_work = state.as_deref() != Some("idle");
                let timeout = deadlock_timeout.and_then(|text| text.parse().ok());
                self.deadlock_timeout = timeout.map(Duration::from_millis);
            }
            ("blocker", [pid, autovacuum, user, application, state, since, query]) => {
                self.blockers.push(Blocker {
                    pid: number(&pid).unwrap_or_default(),
                    autovacuum: autovacuum.as_deref() == Some("true"),
                    user,
                    application,
                    state,
                    since,
                    query: query.map(|query| shorten(&query)),
                });
            }
            ("progress", [detail, ..]) => self.detail = detail,
            _ => {}
        }
    }
}

/// A query in one line.
fn shorten(query: &str) -> String {
    let words: Vec<_> = query.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(QUERY) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(rows: &[(&str, [&str; 7])]) -> Look {
        let mut look = Look::default();
        for (kind, texts) in rows {
            let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            look.take(kind, texts.map(text));
        }
        look
    }

    #[test]
    fn who_waits_for_more_is_not_at_work() {
        for (state, is_at_work) in [
            ("active", true),
            ("idle in transaction", true),
            ("idle", false),
            // It may not be seen.
            ("", true),
        ] {
            let look = look(&[("own", ["7", state, "1000", "", "", "", ""])]);
            assert_eq!(look.is_at_work, is_at_work, "{state}");
            assert_eq!(look.deadlock_timeout, Some(Duration::from_secs(1)));
        }
        assert!(!look(&[]).is_at_work);
    }

    #[test]
    fn a_blocker_is_told_as_far_as_it_is_seen() {
        let since = "2026-11-23 07:00:01 UTC";
        let query = "SELECT\n  'secret'";
        for (row, without, with) in [
            (
                [
                    "7",
                    "false",
                    "alice",
                    "psql",
                    "idle in transaction",
                    since,
                    query,
                ],
                "process 7 (user alice, psql, idle in transaction since 2026-11-23 07:00:01 UTC)",
                ": SELECT 'secret'",
            ),
            (
                ["7", "false", "alice", "", "", "", ""],
                "process 7 (user alice)",
                "",
            ),
            (
                ["8", "true", "", "", "", "", ""],
                "process 8 (autovacuum)",
                "",
            ),
            (["9", "false", "", "", "", "", ""], "process 9", ""),
            (
                ["0", "false", "", "", "", "", ""],
                "a prepared transaction",
                "",
            ),
        ] {
            let look = look(&[("blocker", row)]);
            assert_eq!(look.blockers[0].words(false), without);
            assert_eq!(look.blockers[0].words(true), format!("{without}{with}"));
        }
    }

    #[test]
    fn a_query_is_shown_in_one_line_and_not_whole() {
        assert_eq!(shorten("a\n\tb  c"), "a b c");
        let long = "é".repeat(QUERY + 1);
        assert_eq!(shorten(&long), "é".repeat(QUERY) + "…");
    }

    #[test]
    fn an_old_server_is_not_asked_for_what_it_does_not_have() {
        assert!(!sql("x", 110_000).contains("create_index"));
        assert!(!sql("x", 130_000).contains("progress_copy"));
        assert!(sql("x", 150_000).contains("progress_copy"));
    }
}
