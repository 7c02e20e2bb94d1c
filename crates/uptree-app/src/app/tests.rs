//! A boot in trouble: who fails, hangs or is called off, when, and what comes of it.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::*;
use crate::{Context, IntoChild, Result, Starting, service, worker};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// What happened, in order, each with the second of it.
#[derive(Clone)]
struct Story {
    began: Instant,
    told: Arc<Mutex<Vec<String>>>,
}

impl Story {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            told: Arc::default(),
        }
    }

    fn tell(&self, what: &str) {
        let at = self.began.elapsed().as_secs_f64();
        let mut told = self.told.lock().expect("no panic");
        told.push(format!("{at} {what}"));
    }

    #[track_caller]
    fn is(&self, expected: &[&str]) {
        assert_eq!(*self.told.lock().expect("no panic"), expected);
    }

    /// A child that tells of its start and of its stop.
    fn steady(&self, id: &'static str) -> impl IntoChild {
        async fn steady((story, id): (Story, &'static str), cx: Context) -> Result {
            story.tell(&format!("{id} ready"));
            cx.shutdown().await;
            story.tell(&format!("{id} stopped"));
            Ok(())
        }
        worker(id, (self.clone(), id), steady)
    }

    /// It between two steady ones.
    fn around(&self, odd: impl IntoChild) -> App {
        App::new("app")
            .child(self.steady("before"))
            .child(odd)
            .child(self.steady("after"))
    }
}

/// What a long start does in the end.
#[derive(Clone, Copy)]
enum End {
    Fails,
    Hangs,
    Ready,
}

/// Ten minutes of work, told of every half a minute.
async fn ten_minutes((story, end): (Story, End), cx: Starting) -> Result {
    cx.step("backfill");
    for done in 1..=20 {
        sleep(MINUTE / 2).await;
        cx.progress(done, 20, "rows");
    }
    story.tell("worked");
    match end {
        End::Fails => Err("the disk is full".into()),
        End::Hangs => pending().await,
        End::Ready => {
            let cx = cx.ready();
            cx.shutdown().await;
            story.tell("odd stopped");
            Ok(())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_after_ten_minutes_of_progress_stops_what_had_started() {
    let story = Story::new();
    let odd = service("odd", (story.clone(), End::Fails), ten_minutes);
    let exit = story.around(odd).run_until(pending()).await;
    assert_eq!(exit.code(), Exit::BOOT);
    assert_eq!(
        exit.failure(),
        Some("error: app/odd did not start\n  caused by: the disk is full")
    );
    story.is(&["0 before ready", "600 worked", "600 before stopped"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_after_ten_minutes_of_progress_is_given_up_at_its_timeout() {
    let story = Story::new();
    let odd = service("odd", (story.clone(), End::Hangs), ten_minutes);
    let app = story.around(odd.start_timeout(MINUTE));
    let exit = app.run_until(pending()).await;
    assert_eq!(exit.code(), Exit::BOOT);
    let failure = exit.failure().expect("it says why");
    let said = "error: app/odd did not start\n  caused by: not ready within 60s";
    assert!(failure.starts_with(said), "{failure}");
    story.is(&["0 before ready", "600 worked", "660 before stopped"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_ten_minutes_holds_the_next_one_back_and_no_more() {
    let story = Story::new();
    let odd = service("odd", (story.clone(), End::Ready), ten_minutes);
    let app = story.around(odd.start_timeout(MINUTE));
    let exit = app.run_until(sleep(11 * MINUTE)).await;
    assert_eq!((exit.code(), exit.failure()), (Exit::CLEAN, None));
    story.is(&[
        "0 before ready",
        "600 worked",
        "600 after ready",
        "660 after stopped",
        "660 odd stopped",
        "660 before stopped",
    ]);
}

/// What a start is at when it is called off.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It has said nothing.
    Silent,
    /// It has named a step.
    Step,
    /// It waits for somebody else.
    Waiting,
    /// Its attempts fail, one a second.
    Attempts,
    /// It gets on, every second.
    Progress,
    /// Called off, it takes two seconds to clean up.
    CleanUp,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Silent,
        Self::Step,
        Self::Waiting,
        Self::Attempts,
        Self::Progress,
        Self::CleanUp,
    ];
}

async fn hangs((story, phase): (Story, Phase), cx: Starting) -> Result {
    match phase {
        Phase::Silent => {}
        Phase::Step => cx.step("connect"),
        Phase::Waiting => cx.waiting("a lock"),
        Phase::Attempts => loop {
            cx.attempt_failed("connection refused");
            sleep(SECOND).await;
        },
        Phase::Progress => loop {
            cx.progress(1, 2, "rows");
            sleep(SECOND).await;
        },
        Phase::CleanUp => {
            cx.cancelled().await;
            sleep(2 * SECOND).await;
            story.tell("cleaned up");
            return Ok(());
        }
    }
    pending().await
}

/// Each phase, at each place of a list of three.
#[tokio::test(start_paused = true)]
async fn a_boot_is_called_off_in_any_phase_of_any_start() {
    for phase in Phase::ALL {
        for place in 0..3 {
            let story = Story::new();
            let hanging = service("odd", (story.clone(), phase), hangs);
            let hanging = hanging.cancel_grace(5 * SECOND).into_child();
            let mut app = App::new("app");
            for steady in ["one", "two"].iter().take(place) {
                app = app.child(story.steady(steady));
            }
            let app = app.child(hanging).child(story.steady("after"));
            let exit = app.run_until(sleep(10 * SECOND)).await;
            assert_eq!(
                (exit.code(), exit.failure()),
                (Exit::CLEAN, None),
                "{phase:?}"
            );

            let cleans_up = matches!(phase, Phase::CleanUp);
            let at = if cleans_up { 12 } else { 15 };
            let mut expected = Vec::new();
            expected.extend(
                ["0 one ready", "0 two ready"]
                    .iter()
                    .take(place)
                    .map(ToString::to_string),
            );
            if cleans_up {
                expected.push("12 cleaned up".to_owned());
            }
            for steady in ["one", "two"].iter().take(place).rev() {
                expected.push(format!("{at} {steady} stopped"));
            }
            let expected: Vec<_> = expected.iter().map(String::as_str).collect();
            story.is(&expected);
        }
    }
}

/// A second app in the same process, while the first one boots: each has a boot of its own.
#[tokio::test(start_paused = true)]
async fn two_apps_boot_side_by_side_and_the_trouble_of_one_is_not_the_other_s() {
    let (one, other) = (Story::new(), Story::new());
    let failing = service("odd", (one.clone(), End::Fails), ten_minutes);
    let (failed, clean) = tokio::join!(
        one.around(failing).run_until(pending()),
        other
            .around(other.steady("odd"))
            .run_until(sleep(15 * MINUTE)),
    );
    assert_eq!((failed.code(), clean.code()), (Exit::BOOT, Exit::CLEAN));
    other.is(&[
        "0 before ready",
        "0 odd ready",
        "0 after ready",
        "900 after stopped",
        "900 odd stopped",
        "900 before stopped",
    ]);
}
