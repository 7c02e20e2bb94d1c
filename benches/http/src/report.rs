//! The tables and the file.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use bench::meter::median;
use serde::Serialize;

use crate::server::{PEERS, Peer};

/// What is measured of a peer.
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) connections: usize,
    pub(crate) unit: &'static str,
    /// The figures of each peer, one a round.
    pub(crate) cells: Vec<Cell>,
}

pub(crate) struct Cell {
    pub(crate) peer: Peer,
    pub(crate) values: Vec<f64>,
}

/// One peer's figure.
#[derive(Serialize)]
struct Figure {
    work: &'static str,
    peer: &'static str,
    connections: usize,
    /// The median over the rounds.
    value: f64,
    unit: &'static str,
    /// The median of each round's ratio.
    ratio_to_axum: f64,
}

impl Row {
    pub(crate) fn new(work: &'static str, connections: usize, unit: &'static str) -> Self {
        let cells = PEERS.map(|peer| Cell {
            peer,
            values: Vec::new(),
        });
        Self {
            work,
            connections,
            unit,
            cells: cells.into(),
        }
    }

    pub(crate) fn push(&mut self, peer: Peer, value: f64) {
        let cell = self.cells.iter_mut().find(|cell| cell.peer == peer);
        if let Some(cell) = cell {
            cell.values.push(value);
        }
    }

    fn figure(&self, cell: &Cell) -> Option<Figure> {
        let axum = self.cells.first()?.values.iter();
        let mut ratios: Vec<_> = cell.values.iter().zip(axum).map(|(a, b)| a / b).collect();
        Some(Figure {
            work: self.work,
            peer: cell.peer.name,
            connections: self.connections,
            value: median(&mut cell.values.clone())?,
            unit: self.unit,
            ratio_to_axum: median(&mut ratios)?,
        })
    }

    fn text(&self, cell: &Cell) -> String {
        match self.figure(cell) {
            Some(figure) if cell.peer == PEERS[0] => number(figure.value),
            Some(figure) => {
                let (value, ratio) = (number(figure.value), figure.ratio_to_axum);
                format!("{value} x{ratio:.3}")
            }
            None => "-".into(),
        }
    }
}

/// Prints a table for each work and unit.
pub(crate) fn print(rows: &[Row]) {
    println!("Medians over the rounds; xR is the median of each round's ratio to bare axum.");
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| (row.work, row.unit, row.connections));
    for table in rows.chunk_by(|a, b| (a.work, a.unit) == (b.work, b.unit)) {
        let Some(first) = table.first() else { continue };
        println!("\n{}: {}", first.work, first.unit);
        print!("  {:<8}", "");
        for row in table {
            let s = if row.connections == 1 { "" } else { "s" };
            print!(" {:>20}", format!("{} connection{s}", row.connections));
        }
        println!();
        for (i, cell) in first.cells.iter().enumerate() {
            print!("  {:<8}", cell.peer.name);
            for row in table {
                print!(" {:>20}", row.text(&row.cells[i]));
            }
            println!();
        }
    }
}

/// With three digits or so.
pub(crate) fn number(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
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
