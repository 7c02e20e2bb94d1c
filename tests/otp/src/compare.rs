//! Whether what was replayed is what was recorded: pure, given the rows of both.

mod by_rule;
mod supervisors;

use serde_json::Value;

use crate::{
    diff,
    scenario::Step,
    trace::{Event, Row, json},
};
pub(crate) use supervisors::Supervisors;

/// The lines of both rows, marked, if they differ.
pub(crate) fn compare(
    step: &Step,
    supervisors: &Supervisors<'_>,
    recorded: &Row,
    replayed: &Row,
) -> Option<Vec<String>> {
    let mut recorded = Row {
        events: by_rule::expected(&recorded.events, supervisors),
        ..recorded.clone()
    };
    let mut replayed = replayed.clone();
    if let Step::Batch { sup, items } = step
        && supervisors.is_dynamic(sup)
    {
        recorded.events = flat(recorded.events);
        by_rule::with_starts_called_off(&mut recorded, &replayed, sup, items);
        for row in [&mut recorded, &mut replayed] {
            by_rule::leave_out_ended_before(row, sup, items, supervisors);
            let events = std::mem::take(&mut row.events);
            row.events = by_rule::by_child(events, sup);
        }
    }
    recorded.events = by_rule::ends_as_one(recorded.events, supervisors);
    replayed.events = in_the_shape_of(&recorded.events, replayed.events);
    let (first, second) = (lines(&recorded), lines(&replayed));
    (first != second).then(|| diff::lines(&first, &second))
}

/// What is compared, and shown.
fn lines(row: &Row) -> Vec<String> {
    let mut lines = vec![format!("result {}", ordered(&row.result))];
    lines.extend(row.events.iter().map(Event::to_string));
    lines.extend(by_rule::orphans(&row.orphans));
    lines
}

/// Several events at the same time, if they are several.
fn unordered(mut of: Vec<Event>) -> Option<Event> {
    of.sort();
    match of.len() {
        0 | 1 => of.pop(),
        _ => Some(Event::Unordered { of }),
    }
}

/// Takes together what was recorded as unordered.
fn in_the_shape_of(recorded: &[Event], replayed: Vec<Event>) -> Vec<Event> {
    let mut replayed = replayed.into_iter();
    let mut out = Vec::new();
    for event in recorded {
        let number = match event {
            Event::Unordered { of } => of.len(),
            _ => 1,
        };
        out.extend(unordered(replayed.by_ref().take(number).collect()));
    }
    out.extend(replayed);
    out
}

fn flat(events: Vec<Event>) -> Vec<Event> {
    let flat = events.into_iter().flat_map(|event| match event {
        Event::Unordered { of } => of,
        event => vec![event],
    });
    flat.collect()
}

/// A result as text, with what has no order in one.
fn ordered(result: &Value) -> String {
    match result {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| match value {
                Value::Array(items) if name == "unordered" => {
                    let mut items: Vec<_> = items.iter().map(ordered).collect();
                    items.sort();
                    format!("{name}: [{}]", items.join(", "))
                }
                value => format!("{name}: {}", ordered(value)),
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(ordered).collect();
            format!("[{}]", items.join(", "))
        }
        value => json(value),
    }
}

#[cfg(test)]
mod tests;
