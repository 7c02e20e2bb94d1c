//! What supervisors tell: starts, and the reports.

use std::sync::Arc;

use uptree_supervisor::{Event, EventKind, Observer};

use super::{
    reason,
    world::{Handle, Process, World},
};
use crate::trace::{self, Ctx, Reason, Word};

/// Writes it down.
pub(crate) struct Watch(pub(crate) Arc<World>);

impl Observer for Watch {
    fn observe(&self, event: &Event<'_>) {
        let p = event.path().to_string();
        let above = p.rsplit_once('/').map(|(above, _)| above);
        let parent = above.and_then(|above| self.0.latest(above));
        let own = self.0.latest(&p);
        let what = match &event.kind {
            EventKind::Starting => {
                self.0.starts(&p);
                trace::Event::Start { p }
            }
            EventKind::Ready { .. } => {
                if let Some(own) = own {
                    own.is_up();
                }
                trace::Event::Up { p }
            }
            EventKind::Ignored { .. } => trace::Event::Ignored { p },
            EventKind::Stopping(_) | EventKind::Ending => {
                if let Some(own) = own {
                    own.ends();
                }
                return;
            }
            kind => {
                let Some(parent) = &parent else { return };
                let Some((ctx, r)) = report(kind, &p) else {
                    return;
                };
                if ctx == Ctx::Shutdown {
                    parent.ends();
                }
                reported(parent, event.id(), ctx, r)
            }
        };
        self.0.tell(parent.as_ref(), what);
    }
}

/// OTP's report about the child at `path`, if it is one.
fn report(kind: &EventKind<'_>, path: &str) -> Option<(Ctx, Reason)> {
    let (ctx, exit) = match kind {
        EventKind::StartFailed(exit) => (Ctx::StartError, exit),
        EventKind::Terminated(exit) => (Ctx::ChildTerminated, exit),
        EventKind::ShutdownError(exit) => (Ctx::ShutdownError, exit),
        EventKind::MaxIntensity { .. } => {
            let reached = Reason::Word(Word::ReachedMaxRestartIntensity);
            return Some((Ctx::Shutdown, reached));
        }
        _ => return None,
    };
    Some((ctx, reason::of_exit(exit, path)))
}

fn reported(supervisor: &Process, id: &str, ctx: Ctx, r: Reason) -> trace::Event {
    // Rule::OneReportEach
    let handle = supervisor.handle.as_ref();
    let simple = handle.is_some_and(Handle::is_simple);
    let counted = simple && supervisor.is_ending() && ctx == Ctx::ShutdownError;
    trace::Event::Report {
        p: supervisor.path.clone(),
        ctx,
        id: (!counted).then(|| id.to_owned()),
        n: None,
        r,
    }
}
