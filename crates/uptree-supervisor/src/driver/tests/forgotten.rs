//! Who is forgotten when, and what is left of the list.

use super::*;
use crate::{Snapshot, parallel};

/// The paths of those that were forgotten, in order.
#[derive(Clone, Default)]
struct Forgotten(Arc<Mutex<Vec<String>>>);

impl Forgotten {
    fn take(&self) -> String {
        let mut paths = self.0.lock().expect("no panic");
        std::mem::take(&mut *paths).join(" ")
    }

    async fn boot(&self, app: Supervisor) -> Tree {
        let mut tree = app.spawn(TreeOptions {
            observer: Arc::new(self.clone()),
            ..TreeOptions::default()
        });
        tree.ready().await.expect("boots");
        tree
    }
}

impl Observer for Forgotten {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Forgotten = event.kind {
            let path = event.path().to_string();
            self.0.lock().expect("no panic").push(path);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_is_forgotten_when_it_is_deleted_or_lost_with_its_supervisor() {
    let forgotten = Forgotten::default();
    let burn = Arc::new(Notify::new());
    let group = Supervisor::new("group").children(steadies(&["a", "b"]));
    let app = Supervisor::new("app")
        .strategy(Strategy::OneForAll)
        .child(worker("fuse", burn.clone(), fuse))
        .child(group.clone());
    let mut tree = forgotten.boot(app).await;
    answers! {
        group.terminate_child("a") => "done";
        group.start_child(worker("added", (), steady)) => "started";
    }
    assert_eq!(forgotten.take(), "", "a child that is down is known");
    answers! { group.delete_child("a") => "done"; }
    assert_eq!(forgotten.take(), "app/group/a");
    answers! { group.start_child(worker("in the slot of a", (), steady)) => "started"; }
    burn.notify_one();
    sleep(SECOND).await;
    let mut lost: Vec<_> = forgotten.0.lock().expect("no panic").drain(..).collect();
    lost.sort();
    let expected = ["app/group/added", "app/group/in the slot of a"];
    assert_eq!(lost, expected, "the list is begun anew");
    answers! { group.which_children() => "b Running, a Running"; }
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    assert_eq!(forgotten.take(), "");
}

#[tokio::test(start_paused = true)]
async fn temporary_and_dynamic_children_are_forgotten_when_they_are_gone() {
    let forgotten = Forgotten::default();
    let (one, other) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let crowd = DynamicSupervisor::new("crowd");
    let fused = |id, fuse_| worker(id, fuse_, fuse).restart(Restart::Temporary);
    let app = Supervisor::new("app")
        .child(fused("once", one.clone()))
        .child(crowd.clone());
    let mut tree = forgotten.boot(app).await;
    let added = crowd.start_child(fused("added", other.clone())).await;
    added.expect("starts");
    let stays = crowd.start_child(worker("stays", (), steady)).await;
    stays.expect("starts");
    one.notify_one();
    other.notify_one();
    sleep(SECOND).await;
    let mut gone: Vec<_> = forgotten.0.lock().expect("no panic").drain(..).collect();
    gone.sort();
    assert_eq!(gone, ["app/crowd/added", "app/once"]);
    tree.stop(StopCause::Shutdown);
    tree.wait().await.expect("stops");
    assert_eq!(forgotten.take(), "app/crowd/stays");
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_of_the_list_is_without_what_was_added() {
    fn paths(snapshot: &Snapshot, above: &str, all: &mut Vec<String>) {
        let path = format!("{above}{}", snapshot.id);
        for child in &snapshot.children {
            paths(child, &format!("{path}/"), all);
        }
        all.push(path);
    }
    let shown = |tree: &Tree| {
        let mut all = Vec::new();
        paths(&tree.stopper().snapshot_of_list(), "", &mut all);
        all.join(" ")
    };
    let crowd = DynamicSupervisor::new("crowd");
    let app = Supervisor::new("app")
        .child(parallel(steadies(&["a", "b"])))
        .child(worker("c", (), steady))
        .child(crowd.clone());
    let mut tree = app.clone().spawn(TreeOptions::default());
    let all = "app/a+b/a app/a+b/b app/a+b app/c app/crowd app";
    tree.ready().await.expect("boots");
    assert_eq!(shown(&tree), all);
    let added = crowd.start_child(worker("added", (), steady)).await;
    added.expect("starts");
    answers! {
        app.start_child(worker("d", (), steady)) => "started";
    }
    assert_eq!(shown(&tree), all);
    answers! {
        app.terminate_child("c") => "done";
        app.delete_child("c") => "done";
        app.start_child(worker("e", (), steady)) => "started";
    }
    assert_eq!(shown(&tree), "app/a+b/a app/a+b/b app/a+b app/crowd app");
}
