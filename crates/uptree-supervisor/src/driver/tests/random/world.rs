//! Everything that happens in a case, and what is wrong with it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    actor::Actor,
    case::{Kind, Life, Node, Settings, Stopping},
    limits::{longer, stop_of},
    watch::{Phase, Watched},
};
use crate::{
    AutoShutdown, Backoff, ChildRef, ChildSpec, ControlError, DynamicSupervisor, IntoChild,
    Parallel, Restart, Shutdown, Supervisor,
};

/// A handle to one of the supervisors of the case.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) place: Place,
    pub(super) supervisor: Either,
}

/// Where children of a supervisor are.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) path: String,
    auto_shutdown: AutoShutdown,
}

#[derive(Clone)]
pub(super) enum Either {
    Ordered(Supervisor),
    Dynamic(DynamicSupervisor),
    Together(Parallel),
}

#[derive(Clone)]
pub(super) struct World(Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) began: Instant,
    pub(super) told: Vec<String>,
    pub(super) wrong: Vec<String>,
    pub(super) handles: Vec<Handle>,
    /// What was there ever, in the order in which it was made.
    pub(super) known: BTreeMap<String, Known>,
    pub(super) made: usize,
    /// How much of each child there is: its future, and its tasks.
    pub(super) live: BTreeMap<String, usize>,
    pub(super) supervisors: HashMap<String, Watched>,
    /// Children that a call may start.
    pub(super) called: HashSet<String>,
    pub(super) refs: HashMap<String, Vec<ChildRef>>,
    pub(super) calls: usize,
    pub(super) paused: Duration,
    pub(super) longest_grace: u64,
}

/// What can be said of the stop of a child beforehand.
pub(super) enum Known {
    /// It takes so many milliseconds at most.
    Worker(u64),
    Supervisor {
        ordered: bool,
        children: Vec<String>,
    },
}

/// Something of a child that is alive.
pub(super) struct Alive {
    world: World,
    path: String,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(live) = self.world.state().live.get_mut(&self.path) {
            *live -= 1;
        }
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            began: Instant::now(),
            told: Vec::new(),
            wrong: Vec::new(),
            handles: Vec::new(),
            known: BTreeMap::new(),
            made: 0,
            live: BTreeMap::new(),
            supervisors: HashMap::new(),
            called: HashSet::new(),
            refs: HashMap::new(),
            calls: 0,
            paused: Duration::ZERO,
            longest_grace: 0,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, line: &str) {
        self.state().note(line);
    }

    pub(super) fn wrong(&self, line: &str) {
        self.state().wrong(line);
    }

    pub(super) fn verdict(&self) -> Result<(), String> {
        let state = self.state();
        if state.wrong.is_empty() {
            return Ok(());
        }
        Err([state.wrong.join("\n"), state.told.join("\n")].join("\n\n"))
    }

    // ------------------------------------------------------------------ what is there

    /// Makes the child of a node, below the supervisor of `above`.
    pub(super) fn build(&self, node: &Node, above: Option<&Place>) -> ChildSpec {
        let letter = match node.kind {
            Kind::Worker(_) => 'w',
            Kind::Supervisor(..) => 's',
            Kind::Dynamic(..) => 'd',
            Kind::Parallel(..) => 'p',
        };
        let (id, path) = {
            let mut state = self.state();
            let id = format!("{letter}{}", state.made);
            state.made += 1;
            let path = above.map_or(id.clone(), |above| format!("{}/{id}", above.path));
            let grace = node.cancel_grace.unwrap_or(0).into();
            state.longest_grace = state.longest_grace.max(grace);
            let parent = above.and_then(|above| state.known.get_mut(&above.path));
            if let Some(Known::Supervisor { children, .. }) = parent {
                children.push(path.clone());
            }
            (id, path)
        };
        let child = match &node.kind {
            Kind::Worker(lives) => self.worker(id, &path, node, lives),
            Kind::Supervisor(settings, restarts, children) => {
                let members = self.members(&path, settings.auto_shutdown, true, children);
                let mut supervisor = Supervisor::new(id)
                    .strategy(*restarts)
                    .intensity(settings.intensity.0.into(), millis(settings.intensity.1))
                    .auto_shutdown(settings.auto_shutdown)
                    .children(members);
                if let Some(backoff) = settings.backoff {
                    supervisor = supervisor.backoff(spaced(backoff));
                }
                self.add_handle(path, settings, Either::Ordered(supervisor.clone()));
                supervisor.into_child()
            }
            Kind::Parallel(settings, children) => {
                let members = self.members(&path, AutoShutdown::Never, false, children);
                let mut group = Parallel::new(id)
                    .intensity(settings.intensity.0.into(), millis(settings.intensity.1))
                    .children(members);
                if let Some(backoff) = settings.backoff {
                    group = group.backoff(spaced(backoff));
                }
                self.add_handle(path, settings, Either::Together(group.clone()));
                group.into_child()
            }
            Kind::Dynamic(settings, max_children) => {
                let mut crew = DynamicSupervisor::new(id)
                    .intensity(settings.intensity.0.into(), millis(settings.intensity.1))
                    .auto_shutdown(settings.auto_shutdown);
                if let Some(backoff) = settings.backoff {
                    crew = crew.backoff(spaced(backoff));
                }
                if let Some(max_children) = max_children {
                    crew = crew.max_children((*max_children).into());
                }
                _ = self.members(&path, settings.auto_shutdown, false, &[]);
                self.add_handle(path, settings, Either::Dynamic(crew.clone()));
                crew.into_child()
            }
        };
        supervised(child, node, above)
    }

    fn worker(&self, id: String, path: &str, node: &Node, lives: &[Life]) -> ChildSpec {
        let grace = node.cancel_grace.unwrap_or(0);
        let (shutdown, longest) = match node.shutdown {
            Stopping::Brutal => (Shutdown::BrutalKill, 0),
            Stopping::Within(limit) => (Shutdown::Timeout(millis(limit)), limit.into()),
            Stopping::Infinity => match lives.iter().map(stop_of).try_fold(0, longer) {
                Some(longest) => (Shutdown::Infinity, longest),
                None => (Shutdown::Timeout(millis(20)), 20),
            },
        };
        let known = Known::Worker(longest.max(grace.into()));
        self.state().known.insert(path.to_owned(), known);
        let actor = Actor {
            id,
            lives: lives.to_owned(),
            lived: 0.into(),
            world: self.clone(),
        };
        actor.shutdown(shutdown).cancel_grace(millis(grace))
    }

    /// Makes those whom a supervisor begins with.
    fn members(
        &self,
        path: &str,
        auto_shutdown: AutoShutdown,
        ordered: bool,
        children: &[Node],
    ) -> Vec<ChildSpec> {
        let known = Known::Supervisor {
            ordered,
            children: Vec::new(),
        };
        self.state().known.insert(path.to_owned(), known);
        let place = Place {
            path: path.to_owned(),
            auto_shutdown,
        };
        let members = children.iter().map(|child| self.build(child, Some(&place)));
        members.collect()
    }

    fn add_handle(&self, path: String, settings: &Settings, supervisor: Either) {
        let mut state = self.state();
        let (ordered, listed) = match state.known.get(&path) {
            Some(Known::Supervisor { ordered, children }) => (*ordered, children.clone()),
            _ => (false, Vec::new()),
        };
        let watched = Watched {
            ordered,
            listed,
            backs_off: settings.backoff.is_some(),
            ..Watched::default()
        };
        state.supervisors.insert(path.clone(), watched);
        let auto_shutdown = settings.auto_shutdown;
        let place = Place {
            path,
            auto_shutdown,
        };
        state.handles.push(Handle { place, supervisor });
    }

    /// One of the supervisors.
    pub(super) fn handle(&self, which: u8) -> Handle {
        let state = self.state();
        state.handles[usize::from(which) % state.handles.len()].clone()
    }

    /// The id of a child of `handle` that may be there.
    pub(super) fn child_of(&self, handle: &Handle, which: u8) -> String {
        let state = self.state();
        let known = match state.known.get(&handle.place.path) {
            Some(Known::Supervisor { children, .. }) if !children.is_empty() => children,
            _ => return "nobody".into(),
        };
        let path = &known[usize::from(which) % known.len()];
        path.rsplit('/').next().unwrap_or(path).to_owned()
    }

    /// A call may start this one, whatever its turn.
    pub(super) fn may_start(&self, above: &Place, id: &str) {
        let path = format!("{}/{id}", above.path);
        self.state().called.insert(path);
    }

    pub(super) fn keep_ref(&self, above: &Place, child: ChildRef) {
        let mut state = self.state();
        state
            .refs
            .entry(above.path.clone())
            .or_default()
            .push(child);
    }

    pub(super) fn ref_of(&self, above: &Place, which: u8) -> Option<ChildRef> {
        let state = self.state();
        let refs = state.refs.get(&above.path)?;
        Some(refs[usize::from(which) % refs.len()].clone())
    }

    // ------------------------------------------------------------------ what is alive

    pub(super) fn live(&self, path: &str) -> Alive {
        let mut state = self.state();
        if state.lives(path) > 0 {
            state.wrong(&format!("{path} lives twice at once"));
        }
        let parent = parent(path).and_then(|it| state.supervisors.get_mut(it));
        let phase = parent.and_then(|it| it.phases.get_mut(path));
        if let Some(Phase::Starting { polled }) = phase {
            *polled = true;
        }
        drop(state);
        self.task(path)
    }

    pub(super) fn task(&self, path: &str) -> Alive {
        *self.state().live.entry(path.to_owned()).or_default() += 1;
        Alive {
            world: self.clone(),
            path: path.to_owned(),
        }
    }

    pub(super) fn no_life_is_left(&self, when: &str) {
        let mut state = self.state();
        let left = state.live.iter().filter(|(_, live)| **live > 0);
        let left: Vec<_> = left.map(|(path, _)| path.as_str()).collect();
        if !left.is_empty() {
            let line = format!("{when}, and {} is left", left.join(", "));
            state.wrong(&line);
        }
    }

    pub(super) fn nothing_is_left(&self) {
        self.no_life_is_left("all is over");
        let mut state = self.state();
        let calls = state.calls;
        if calls > 0 {
            state.wrong(&format!("{calls} calls were not answered"));
        }
    }

    /// Nobody is there any more, and says so.
    pub(super) async fn nobody_answers(&self) {
        let handles = self.state().handles.clone();
        for handle in handles {
            let answer = match &handle.supervisor {
                Either::Ordered(supervisor) => supervisor.count_children().await,
                Either::Dynamic(crew) => crew.count_children().await,
                Either::Together(group) => group.count_children().await,
            };
            if !matches!(answer, Err(ControlError::NoProc)) {
                self.wrong(&format!("{} answers {answer:?}", handle.place.path));
            }
        }
    }

    // ------------------------------------------------------------------ calls

    pub(super) fn call_begins(&self) {
        self.state().calls += 1;
    }

    pub(super) fn call_ends(&self, line: &str) {
        let mut state = self.state();
        state.calls -= 1;
        state.note(&format!("> {line}"));
    }

    pub(super) fn pauses(&self, long: Duration) {
        self.state().paused += long;
    }

    pub(super) async fn call_from_within(&self, to: u8) {
        let handle = self.handle(to);
        let child = self.child_of(&handle, to / 3);
        match (&handle.supervisor, to % 3) {
            (Either::Ordered(it), 0) => _ = it.terminate_child(&child).await,
            (Either::Ordered(it), 1) => _ = it.which_children().await,
            (Either::Ordered(it), _) => _ = it.count_children().await,
            (Either::Dynamic(it), _) => _ = it.count_children().await,
            (Either::Together(it), _) => _ = it.count_children().await,
        }
    }
}

impl State {
    pub(super) fn note(&mut self, line: &str) {
        let at = self.began.elapsed().as_secs_f64() * 1000.0;
        self.told.push(format!("{at:6.1} {line}"));
        if self.told.len() == 100_000 {
            // It would go on for ever, at one and the same moment.
            self.told.truncate(200);
            eprintln!("it spins:\n{}", self.told.join("\n"));
            std::process::abort();
        }
    }

    pub(super) fn wrong(&mut self, line: &str) {
        self.note(&format!("!!! {line}"));
        self.wrong.push(line.to_owned());
    }

    /// How much is alive of a child and of those below it.
    pub(super) fn lives(&self, path: &str) -> usize {
        let below = format!("{path}/");
        let own = self.live.get(path).copied().unwrap_or(0);
        let range = self.live.range(below.clone()..);
        let below = range.take_while(|(path, _)| path.starts_with(&below));
        own + below.map(|(_, live)| live).sum::<usize>()
    }
}

pub(super) fn parent(path: &str) -> Option<&str> {
    Some(path.rsplit_once('/')?.0)
}

fn millis(long: u8) -> Duration {
    Duration::from_millis(long.into())
}

fn spaced((initial, max): (u8, u8)) -> Backoff {
    Backoff::new(millis(initial), millis(max)).reset_after(millis(100))
}

/// A child as its node has it supervised.
fn supervised(child: ChildSpec, node: &Node, above: Option<&Place>) -> ChildSpec {
    let mut child = child.restart(node.restart);
    let heeded = above.is_some_and(|above| above.auto_shutdown != AutoShutdown::Never);
    if node.significant && heeded && node.restart != Restart::Permanent {
        child = child.significant();
    }
    if let Some(timeout) = node.start_timeout {
        child = child.start_timeout(millis(timeout));
    }
    if let Some(backoff) = node.backoff {
        child = child.backoff(spaced(backoff));
    }
    if child.children().is_none() {
        return child;
    }
    if let Some(grace) = node.cancel_grace {
        child = child.cancel_grace(millis(grace));
    }
    match node.shutdown {
        Stopping::Brutal => child.shutdown(Shutdown::BrutalKill),
        Stopping::Within(limit) => child.shutdown(Shutdown::Timeout(millis(limit))),
        Stopping::Infinity => child,
    }
}
