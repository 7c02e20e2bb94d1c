//! Telling of progress for as long as there is some.

use std::{future::Future, pin::pin, time::Duration};

use tokio::time::{Instant, sleep_until};
use uptree_app::Starting;

use crate::{activity::Activity, files::File};

/// How long nothing is told of work that goes on.
const QUIET: Duration = Duration::from_secs(20);

/// How soon news of one piece of work is told; the next news of it waits twice as long.
const NEWS: Duration = Duration::from_secs(1);

/// Tells of progress when there is some, and again in time before the start times out: how long a
/// migration may take is not for a timeout to know.
pub(crate) struct Pulse<'a> {
    cx: &'a Starting,
    total: usize,
    last: Option<(usize, String)>,
    next: Instant,
}

impl<'a> Pulse<'a> {
    pub(crate) fn new(cx: &'a Starting, total: usize) -> Self {
        Self {
            cx,
            total,
            last: None,
            next: Instant::now(),
        }
    }

    /// Tells that `done` are done and that it goes on with `what`; nothing, if that has just been
    /// told.
    pub(crate) fn beat(&mut self, done: usize, what: &str) {
        let last = self.last.as_ref().map(|(done, what)| (*done, &**what));
        if last == Some((done, what)) && Instant::now() < self.next {
            return;
        }
        self.tell(done, what);
    }

    fn tell(&mut self, done: usize, what: &str) {
        let now = Instant::now();
        self.last = Some((done, what.to_owned()));
        let (count, total) = (done as u64, self.total as u64);
        self.cx.progress(count, total, what.to_owned());
        // Thrice in a start timeout, so that one may be late.
        let timeout = self.cx.deadline().map(|deadline| deadline - now);
        self.next = now + timeout.map_or(QUIET, |timeout| QUIET.min(timeout / 3));
    }

    /// Completes when there should be another beat.
    pub(crate) async fn is_due(&self) {
        sleep_until(self.next).await;
    }

    /// Beats until `work` on these files is done, which says what it does by its activity; `done`
    /// were done before it.
    pub(crate) async fn during<F: Future>(
        &mut self,
        work: F,
        done: usize,
        files: &[&File],
        activity: &Activity,
    ) -> F::Output {
        let mut work = pin!(work);
        let what = || {
            let count = activity.files_done();
            let file = files.get(count).or(files.last());
            let file = file.map(ToString::to_string).unwrap_or_default();
            (done + count, format!("{file}{}", activity.words()))
        };
        let (now_done, text) = what();
        self.beat(now_done, &text);
        let mut interval = NEWS;
        let mut news = Instant::now() + interval;
        loop {
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = self.is_due() => {}
                () = sleep_until(news) => {}
            }
            let now = Instant::now();
            if now < news && now < self.next {
                continue;
            }
            if now >= news {
                interval = QUIET.min(interval * 2);
                news = now + interval;
            }
            let (now_done, text) = what();
            self.beat(now_done, &text);
        }
    }
}
