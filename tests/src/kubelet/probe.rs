//! A probe: one question, and how many answers make a verdict.

use std::net::SocketAddr;
use std::time::Duration;

use crate::http::Connection;

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Holds back the others until it succeeds; failing, it has the container killed.
    Startup,
    /// Failing, it has the container killed.
    Liveness,
    /// Says whether the pod gets connections.
    Readiness,
}

/// A `httpGet` probe, with Kubernetes's defaults.
#[derive(Clone, Debug)]
pub struct Probe {
    /// What is asked for.
    pub path: String,
    /// How long after its start a container is not asked. Defaults to 0.
    pub initial_delay: Duration,
    /// How often it is asked. Defaults to 10 s.
    pub period: Duration,
    /// How long an answer may take. Defaults to 1 s.
    pub timeout: Duration,
    /// How many good answers in a row make a good verdict. Defaults to 1.
    pub success_threshold: u32,
    /// How many bad answers in a row make a bad verdict. Defaults to 3.
    pub failure_threshold: u32,
}

impl Probe {
    /// A GET of this path.
    pub fn get(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
        }
    }

    /// The same, so often.
    pub fn every(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// The same, with an answer in this time.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same, with a bad verdict after so many bad answers.
    pub fn failures(mut self, threshold: u32) -> Self {
        self.failure_threshold = threshold;
        self
    }

    /// Asks once, on a new connection; says what is wrong if it is a failure.
    pub(super) fn ask(&self, addr: SocketAddr) -> Result<(), String> {
        let answer = Connection::open_within(addr, self.timeout).and_then(|mut connection| {
            let headers = [
                ("user-agent", "kube-probe/1.20"),
                ("accept", "*/*"),
                ("connection", "close"),
            ];
            connection.request("GET", &self.path, &headers, b"")
        });
        match answer {
            Ok(response) if (200..400).contains(&response.status) => Ok(()),
            Ok(response) => Err(format!("{}: {}", response.status, response.text())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Counts answers until they make a verdict.
#[derive(Debug)]
pub(super) struct Tally {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    in_a_row: u32,
}

impl Tally {
    pub(super) fn new(probe: &Probe) -> Self {
        Self {
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
            last: None,
            in_a_row: 0,
        }
    }

    /// Notes an answer; the verdict, if there are enough of its kind in a row.
    pub(super) fn note(&mut self, good: bool) -> Option<bool> {
        self.in_a_row = match self.last.replace(good) {
            Some(last) if last == good => self.in_a_row.saturating_add(1),
            _ => 1,
        };
        let threshold = match good {
            true => self.success_threshold,
            false => self.failure_threshold,
        };
        (self.in_a_row >= threshold).then_some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_takes_as_many_answers_in_a_row_as_its_threshold_says() {
        let mut probe = Probe::get("/ready").failures(3);
        probe.success_threshold = 2;
        let mut tally = Tally::new(&probe);
        for (good, verdict) in [
            (true, None),
            (true, Some(true)),
            (true, Some(true)),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
            (false, Some(false)),
            (true, None),
            (true, Some(true)),
        ] {
            assert_eq!(tally.note(good), verdict, "{tally:?}");
        }
    }
}
