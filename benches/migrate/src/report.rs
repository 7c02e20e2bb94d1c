//! The tables and the file.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    Cell, Row, tables,
    works::{Kind, SYSTEMS, WORKS},
};

/// One migrator's figures for one work.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) system: &'static str,
    pub(crate) work: &'static str,
    pub(crate) n: usize,
    pub(crate) rtt_ms: u64,
    /// The median over the rounds.
    pub(crate) ms: f64,
    /// The median over the rounds; a herd's together.
    pub(crate) round_trips: u64,
    /// The most in a round.
    pub(crate) failures: usize,
}

/// One boot of a herd's: what the migrator itself takes, past the login.
const ONE_BOOT: &str = "herd_up_to_date_one_boot";

impl Row {
    pub(crate) fn figure(&self, cell: &Cell) -> Option<Figure> {
        let ms = cell.runs.iter().map(|run| run.ms);
        self.figure_of(cell, self.work.name, ms)
    }

    /// What a boot in a herd takes that has nothing to do.
    fn one_boot(&self, cell: &Cell) -> Option<Figure> {
        let Kind::Herd { pending: 0, .. } = self.work.kind else {
            return None;
        };
        let ms = cell.runs.iter().filter_map(|run| run.one_boot);
        self.figure_of(cell, ONE_BOOT, ms)
    }

    fn figure_of(
        &self,
        cell: &Cell,
        work: &'static str,
        ms: impl Iterator<Item = f64>,
    ) -> Option<Figure> {
        let round_trips = cell.runs.iter().map(|run| run.round_trips as f64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let round_trips = median(round_trips)? as u64;
        Some(Figure {
            system: cell.system.name,
            work,
            n: self.n,
            rtt_ms: self.rtt,
            ms: (median(ms)? * 1e3).round() / 1e3,
            round_trips,
            failures: cell.runs.iter().map(|run| run.failures).max()?,
        })
    }
}

/// The middle one.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

pub(crate) fn print(rows: &[Row]) {
    println!("Medians over the rounds. RT: round trips, the login's excluded, a herd's together.");
    println!(
        "A herd's time is its last one's, logins included; in brackets the mean of one boot, past the login."
    );
    for ((work, rtt), rows) in tables(rows) {
        let work = &WORKS[work];
        println!("\n{}: {}; {rtt} ms added", work.name, work.what);
        print!("  {:<10}", "");
        for row in &rows {
            print!(" {:>34}", format!("n = {}", row.n));
        }
        println!();
        for system in &SYSTEMS {
            let cells: Vec<_> = rows
                .iter()
                .map(|row| (row, row.cell(system.name)))
                .collect();
            if cells.iter().all(|(_, cell)| cell.is_none()) {
                continue;
            }
            print!("  {:<10}", system.name);
            for (row, cell) in cells {
                let text = cell.map_or_else(|| "-".to_owned(), |cell| row.text(cell));
                print!(" {text:>34}");
            }
            println!();
        }
    }
    println!();
    for row in rows {
        for cell in &row.cells {
            let failed = cell.runs.iter().find(|run| run.failures > 0);
            if let Some(run) = failed {
                let (work, n, rtt) = (row.work.name, row.n, row.rtt);
                let error = run.errors.lines().next().unwrap_or_default();
                println!("{} {work} {n} at {rtt} ms: {error}", cell.system.name);
            }
        }
    }
}

impl Row {
    fn cell(&self, system: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.system.name == system)
    }

    fn text(&self, cell: &Cell) -> String {
        let Some(figure) = self.figure(cell) else {
            return "-".to_owned();
        };
        let mut text = format!("{} ms", number(figure.ms));
        if let Some(one) = self.one_boot(cell) {
            text = format!("{text} ({})", number(one.ms));
        }
        text = format!("{text}, {} RT", figure.round_trips);
        if figure.failures > 0 {
            text = format!("{text}, {} fail", figure.failures);
        }
        text
    }
}

pub(crate) fn number(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Writes the figures as JSON.
pub(crate) fn write(rows: &[Row], file: &Path) -> Result<()> {
    let mut figures = Vec::new();
    for row in rows {
        for cell in &row.cells {
            figures.extend(row.figure(cell));
            figures.extend(row.one_boot(cell));
        }
    }
    save(file, &(serde_json::to_string_pretty(&figures)? + "\n"))
}

pub(crate) fn save(file: &Path, text: &str) -> Result<()> {
    let folder = file.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(file, text))
        .with_context(|| format!("{} cannot be written", file.display()))
}
