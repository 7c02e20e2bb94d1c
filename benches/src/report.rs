//! The table and the file.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use bench::{PEERS, Work, meter::median};
use serde::Serialize;

/// What was measured of one work.
pub(crate) struct Row {
    pub(crate) work: &'static Work,
    /// For each peer its figure in each round; `None` where it was preempted.
    pub(crate) values: Vec<Vec<Option<f64>>>,
}

/// One peer's figure.
#[derive(Serialize)]
struct Figure {
    work: &'static str,
    peer: &'static str,
    n: usize,
    /// The median over the rounds.
    value: f64,
    unit: &'static str,
    /// The median of each round's ratio.
    ratio_to_bare: f64,
}

impl Row {
    pub(crate) fn new(work: &'static Work) -> Self {
        let values = vec![Vec::new(); PEERS.len()];
        Self { work, values }
    }

    /// `None` if there is no round in which both it and bare were measured.
    fn figure(&self, peer: usize) -> Option<Figure> {
        let rounds = self.values[peer].iter().zip(&self.values[0]);
        let mut ratios: Vec<_> = rounds
            .filter_map(|(one, bare)| Some((*one)? / (*bare)?))
            .collect();
        let mut values: Vec<_> = self.values[peer].iter().copied().flatten().collect();
        Some(Figure {
            work: self.work.name,
            peer: PEERS[peer].0,
            n: self.work.n,
            value: median(&mut values)?,
            unit: self.work.unit,
            ratio_to_bare: median(&mut ratios)?,
        })
    }

    fn cell(&self, peer: usize) -> String {
        let Some(figure) = self.figure(peer) else {
            return "-".into();
        };
        let least = self.values[peer].iter().copied().flatten();
        let least = least.fold(f64::INFINITY, f64::min);
        let Figure {
            value,
            ratio_to_bare,
            ..
        } = figure;
        match peer {
            0 => format!("{value:.2} ({least:.2})"),
            _ => format!("{value:.2} ({least:.2}) x{ratio_to_bare:.2}"),
        }
    }
}

/// Prints the table.
pub(crate) fn print(rows: &[Row], dropped: usize) {
    println!("Median (minimum) over the rounds; xR is the median of each round's ratio to bare.");
    println!("{dropped} measurements were preempted and dropped.\n");
    print!("{:<14} {:>6} {:<8}", "work", "n", "unit");
    for (peer, _) in PEERS {
        print!(" {peer:>26}");
    }
    for row in rows {
        let Work { name, n, unit } = row.work;
        print!("\n{name:<14} {n:>6} {unit:<8}");
        for peer in 0..PEERS.len() {
            print!(" {:>26}", row.cell(peer));
        }
    }
    println!();
}

/// Writes the figures as JSON into `folder`.
pub(crate) fn write(rows: &[Row], folder: &Path) -> Result<()> {
    let peers = 0..PEERS.len();
    let figures: Vec<_> = rows
        .iter()
        .flat_map(|row| peers.clone().filter_map(|peer| row.figure(peer)))
        .collect();
    let file = folder.join("supervision.json");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, serde_json::to_string_pretty(&figures)? + "\n"))
        .with_context(|| format!("{} cannot be written", file.display()))
}
