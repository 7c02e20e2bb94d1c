//! Recordings, one after the other.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    compare::{Supervisors, compare},
    player,
    scenario::Scenario,
};

/// The recordings at `path`: a file, or all `*.jsonl` in a folder.
///
/// # Errors
///
/// If there is none, or it cannot be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let there = fs::metadata(path).with_context(|| format!("{} is not there", path.display()))?;
    if there.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let folder =
        fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut files = Vec::new();
    for entry in folder {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("there is no *.jsonl in {}", path.display());
    }
    Ok(files)
}

/// The scenarios of one recording.
///
/// # Errors
///
/// If it cannot be read, or a line is not a scenario.
pub fn scenarios(file: &Path) -> Result<Vec<Scenario>> {
    let text =
        fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            parse(line).with_context(|| format!("{}:{}", file.display(), number + 1))
        })
        .collect()
}

fn parse(line: &str) -> Result<Scenario> {
    let mut scenario: Scenario = serde_json::from_str(line).context("this is not a scenario")?;
    if scenario.steps.len() != scenario.trace.len() {
        bail!(
            "{} has {} steps and a trace of {}",
            scenario.id,
            scenario.steps.len(),
            scenario.trace.len()
        );
    }
    // The same once more, as it stands, for whoever reads a difference.
    let line: Value = serde_json::from_str(line)?;
    let steps = line["steps"].as_array().into_iter().flatten();
    scenario.shown = steps.map(Value::to_string).collect();
    Ok(scenario)
}

/// Where a scenario was played otherwise than recorded.
#[derive(Debug)]
pub struct Difference {
    scenario: String,
    steps: usize,
    /// Which steps differ.
    differ: Vec<usize>,
    /// What is done at the first of them.
    step: String,
    lines: Vec<String>,
}

/// Plays `scenario`; says where that differs from what was recorded.
///
/// # Errors
///
/// If it cannot be played.
pub fn replay(scenario: &Scenario) -> Result<Option<Difference>> {
    let replayed = player::play(scenario).with_context(|| scenario.id.clone())?;
    let mut supervisors = Supervisors::of(scenario);
    let mut first = None;
    let mut differ = Vec::new();
    let rows = scenario.trace.iter().zip(&replayed);
    for (number, (step, (recorded, replayed))) in scenario.steps.iter().zip(rows).enumerate() {
        supervisors.learn(step, &recorded.result);
        if let Some(lines) = compare(step, &supervisors, recorded, replayed) {
            differ.push(number);
            first = first.or(Some((number, lines)));
        }
    }
    Ok(first.map(|(number, lines)| Difference {
        scenario: scenario.id.clone(),
        steps: scenario.steps.len(),
        differ,
        step: scenario.shown.get(number).cloned().unwrap_or_default(),
        lines,
    }))
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.differ.first().copied().unwrap_or_default();
        writeln!(f, "{}: differs", self.scenario)?;
        writeln!(f, "  at step {first} of {}: {}", self.steps - 1, self.step)?;
        writeln!(f, "  (- recorded on OTP, + replayed)")?;
        for line in &self.lines {
            writeln!(f, "    {line}")?;
        }
        if let [_, others @ ..] = self.differ.as_slice()
            && !others.is_empty()
        {
            let others: Vec<_> = others.iter().map(usize::to_string).collect();
            writeln!(f, "  and then at {}", others.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recording_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut all = files(&folder.join("recordings")).expect("they are there");
        all.extend(files(&folder.join("quirks.jsonl")).expect("it is there"));
        for file in all {
            let scenarios = scenarios(&file).expect("it can be read");
            assert!(!scenarios.is_empty(), "{}", file.display());
        }
    }

    #[test]
    fn what_is_no_scenario_is_told_with_its_line() {
        let parse = |line: &str| {
            parse(line)
                .map(|_| ())
                .map_err(|error| format!("{error:#}"))
        };
        let error = parse("{}").expect_err("it lacks everything");
        assert!(error.contains("this is not a scenario"), "{error}");
        let short = r#"{"id": "x", "steps": [{"op": "boot"}], "trace": [], "tree":
            {"id": "r", "type": "supervisor", "strategy": "dynamic", "intensity": 1, "period": 5}}"#;
        let error = parse(short).expect_err("it lacks a row");
        assert_eq!(error, "x has 1 steps and a trace of 0");
    }

    #[test]
    fn a_difference_names_the_step_and_both_sides() {
        let difference = Difference {
            scenario: "x".into(),
            steps: 4,
            differ: vec![1, 3],
            step: "{}".into(),
            lines: vec!["- a".into(), "+ b".into()],
        };
        let text = difference.to_string();
        for part in ["x: differs", "step 1 of 3", "    - a", "    + b", "at 3"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
