//! The tables and the file.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use bench::meter::median;
use serde::Serialize;

use crate::{
    contenders::{CONTENDERS, OTP},
    rounds::{Cell, Row, Why},
};

/// One peer's figure.
#[derive(Serialize)]
struct Figure {
    work: &'static str,
    peer: &'static str,
    n: usize,
    threads: usize,
    /// The median over the rounds.
    value: f64,
    unit: &'static str,
    /// The median of each round's ratio; null if bare does no such work.
    ratio_to_bare: Option<f64>,
}

impl Row {
    fn cell(&self, peer: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.contender.name == peer)
    }

    fn figure(&self, cell: &Cell) -> Option<Figure> {
        Some(Figure {
            work: self.work.name,
            peer: cell.contender.name,
            n: self.n,
            threads: self.threads,
            value: median(&mut cell.measured().collect::<Vec<_>>())?,
            unit: self.work.unit,
            ratio_to_bare: self.ratio(cell, CONTENDERS[0].name),
        })
    }

    /// The median of each round's ratio; `None` if there is no round in which both were measured,
    /// or nothing to hold it against.
    fn ratio(&self, cell: &Cell, to: &str) -> Option<f64> {
        let rounds = cell.values.iter().zip(&self.cell(to)?.values);
        let mut ratios: Vec<_> = rounds
            .filter_map(|(one, other)| Some((*one)? / (*other)?))
            .filter(|ratio| ratio.is_finite())
            .collect();
        median(&mut ratios)
    }

    fn text(&self, cell: &Cell) -> String {
        if cell.contender.cannot(self.work.name).is_some() {
            return "-".into();
        }
        let Some(figure) = self.figure(cell) else {
            return match &cell.gave_up {
                Some(Why::TooLong(seconds)) => format!("over {seconds} s"),
                Some(Why::Failed(_)) => "failed".into(),
                None => "preempted".into(),
            };
        };
        let least = cell.measured().fold(f64::INFINITY, f64::min);
        let mut text = format!("{} ({})", number(figure.value), number(least));
        if cell.contender.name != CONTENDERS[0].name {
            for (sign, ratio) in [
                ('x', figure.ratio_to_bare),
                (
                    'o',
                    self.ratio(cell, OTP).filter(|_| cell.contender.name != OTP),
                ),
            ] {
                if let Some(ratio) = ratio {
                    _ = write!(text, " {sign}{}", number(ratio));
                }
            }
        }
        text
    }
}

impl Cell {
    fn measured(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied().flatten()
    }
}

/// Prints a table for each work and number of threads, and what is to be said about them.
pub(crate) fn print(rows: &[Row], dropped: usize) {
    println!(
        "Median (minimum) over the rounds; xR and oR are the medians of each round's ratio to"
    );
    println!("bare tokio and to OTP. {dropped} measurements were preempted and dropped.");
    let mut notes = Vec::new();
    for table in rows.chunk_by(|a, b| a.work.name == b.work.name && a.threads == b.threads) {
        print_table(table, &mut notes);
    }
    println!();
    for (i, note) in notes.iter().enumerate() {
        println!("[{}] {note}", i + 1);
    }
    for row in rows {
        for cell in &row.cells {
            if let Some(error) = cell.failed() {
                let (peer, work) = (cell.contender.name, row.work.name);
                println!("{peer} failed to {work} {}: {error}", row.n);
            }
        }
    }
}

fn print_table(rows: &[Row], notes: &mut Vec<&'static str>) {
    let Some(first) = rows.first() else { return };
    let Row { work, threads, .. } = first;
    let s = if *threads == 1 { "" } else { "s" };
    println!(
        "\n{}: {}; {}, {threads} thread{s}",
        work.name, work.what, work.unit
    );
    print!("  {:<28}", "");
    for row in rows {
        print!(" {:>32}", format!("n = {}", thousands(row.n)));
    }
    println!();
    for (i, Cell { contender, .. }) in first.cells.iter().enumerate() {
        let note = contender.cannot(work.name).or(contender.differs(work.name));
        let mark = note.map(|note| mark(note, notes)).unwrap_or_default();
        print!("  {:<28}", format!("{} {mark}", contender.name));
        for row in rows {
            print!(" {:>32}", row.text(&row.cells[i]));
        }
        println!();
    }
}

/// `[1]` for the first note, the same for the same one.
fn mark(note: &'static str, notes: &mut Vec<&'static str>) -> String {
    let i = notes.iter().position(|it| *it == note).unwrap_or_else(|| {
        notes.push(note);
        notes.len() - 1
    });
    format!("[{}]", i + 1)
}

/// With three digits or so.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        ..0.1 => format!("{value:.4}"),
        0.1..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        100.0..10_000.0 => format!("{value:.0}"),
        // Figures are far below what would be lost here.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        _ => thousands(value.round() as usize),
    }
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes the figures as JSON.
pub(crate) fn write(rows: &[Row], file: &Path) -> Result<()> {
    let figures: Vec<_> = rows
        .iter()
        .flat_map(|row| row.cells.iter().filter_map(|cell| row.figure(cell)))
        .collect();
    let folder = file.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(file, serde_json::to_string_pretty(&figures)? + "\n"))
        .with_context(|| format!("{} cannot be written", file.display()))
}
