//! What is measured.

/// Something that a peer does.
pub struct Work {
    /// What it is called in tables.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// What its figure counts.
    pub unit: &'static str,
    /// With how many children; where one crashes, how many siblings it has.
    pub sizes: &'static [usize],
    /// The sizes that are measured on two threads too.
    pub on_two: &'static [usize],
    /// How its instructions are counted, if they are.
    pub count: Option<Count>,
}

/// Which difference says how many instructions one operation takes.
#[derive(Clone, Copy)]
pub enum Count {
    /// Between two numbers of children.
    Children,
    /// The same, less what the named work takes, which is part of it.
    Less(&'static str),
    /// Between doing it more often and less often.
    Ops(usize, usize),
}

const ALL: &[usize] = &[1_000, 10_000, 100_000];
const SIBLINGS: &[usize] = &[0, 10_000, 100_000];
const MANY: &[usize] = &[100_000];
const NONE: &[usize] = &[];
const ALONE: &[usize] = &[0];
const CRASHES: Count = Count::Ops(500, 2_500);
const CALLS: Count = Count::Ops(20, 120);
const PAIRS: Count = Count::Ops(1_000, 6_000);

const fn work(
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    sizes: &'static [usize],
    on_two: &'static [usize],
    count: Option<Count>,
) -> Work {
    Work {
        name,
        what,
        unit,
        sizes,
        on_two,
        count,
    }
}

/// All works, in the order of the tables.
pub fn works() -> impl Iterator<Item = &'static Work> {
    LISTED.iter().chain(DYNAMIC)
}

/// The works with a list of children.
#[rustfmt::skip]
pub const LISTED: &[Work] = &[
    work("start", "start of a list, in order", "us/child", ALL, MANY, Some(Count::Less("specs"))),
    work("stop", "stop of a list, last started first", "us/child", ALL, MANY, Some(Count::Less("start"))),
    work("crash", "a listed child fails, until it is ready again; n siblings", "us", SIBLINGS, ALONE, Some(CRASHES)),
    work("crash_panic", "the same as crash, by a panic", "us", SIBLINGS, NONE, Some(CRASHES)),
    work("crash_window", "the same as crash, with 10,000 restarts in the window", "us", ALONE, NONE, None),
    work("one_for_all", "the first of n fails, until all are ready again", "us", &[1_000], NONE, Some(Count::Ops(10, 30))),
    work("rest_for_one", "the middle one of n fails, until the rest is ready again", "us", &[1_000], NONE, Some(Count::Ops(10, 30))),
    work("count", "count_children of a list", "us", ALL, NONE, Some(CALLS)),
    work("which", "which_children of a list", "us", ALL, NONE, Some(CALLS)),
    work("memory", "resident memory of an idle listed child", "B/child", &[10_000, 100_000], NONE, None),
    work("heap", "bytes on the heap of an idle listed child", "B/child", &[10_000], NONE, None),
    work("allocations", "allocations for the start of a listed child", "1/child", &[10_000], NONE, None),
];

/// The works with children that are started one by one.
#[rustfmt::skip]
pub const DYNAMIC: &[Work] = &[
    work("start_dynamic", "start_child, one after the other", "us/child", ALL, MANY, Some(Count::Children)),
    work("start_terminate", "start_child, then terminate_child; n others live", "us/pair", ALL, MANY, Some(PAIRS)),
    work("stop_dynamic", "stop of all dynamic children at once", "us/child", ALL, MANY, Some(Count::Less("start_dynamic"))),
    work("crash_dynamic", "a dynamic child fails, until it is ready again; n siblings", "us", SIBLINGS, ALONE, Some(CRASHES)),
    work("crash_panic_dynamic", "the same as crash_dynamic, by a panic", "us", SIBLINGS, NONE, Some(CRASHES)),
    work("crash_window_dynamic", "the same as crash_dynamic, with 10,000 restarts in the window", "us", ALONE, NONE, None),
    work("count_dynamic", "count_children of dynamic children", "us", ALL, NONE, Some(CALLS)),
    work("which_dynamic", "which_children of dynamic children", "us", ALL, NONE, Some(CALLS)),
    work("memory_dynamic", "resident memory of an idle dynamic child", "B/child", &[10_000, 100_000], NONE, None),
    work("heap_dynamic", "bytes on the heap of an idle dynamic child", "B/child", &[10_000], NONE, None),
    work("allocations_dynamic", "allocations for a start_child", "1/child", &[10_000], NONE, None),
    work("churn_memory", "growth of resident memory for each start_child and terminate_child; n pairs", "B/pair", &[1_000_000], NONE, None),
];
