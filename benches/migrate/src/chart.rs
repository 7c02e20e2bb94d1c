//! The figures as bars, on a logarithmic scale.

use std::{fmt::Write, path::Path};

use anyhow::Result;

use crate::{
    Row,
    report::{number, save},
    tables,
    works::{SYSTEMS, WORKS},
};

const COLOURS: [&str; 4] = ["#2b6cb0", "#c05621", "#2f855a", "#a0aec0"];

const BAR: usize = 14;
const LEFT: usize = 90;
/// How wide a factor of ten is.
const DECADE: f64 = 120.0;
/// Where the bars begin, in milliseconds.
const LEAST: f64 = 0.1;

/// Writes a chart of what was measured at the longest distance.
pub(crate) fn write(rows: &[Row], file: &Path) -> Result<()> {
    let far = rows.iter().map(|row| row.rtt).max().unwrap_or_default();
    let mut body = String::new();
    let mut y = 40;
    for ((work, rtt), rows) in tables(rows) {
        if rtt != far {
            continue;
        }
        y += 24;
        text(&mut body, 10, y, "bold", WORKS[work].what);
        y += 8;
        for row in rows {
            text(&mut body, 10, y + BAR, "normal", &format!("n = {}", row.n));
            for cell in &row.cells {
                let Some(figure) = row.figure(cell) else {
                    continue;
                };
                let system = SYSTEMS.iter().position(|it| it.name == cell.system.name);
                let colour = COLOURS[system.unwrap_or_default()];
                let width = (figure.ms.max(LEAST) / LEAST).log10() * DECADE;
                let mut label = format!("{} ms", number(figure.ms));
                if figure.failures > 0 {
                    _ = write!(label, ", {} fail", figure.failures);
                }
                _ = writeln!(
                    body,
                    r#"<rect x="{LEFT}" y="{y}" width="{width:.0}" height="{}" fill="{colour}"/>
<text x="{:.0}" y="{}">{label}</text>"#,
                    BAR - 2,
                    LEFT as f64 + width + 5.0,
                    y + BAR - 3,
                );
                y += BAR;
            }
            y += 8;
        }
    }
    let mut legend = String::new();
    for (i, (system, colour)) in SYSTEMS.iter().zip(COLOURS).enumerate() {
        let x = 10 + i * 90;
        _ = writeln!(
            legend,
            r#"<rect x="{x}" y="26" width="10" height="10" fill="{colour}"/>"#
        );
        text(&mut legend, x + 15, 35, "normal", system.name);
    }
    let title = format!("Milliseconds, logarithmic; {far} ms added to each round trip");
    text(&mut legend, 10, 16, "bold", &title);
    let height = y + 20;
    let svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="900" height="{height}" font-family="sans-serif" font-size="11">
<rect width="900" height="{height}" fill="white"/>
{legend}{body}</svg>
"#
    );
    save(file, &svg)
}

fn text(svg: &mut String, x: usize, y: usize, weight: &str, text: &str) {
    _ = writeln!(
        svg,
        r#"<text x="{x}" y="{y}" font-weight="{weight}">{text}</text>"#
    );
}
