//! What happened, in the words of the recordings.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one step did.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What whoever did it was answered.
    pub result: Value,
    /// In order.
    pub events: Vec<Event>,
    /// Below a supervisor that was killed, in no order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<Event>,
}

/// One thing that happened.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(tag = "e", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A start began.
    Start {
        /// Whose: a path.
        p: String,
    },
    /// That start succeeded.
    Up {
        /// Whose.
        p: String,
    },
    /// That start said that there is nothing to run.
    Ignored {
        /// Whose.
        p: String,
    },
    /// That start failed.
    Fail {
        /// Whose.
        p: String,
        /// With this reason.
        r: Reason,
    },
    /// Something that had been up ended.
    Down {
        /// Who.
        p: String,
        /// With this reason.
        r: Reason,
    },
    /// A supervisor's error report.
    Report {
        /// The supervisor.
        p: String,
        /// What it is about.
        ctx: Ctx,
        /// The child.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Instead of the child: so many children.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<usize>,
        /// The reason.
        r: Reason,
    },
    /// These happened at the same time.
    Unordered {
        /// In no order.
        of: Vec<Event>,
    },
}

impl Event {
    /// Whom it is about; for a report the supervisor.
    pub fn path(&self) -> &str {
        match self {
            Self::Start { p }
            | Self::Up { p }
            | Self::Ignored { p }
            | Self::Fail { p, .. }
            | Self::Down { p, .. }
            | Self::Report { p, .. } => p,
            Self::Unordered { of } => of.first().map_or("", Self::path),
        }
    }

    /// The supervisor that it happened under, and its child that it is about.
    pub fn child(&self) -> Option<(&str, &str)> {
        match self {
            Self::Report { p, id, .. } => id.as_deref().map(|id| (p.as_str(), id)),
            Self::Unordered { .. } => None,
            event => event.path().rsplit_once('/'),
        }
    }
}

/// As in the recordings: one line of JSON.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&json(self))
    }
}

/// What a report is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "OTP's words")]
pub enum Ctx {
    StartError,
    ChildTerminated,
    ShutdownError,
    Shutdown,
}

/// Why something ended.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum Reason {
    /// A word.
    Word(Word),
    /// A word and what it is about.
    Term(Term),
}

impl Reason {
    /// `normal`.
    pub const NORMAL: Self = Self::Word(Word::Normal);
    /// `shutdown`.
    pub const SHUTDOWN: Self = Self::Word(Word::Shutdown);
    /// `killed`.
    pub const KILLED: Self = Self::Word(Word::Killed);

    /// Whether it is none that is reported: `normal`, `shutdown` or `{shutdown, _}`.
    pub fn is_in_order(&self) -> bool {
        matches!(
            self,
            &Self::NORMAL | &Self::SHUTDOWN | Self::Term(Term::Shutdown(_))
        )
    }

    /// `{shutdown, {failed_to_start_child, Id, Reason}}`
    pub fn failed_to_start(id: &str, reason: Self) -> Self {
        let failed_to_start_child = (id.to_owned(), Box::new(reason));
        Self::Term(Term::Shutdown(Why::Failed {
            failed_to_start_child,
        }))
    }
}

/// As in the recordings.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&json(self))
    }
}

/// The reasons that are a word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "OTP's words")]
pub enum Word {
    Normal,
    Shutdown,
    Kill,
    Killed,
    Noproc,
    ReachedMaxRestartIntensity,
}

/// The reasons that are about something.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "OTP's words")]
pub enum Term {
    Shutdown(Why),
    Crash(String),
    Error(String),
    StartSpec(StartSpec),
    /// Nothing that a recording has: so that the difference can be read.
    Other(String),
}

/// What a `{shutdown, _}` is about.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum Why {
    /// A child's own word.
    Tag(String),
    /// A supervisor whose boot failed.
    Failed {
        /// The child, and what it failed with.
        failed_to_start_child: (String, Box<Reason>),
    },
}

/// What is wrong with a list of children.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StartSpec {
    /// Two siblings have this id.
    DuplicateId(String),
    /// Significant where that is not allowed.
    BadCombination,
}

/// One line of JSON.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| error.to_string())
}
