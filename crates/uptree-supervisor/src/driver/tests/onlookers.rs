//! Who looks on is not held up by whoever is told.

use std::sync::mpsc;

use super::*;

/// Blocks, when it is told of the end of a child, until it is let go.
struct Blocking {
    tell: mpsc::Sender<String>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Observer for Blocking {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event.kind, EventKind::Terminated(_)) {
            let path = event.path().to_string();
            self.tell.send(path).expect("the test listens");
            let go_on = self.go_on.lock().expect("no panic");
            go_on.recv().expect("the test lets it go");
        }
    }
}

async fn fails((): (), _cx: Context) -> Result {
    Err("out of paper".into())
}

#[test]
fn a_snapshot_is_answered_while_somebody_is_told_of_an_end_and_blocks() {
    // First, so that it ends last: it waits for what blocks.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_time().build().expect("there are threads");
    let (tell, told) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel();
    let observer = Blocking {
        tell,
        go_on: Mutex::new(go_on),
    };
    let in_runtime = runtime.enter();
    let odd = worker("odd", (), fails).restart(Restart::Transient);
    let below = Supervisor::new("below").intensity(0, SECOND).child(odd);
    let tree = Supervisor::new("app").intensity(0, SECOND).child(below);
    let tree = tree.spawn(TreeOptions {
        observer: Arc::new(observer),
        ..TreeOptions::default()
    });
    let stopper = tree.stopper();
    for path in ["app/below/odd", "app/below"] {
        let long = Duration::from_secs(20);
        assert_eq!(told.recv_timeout(long).as_deref(), Ok(path));
        let (answer, answered) = mpsc::channel();
        let stopper = stopper.clone();
        std::thread::spawn(move || answer.send(stopper.snapshot().id));
        assert_eq!(answered.recv_timeout(long).as_deref(), Ok("app"));
        let_go.send(()).expect("it waits");
    }
    drop(in_runtime);
    drop(tree);
}
