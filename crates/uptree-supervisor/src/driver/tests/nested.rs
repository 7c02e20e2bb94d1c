//! Significant children, and what supervisors further up make of it.

use super::*;

/// Ends well when told to.
async fn finishes(done: Arc<Notify>, cx: Context) -> Result {
    tokio::select! {
        _ = cx.shutdown() => Ok(()),
        () = done.notified() => Ok(()),
    }
}

fn significant(id: &'static str, done: &Arc<Notify>) -> ChildSpec {
    let child = worker(id, done.clone(), finishes);
    child.restart(Restart::Transient).significant()
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_significant_child_climbs_as_far_as_it_is_significant() {
    let story = Story::new();
    let done = Arc::new(Notify::new());
    let any = AutoShutdown::AnySignificant;
    let inner = Supervisor::new("inner")
        .auto_shutdown(any)
        .children(steadies(&["a"]))
        .child(significant("job", &done));
    let middle = Supervisor::new("middle")
        .auto_shutdown(any)
        .child(inner.restart(Restart::Transient).significant())
        .children(steadies(&["b"]));
    let app = Supervisor::new("app")
        .child(middle.restart(Restart::Temporary))
        .children(steadies(&["c"]));
    let mut tree = spawn(&story, app.clone());
    tree.ready().await.expect("boots");
    story.clear();
    done.notify_one();
    story.until("app/middle left down: shutdown").await;
    story.is(&[
        "0 app/middle/inner/job left down: normal",
        "0 app/middle/inner/job auto shutdown",
        "0 app/middle/inner ending",
        "0 app/middle/inner/a stopping: Terminated",
        "0 app/middle/inner/a stopped: shutdown",
        "0 app/middle/inner left down: shutdown",
        "0 app/middle/inner auto shutdown",
        "0 app/middle ending",
        "0 app/middle/b stopping: Terminated",
        "0 app/middle/b stopped: shutdown",
        "0 app/middle left down: shutdown",
    ]);
    answers! { app.which_children() => "c Running"; }
}

#[tokio::test(start_paused = true)]
async fn the_root_that_ends_with_its_significant_child_ends_well() {
    let done = Arc::new(Notify::new());
    let app = Supervisor::new("app")
        .auto_shutdown(AutoShutdown::AnySignificant)
        .children(steadies(&["a"]))
        .child(significant("job", &done));
    let mut tree = app.start().await.expect("boots");
    done.notify_one();
    tree.wait().await.expect("a job that is done is no error");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_supervisor_that_ended_with_its_significant_child_is_started_again() {
    let story = Story::new();
    let done = Arc::new(Notify::new());
    let inner = Supervisor::new("inner")
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(significant("job", &done));
    let mut tree = spawn(&story, Supervisor::new("app").child(inner));
    tree.ready().await.expect("boots");
    story.clear();
    done.notify_one();
    story.until("app/inner ready").await;
    story.is(&[
        "0 app/inner/job left down: normal",
        "0 app/inner/job auto shutdown",
        "0 app/inner ending",
        "0 app/inner terminated: shutdown",
        "0 app/inner restarting, 2 left",
        "0 app/inner starting",
        "0 app/inner/job starting",
        "0 app/inner/job ready",
        "0 app/inner ready",
    ]);
}

#[tokio::test(start_paused = true)]
async fn the_last_of_the_significant_children_counts_also_where_some_were_added_by_calls() {
    let story = Story::new();
    let [first, second, third] = [0; 3].map(|_| Arc::new(Notify::new()));
    let inner = Supervisor::new("inner")
        .auto_shutdown(AutoShutdown::AllSignificant)
        .child(significant("first", &first));
    let app = Supervisor::new("app").child(inner.clone().restart(Restart::Transient));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    answers! {
        inner.start_child(significant("second", &second)) => "started";
        inner.start_child(significant("third", &third)) => "started";
    }
    first.notify_one();
    story.until("app/inner/first left down: normal").await;
    // Whoever is terminated has not ended by itself.
    answers! {
        inner.terminate_child("second") => "done";
        inner.which_children() => "third Running, second Undefined, first Undefined";
    }
    third.notify_one();
    story.until("app/inner left down: shutdown").await;
}

#[tokio::test(start_paused = true)]
async fn a_significant_child_that_is_terminated_or_fails_ends_nobody() {
    let story = Story::new();
    let burn = Arc::new(Notify::new());
    let child = worker("job", burn.clone(), fuse);
    let app = Supervisor::new("app")
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(child.restart(Restart::Transient).significant());
    let mut tree = spawn(&story, app.clone());
    tree.ready().await.expect("boots");
    burn.notify_one();
    story.until("app/job restarting, 2 left").await;
    answers! {
        app.terminate_child("job") => "done";
        app.which_children() => "job Undefined";
    }
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_ends_with_its_significant_children_too() {
    for (auto_shutdown, ends_with) in [
        (AutoShutdown::AnySignificant, 1),
        (AutoShutdown::AllSignificant, 2),
    ] {
        let story = Story::new();
        let jobs = [0; 2].map(|_| Arc::new(Notify::new()));
        let crew = DynamicSupervisor::new("crew").auto_shutdown(auto_shutdown);
        let app = Supervisor::new("app").child(crew.clone().restart(Restart::Transient));
        let mut tree = spawn(&story, app);
        tree.ready().await.expect("boots");
        for job in &jobs {
            let started = crew.start_child(significant("job", job)).await;
            started.expect("starts");
        }
        crew.start_child(worker("other", (), steady))
            .await
            .expect("starts");
        for job in &jobs[..ends_with] {
            assert!(crew.count_children().await.is_ok());
            job.notify_one();
            tokio::task::yield_now().await;
        }
        story.until("app/crew left down: shutdown").await;
        let told = story.lines();
        assert!(
            told.contains(&"0 app/crew/other stopped: shutdown".to_owned()),
            "{told:?}"
        );
    }
}
