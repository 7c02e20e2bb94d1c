//! A scenario as it stands in a recording: a tree, what is done to it, and what OTP did. `SCENARIO.md`
//! has the format.

use serde::Deserialize;

use crate::trace::{Reason, Row};

/// One line of a recording.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub id: String,
    /// What it exercises.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The root, always a supervisor.
    pub tree: Node,
    /// What is done to it, one after the other.
    pub steps: Vec<Step>,
    /// What happened at each step.
    pub trace: Vec<Row>,
    /// The steps as they stand in the recording.
    #[serde(skip)]
    pub shown: Vec<String>,
    /// What the generator had in mind; of no meaning here.
    #[serde(default)]
    pub profile: Option<String>,
}

/// A child: a worker or a supervisor.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Node {
    /// A worker.
    Worker(Worker),
    /// A supervisor.
    Supervisor(Supervisor),
}

impl Node {
    /// Its name among its siblings.
    pub fn id(&self) -> &str {
        match self {
            Self::Worker(worker) => &worker.id,
            Self::Supervisor(supervisor) => &supervisor.id,
        }
    }
}

/// How a child is supervised.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Options {
    /// When it is started again.
    #[serde(default)]
    pub restart: Restart,
    /// How it is stopped; `None` is the default of its type.
    #[serde(default)]
    pub shutdown: Option<Shutdown>,
    /// Whether its end may end its supervisor.
    #[serde(default)]
    pub significant: bool,
}

impl Options {
    /// Whether it is killed without being asked.
    pub fn is_brutal(&self) -> bool {
        self.shutdown == Some(Shutdown::Word(ShutdownWord::BrutalKill))
    }
}

/// A worker that follows a script.
#[derive(Clone, Debug, Deserialize)]
pub struct Worker {
    /// Its name among its siblings.
    pub id: String,
    /// How it is supervised.
    #[serde(flatten)]
    pub options: Options,
    /// How its starts end.
    #[serde(default)]
    pub init: Script,
    /// How it answers when it is asked to stop.
    #[serde(default)]
    pub stop: Reaction,
}

/// A supervisor.
#[derive(Clone, Debug, Deserialize)]
pub struct Supervisor {
    /// Its name among its siblings.
    pub id: String,
    /// As a child of its parent.
    #[serde(flatten)]
    pub options: Options,
    /// How its own `init` ends.
    #[serde(default)]
    pub init: Script,
    /// Which supervisor it is, and who is restarted with whom.
    pub strategy: Strategy,
    /// So many restarts are allowed
    pub intensity: usize,
    /// in so many seconds.
    pub period: u64,
    /// Whether the end of a significant child ends it.
    #[serde(default)]
    pub auto_shutdown: AutoShutdown,
    /// Those that it starts with.
    #[serde(default)]
    pub children: Vec<Node>,
    /// How all children of a `simple_one_for_one` are supervised.
    #[serde(default)]
    pub template: Option<Options>,
    /// The limit of a dynamic one.
    #[serde(default)]
    pub max_children: Option<usize>,
}

/// OTP's restart types.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// After an abnormal end.
    Transient,
    /// Never.
    Temporary,
}

/// OTP's shutdowns.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(untagged)]
pub enum Shutdown {
    /// So many milliseconds, then it is killed.
    Timeout(u64),
    /// A word.
    Word(ShutdownWord),
}

/// The shutdowns that are not a time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownWord {
    /// It is killed.
    BrutalKill,
    /// It has all the time.
    Infinity,
}

/// Erlang's strategies, and Elixir's `DynamicSupervisor`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "OTP's words")]
pub enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
    SimpleOneForOne,
    Dynamic,
}

/// OTP's `auto_shutdown`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "OTP's words")]
pub enum AutoShutdown {
    #[default]
    Never,
    AnySignificant,
    AllSignificant,
}

/// How one start after the other ends; the last entry is for all that follow.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Script(Vec<Outcome>);

impl Script {
    /// How attempt `number` ends, counted from 0.
    pub fn outcome(&self, number: usize) -> Outcome {
        let last = self.0.len().saturating_sub(1);
        self.0
            .get(number.min(last))
            .cloned()
            .unwrap_or(Outcome::Word(OutcomeWord::Ok))
    }
}

impl Default for Script {
    fn default() -> Self {
        Self(vec![Outcome::Word(OutcomeWord::Ok)])
    }
}

/// How a start ends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(untagged)]
pub enum Outcome {
    /// A word.
    Word(OutcomeWord),
    /// It is up, and tells something.
    Info {
        /// What.
        info: String,
    },
    /// It failed.
    Failed(Reason),
}

/// The ends of a start that need no more than a word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeWord {
    /// It is up.
    Ok,
    /// It does not want to run.
    Ignore,
}

/// How a worker answers when it is asked to stop.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "Option<RawReaction>")]
pub enum Reaction {
    /// Not at all.
    Ignore,
    /// It ends, so many milliseconds later, with this reason.
    End(u64, Reason),
}

impl Default for Reaction {
    fn default() -> Self {
        Self::End(0, Reason::SHUTDOWN)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawReaction {
    Word(ReactionWord),
    End {
        #[serde(default)]
        after_ms: u64,
        #[serde(default = "shutdown")]
        reason: Reason,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReactionWord {
    Ignore,
}

fn shutdown() -> Reason {
    Reason::SHUTDOWN
}

impl From<Option<RawReaction>> for Reaction {
    fn from(raw: Option<RawReaction>) -> Self {
        match raw {
            None => Self::default(),
            Some(RawReaction::Word(ReactionWord::Ignore)) => Self::Ignore,
            Some(RawReaction::End { after_ms, reason }) => Self::End(after_ms, reason),
        }
    }
}

/// What is done to the tree.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Step {
    /// The root is started.
    Boot,
    /// A process ends by itself, or is killed.
    Exit {
        /// Which.
        path: String,
        /// With this reason.
        reason: Reason,
    },
    /// A supervisor is ended in order, from outside.
    Stop {
        /// Which.
        path: String,
        /// With this reason.
        reason: Reason,
    },
    /// Time passes.
    Sleep {
        /// So many milliseconds.
        ms: u64,
    },
    /// Several things wait already when the supervisor looks.
    Batch {
        /// The supervisor.
        sup: String,
        /// The things, in order.
        items: Vec<Step>,
    },
    /// The root is asked to shut down.
    Shutdown,
    /// A call to a supervisor.
    #[serde(untagged)]
    Call(Call),
}

/// A call to a supervisor.
#[derive(Clone, Debug, Deserialize)]
pub struct Call {
    /// Which call.
    pub op: Op,
    /// The supervisor.
    pub sup: String,
    /// The child that is meant.
    #[serde(default)]
    pub id: Option<String>,
    /// `id` if a `simple_one_for_one` is handed the id itself, where it wants a process.
    #[serde(default)]
    pub by: Option<String>,
    /// The child that is started.
    #[serde(default)]
    pub child: Option<Node>,
}

impl Call {
    /// The child that is meant; calls that mean none have none.
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }
}

/// OTP's calls.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "OTP's words")]
pub enum Op {
    StartChild,
    TerminateChild,
    RestartChild,
    DeleteChild,
    GetChildspec,
    WhichChildren,
    CountChildren,
}
