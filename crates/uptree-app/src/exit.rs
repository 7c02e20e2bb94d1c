//! How a process ends: a documented code, and on failure one readable chain on stderr.

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::{ExitCode, Termination},
    sync::mpsc,
    thread,
    time::Duration,
};

use uptree_supervisor::Help;

use crate::Signal;

/// The end of a process.
///
/// | code | means |
/// |---|---|
/// | 0 | it stopped in order, also during boot |
/// | 1 | it did not boot: settings, a child's start |
/// | 2 | it gave up restarting |
/// | 3 | the stop took too long, or a child is stuck, or accepted work was lost |
/// | 130 | forced: the third signal |
///
/// That of a [command](crate::Command) is 0 only if it has done what it was to do:
///
/// | code | means |
/// |---|---|
/// | 0 | done |
/// | 1 | not done, or settings that cannot be used |
/// | 143, 130 | ended by SIGTERM, by SIGINT, before it was done |
/// | 130 | forced: the third signal |
///
/// As the result of `main` it prints the failure to stderr.
#[derive(Debug)]
#[must_use = "return it from `main`"]
pub struct Exit {
    code: u8,
    failure: Option<String>,
}

impl Exit {
    pub(crate) const CLEAN: u8 = 0;
    pub(crate) const BOOT: u8 = 1;
    pub(crate) const GAVE_UP: u8 = 2;
    pub(crate) const OVERRUN: u8 = 3;
    pub(crate) const FORCED: u8 = 130;

    const TERM: u8 = 128 + 15;
    const INT: u8 = 128 + 2;

    /// An end in order: 0.
    pub fn clean() -> Self {
        Self {
            code: Self::CLEAN,
            failure: None,
        }
    }

    /// A command that has failed: 1, with the [`chain`] of the error.
    pub fn error(error: &(dyn Error + 'static)) -> Self {
        Self::failed(Self::BOOT, chain(error))
    }

    /// A command that was ended by a signal before it was done, and what was left: 143 after
    /// SIGTERM, 130 after SIGINT.
    pub fn interrupted(signal: Signal, left: impl fmt::Display) -> Self {
        let code = match signal {
            Signal::Term => Self::TERM,
            Signal::Int => Self::INT,
        };
        Self::failed(code, format!("error: interrupted by {signal}: {left}"))
    }

    /// A code that is an answer and no failure: nothing is printed.
    pub fn answer(code: u8) -> Self {
        Self {
            code,
            failure: None,
        }
    }

    pub(crate) fn failed(code: u8, failure: impl Into<String>) -> Self {
        Self {
            code,
            failure: Some(failure.into()),
        }
    }

    /// The same end with more that went wrong at the stop: a clean one is not clean then.
    pub(crate) fn and_overrun(self, failures: impl IntoIterator<Item = String>) -> Self {
        let code = match self.code {
            Self::CLEAN => Self::OVERRUN,
            code => code,
        };
        let all: Vec<_> = self.failure.into_iter().chain(failures).collect();
        Self::failed(code, all.join("\n"))
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// What is printed to stderr; `None` for a clean stop.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        if let Some(failure) = self.failure {
            // A stderr that is closed, or that nobody reads, does not keep the process.
            aside(move || drop(writeln!(io::stderr(), "{failure}")));
        }
        ExitCode::from(self.code)
    }
}

/// How long output may take that must not hold up the end of the process.
const TO_WRITE: Duration = Duration::from_millis(200);

/// Does what writes to stdout or stderr on a thread of its own, and waits for it only so long: a
/// pipe that nobody reads blocks whoever writes to it.
pub(crate) fn aside(write: impl FnOnce() + Send + 'static) {
    begin_aside(write).wait();
}

/// Begins what [`aside`] does; there is time for something else until it is waited for.
pub(crate) fn begin_aside(write: impl FnOnce() + Send + 'static) -> Aside {
    let (done, is_done) = mpsc::channel();
    let writer = thread::Builder::new().name("aside".into()).spawn(move || {
        write();
        _ = done.send(());
    });
    Aside(writer.is_ok().then_some(is_done))
}

/// Something that is written aside.
#[must_use = "what is written next may come before it"]
pub(crate) struct Aside(Option<mpsc::Receiver<()>>);

impl Aside {
    /// Waits until it is written, but not for long.
    pub(crate) fn wait(self) {
        if let Some(is_done) = self.0 {
            _ = is_done.recv_timeout(TO_WRITE);
        }
    }
}

/// Writes an error with its causes and remedies, a line each, no text twice:
///
/// ```text
/// error: service/repo did not start
///   caused by: not ready within 60s
///   caused by: cannot reach postgres://app@db:5432/shop: connection refused
///   help: is the server running?
/// ```
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut chain = Chain::default();
    chain.add(error);
    chain.to_string()
}

#[derive(Default)]
struct Chain {
    texts: Vec<String>,
    remedies: Vec<String>,
}

impl Chain {
    fn add(&mut self, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(help) = error.downcast_ref::<Help>() {
                let remedy = help.remedy().to_owned();
                if !self.remedies.contains(&remedy) {
                    self.remedies.push(remedy);
                }
            }
            // Some errors print their cause as well as give it.
            let text = error.to_string();
            match self.texts.last_mut() {
                Some(before) if before.contains(&text) => {}
                _ => self.texts.push(text),
            }
            next = error.source();
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, text) in self.texts.iter().enumerate() {
            let label = if n == 0 { "error" } else { "\n  caused by" };
            write!(f, "{label}: {}", text.replace('\n', "\n    "))?;
        }
        for remedy in &self.remedies {
            write!(f, "\n  help: {}", remedy.replace('\n', "\n    "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<dyn Error + Send + Sync>>,
    }

    #[test]
    fn a_cause_that_its_error_prints_too_stands_once_and_remedies_come_last() {
        let cause = uptree_supervisor::help("no such file", "create it");
        let middle = Link {
            text: "cannot open x: no such file",
            source: Some(cause),
        };
        let top = Link {
            text: "app/x did not start",
            source: Some(middle.into()),
        };
        assert_eq!(
            chain(&top),
            "error: app/x did not start\n  caused by: cannot open x: no such file\n  help: create it"
        );
    }
}
