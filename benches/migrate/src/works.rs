//! What is measured, and with whom.

/// A migrator.
pub(crate) struct System {
    pub(crate) name: &'static str,
    /// Whose ledger it reads; its own, if it has one.
    pub(crate) ledger: &'static str,
}

pub(crate) const SYSTEMS: [System; 4] = [
    system("uptree", "uptree"),
    system("sqlx", "sqlx"),
    system("refinery", "refinery"),
    system("bare", "sqlx"),
];

const fn system(name: &'static str, ledger: &'static str) -> System {
    System { name, ledger }
}

impl System {
    /// Whether it takes part: what only reads a ledger applies nothing.
    pub(crate) fn does(&self, work: &Work) -> bool {
        self.name == self.ledger || work.pending(1) == 0
    }
}

pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// A line over its table.
    pub(crate) what: &'static str,
    pub(crate) kind: Kind,
    pub(crate) sizes: &'static [usize],
    /// The biggest size of a quick run.
    pub(crate) quick: usize,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Kind {
    /// So many are applied, and none is left.
    NoOp,
    /// So many are to be applied, on a database where so many others are.
    Apply { onto: usize },
    /// So many processes at once, and so many migrations, applied or not.
    Herd { applied: usize, pending: usize },
}

pub(crate) const WORKS: [Work; 5] = [
    Work {
        name: "no_op",
        what: "nothing to do; n migrations are applied",
        kind: Kind::NoOp,
        sizes: &[10, 100, 1000],
        quick: 100,
    },
    Work {
        name: "apply_empty",
        what: "n migrations on an empty database",
        kind: Kind::Apply { onto: 0 },
        sizes: &[1, 100, 1000],
        quick: 100,
    },
    Work {
        name: "apply_onto_100",
        what: "n migrations more on a database that has 100",
        kind: Kind::Apply { onto: 100 },
        sizes: &[1, 10, 100],
        quick: 10,
    },
    Work {
        name: "herd_empty",
        what: "n processes at once, 100 migrations, an empty database",
        kind: Kind::Herd {
            applied: 0,
            pending: 100,
        },
        sizes: &[8, 32, 200],
        quick: 32,
    },
    Work {
        name: "herd_up_to_date",
        what: "n processes at once, 100 migrations, all applied",
        kind: Kind::Herd {
            applied: 100,
            pending: 0,
        },
        sizes: &[1, 8, 32, 200],
        quick: 32,
    },
];

impl Work {
    /// How many migrations are applied before.
    pub(crate) fn applied(&self, n: usize) -> usize {
        match self.kind {
            Kind::NoOp => n,
            Kind::Apply { onto } => onto,
            Kind::Herd { applied, .. } => applied,
        }
    }

    /// How many are left to be applied.
    pub(crate) fn pending(&self, n: usize) -> usize {
        match self.kind {
            Kind::NoOp => 0,
            Kind::Apply { .. } => n,
            Kind::Herd { pending, .. } => pending,
        }
    }

    pub(crate) fn processes(&self, n: usize) -> usize {
        match self.kind {
            Kind::Herd { .. } => n,
            Kind::NoOp | Kind::Apply { .. } => 1,
        }
    }

    pub(crate) fn is_herd(&self) -> bool {
        matches!(self.kind, Kind::Herd { .. })
    }
}
