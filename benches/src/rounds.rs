//! Interleaved rounds: every peer once for each work, in rotating order.

use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use anyhow::Result;
use bench::{Measured, Work};

use crate::contenders::Contender;

/// How much stretched a measurement may be. Beyond, somebody else had the processor.
const PREEMPTED: f64 = 1.25;
/// How often a measurement is made again at once when it was preempted.
const ATTEMPTS: usize = 10;

/// A line of a table's column: one work in one size, with everybody who does it.
pub(crate) struct Row {
    pub(crate) work: &'static Work,
    pub(crate) n: usize,
    pub(crate) threads: usize,
    pub(crate) cells: Vec<Cell>,
}

/// What was measured of one peer.
pub(crate) struct Cell {
    pub(crate) contender: &'static Contender,
    /// Its figure in each round; `None` where it was preempted or did not take part.
    pub(crate) values: Vec<Option<f64>>,
    /// Why there are no more.
    pub(crate) gave_up: Option<Why>,
    spent: Duration,
}

/// Why a peer takes no further part in a row.
pub(crate) enum Why {
    /// It took longer than so many seconds.
    TooLong(u64),
    /// Its process failed.
    Failed(String),
}

/// When enough is enough.
pub(crate) struct Limits {
    pub(crate) rounds: usize,
    /// A peer that has used this much time for a row takes no part in its further rounds.
    pub(crate) share: Duration,
    /// How long one measurement may take.
    pub(crate) each: Duration,
}

/// Makes one measurement; `None` if it took longer than it may.
pub(crate) type Once<'a> = &'a dyn Fn(&Row, &Contender) -> Result<Option<Measured>>;

impl Cell {
    pub(crate) fn new(contender: &'static Contender) -> Self {
        Self {
            contender,
            values: Vec::new(),
            gave_up: None,
            spent: Duration::ZERO,
        }
    }

    /// What its process said when it failed.
    pub(crate) fn failed(&self) -> Option<&str> {
        match &self.gave_up {
            Some(Why::Failed(error)) => Some(error),
            Some(Why::TooLong(_)) | None => None,
        }
    }

    fn takes_part(&self, work: &Work, limits: &Limits) -> bool {
        let can = self.contender.cannot(work.name).is_none();
        can && self.gave_up.is_none() && self.spent < limits.share
    }
}

/// Measures all rows; says how many measurements were dropped.
pub(crate) fn run(rows: &mut [Row], limits: &Limits, once: Once<'_>) -> usize {
    let mut dropped = 0;
    for round in 0..limits.rounds {
        for i in 0..rows.len() {
            let peers = rows[i].cells.len();
            // Nobody is always the one who comes after a certain other.
            for peer in (0..peers).map(|peer| (peer + round) % peers) {
                let row = &rows[i];
                say(round, limits, (i, rows.len()), row, peer);
                let began = Instant::now();
                let (value, again) = match row.cells[peer].takes_part(row.work, limits) {
                    true => measure(row, peer, limits, once),
                    false => (Ok(None), 0),
                };
                let cell = &mut rows[i].cells[peer];
                cell.spent += began.elapsed();
                dropped += again;
                match value {
                    Ok(value) => cell.values.push(value),
                    Err(why) => {
                        cell.values.push(None);
                        cell.gave_up = Some(why);
                    }
                }
            }
        }
    }
    clear();
    dropped
}

/// One figure, if there is one that was not preempted; and how many were. An error is why the peer
/// takes no further part.
fn measure(
    row: &Row,
    peer: usize,
    limits: &Limits,
    once: Once<'_>,
) -> (Result<Option<f64>, Why>, usize) {
    let cell = &row.cells[peer];
    let began = Instant::now();
    for dropped in 0..ATTEMPTS {
        let measured = match once(row, cell.contender) {
            Ok(Some(measured)) => measured,
            Ok(None) => return (Err(Why::TooLong(limits.each.as_secs())), dropped),
            Err(error) => return (Err(Why::Failed(format!("{error:#}"))), dropped),
        };
        if measured.stretch.is_none_or(|stretch| stretch <= PREEMPTED) {
            return (Ok(Some(measured.value)), dropped);
        }
        if cell.spent + began.elapsed() > limits.share {
            return (Ok(None), dropped + 1);
        }
    }
    (Ok(None), ATTEMPTS)
}

/// Where it is, on a terminal.
fn say(round: usize, limits: &Limits, (i, rows): (usize, usize), row: &Row, peer: usize) {
    if stderr().is_terminal() {
        let (round, rounds) = (round + 1, limits.rounds);
        let Row { work, n, .. } = row;
        let (name, peer) = (work.name, row.cells[peer].contender.name);
        let i = i + 1;
        eprint!("\r\x1b[Kround {round}/{rounds}, {i}/{rows}: {name} {n} {peer}");
        _ = stderr().flush();
    }
}

fn clear() {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}
