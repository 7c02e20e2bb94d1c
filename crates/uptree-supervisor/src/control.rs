//! What a supervisor answers when it is called.

use std::{
    any::Any,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Weak},
};

use uptree_core::{ChildType, Incarnation as Key, Status};

use crate::{BoxError, ChildSpec, incarnation::Incarnation, scope::Scope};

/// OTP's extra info.
pub(crate) type Info = Box<dyn Any + Send + Sync>;

/// Why a call to a supervisor was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The supervisor does not run, or ended before it answered (OTP's `noproc`).
    #[error("the supervisor is not running")]
    NoProc,
    /// It has no such child.
    #[error("there is no such child")]
    NotFound,
    /// The child runs, so it can be neither restarted nor deleted.
    #[error("the child is running")]
    Running,
    /// The child is being restarted, so it can be neither restarted nor deleted.
    #[error("the child is being restarted")]
    Restarting,
    /// A child with this id runs.
    #[error("a child with this id is running already")]
    AlreadyStarted,
    /// A child with this id is known and does not run: restart it, or delete it first.
    #[error("a child with this id is known already")]
    AlreadyPresent,
    /// There are as many children as are allowed.
    #[error("there are as many children as are allowed")]
    MaxChildren,
    /// The child is significant, and the supervisor does not heed that, or it is permanent.
    #[error("the child is significant, and cannot be here")]
    BadCombination,
    /// The child's shutdown timeout is longer than this supervisor may take to stop.
    #[error("the child may take longer to stop than its supervisor")]
    TooSlowToStop,
    /// The child's start failed; it is not kept if it was new.
    #[error("{path} did not start")]
    StartFailed {
        /// The child.
        path: String,
        /// What its start failed with.
        source: BoxError,
    },
    /// The supervisor is waiting for the start in which it was called: it could never answer.
    #[error("{child} called {supervisor}, which waits for its start")]
    Deadlock {
        /// Who called.
        child: String,
        /// Who was called.
        supervisor: String,
    },
}

/// A child that was started by a call.
pub struct Started {
    child: Option<ChildRef>,
    info: Option<Info>,
}

impl Started {
    pub(crate) fn new(child: ChildRef, info: Option<Info>) -> Self {
        let child = Some(child);
        Self { child, info }
    }

    pub(crate) fn ignored() -> Self {
        let (child, info) = (None, None);
        Self { child, info }
    }

    /// The child that runs; `None` if its start was all its work (OTP's `ignore`).
    pub fn child(&self) -> Option<&ChildRef> {
        self.child.as_ref()
    }

    /// Whether its start was all its work: nothing runs.
    pub fn is_ignored(&self) -> bool {
        self.child.is_none()
    }

    /// What it told with [`Starting::ready_with`](crate::Starting::ready_with), if it is a `T`.
    pub fn info<T: 'static>(&self) -> Option<&T> {
        self.info.as_ref()?.downcast_ref()
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started")
            .field("child", &self.child)
            .finish_non_exhaustive()
    }
}

/// A child of one incarnation of a supervisor.
///
/// # Differences from OTP
///
/// A pid is one life of a process. This is the child through all its restarts, until its
/// supervisor forgets it.
#[derive(Clone)]
pub struct ChildRef {
    scope: Weak<Scope>,
    /// The child's first life: those who come after it in the same slot have later ones.
    pub(crate) first: Key,
}

impl ChildRef {
    pub(crate) fn new(scope: &Arc<Scope>, first: Key) -> Self {
        let scope = Arc::downgrade(scope);
        Self { scope, first }
    }

    pub(crate) fn is_of(&self, scope: &Arc<Scope>) -> bool {
        std::ptr::eq(self.scope.as_ptr(), Arc::as_ptr(scope))
    }
}

impl PartialEq for ChildRef {
    fn eq(&self, other: &Self) -> bool {
        self.scope.ptr_eq(&other.scope) && self.first == other.first
    }
}

impl Eq for ChildRef {}

impl Hash for ChildRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.scope.as_ptr().hash(state);
        self.first.hash(state);
    }
}

impl fmt::Debug for ChildRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChildRef({}.{})", self.first.child, self.first.number)
    }
}

/// A child in the answer to `which_children`.
#[derive(Clone)]
pub struct ChildInfo {
    /// Its latest life: one pointer says everything, and nothing is copied for a list of many.
    life: Arc<Incarnation>,
    /// The number of its first.
    first: u32,
    status: Status,
}

impl ChildInfo {
    pub(crate) fn new(life: Arc<Incarnation>, first: u32, status: Status) -> Self {
        Self {
            life,
            first,
            status,
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.life.id()
    }

    /// Whether it runs. More is in a [`Snapshot`](crate::Snapshot), which asks nobody.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Worker or supervisor.
    pub fn child_type(&self) -> ChildType {
        self.spec().child_type()
    }

    /// What it is, and how it is supervised.
    pub fn spec(&self) -> &ChildSpec {
        self.life.spec()
    }

    /// What to call it in other calls.
    pub fn child(&self) -> ChildRef {
        let Key { child, .. } = self.life.key();
        let number = self.first;
        ChildRef::new(self.life.scope(), Key { child, number })
    }
}

impl fmt::Debug for ChildInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildInfo")
            .field("id", &self.id())
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
