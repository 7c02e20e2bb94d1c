use super::*;

#[tokio::test(start_paused = true)]
async fn a_stop_budget_is_shared_by_those_who_are_left_also_further_down() {
    let story = Story::new();
    let inner = Supervisor::new("inner").children(["a", "b"].map(|id| worker(id, (), deaf)));
    let app = Supervisor::new("app")
        .children(steadies(&["quick"]))
        .child(inner)
        .child(worker("c", (), deaf).shutdown(Shutdown::Timeout(10 * SECOND)));
    let mut tree = spawn(&story, app);
    tree.ready().await.expect("boots");
    story.clear();
    // Half of the 25 s that they may take.
    tree.stopper().limit(Duration::from_millis(12_500));
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    let lines = story.lines();
    let kills: Vec<_> = lines
        .iter()
        .filter(|line| line.ends_with("killing"))
        .collect();
    assert_eq!(
        kills,
        [
            "5 app/c killing",
            "7.5 app/inner/b killing",
            "10 app/inner/a killing"
        ]
    );
    assert_eq!(
        lines.last().map(String::as_str),
        Some("10 app/quick stopped: shutdown")
    );
}

#[tokio::test(start_paused = true)]
async fn without_any_time_to_stop_children_are_killed_at_once_and_that_is_told() {
    let story = Story::new();
    let mut tree = spawn(&story, Supervisor::new("app").children(steadies(&["a"])));
    tree.ready().await.expect("boots");
    story.clear();
    tree.stopper().limit(Duration::ZERO);
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    story.is(&[
        "0 app/a stopping: Shutdown",
        "0 app/a killing",
        "0 app/a shutdown error: killed",
    ]);
}

#[test]
fn the_stop_budget_is_the_sum_of_what_stops_one_after_the_other() {
    let worker = |id, seconds| worker(id, (), steady).shutdown(Shutdown::Timeout(seconds * SECOND));
    let inner = Supervisor::new("inner")
        .child(worker("a", 3))
        .child(worker("b", 4));
    let spec = Supervisor::new("app")
        .child(inner)
        .child(worker("c", 1).cancel_grace(2 * SECOND))
        .child(worker("d", 9).shutdown(Shutdown::BrutalKill));
    assert_eq!(spec.into_child().stop_budget(), Some(9 * SECOND));
    let endless = worker("e", 1).shutdown(Shutdown::Infinity);
    let spec = Supervisor::new("app").child(endless).into_child();
    assert_eq!(spec.stop_budget(), None);
}
