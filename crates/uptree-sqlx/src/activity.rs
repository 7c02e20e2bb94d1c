//! What a session is doing, told while it does it.

use std::{
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What a session is doing: written by the session, read by the [`Pulse`](crate::pulse::Pulse).
///
/// None of it may hold values of rows, unless that was asked for: it is shown to whoever may see the
/// tree.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    shows_queries: bool,
    now: Mutex<Now>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Now {
    /// How many files are done of those that are applied together.
    files: usize,
    /// The statement, and how many there are, if there is more than one.
    statement: Option<(usize, usize)>,
    attempt: u32,
    blockers: Vec<String>,
    /// What the database says of its own progress.
    detail: Option<String>,
}

impl Activity {
    /// `shows_queries`: whether it may be told what those are executing who block.
    pub(crate) fn new(shows_queries: bool) -> Self {
        Self {
            shows_queries,
            now: Mutex::default(),
        }
    }

    #[cfg_attr(not(any(feature = "postgres", feature = "mysql")), allow(dead_code))]
    pub(crate) fn shows_queries(&self) -> bool {
        self.shows_queries
    }

    /// A file is begun: what was told of the one before is over.
    pub(crate) fn begin(&self) {
        *self.now() = Now::default();
    }

    /// `count` files are done of those that are applied together.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    pub(crate) fn files(&self, count: usize) {
        self.now().files = count;
    }

    /// It is at a statement, counted from 1.
    pub(crate) fn statement(&self, number: usize, total: usize) {
        let mut now = self.now();
        now.statement = (total > 1).then_some((number, total));
        now.detail = None;
    }

    /// It is tried again.
    pub(crate) fn attempt(&self, number: u32) {
        self.now().attempt = number;
    }

    /// These keep it from going on; none, if nobody does.
    pub(crate) fn blocked_by(&self, blockers: Vec<String>) {
        self.now().blockers = blockers;
    }

    /// It has got what it was tried again for.
    pub(crate) fn unblocked(&self) {
        let mut now = self.now();
        now.attempt = 0;
        now.blockers.clear();
    }

    /// What the database says of its own progress.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    pub(crate) fn detail(&self, detail: Option<String>) {
        self.now().detail = detail;
    }

    /// How many files of those that are applied together are done.
    pub(crate) fn files_done(&self) -> usize {
        self.now().files
    }

    /// All of it, to stand after a file's name: ", statement 2 of 5, attempt 3, blocked by …".
    pub(crate) fn words(&self) -> String {
        let Now {
            files: _,
            statement,
            attempt,
            blockers,
            detail,
        } = &*self.now();
        let mut words = String::new();
        let mut say = |text: std::fmt::Arguments<'_>| {
            words
                .write_fmt(text)
                .expect("a string takes all that is written to it");
        };
        if let Some((number, total)) = statement {
            say(format_args!(", statement {number} of {total}"));
        }
        if *attempt > 1 {
            say(format_args!(", attempt {attempt}"));
        }
        if !blockers.is_empty() {
            say(format_args!(", blocked by {}", blockers.join(" and ")));
        }
        if let Some(detail) = detail {
            say(format_args!(", {detail}"));
        }
        words
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_is_said() {
        let activity = Activity::default();
        assert_eq!(activity.words(), "");
        activity.statement(1, 1);
        activity.attempt(1);
        assert_eq!(activity.words(), "");
        activity.statement(2, 5);
        activity.attempt(3);
        activity.blocked_by(vec!["process 7 (app)".into(), "process 8 (psql)".into()]);
        activity.detail(Some("building index: scanning table 3/9".into()));
        assert_eq!(
            activity.words(),
            ", statement 2 of 5, attempt 3, blocked by process 7 (app) and process 8 (psql), \
             building index: scanning table 3/9"
        );
        activity.unblocked();
        assert_eq!(
            activity.words(),
            ", statement 2 of 5, building index: scanning table 3/9"
        );
        activity.begin();
        assert_eq!(activity.words(), "");
    }
}
