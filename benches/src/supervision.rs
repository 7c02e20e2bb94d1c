//! The works of a supervisor.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};
use bench::{Ask, Work, works};
use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::{
    contenders::{CONTENDERS, Contender, OTP, Program},
    instructions, process, report,
    rounds::{self, Cell, Limits, Row},
};

/// What is measured, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many rounds. Defaults to 5, with --full to 9
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Measure only these works
    #[arg(long, num_args = 1.., value_name = "NAME", value_parser = PossibleValuesParser::new(works().map(|it| PossibleValue::new(it.name).help(it.what))))]
    work: Vec<String>,
    /// Measure only these peers; bare comes along, for the ratios
    #[arg(long, num_args = 1.., value_name = "NAME", value_parser = PossibleValuesParser::new(CONTENDERS.iter().map(|it| it.name)))]
    peer: Vec<String>,
    /// Only with so many worker threads: 1, 2. On two, a few works are measured, with --full all
    #[arg(long, num_args = 1.., value_name = "N", default_values_t = [1, 2], value_parser = one_or_two)]
    threads: Vec<usize>,
    /// Only with so many children (or siblings, or pairs)
    #[arg(long, num_args = 1.., value_name = "N")]
    children: Vec<usize>,
    /// Measure everything, in hours rather than a quarter of one
    #[arg(long)]
    full: bool,
    /// Count instructions for each operation instead, by valgrind. Only bare and uptree, if no
    /// others are asked for
    #[arg(long)]
    instructions: bool,
}

impl Options {
    /// What must be built first.
    pub(crate) fn needs(&self) -> Vec<&'static str> {
        let wants = |program| self.contenders().any(|it| it.program == program);
        let needs = [(Program::Peers, "peers"), (Program::Otp, "otp")];
        let needs = needs.into_iter().filter(|(program, _)| wants(*program));
        needs.map(|(_, need)| need).collect()
    }

    pub(crate) fn run(&self, target: &Path) -> Result<()> {
        if self.instructions {
            return instructions::run(self.works(), &self.contenders().collect::<Vec<_>>(), target);
        }
        if self.peer.iter().any(|name| name == OTP) && !process::is_installed("erl") {
            bail!("otp is measured with `erl`, which is not installed");
        }
        let mut rows = self.rows();
        if rows.is_empty() {
            bail!("no work is measured like that");
        }
        let limits = match self.full {
            false => (5, 2, 15),
            true => (9, 30, 180),
        };
        let limits = Limits {
            rounds: self.rounds.unwrap_or(limits.0),
            share: Duration::from_secs(limits.1),
            each: Duration::from_secs(limits.2),
        };
        let once = |row: &Row, contender: &Contender| {
            let ask = Ask {
                peer: contender.name.into(),
                work: row.work.name.into(),
                n: row.n,
                threads: row.threads,
                ops: None,
            };
            let mut command = process::command(contender.program, &ask, target)?;
            process::output(&mut command, limits.each)
        };
        let dropped = rounds::run(&mut rows, &limits, &once);
        report::print(&rows, dropped);
        report::write(&rows, &target.join("bench/supervision.json"))?;
        let cells = rows.iter().flat_map(|row| &row.cells);
        match cells.filter(|cell| cell.failed().is_some()).count() {
            0 => Ok(()),
            failed => bail!("{failed} measurements failed"),
        }
    }

    /// In the order of the tables.
    fn rows(&self) -> Vec<Row> {
        let sizes = |work: &'static Work, threads| match (threads, self.full) {
            (1, _) | (_, true) => work.sizes,
            (_, false) => work.on_two,
        };
        let contenders: Vec<_> = self.contenders().collect();
        let row = |work: &'static Work, threads, n| Row {
            work,
            n,
            threads,
            cells: contenders.iter().map(|it| Cell::new(it)).collect(),
        };
        let mut rows = Vec::new();
        for work in self.works() {
            for &threads in &self.threads {
                let sizes = sizes(work, threads).iter().copied();
                let sizes = sizes.filter(|n| self.children.is_empty() || self.children.contains(n));
                rows.extend(sizes.map(|n| row(work, threads, n)));
            }
        }
        rows
    }

    fn works(&self) -> impl Iterator<Item = &'static Work> {
        let wanted =
            |work: &&Work| self.work.is_empty() || self.work.iter().any(|it| it == work.name);
        works().filter(wanted)
    }

    fn contenders(&self) -> impl Iterator<Item = &'static Contender> {
        let otp = process::is_installed("erl");
        CONTENDERS.iter().filter(move |it| match it.program {
            _ if it.name == "bare" => true,
            Program::Bench if self.instructions => true,
            _ if self.instructions && self.peer.is_empty() => false,
            Program::Otp if self.instructions || !otp => false,
            _ => self.peer.is_empty() || self.peer.iter().any(|name| name == it.name),
        })
    }
}

fn one_or_two(text: &str) -> Result<usize, &'static str> {
    match text {
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err("one or two"),
    }
}
