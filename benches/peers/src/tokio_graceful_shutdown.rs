//! `tokio-graceful-shutdown`: subsystems below subsystems, without restarts. It knows nothing of
//! ready: each child acknowledges, as in bare tokio, and the driver stops them in order by itself.
//!
//! Children are started inside of a subsystem. So the driver is one, and takes whole works at a
//! time rather than a message for each child.

use std::{ops::Range, time::Duration};

use bench::{
    Dynamic, List, Static,
    child::{BoxError, Role},
};
use tokio::sync::{mpsc, oneshot};
use tokio_graceful_shutdown::{NestedSubsystem, SubsystemBuilder, SubsystemHandle, Toplevel};

/// To the driver.
pub(crate) struct Subsystems {
    works: mpsc::Sender<(Work, oneshot::Sender<()>)>,
}

enum Work {
    Start(Range<usize>),
    StartAndTerminate(Range<usize>),
    StopInOrder,
    StopTogether,
}

impl Subsystems {
    fn spawn() -> Self {
        let (works, mut asked) = mpsc::channel::<(Work, oneshot::Sender<()>)>(1);
        let toplevel = Toplevel::new(async move |parent: &mut SubsystemHandle| {
            let mut children = Vec::new();
            while let Some((work, done)) = asked.recv().await {
                match work {
                    Work::Start(ids) => {
                        for i in ids {
                            children.push(start(parent, i).await);
                        }
                    }
                    Work::StartAndTerminate(ids) => {
                        for i in ids {
                            terminate(start(parent, i).await).await;
                        }
                    }
                    Work::StopInOrder => {
                        while let Some(child) = children.pop() {
                            terminate(child).await;
                        }
                    }
                    Work::StopTogether => {
                        parent.request_shutdown();
                        parent.wait_for_children().await;
                    }
                }
                _ = done.send(());
            }
        });
        tokio::spawn(toplevel.handle_shutdown_requests(Duration::from_secs(600)));
        Self { works }
    }

    async fn ask(&self, work: Work) {
        let (done, is_done) = oneshot::channel();
        let sent = self.works.send((work, done)).await;
        assert!(sent.is_ok(), "the driver runs");
        is_done.await.expect("the driver does what it is asked");
    }
}

async fn start(parent: &SubsystemHandle, i: usize) -> NestedSubsystem<BoxError> {
    let (ack, acked) = oneshot::channel();
    let child = async move |handle: &mut SubsystemHandle| {
        _ = ack.send(());
        handle.on_shutdown_requested().await;
        Ok::<(), BoxError>(())
    };
    let child = parent.start(SubsystemBuilder::new(format!("c{i}"), child));
    acked.await.expect("every child says that it is ready");
    child
}

async fn terminate(child: NestedSubsystem<BoxError>) {
    child.initiate_shutdown();
    child.join().await.expect("every child stops in order");
}

impl Static for Subsystems {
    type Specs = usize;

    fn specs(list: List) -> usize {
        list.roles.len()
    }

    async fn start(n: usize) -> Self {
        let this = Self::spawn();
        this.ask(Work::Start(0..n)).await;
        this
    }

    async fn stop(self) {
        self.ask(Work::StopInOrder).await;
    }
}

impl Dynamic for Subsystems {
    type Child = ();

    async fn start(_long_window: bool) -> Self {
        Self::spawn()
    }

    async fn start_child(&mut self, i: usize, _: Role) {
        self.ask(Work::Start(i..i + 1)).await;
    }

    async fn terminate_child(&mut self, (): ()) {
        self.ask(Work::StopInOrder).await;
    }

    async fn start_children(&mut self, ids: Range<usize>) {
        self.ask(Work::Start(ids)).await;
    }

    async fn start_and_terminate(&mut self, ids: Range<usize>) {
        self.ask(Work::StartAndTerminate(ids)).await;
    }

    async fn stop(self) {
        self.ask(Work::StopTogether).await;
    }
}
