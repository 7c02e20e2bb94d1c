//! Paused time; a live count of futures shows that none is left behind.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::{
    Context, ControlError, IntoChild, Restart, Result, Shutdown, StopCause, Supervisor, Task,
    TaskError, TaskSupervisor, Tree,
    driver::tests::{Story, spawn},
    service, worker,
};

const SECOND: Duration = Duration::from_secs(1);

/// Counts the futures that are there.
#[derive(Clone, Default)]
struct Alive {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    changed: Arc<Notify>,
}

struct One(Alive);

impl Alive {
    fn one(&self) -> One {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        One(self.clone())
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    /// Waits until so many are there.
    async fn until(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.now() == count {
                return;
            }
            changed.await;
        }
    }

    /// Is there for so long.
    async fn stay<T>(self, time: Duration, value: T) -> T {
        let _one = self.one();
        self.changed.notify_waiters();
        sleep(time).await;
        value
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

async fn started(tasks: &TaskSupervisor) -> Tree {
    let app = Supervisor::new("app").child(tasks.clone());
    app.start().await.expect("boots")
}

async fn count(tasks: &TaskSupervisor) -> usize {
    tasks.count_children().await.expect("runs").specs
}

async fn panics(message: &'static str) {
    sleep(SECOND).await;
    panic!("{message}")
}

/// Starts a task, keeps it while it runs and tells of its outcome.
async fn caller<T>(
    (start, told): (
        impl Fn() -> Task<T> + Send,
        impl Fn(Result<T, TaskError>) + Send,
    ),
    cx: Context,
) -> Result
where
    T: Send + 'static,
{
    let task = start();
    tokio::select! {
        _ = cx.shutdown() => Ok(()),
        outcome = task => {
            told(outcome);
            cx.shutdown().await;
            Ok(())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_without_being_polled_and_is_gone_when_it_completes() {
    let (tasks, alive) = (TaskSupervisor::new("tasks"), Alive::default());
    let _tree = started(&tasks).await;
    let began = Instant::now();
    let task = tasks.async_nolink(alive.clone().stay(SECOND, 7));
    sleep(5 * SECOND).await;
    assert_eq!((alive.now(), count(&tasks).await), (0, 0));
    assert_eq!(task.await, Ok(7));
    let second = tasks.async_nolink(alive.clone().stay(SECOND, 8));
    assert_eq!((second.await, alive.now()), (Ok(8), 0));
    assert_eq!(count(&tasks).await, 0);
    assert_eq!(began.elapsed(), 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_is_cancelled_and_forgotten() {
    let (tasks, alive) = (TaskSupervisor::new("tasks"), Alive::default());
    let _tree = started(&tasks).await;
    let began = Instant::now();
    let task = tasks.async_nolink(alive.clone().stay(100 * SECOND, ()));
    alive.until(1).await;
    assert_eq!(count(&tasks).await, 1);
    drop(task);
    alive.until(0).await;
    assert_eq!(count(&tasks).await, 0);
    // Before it has begun: it never does.
    drop(tasks.async_nolink(alive.clone().stay(100 * SECOND, ())));
    assert_eq!(count(&tasks).await, 1);
    while count(&tasks).await > 0 {}
    assert_eq!(alive.most.load(Ordering::SeqCst), 1);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_cancels_what_it_holds_and_leaves_what_it_borrows() {
    let (tasks, alive) = (TaskSupervisor::new("tasks"), Alive::default());
    let _tree = started(&tasks).await;
    let mut task = tasks.async_nolink(alive.clone().stay(3 * SECOND, "late"));
    assert!(timeout(SECOND, &mut task).await.is_err());
    assert_eq!(alive.now(), 1);
    assert_eq!(timeout(5 * SECOND, &mut task).await, Ok(Ok("late")));
    let task = tasks.async_nolink(alive.clone().stay(3 * SECOND, "never"));
    assert!(timeout(SECOND, task).await.is_err());
    alive.until(0).await;
    assert_eq!(count(&tasks).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_told_to_a_caller_that_is_not_linked() {
    let tasks = TaskSupervisor::new("tasks");
    let (seen, saw) = tokio::sync::mpsc::unbounded_channel();
    let start = {
        let tasks = tasks.clone();
        move || tasks.async_nolink(panics("boom"))
    };
    let told = move |outcome| seen.send(outcome).expect("looked at");
    let _tree = Supervisor::new("app")
        .child(tasks.clone())
        .child(worker("caller", (start, told), caller))
        .start()
        .await
        .expect("boots");
    let mut saw = saw;
    let outcome = saw.recv().await.expect("told");
    assert_eq!(outcome, Err(TaskError::Panicked("boom".into())));
    assert_eq!(count(&tasks).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_linked_caller_fails_with_the_panic() {
    let tasks = TaskSupervisor::new("tasks");
    let start = {
        let tasks = tasks.clone();
        move || tasks.async_link(panics("boom"))
    };
    let mut tree = Supervisor::new("app")
        .intensity(0, SECOND)
        .child(tasks)
        .child(worker("caller", (start, |_| {}), caller))
        .start()
        .await
        .expect("boots");
    let error = tree.wait().await.expect_err("gives up");
    let source = error.source().expect("a reason").to_string();
    assert!(error.to_string().contains("app/caller failed"), "{error}");
    assert_eq!(source, "panicked: boom");
}

#[tokio::test(start_paused = true)]
async fn a_linked_caller_fails_also_if_it_does_not_look() {
    async fn negligent(tasks: TaskSupervisor, cx: Context) -> Result {
        let _task = tasks.async_link(panics("boom"));
        cx.shutdown().await;
        Ok(())
    }
    let tasks = TaskSupervisor::new("tasks");
    let mut tree = Supervisor::new("app")
        .intensity(0, SECOND)
        .child(tasks.clone())
        .child(worker("caller", tasks, negligent))
        .start()
        .await
        .expect("boots");
    let error = tree.wait().await.expect_err("gives up");
    let source = error.source().expect("a reason").to_string();
    assert_eq!(source, "panicked: boom");
}

#[tokio::test(start_paused = true)]
async fn outside_a_tree_a_link_is_none() {
    let tasks = TaskSupervisor::new("tasks");
    let _tree = started(&tasks).await;
    let task = tasks.async_link(panics("boom"));
    assert_eq!(task.await, Err(TaskError::Panicked("boom".into())));
}

#[tokio::test(start_paused = true)]
async fn a_task_may_start_tasks_and_fails_with_those_it_is_linked_to() {
    let tasks = TaskSupervisor::new("tasks");
    let _tree = started(&tasks).await;
    let outer = {
        let tasks = tasks.clone();
        async move { tasks.async_link(panics("boom")).await }
    };
    let outcome = tasks.async_nolink(outer).await;
    assert!(outcome.is_err() || outcome == Ok(Err(TaskError::Panicked("boom".into()))));
    assert_eq!(count(&tasks).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_killed_takes_its_tasks_along() {
    async fn deaf((tasks, alive): (TaskSupervisor, Alive), _cx: Context) -> Result {
        let _linked = tasks.async_link(alive.clone().stay(100 * SECOND, ()));
        let _other = tasks.async_nolink(alive.stay(100 * SECOND, ()));
        pending().await
    }
    let (tasks, alive) = (TaskSupervisor::new("tasks"), Alive::default());
    let app = Supervisor::new("app").child(tasks.clone()).child(worker(
        "caller",
        (tasks.clone(), alive.clone()),
        deaf,
    ));
    let _tree = app.clone().start().await.expect("boots");
    alive.until(2).await;
    app.terminate_child("caller").await.expect("is there");
    alive.until(0).await;
    assert_eq!(count(&tasks).await, 0);
}

#[tokio::test(start_paused = true)]
async fn tasks_stop_with_their_supervisor_at_once() {
    let (tasks, alive) = (TaskSupervisor::new("tasks"), Alive::default());
    let mut tree = started(&tasks).await;
    let running: Vec<_> = (0..10)
        .map(|_| tasks.async_nolink(alive.clone().stay(100 * SECOND, ())))
        .collect();
    alive.until(10).await;
    let began = Instant::now();
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    assert_eq!((alive.now(), began.elapsed()), (0, Duration::ZERO));
    for task in running {
        assert_eq!(task.await, Err(TaskError::Stopped));
    }
    let late = tasks.async_nolink(alive.clone().stay(SECOND, ()));
    assert_eq!(late.await, Err(TaskError::NoProc));
}

#[tokio::test(start_paused = true)]
async fn tasks_die_with_a_tree_that_is_dropped() {
    let (tasks, alive) = (TaskSupervisor::new("tasks"), Alive::default());
    let tree = started(&tasks).await;
    let task = tasks.async_nolink(alive.clone().stay(100 * SECOND, ()));
    let waiting = tasks.async_nolink(alive.clone().stay(100 * SECOND, ()));
    alive.until(2).await;
    drop(tree);
    assert_eq!(task.await, Err(TaskError::Stopped));
    assert_eq!(waiting.await, Err(TaskError::Stopped));
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_too_many_is_refused() {
    let tasks = TaskSupervisor::new("tasks").max_children(1);
    let alive = Alive::default();
    let _tree = started(&tasks).await;
    let first = tasks.async_nolink(alive.clone().stay(SECOND, 1));
    let second = tasks.async_nolink(alive.clone().stay(SECOND, 2));
    assert_eq!(second.await, Err(TaskError::MaxChildren));
    assert_eq!(first.await, Ok(1));
    let third = tasks.async_nolink(alive.clone().stay(SECOND, 3));
    assert_eq!(third.await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_task_can_be_terminated_by_its_supervisor() {
    let (tasks, alive) = (TaskSupervisor::new("tasks"), Alive::default());
    let _tree = started(&tasks).await;
    let task = tasks.async_nolink(alive.clone().stay(100 * SECOND, ()));
    alive.until(1).await;
    let known = tasks.which_children().await.expect("runs");
    let child = known[0].child();
    assert_eq!(known[0].id(), "task");
    tasks.terminate_child(&child).await.expect("is there");
    assert_eq!((task.await, alive.now()), (Err(TaskError::Stopped), 0));
    let again = tasks.terminate_child(&child).await;
    assert!(matches!(again, Err(ControlError::NotFound)));
}

#[tokio::test(start_paused = true)]
async fn a_buffered_stream_is_bounded_and_ordered_and_its_tasks_are_cancelled_with_it() {
    let tasks = TaskSupervisor::new("tasks").max_children(3);
    let alive = Alive::default();
    let _tree = started(&tasks).await;
    let work = |n: u32| tasks.async_nolink(alive.clone().stay((10 - n) * SECOND, n));
    let outcomes = stream::iter(0..9).map(work).buffered(3).collect::<Vec<_>>();
    let values: Result<Vec<_>, _> = outcomes.await.into_iter().collect();
    assert_eq!(values, Ok((0..9).collect()));
    assert_eq!(alive.most.load(Ordering::SeqCst), 3);
    assert_eq!(count(&tasks).await, 0);

    let mut first = Box::pin(stream::iter(0..9).map(work).buffered(3));
    assert_eq!(first.next().await, Some(Ok(0)));
    drop(first);
    alive.until(0).await;
    assert_eq!(count(&tasks).await, 0);
}

/// On real threads: a task that completes has left its place to the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn as_many_as_are_allowed_are_never_one_too_many() {
    let tasks = TaskSupervisor::new("tasks").max_children(4);
    let alive = Alive::default();
    let _tree = started(&tasks).await;
    let work = |n: u32| tasks.async_nolink(alive.clone().stay(Duration::ZERO, n));
    let outcomes = stream::iter(0..2000).map(work).buffer_unordered(4);
    let refused = outcomes.filter(|outcome| std::future::ready(outcome.is_err()));
    assert_eq!(refused.count().await, 0);
    assert_eq!((alive.now(), count(&tasks).await), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_temporary_unless_it_says_otherwise() {
    async fn fails(runs: Arc<AtomicUsize>, _cx: Context) -> Result {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        (run == 2).then_some(()).ok_or_else(|| "not yet".into())
    }
    let tasks = TaskSupervisor::new("tasks");
    let _tree = started(&tasks).await;
    for (restart, expected) in [
        (None, 1),
        (Some(Restart::Temporary), 1),
        (Some(Restart::Transient), 3),
    ] {
        let runs = Arc::new(AtomicUsize::new(0));
        let child = worker("mail", runs.clone(), fails).into_child();
        let child = match restart {
            Some(restart) => child.restart(restart),
            None => child,
        };
        tasks.start_child(child).await.expect("starts");
        while count(&tasks).await > 0 {}
        assert_eq!(runs.load(Ordering::SeqCst), expected, "{restart:?}");
    }
    let forever = worker("forever", (), |(), _cx| pending()).restart(Restart::Permanent);
    tasks.start_child(forever).await.expect("starts");
    let known = tasks.which_children().await.expect("runs");
    assert_eq!(known[0].spec().options().restart, Restart::Permanent);
}

#[tokio::test(start_paused = true)]
async fn a_start_may_use_tasks() {
    async fn load(tasks: TaskSupervisor, cx: crate::Starting) -> Result {
        let parts = [1, 2, 3].map(|part| tasks.async_link(async move { part }));
        let mut sum = 0;
        for part in parts {
            sum += part.await?;
        }
        assert_eq!(sum, 6);
        cx.done()
    }
    let tasks = TaskSupervisor::new("tasks");
    let app = Supervisor::new("app")
        .child(tasks.clone())
        .child(service("load", tasks, load));
    let _tree = app.start().await.expect("boots");
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_restarted_has_no_tasks_and_takes_new_ones() {
    let (tasks, alive) = (TaskSupervisor::new("tasks"), Alive::default());
    let _tree = started(&tasks).await;
    let lost = tasks.async_nolink(alive.clone().stay(100 * SECOND, ()));
    alive.until(1).await;
    tasks.stop(Err("broken".into())).await.expect("runs");
    assert_eq!((lost.await, alive.now()), (Err(TaskError::Stopped), 0));
    while tasks.count_children().await.is_err() {
        tokio::task::yield_now().await;
    }
    let next = tasks.async_nolink(alive.clone().stay(SECOND, 7));
    assert_eq!(next.await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_reported_and_restarts_nothing() {
    let tasks = TaskSupervisor::new("tasks").intensity(0, SECOND);
    let story = Story::new();
    let app = Supervisor::new("app").child(tasks.clone());
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.clear();
    for _ in 0..2 {
        let outcome = tasks.async_nolink(panics("boom")).await;
        assert_eq!(outcome, Err(TaskError::Panicked("boom".into())));
    }
    assert_eq!(count(&tasks).await, 0);
    story.is(&[
        "0 app/tasks/task starting",
        "0 app/tasks/task ready",
        "1 app/tasks/task terminated: panicked: boom",
        "1 app/tasks/task left down: panicked: boom",
        "1 app/tasks/task starting",
        "1 app/tasks/task ready",
        "2 app/tasks/task terminated: panicked: boom",
        "2 app/tasks/task left down: panicked: boom",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_may_take_long_to_stop_is_refused_and_the_budget_is_known() {
    let tasks = TaskSupervisor::new("tasks");
    let budget = tasks.clone().into_child().stop_budget();
    assert_eq!(budget, Some(5 * SECOND));
    let _tree = started(&tasks).await;
    let slow = worker("slow", (), |(), _cx| pending()).shutdown(Shutdown::Timeout(6 * SECOND));
    let refused = tasks.start_child(slow).await;
    assert!(matches!(refused, Err(ControlError::TooSlowToStop)));
}

#[tokio::test(start_paused = true)]
async fn what_a_task_held_is_dropped_before_its_outcome_is_told_also_if_that_panics() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("at the drop");
        }
    }
    let tasks = TaskSupervisor::new("tasks");
    let _tree = started(&tasks).await;
    let bomb = Bomb;
    let waits = std::future::poll_fn(move |_| {
        _ = &bomb;
        std::task::Poll::Ready(7)
    });
    let outcome = tasks.async_nolink(waits).await;
    assert_eq!(outcome, Err(TaskError::Panicked("at the drop".into())));
    assert_eq!(count(&tasks).await, 0);
}
