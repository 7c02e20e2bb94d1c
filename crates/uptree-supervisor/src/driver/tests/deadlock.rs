//! Calls from within a start: an error where OTP hangs, and nowhere else.

use super::*;

/// Calls `supervisor` in its start, and tells what it was answered.
async fn asks((supervisor, story): (Supervisor, Story), cx: Starting) -> Result {
    let answer = supervisor.count_children().await;
    let line = answer.map(|counts| counts.line());
    story.tell(&line.unwrap_or_else(|error| error.to_string()));
    let cx = cx.ready();
    cx.shutdown().await;
    Ok(())
}

fn called(story: &Story) -> Vec<String> {
    let lines = story.lines().into_iter();
    lines
        .filter(|line| line.contains("specs") || line.contains("called"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_start_that_calls_its_own_supervisor_is_told_that_it_would_wait_for_itself() {
    let story = Story::new();
    let app = Supervisor::new("app");
    let child = || service("child", (app.clone(), story.clone()), asks);
    let mut tree = spawn(&story, app.clone().child(child()));
    tree.ready().await.expect("boots");
    app.start_child(child().with_id("added"))
        .await
        .expect("starts");
    app.terminate_child("child").await.expect("stops");
    app.restart_child("child").await.expect("starts");
    assert_eq!(
        called(&story),
        [
            "0 app/child called app, which waits for its start",
            "0 app/added called app, which waits for its start",
            "0 app/child called app, which waits for its start",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn every_call_from_a_start_is_found_out() {
    async fn asks_everything((app, story): (Supervisor, Story), cx: Starting) -> Result {
        let deadlock = "app/child called app, which waits for its start";
        answers! {
            app.start_child(worker("b", (), steady)) => deadlock;
            app.restart_child("b") => deadlock;
            app.terminate_child("b") => deadlock;
            app.delete_child("b") => deadlock;
            app.which_children() => deadlock;
            app.count_children() => deadlock;
            app.get_childspec("b") => deadlock;
            app.stop(Ok(())) => deadlock;
        }
        story.tell("all asked");
        cx.done()
    }
    let story = Story::new();
    let app = Supervisor::new("app");
    let child = service("child", (app.clone(), story.clone()), asks_everything);
    let mut tree = spawn(&story, app.child(child));
    tree.ready().await.expect("boots");
    story.until("all asked").await;
}

#[tokio::test(start_paused = true)]
async fn a_boot_waits_also_for_those_further_down() {
    let story = Story::new();
    let app = Supervisor::new("app");
    let child = service("child", (app.clone(), story.clone()), asks);
    let middle = Supervisor::new("middle").child(Supervisor::new("inner").child(child));
    let mut tree = spawn(&story, app.child(middle));
    tree.ready().await.expect("boots");
    assert_eq!(
        called(&story),
        ["0 app/middle/inner/child called app, which waits for its start"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_further_down_holds_up_nobody_above_its_own_supervisor() {
    async fn asks_again(
        (all, burn, story): (Vec<Supervisor>, Arc<Notify>, Story),
        cx: Starting,
    ) -> Result {
        if cx.incarnation() == 0 {
            return fuse(burn, cx.ready()).await;
        }
        for supervisor in all {
            let line = supervisor.count_children().await.line();
            story.tell(&format!("{}: {line}", cx.incarnation()));
        }
        slow(Duration::ZERO, cx).await
    }
    let story = Story::new();
    let burn = Arc::new(Notify::new());
    let [app, middle, inner] = ["app", "middle", "inner"].map(Supervisor::new);
    let all = vec![app.clone(), middle.clone(), inner.clone()];
    let child = service("child", (all, burn.clone(), story.clone()), asks_again);
    let mut tree = spawn(&story, app.child(middle.child(inner.child(child))));
    tree.ready().await.expect("boots");
    burn.notify_one();
    story.until("app/middle/inner/child ready").await;
    story.until("waits for its start").await;
    assert_eq!(
        called(&story),
        [
            "0 1: 1 specs, 1 active, 1 supervisors, 0 workers",
            "0 1: 1 specs, 1 active, 1 supervisors, 0 workers",
            "0 1: app/middle/inner/child called app/middle/inner, which waits for its start",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_start_are_part_of_it_and_who_is_ready_may_call_anybody() {
    async fn asks_in_a_task((app, story): (Supervisor, Story), cx: Starting) -> Result {
        let told = (app.clone(), story.clone());
        let (tell, asked) = tokio::sync::oneshot::channel();
        cx.spawn(async move {
            let (app, story) = told;
            story.tell(&format!("task: {}", app.count_children().await.line()));
            _ = tell.send(());
        });
        _ = asked.await;
        let cx = cx.ready();
        story.tell(&format!("ready: {}", app.count_children().await.line()));
        cx.shutdown().await;
        Ok(())
    }
    let story = Story::new();
    let app = Supervisor::new("app");
    let child = service("child", (app.clone(), story.clone()), asks_in_a_task);
    let mut tree = spawn(&story, app.child(child));
    tree.ready().await.expect("boots");
    story.until("workers").await;
    assert_eq!(
        called(&story),
        [
            "0 task: app/child called app, which waits for its start",
            "0 ready: 1 specs, 1 active, 0 supervisors, 1 workers",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_waits_for_no_start() {
    async fn joins((crew, story): (DynamicSupervisor, Story), cx: Starting) -> Result {
        if let Ok(children) = crew.which_children().await {
            story.tell(&format!("{} specs, {}", children.len(), children.line()));
        }
        let twin = crew.start_child(worker("twin", (), steady)).await;
        story.tell(&format!("{} called", twin.line()));
        slow(Duration::ZERO, cx).await
    }
    let story = Story::new();
    let crew = DynamicSupervisor::new("crew");
    let mut tree = spawn(&story, Supervisor::new("app").child(crew.clone()));
    tree.ready().await.expect("boots");
    let first = service("first", (crew.clone(), story.clone()), joins);
    crew.start_child(first).await.expect("starts");
    assert_eq!(
        called(&story),
        ["0 1 specs, first Running", "0 started called"]
    );
}
