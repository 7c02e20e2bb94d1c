//! Events as log lines.

use crate::{Event, EventKind, ExitReason, Observer};

/// The observer that logs, with `tracing`: one line for each event.
///
/// What fails is an error or a warning, the rest is info and debug; of dynamic children what goes
/// well is debug. Every line has the fields `child`, the path, and `incarnation`. How a child ended,
/// what is decided about it, and how many restarts are left stand in the same line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Observer for Log {
    fn observe(&self, event: &Event<'_>) {
        use tracing::{debug, error, info, warn};
        macro_rules! log {
            ($level:ident, $($rest:tt)*) => {
                $level!(child = %event.path(), incarnation = event.incarnation(), $($rest)*)
            };
        }
        // Of many alike each would have its line.
        macro_rules! well {
            ($($rest:tt)*) => {
                match event.is_dynamic() {
                    true => log!(debug, $($rest)*),
                    false => log!(info, $($rest)*),
                }
            };
        }
        match &event.kind {
            EventKind::Starting => log!(debug, "starting"),
            EventKind::Step(step) => log!(debug, "{step}"),
            EventKind::Waiting(what) => log!(debug, "waits for {what}"),
            EventKind::Progress { done, total, what } => log!(info, done, total, "{what}"),
            EventKind::AttemptFailed(error) => log!(debug, %error, "attempt failed"),
            EventKind::Ready { took } => well!(took = ?took, "ready"),
            EventKind::Ignored { took } => well!(took = ?took, "done"),
            EventKind::StartFailed(reason) => log!(error, %reason, "start failed"),
            // What comes of it, which follows, has the reason.
            EventKind::Gone { .. } | EventKind::Terminated(_) => {}
            EventKind::LeftDown(reason) if reason.is_abnormal() => {
                log!(error, %reason, "terminated, and stays down");
            }
            EventKind::LeftDown(reason) => well!(%reason, "ended, and stays down"),
            EventKind::Restarting {
                reason: Some(reason),
                left,
                delay,
            } => {
                let delay = delay.map(tracing::field::debug);
                log!(error, %reason, restarts_left = left, delay, "terminated: restarting");
            }
            EventKind::Restarting {
                reason: None,
                left,
                delay,
            } => {
                let delay = delay.map(tracing::field::debug);
                log!(warn, restarts_left = left, delay, "restarting again");
            }
            EventKind::BackingOff { delay } => log!(info, delay = ?delay, "waits to be restarted"),
            EventKind::AutoShutdown => log!(info, "significant: its supervisor ends with it"),
            EventKind::MaxIntensity {
                reason: Some(reason),
            } => log!(error, %reason, "terminated too often: its supervisor gives up"),
            EventKind::MaxIntensity { reason: None } => {
                log!(error, "failed too often: its supervisor gives up");
            }
            EventKind::Ending => log!(warn, "ending"),
            EventKind::Stopping(cause) => log!(debug, ?cause, "stopping"),
            EventKind::Killing { shortened: false } => log!(warn, "out of time: killed"),
            EventKind::Killing { shortened: true } => {
                log!(warn, "the stop budget leaves it no more time: killed");
            }
            EventKind::Stopped { reason, took } => match reason {
                ExitReason::Shutdown => well!(took = ?took, "stopped"),
                reason => well!(%reason, took = ?took, "stopped"),
            },
            EventKind::ShutdownError(reason) => log!(error, %reason, "did not stop in order"),
            EventKind::Stuck { after } => log!(
                error,
                "still running {after:?} after it was killed: does it block without awaiting?"
            ),
            EventKind::Forgotten => log!(debug, "forgotten"),
        }
    }
}
