//! Reasons, there and back: as a recording has them and as a child of ours ends with them.

use std::error::Error;

use uptree_supervisor::{ExitReason, ExitWith, Fault, Result, Stop, TreeError};

use crate::trace::{Reason, StartSpec, Term, Why, Word};

/// What a child ends with that is none of OTP's own reasons.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(Reason);

/// What a child returns to end with `reason`.
pub(crate) fn result(reason: &Reason) -> Result {
    let reason = match reason {
        Reason::Word(Word::Normal) => ExitReason::Normal,
        Reason::Word(Word::Shutdown) => ExitReason::Shutdown,
        Reason::Word(Word::Kill | Word::Killed) => ExitReason::Killed,
        Reason::Term(Term::Shutdown(Why::Tag(tag))) => return Err(Stop::new(tag.clone()).into()),
        reason => return Err(Failure(reason.clone()).into()),
    };
    Err(ExitWith(reason).into())
}

/// What the child at `path` ended with.
pub(crate) fn of_exit(exit: &ExitReason, path: &str) -> Reason {
    match exit {
        ExitReason::Normal => Reason::NORMAL,
        ExitReason::Shutdown => Reason::SHUTDOWN,
        ExitReason::Killed => Reason::KILLED,
        ExitReason::Stop(stop) => Reason::Term(Term::Shutdown(Why::Tag(stop.to_string()))),
        ExitReason::Error(error) => of_error(&**error, path),
        exit => Reason::Term(Term::Other(exit.to_string())),
    }
}

/// What the child at `path` failed with.
pub(crate) fn of_error(error: &(dyn Error + 'static), path: &str) -> Reason {
    if let Some(Failure(reason)) = error.downcast_ref() {
        return reason.clone();
    }
    if let Some(ExitWith(exit)) = error.downcast_ref() {
        return of_exit(exit, path);
    }
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return Reason::Term(Term::Shutdown(Why::Tag(stop.to_string())));
    }
    if let Some(fault) = error.downcast_ref() {
        return Reason::Term(Term::StartSpec(of_fault(fault)));
    }
    match error.downcast_ref() {
        Some(TreeError::GaveUp { .. }) => Reason::SHUTDOWN,
        Some(TreeError::DidNotStart {
            path: child,
            source,
        }) => {
            let reason = of_error(&**source, child);
            let below = child.strip_prefix(path).unwrap_or_default();
            let ids = below.split('/').filter(|id| !id.is_empty());
            ids.rev()
                .fold(reason, |reason, id| Reason::failed_to_start(id, reason))
        }
        _ => Reason::Term(Term::Other(error.to_string())),
    }
}

fn of_fault(fault: &Fault) -> StartSpec {
    let error = fault.error().to_string();
    match error.strip_prefix("two of its children are called ") {
        Some(id) => StartSpec::DuplicateId(id.to_owned()),
        None => StartSpec::BadCombination,
    }
}
