//! Whether the runtime, and the servers on it, work: by what has moved since the last look.

use std::time::Duration;

use super::watched::StallCause;

/// An accept loop that cannot accept for this long is a stall.
const FAILING_LIMIT: Duration = Duration::from_secs(10);

/// An accept loop that has ended this long before its server is a stall.
const ENDED_LIMIT: Duration = Duration::from_secs(1);

/// A server at a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    /// Which one.
    pub(super) id: usize,
    pub(super) beats: u64,
    pub(super) is_failing: bool,
    pub(super) has_ended: bool,
}

/// What is found at a look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Found {
    /// For how long the runtime has not answered.
    pub(super) silent: Duration,
    /// What has not worked for longer than it may, and for how long.
    pub(super) stall: Option<(StallCause, Duration)>,
    /// Whose listener is affected; `None` for all.
    pub(super) server: Option<usize>,
}

/// What is known from look to look. Times are those of the watchdog's own clock.
pub(super) struct Stalls {
    limit: Option<Duration>,
    runtime: Mark,
    servers: Vec<(usize, Mark)>,
}

/// A count, and when it was seen to move.
#[derive(Clone, Copy)]
struct Mark {
    count: u64,
    since: Duration,
}

impl Mark {
    /// For how long it has not moved.
    fn look(&mut self, count: u64, now: Duration) -> Duration {
        if count != self.count {
            *self = Self { count, since: now };
        }
        now.saturating_sub(self.since)
    }
}

impl Stalls {
    /// From `now` on; without a limit nothing is a stall.
    pub(super) fn new(limit: Option<Duration>, now: Duration) -> Self {
        let runtime = Mark {
            count: 0,
            since: now,
        };
        Self {
            limit,
            runtime,
            servers: Vec::new(),
        }
    }

    pub(super) fn look(&mut self, now: Duration, beats: u64, servers: &[Server]) -> Found {
        let silent = self.runtime.look(beats, now);
        if !silent.is_zero() {
            // Nor can the servers answer.
            self.servers
                .iter_mut()
                .for_each(|(_, mark)| mark.since = now);
        }
        self.servers
            .retain(|(id, _)| servers.iter().any(|server| server.id == *id));
        let server = servers.iter().find_map(|server| {
            let cause = self.judge(server, now)?;
            Some((server.id, cause))
        });
        let Some(limit) = self.limit else {
            return Found {
                silent,
                ..Found::default()
            };
        };
        if silent >= limit {
            return Found {
                silent,
                stall: Some((StallCause::Runtime, silent)),
                server: None,
            };
        }
        Found {
            silent,
            stall: server.map(|(_, stall)| stall),
            server: server.map(|(id, _)| id),
        }
    }

    fn judge(&mut self, server: &Server, now: Duration) -> Option<(StallCause, Duration)> {
        let (id, beats) = (server.id, server.beats);
        let place = self.servers.iter().position(|(known, _)| *known == id);
        let place = place.unwrap_or_else(|| {
            let mark = Mark {
                count: beats,
                since: now,
            };
            self.servers.push((id, mark));
            self.servers.len() - 1
        });
        let still = self.servers[place].1.look(beats, now);
        let (cause, limit) = match (server.has_ended, server.is_failing) {
            (true, _) => (StallCause::AcceptEnded, ENDED_LIMIT),
            (_, true) => (StallCause::AcceptFails, FAILING_LIMIT),
            _ => (StallCause::AcceptSilent, self.limit?),
        };
        (still >= limit).then_some((cause, still))
    }

    /// Counts anew.
    pub(super) fn forgive(&mut self, now: Duration) {
        self.runtime.since = now;
        self.servers
            .iter_mut()
            .for_each(|(_, mark)| mark.since = now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMIT: Option<Duration> = Some(Duration::from_secs(30));

    fn server(id: usize, beats: u64) -> Server {
        Server {
            id,
            beats,
            is_failing: false,
            has_ended: false,
        }
    }

    /// Looks every second with what `beats` and `server` say of it; when each stall begins and ends.
    #[track_caller]
    fn stalls(
        seconds: u32,
        beats: impl Fn(u32) -> u64,
        server: impl Fn(u32) -> Server,
        expected: &[(u32, Option<StallCause>)],
    ) {
        let mut stalls = Stalls::new(LIMIT, Duration::ZERO);
        let mut changes = Vec::new();
        let mut last = None;
        for second in 0..seconds {
            let found = stalls.look(SECOND * second, beats(second), &[server(second)]);
            let cause = found.stall.map(|(cause, _)| cause);
            if cause != last {
                changes.push((second, cause));
                last = cause;
            }
        }
        assert_eq!(changes, expected);
    }

    #[test]
    fn a_runtime_that_does_not_answer_for_as_long_as_the_limit_is_a_stall_until_it_does() {
        let alive = |second: u32| u64::from(second);
        let stops_at_10 =
            |second: u32| u64::from(if second < 50 { second.min(10) } else { second });
        stalls(
            60,
            stops_at_10,
            |second| server(1, stops_at_10(second)),
            &[(40, Some(StallCause::Runtime)), (50, None)],
        );
        stalls(60, alive, |second| server(1, alive(second)), &[]);
    }

    #[test]
    fn a_server_is_given_its_time_after_the_runtime_has_come_back() {
        // The runtime is silent from 0 to 29 and the server says nothing until 40.
        let runtime = |second: u32| u64::from(second.saturating_sub(28));
        let accepting = |second: u32| server(1, u64::from(second >= 40));
        stalls(60, runtime, accepting, &[]);
    }

    #[test]
    fn a_server_that_does_not_answer_while_the_runtime_does_is_a_stall() {
        let silent = |second: u32| server(1, u64::from(second.min(5)));
        let alive = |second: u32| u64::from(second);
        stalls(40, alive, silent, &[(35, Some(StallCause::AcceptSilent))]);
    }

    #[test]
    fn a_server_that_cannot_accept_for_ten_seconds_is_a_stall_until_it_can() {
        let alive = |second: u32| u64::from(second);
        let failing = |second: u32| {
            let fails = (3..20).contains(&second);
            Server {
                is_failing: fails,
                ..server(1, if fails { 2 } else { alive(second) })
            }
        };
        stalls(
            30,
            alive,
            failing,
            &[(12, Some(StallCause::AcceptFails)), (20, None)],
        );
    }

    #[test]
    fn an_accept_loop_that_has_ended_while_its_server_is_there_is_a_stall() {
        let alive = |second: u32| u64::from(second);
        let ends = |second: u32| Server {
            has_ended: second >= 3,
            ..server(1, u64::from(second.min(3)))
        };
        stalls(20, alive, ends, &[(4, Some(StallCause::AcceptEnded))]);
    }

    #[test]
    fn it_says_whose_listener_it_is() {
        let mut stalls = Stalls::new(LIMIT, Duration::ZERO);
        let ended = Server {
            has_ended: true,
            ..server(2, 0)
        };
        let look = |stalls: &mut Stalls, second: u32| {
            let servers = [server(1, second.into()), ended];
            stalls.look(SECOND * second, second.into(), &servers)
        };
        look(&mut stalls, 0);
        assert_eq!(look(&mut stalls, 1).server, Some(2));
    }

    #[test]
    fn time_in_which_the_watchdog_itself_did_not_run_does_not_count() {
        let mut stalls = Stalls::new(LIMIT, Duration::ZERO);
        assert_eq!(stalls.look(SECOND * 29, 0, &[]).stall, None);
        stalls.forgive(SECOND * 30);
        assert_eq!(stalls.look(SECOND * 59, 0, &[]).stall, None);
        assert!(stalls.look(SECOND * 60, 0, &[]).stall.is_some());
    }

    #[test]
    fn without_a_limit_nothing_is_a_stall() {
        let mut stalls = Stalls::new(None, Duration::ZERO);
        let ended = Server {
            has_ended: true,
            ..server(2, 0)
        };
        for second in 0..100 {
            let found = stalls.look(SECOND * second, 0, &[ended]);
            assert_eq!((found.stall, found.silent), (None, SECOND * second));
        }
    }
}
