//! Who is measured, and what of it is not the same work.

/// A peer, as the runner knows it.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Which program measures it.
    pub(crate) program: Program,
    /// What it cannot do.
    cannot: &'static [Note],
    /// What it does differently.
    differs: &'static [Note],
}

/// A remark on some works.
pub(crate) struct Note {
    works: &'static [&'static str],
    pub(crate) says: &'static str,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Program {
    /// This one.
    Bench,
    /// The package with the peers' dependencies.
    Peers,
    /// `erl`.
    Otp,
}

impl Contender {
    pub(crate) fn cannot(&self, work: &str) -> Option<&'static str> {
        find(self.cannot, work)
    }

    pub(crate) fn differs(&self, work: &str) -> Option<&'static str> {
        find(self.differs, work)
    }
}

fn find(notes: &'static [Note], work: &str) -> Option<&'static str> {
    let note = notes.iter().find(|note| note.works.contains(&work));
    note.map(|note| note.says)
}

const fn note(works: &'static [&'static str], says: &'static str) -> Note {
    Note { works, says }
}

const COUNTS: &[&str] = &["count", "count_dynamic"];
const LISTS: &[&str] = &["which", "which_dynamic"];
const WINDOWS: &[&str] = &["crash_window", "crash_window_dynamic"];
const GROUPS: &[&str] = &["one_for_all", "rest_for_one"];
const ALLOCATIONS: &[&str] = &["allocations", "allocations_dynamic"];
const CRASHES: &[&str] = &[
    "crash",
    "crash_panic",
    "crash_dynamic",
    "crash_panic_dynamic",
];
const CRASH_DYNAMIC: &[&str] = &["crash_dynamic", "crash_panic_dynamic"];
const DYNAMIC: &[&str] = &[
    "start_dynamic",
    "start_terminate",
    "stop_dynamic",
    "crash_dynamic",
    "crash_panic_dynamic",
    "crash_window_dynamic",
    "count_dynamic",
    "which_dynamic",
    "memory_dynamic",
    "heap_dynamic",
    "allocations_dynamic",
    "churn_memory",
];
const LESS_CHURN: Note = note(&["churn_memory"], "measured over a tenth of the pairs");

/// The first is what the others are held against.
pub(crate) const CONTENDERS: &[Contender] = &[
    Contender {
        name: "bare",
        program: Program::Bench,
        cannot: &[],
        differs: &[
            note(WINDOWS, "keeps no window: what restarts cost without one"),
            note(COUNTS, "the length of its own list or map: nobody is asked"),
            note(LISTS, "a walk through its own list or map: nobody is asked"),
        ],
    },
    Contender {
        name: "uptree",
        program: Program::Bench,
        cannot: &[],
        differs: &[],
    },
    Contender {
        name: OTP,
        program: Program::Otp,
        cannot: &[note(ALLOCATIONS, "does not count its allocations")],
        differs: &[
            note(
                CRASHES,
                "over 200 restarts: each makes the next one slower until the period ends",
            ),
            note(&["heap", "heap_dynamic"], "what the VM says it allocated"),
            LESS_CHURN,
        ],
    },
    Contender {
        name: "ractor",
        program: Program::Peers,
        cannot: &[
            note(
                &["stop"],
                "its static supervisor stops its children all at once",
            ),
            note(COUNTS, "has no such call; see `which`"),
            note(
                &["crash_window_dynamic"],
                "sleeps 10 ms before each restart: takes two minutes",
            ),
        ],
        differs: &[
            note(
                &["start"],
                "until the children are ready; its supervisor answers much later",
            ),
            note(
                &["start_terminate", "churn_memory"],
                "its terminate_child does not wait until the child is gone; memory over a tenth of the pairs",
            ),
            note(LISTS, "by a copy of its state, the only way to ask"),
            note(CRASH_DYNAMIC, "sleeps 10 ms before each restart"),
            note(GROUPS, "sleeps 10 ms before each restart"),
        ],
    },
    Contender {
        name: "kameo",
        program: Program::Peers,
        cannot: &[
            note(COUNTS, "has no such call"),
            note(LISTS, "has no such call"),
        ],
        differs: &[
            note(
                &["start", "stop"],
                "has no lists: the driver starts and stops its children one by one",
            ),
            note(
                GROUPS,
                "restarts in no order: until each child of the group is ready",
            ),
            LESS_CHURN,
        ],
    },
    Contender {
        name: "task-supervisor",
        program: Program::Peers,
        cannot: &[
            note(COUNTS, "has no such call"),
            note(WINDOWS, "its limit is per child, and off here; see `crash`"),
            note(GROUPS, "restarts only the child that failed"),
        ],
        differs: &[
            note(
                &["start", "stop"],
                "starts a list at once: the driver starts and stops its children one by one",
            ),
            note(
                &["start_dynamic", "start_terminate"],
                "knows nothing of ready: its driver waits for it",
            ),
            note(CRASHES, "waits for a timer of 1 ms before each restart"),
            LESS_CHURN,
        ],
    },
    Contender {
        name: "supervised",
        program: Program::Peers,
        cannot: &[
            note(&["start", "stop"], "starts and stops its list all at once"),
            note(COUNTS, "has no such call"),
            note(LISTS, "has no such call"),
            note(DYNAMIC, "has no dynamic children"),
            note(WINDOWS, "has no window; see `crash`"),
            note(GROUPS, "restarts only the child that failed"),
        ],
        differs: &[note(
            CRASHES,
            "waits for a timer of 1 ms before each restart",
        )],
    },
    Contender {
        name: "tokio-graceful-shutdown",
        program: Program::Peers,
        cannot: &[
            note(COUNTS, "has no such call"),
            note(LISTS, "has no such call"),
            note(CRASHES, "does not restart"),
            note(WINDOWS, "does not restart"),
            note(GROUPS, "does not restart"),
        ],
        differs: &[
            note(
                &["start", "stop"],
                "starts a list at once: the driver starts and stops its children one by one",
            ),
            note(
                &["start_dynamic", "start_terminate"],
                "knows nothing of ready: its driver waits for it",
            ),
        ],
    },
];

/// The other one that ratios are given for.
pub(crate) const OTP: &str = "otp";
