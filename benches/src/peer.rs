//! What a peer is asked to do.

use std::ops::Range;

use crate::child::{self, Role};

/// Children that are listed and start in order.
pub trait Static: Sized + Send + 'static {
    /// The children as a user of it would list them.
    type Specs: Send;
    /// How many single crashes are measured.
    const CRASHES: usize = 10_000;
    /// Whether it waits on a timer before it restarts: then it is not busy all the time.
    const SLEEPS: bool = false;

    /// Writes the list down: before the clock runs.
    fn specs(list: List) -> Self::Specs;

    /// Starts the children in order, each when the one before is ready.
    fn start(specs: Self::Specs) -> impl Future<Output = Self> + Send;

    /// Waits until it has nothing left to do for the start: before the clock runs again.
    fn settle(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Restarts what crashes, `crashes` times.
    fn supervise(&mut self, crashes: usize) -> impl Future<Output = ()> + Send {
        _ = crashes;
        child::done()
    }

    /// Stops the children, last started first, each when the one after is gone.
    fn stop(self) -> impl Future<Output = ()> + Send {
        async { cannot("stop in order") }
    }

    /// How many children it has.
    fn count(&mut self) -> impl Future<Output = usize> + Send {
        async { cannot("count children") }
    }

    /// Lists its children with their states; the length of the list.
    fn which(&mut self) -> impl Future<Output = usize> + Send {
        async { cannot("list children") }
    }
}

/// Children that are started one by one while it runs, and stop together.
pub trait Dynamic: Sized + Send + 'static {
    /// What names a child.
    type Child: Send;
    /// How many single crashes are measured.
    const CRASHES: usize = 10_000;
    /// Whether it waits on a timer before it restarts: then it is not busy all the time.
    const SLEEPS: bool = false;
    /// By how much the longest work is cut short.
    const SLOW: usize = 1;

    /// Starts it without children. `long_window`: see [`List`].
    fn start(long_window: bool) -> impl Future<Output = Self> + Send;

    /// Starts a child with the id `cI`, or `i` where ids are not names; completes when it is ready.
    fn start_child(&mut self, i: usize, role: Role) -> impl Future<Output = Self::Child> + Send;

    /// Stops a child; completes when it is gone.
    fn terminate_child(&mut self, child: Self::Child) -> impl Future<Output = ()> + Send;

    /// Starts idle children, one after the other.
    fn start_children(&mut self, ids: Range<usize>) -> impl Future<Output = ()> + Send {
        async {
            for i in ids {
                self.start_child(i, Role::Idle).await;
            }
        }
    }

    /// Starts an idle child and terminates it, for each of these ids.
    fn start_and_terminate(&mut self, ids: Range<usize>) -> impl Future<Output = ()> + Send {
        async {
            for i in ids {
                let child = self.start_child(i, Role::Idle).await;
                self.terminate_child(child).await;
            }
        }
    }

    /// Restarts what crashes, `crashes` times.
    fn supervise(&mut self, crashes: usize) -> impl Future<Output = ()> + Send {
        _ = crashes;
        child::done()
    }

    /// Stops all children at once; completes when they are gone.
    fn stop(self) -> impl Future<Output = ()> + Send {
        async { cannot("stop its children together") }
    }

    /// How many children it has.
    fn count(&mut self) -> impl Future<Output = usize> + Send {
        async { cannot("count children") }
    }

    /// Lists its children with their states; the length of the list.
    fn which(&mut self) -> impl Future<Output = usize> + Send {
        async { cannot("list children") }
    }
}

/// An ordered list of children, and how they are supervised.
pub struct List {
    /// What each of them does, in start order.
    pub roles: Vec<Role>,
    /// Who is restarted with a child that crashes.
    pub strategy: Strategy,
    /// Whether the restart limit looks back on the whole run, rather than on a second. It is never
    /// reached.
    pub long_window: bool,
}

/// Who is restarted with a child that crashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Strategy {
    /// It alone.
    OneForOne,
    /// All of them.
    OneForAll,
    /// It and those after it.
    RestForOne,
}

/// Stands for what a peer has not got: [`Static`] or [`Dynamic`] children.
pub enum Cannot {}

impl Static for Cannot {
    type Specs = ();

    fn specs(_: List) {}

    async fn start((): ()) -> Self {
        cannot("start a list")
    }
}

impl Dynamic for Cannot {
    type Child = ();

    async fn start(_: bool) -> Self {
        cannot("have dynamic children")
    }

    async fn start_child(&mut self, _: usize, _: Role) {}

    async fn terminate_child(&mut self, (): ()) {}
}

/// Ends the measurement: the runner should not have asked.
fn cannot(what: &str) -> ! {
    panic!("this peer cannot {what}")
}
