//! The child that lets the traffic in, and out.

use std::{borrow::Cow, time::Duration};

use uptree_app::{Child, Drains, Fact, Options, Result, Shutdown, Starting, StopCause, help};

use crate::{Endpoint, drain::Drain, settings::in_kubernetes};

/// The last child of a list: when it starts, the service is ready.
///
/// While it runs the app's routes are served, and `/ready` is 200 unless a child that gates
/// readiness, or a critical health check, is missing. It is stopped first, and what
/// it does then depends on the cause.
///
/// # Stop
///
/// [`StopCause::Shutdown`]: it drains.
///
/// 1. `/ready` answers 503. For the drain delay requests are served as always; over it, each
///    connection is told once that it will be closed: `Connection: close` on its next response,
///    GOAWAY on HTTP/2. A client that takes no notice and goes on asking is served all the same; who
///    does neither finds its connection closed, on HTTP/1.1 after a second. A second signal ends
///    the delay.
/// 2. Requests on new connections get 503. On those that were open they are served for another
///    second, with `Connection: close`. Those that are idle, with nothing in flight and nothing asked
///    for a quarter of a second, are closed (FIN); when no other is left, or there was none, the
///    second is over. Half a request's header is not a request.
/// 3. Requests in flight are finished, within the drain limit, counted from step 2. Those that are
///    not are counted, logged and cut.
///
/// Websockets, event streams and long polls are requests in flight for as long as they last.
/// [`GoingAway`](crate::GoingAway) tells them when to end.
///
/// Only then do the other children stop. `/alive` answers 200 to the end.
///
/// Any other cause (a sibling has failed, or someone terminated this child): the gate is closed
/// at once, connections stay open, nothing is waited for. The routes answer 503 until it runs again.
///
/// Killed or panicked: as with any other cause.
///
/// Its stop timeout defaults to what this takes: drain delay + drain limit + 2 s.
///
/// # Examples
///
/// ```
/// use uptree_app::App;
/// use uptree_http::{Endpoint, HttpSettings, Ready};
///
/// let endpoint = Endpoint::new(&HttpSettings::default());
/// let app = App::new("service")
///     .child(endpoint.clone())
///     // What the routes need goes here.
///     .child(Ready::new(&endpoint));
/// ```
#[derive(Clone, Debug)]
pub struct Ready {
    endpoint: Endpoint,
    drain: Drain,
    /// The delay is Kubernetes's for want of a setting.
    delay_assumed: bool,
}

/// Why readiness could not be declared.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadyError {
    /// The list gives the child less time to stop than a drain takes.
    #[error(
        "a stop needs {needed:?} (drain delay {delay:?}, drain limit {limit:?}, and 2s) and is given {given:?}"
    )]
    StopTimeout {
        /// What the list gives.
        given: Duration,
        /// What it takes.
        needed: Duration,
        /// The drain delay in it.
        delay: Duration,
        /// The drain limit in it.
        limit: Duration,
    },
}

impl Ready {
    /// Opens, and at a stop drains, this endpoint.
    pub fn new(endpoint: &Endpoint) -> Self {
        let (drain, delay_assumed) = endpoint.settings().drain(in_kubernetes());
        Self {
            endpoint: endpoint.clone(),
            drain,
            delay_assumed,
        }
    }
}

impl Child for Ready {
    fn id(&self) -> Cow<'static, str> {
        "ready".into()
    }

    fn defaults(&self, options: Options) -> Options {
        options.shutdown(Shutdown::Timeout(self.drain.longest()))
    }

    fn facts(&self) -> Vec<Fact> {
        let Drain { delay, limit } = self.drain;
        let settings = self.endpoint.settings();
        vec![Box::new(Drains {
            delay,
            delay_in_kubernetes: settings.drain(true).0.delay,
            limit,
        })]
    }

    async fn run(&self, cx: Starting) -> Result {
        check_stop_timeout(cx.shutdown_policy(), self.drain).map_err(|error| {
            let remedy = "leave out `.shutdown(…)` on Ready, or lower DRAIN_DELAY or DRAIN_LIMIT";
            help(error, remedy)
        })?;
        let connections = self.endpoint.connections();
        let _opened = connections.gate.open();
        let cx = cx.ready();
        let Drain { delay, limit } = self.drain;
        tracing::info!(drain_delay = ?delay, drain_limit = ?limit, "requests are let in");
        if self.delay_assumed {
            tracing::info!("the drain delay is for Kubernetes, where it is; DRAIN_DELAY sets it");
        }
        if cx.shutdown().await == StopCause::Shutdown {
            // A stop budget may leave it less than its own time.
            let drain = self.drain.within(cx.stop_time_left());
            drain.run(connections, || cx.hurry()).await;
        }
        Ok(())
    }
}

fn check_stop_timeout(policy: Shutdown, drain: Drain) -> Result<(), ReadyError> {
    let given = match policy {
        Shutdown::Infinity => return Ok(()),
        Shutdown::Timeout(given) => given,
        Shutdown::BrutalKill => Duration::ZERO,
    };
    let needed = drain.longest();
    if given >= needed {
        return Ok(());
    }
    let Drain { delay, limit } = drain;
    Err(ReadyError::StopTimeout {
        given,
        needed,
        delay,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_timeout_shorter_than_a_drain_is_refused() {
        let drain = Drain {
            delay: Duration::from_secs(5),
            limit: Duration::from_secs(10),
        };
        for (policy, enough) in [
            (Shutdown::BrutalKill, false),
            (Shutdown::Timeout(Duration::from_secs(16)), false),
            (Shutdown::Timeout(Duration::from_secs(17)), true),
            (Shutdown::Infinity, true),
        ] {
            let checked = check_stop_timeout(policy, drain);
            assert_eq!(checked.is_ok(), enough, "{policy:?}");
        }
    }

    #[test]
    fn the_error_says_the_number_that_is_needed() {
        let drain = Drain {
            delay: Duration::from_millis(1500),
            limit: Duration::from_secs(10),
        };
        let error = check_stop_timeout(Shutdown::Timeout(Duration::from_secs(5)), drain);
        assert_eq!(
            error.expect_err("too short").to_string(),
            "a stop needs 13.5s (drain delay 1.5s, drain limit 10s, and 2s) and is given 5s"
        );
    }
}
