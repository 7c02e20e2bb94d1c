//! What a case consists of. Times are in milliseconds.

use proptest::{collection::vec, option, prelude::*};

use crate::{AutoShutdown, Restart, Strategy as Restarts};

#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Of the jitter.
    pub(super) seed: u64,
    pub(super) root: Node,
    pub(super) deeds: Vec<(u8, Deed)>,
    pub(super) until: u16,
    pub(super) end: End,
}

#[derive(Clone, Debug)]
pub(super) enum End {
    Stop,
    StopWithin(u8),
    Drop,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) restart: Restart,
    pub(super) shutdown: Stopping,
    pub(super) significant: bool,
    pub(super) start_timeout: Option<u8>,
    pub(super) cancel_grace: Option<u8>,
    pub(super) backoff: Option<(u8, u8)>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Stopping {
    Brutal,
    Within(u8),
    /// Unless it may hang.
    Infinity,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Its lives, the last of them over and over.
    Worker(Vec<Life>),
    Supervisor(Settings, Restarts, Vec<Node>),
    Dynamic(Settings, Option<u8>),
    Parallel(Settings, Vec<Node>),
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) intensity: (u8, u8),
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) backoff: Option<(u8, u8)>,
}

#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) start: Vec<Step>,
    pub(super) word: Word,
    /// It does not look at whether it is to stop.
    pub(super) deaf: bool,
    pub(super) run: Vec<Step>,
    /// Then it waits until it is to stop.
    pub(super) waits: bool,
    pub(super) stop: Vec<Step>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word {
    Ready,
    Done,
    Silence,
}

/// What happens at an await point.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Yield,
    Sleep(u8),
    /// A task of its own, that goes on for so long and then ends so.
    Spawn(u8, Ending),
    /// Whom it calls, of all supervisors.
    Call(u8),
    /// Something whose drop panics.
    Hold,
    End(Ending),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    Return,
    Error,
    Stop,
    Killed,
    Panic,
    Hang,
}

/// A call from outside. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Start(u8, Node),
    Terminate(u8, u8),
    Restart(u8, u8),
    Delete(u8, u8),
    Spec(u8, u8),
    Which(u8),
    Count(u8),
    Stop(u8, Ending),
    Pause(u8, u8),
    /// Somebody looks, and nobody is asked.
    Look,
    /// The deed, dropped after so long.
    Abandoned(Box<Deed>, u8),
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    let deeds = vec((0..30_u8, deed()), 0..14);
    let end = prop_oneof![
        5 => Just(End::Stop),
        2 => (0..60_u8).prop_map(End::StopWithin),
        2 => Just(End::Drop),
    ];
    let parts = (any::<u64>(), root(), deeds, 0..400_u16, end);
    parts.prop_map(|(seed, root, deeds, until, end)| Case {
        seed,
        root,
        deeds,
        until,
        end,
    })
}

fn root() -> impl Strategy<Value = Node> {
    node(supervisor(vec(any_node(), 0..5)))
}

fn any_node() -> impl Strategy<Value = Node> {
    let leaf = node(
        prop_oneof![
            6 => vec(life(), 1..4).prop_map(Kind::Worker),
            1 => (settings(), option::of(0..4_u8)).prop_map(|(all, max)| Kind::Dynamic(all, max)),
        ]
        .boxed(),
    );
    leaf.prop_recursive(2, 10, 4, |inner| node(supervisor(vec(inner, 0..4))).boxed())
}

fn supervisor(children: impl Strategy<Value = Vec<Node>> + 'static) -> BoxedStrategy<Kind> {
    let restarts = prop_oneof![
        Just(Restarts::OneForOne),
        Just(Restarts::OneForAll),
        Just(Restarts::RestForOne),
    ];
    let restarts = option::weighted(0.8, restarts);
    let parts = (settings(), restarts, children);
    let kind = parts.prop_map(|(settings, restarts, children)| match restarts {
        Some(restarts) => Kind::Supervisor(settings, restarts, children),
        None => Kind::Parallel(settings, children),
    });
    kind.boxed()
}

fn node(kind: BoxedStrategy<Kind>) -> impl Strategy<Value = Node> + Clone {
    let restart = prop_oneof![
        Just(Restart::Permanent),
        Just(Restart::Transient),
        Just(Restart::Temporary),
    ];
    let shutdown = prop_oneof![
        4 => Just(Stopping::Infinity),
        4 => (0..30_u8).prop_map(Stopping::Within),
        1 => Just(Stopping::Brutal),
    ];
    let grace = option::of(0..20_u8);
    let timeout = option::weighted(0.3, 5..60_u8);
    let parts = (
        restart,
        shutdown,
        any::<bool>(),
        timeout,
        grace,
        backoff(),
        kind,
    );
    let node = parts.prop_map(
        |(restart, shutdown, significant, start_timeout, cancel_grace, backoff, kind)| Node {
            restart,
            shutdown,
            significant,
            start_timeout,
            cancel_grace,
            backoff,
            kind,
        },
    );
    node.boxed()
}

fn settings() -> impl Strategy<Value = Settings> {
    let auto_shutdown = prop_oneof![
        3 => Just(AutoShutdown::Never),
        1 => Just(AutoShutdown::AnySignificant),
        1 => Just(AutoShutdown::AllSignificant),
    ];
    let intensity = (0..5_u8, 0..100_u8);
    let parts = (intensity, auto_shutdown, backoff());
    parts.prop_map(|(intensity, auto_shutdown, backoff)| Settings {
        intensity,
        auto_shutdown,
        backoff,
    })
}

fn backoff() -> impl Strategy<Value = Option<(u8, u8)>> {
    option::weighted(0.2, (0..40_u8, 0..80_u8))
}

fn life() -> impl Strategy<Value = Life> {
    let word = prop_oneof![
        12 => Just(Word::Ready),
        1 => Just(Word::Done),
        1 => Just(Word::Silence),
    ];
    let steps = || vec(step(), 0..4);
    let quiet = prop_oneof![2 => Just(Vec::new()), 1 => vec(step(), 0..3)];
    let parts = (
        quiet,
        word,
        any::<bool>(),
        steps(),
        prop::bool::weighted(0.7),
        steps(),
    );
    parts.prop_map(|(start, word, deaf, run, waits, stop)| Life {
        start,
        word,
        deaf,
        run,
        waits,
        stop,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Yield),
        6 => (0..50_u8).prop_map(Step::Sleep),
        2 => (0..50_u8, ending()).prop_map(|(after, end)| Step::Spawn(after, end)),
        1 => any::<u8>().prop_map(Step::Call),
        1 => Just(Step::Hold),
        3 => ending().prop_map(Step::End),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        Just(Ending::Return),
        Just(Ending::Error),
        Just(Ending::Stop),
        Just(Ending::Killed),
        Just(Ending::Panic),
        Just(Ending::Hang),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let any = any::<u8>;
    let of_two = (any(), any());
    let plain = prop_oneof![
        6 => (any(), any_node()).prop_map(|(to, node)| Deed::Start(to, node)),
        4 => of_two.prop_map(|(to, child)| Deed::Terminate(to, child)),
        3 => of_two.prop_map(|(to, child)| Deed::Restart(to, child)),
        2 => of_two.prop_map(|(to, child)| Deed::Delete(to, child)),
        1 => of_two.prop_map(|(to, child)| Deed::Spec(to, child)),
        1 => any().prop_map(Deed::Which),
        1 => any().prop_map(Deed::Count),
        1 => (any(), ending()).prop_map(|(to, end)| Deed::Stop(to, end)),
        1 => (any(), 0..40_u8).prop_map(|(to, long)| Deed::Pause(to, long)),
        1 => Just(Deed::Look),
    ]
    .boxed();
    let deed = plain.clone();
    prop_oneof![
        8 => plain,
        1 => (deed, 0..40_u8).prop_map(|(deed, after)| Deed::Abandoned(Box::new(deed), after)),
    ]
}
