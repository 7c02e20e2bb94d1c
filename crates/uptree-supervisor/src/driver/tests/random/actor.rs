//! A child that does as its script says.

use std::{
    borrow::Cow,
    future::{Future, pending},
    panic::resume_unwind,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    case::{Ending, Life, Step, Word},
    world::World,
};
use crate::{BoxError, Child, Context, ExitReason, ExitWith, Result, Starting, Stop};

pub(super) struct Actor {
    pub(super) id: String,
    pub(super) lives: Vec<Life>,
    /// How often it has lived.
    pub(super) lived: AtomicUsize,
    pub(super) world: World,
}

impl Child for Actor {
    fn id(&self) -> Cow<'static, str> {
        self.id.clone().into()
    }

    async fn run(&self, cx: Starting) -> Result {
        let path = cx.path();
        // The first in, the last out.
        let _alive = self.world.live(&path);
        let lived = self.lived.fetch_add(1, Ordering::Relaxed);
        let life = &self.lives[lived.min(self.lives.len() - 1)];
        let mut script = Script {
            world: &self.world,
            path: &path,
            held: Vec::new(),
        };
        script.play(&life.start, &|task| cx.spawn(task)).await?;
        match life.word {
            Word::Done => return cx.done(),
            Word::Silence => return Ok(()),
            Word::Ready => {}
        }
        let cx = cx.ready_with(lived);
        let spawn = |task: Task| cx.spawn(task);
        let run = script.play(&life.run, &spawn);
        if life.deaf {
            run.await?;
        } else if let Some(ended) = cx.until_shutdown(run).await {
            ended?;
        }
        if life.waits {
            cx.shutdown().await;
        }
        self.stop(&mut script, &cx, &life.stop).await
    }
}

impl Actor {
    async fn stop(&self, script: &mut Script<'_>, cx: &Context, steps: &[Step]) -> Result {
        script.play(steps, &|task| cx.spawn(task)).await
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Script<'a> {
    world: &'a World,
    path: &'a str,
    held: Vec<Grenade>,
}

impl Script<'_> {
    async fn play(&mut self, steps: &[Step], spawn: &(dyn Fn(Task) + Sync)) -> Result {
        for step in steps {
            match *step {
                Step::Yield => tokio::task::yield_now().await,
                Step::Sleep(long) => sleep(Duration::from_millis(long.into())).await,
                Step::Call(to) => self.world.call_from_within(to).await,
                Step::Hold => self.held.push(Grenade),
                Step::Spawn(after, ending) => {
                    let alive = self.world.task(self.path);
                    spawn(Box::pin(async move {
                        let _alive = alive;
                        sleep(Duration::from_millis(after.into())).await;
                        // A task has nothing to return.
                        _ = end(ending).await;
                    }));
                }
                Step::End(ending) => return end(ending).await,
            }
        }
        Ok(())
    }
}

pub(super) async fn end(ending: Ending) -> Result {
    let error: BoxError = match ending {
        Ending::Return => return Ok(()),
        Ending::Error => "boom".into(),
        Ending::Stop => Stop::new("enough").into(),
        Ending::Killed => ExitWith(ExitReason::Killed).into(),
        Ending::Panic => panics(),
        Ending::Hang => pending().await,
    };
    Err(error)
}

/// Panics, and says nothing on stderr.
fn panics() -> ! {
    resume_unwind(Box::new("panic"))
}

/// Panics when it is dropped, unless that is because of another panic.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panics();
        }
    }
}
