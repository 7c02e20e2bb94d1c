//! Whether what was replayed is what was recorded: pure, given the rows of both.

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    diff,
    scenario::{Node, Restart, Scenario, Step, Strategy, Supervisor},
    trace::{Ctx, Event, Reason, Row, Term, json},
};

/// What the comparison must know of the supervisors of a scenario, by path.
pub(crate) struct Supervisors<'a>(HashMap<String, &'a Supervisor>);

impl<'a> Supervisors<'a> {
    /// Those of the tree, and those that are started later.
    pub(crate) fn of(scenario: &'a Scenario) -> Self {
        let mut all = Self(HashMap::new());
        all.add("", &scenario.tree);
        for step in &scenario.steps {
            all.add_started(step);
        }
        all
    }

    fn add_started(&mut self, step: &'a Step) {
        match step {
            Step::Batch { items, .. } => items.iter().for_each(|item| self.add_started(item)),
            Step::Call(call) => {
                if let Some(child) = &call.child {
                    self.add(&format!("{}/", call.sup), child);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, above: &str, node: &'a Node) {
        if let Node::Supervisor(supervisor) = node {
            let path = format!("{above}{}", supervisor.id);
            for child in &supervisor.children {
                self.add(&format!("{path}/"), child);
            }
            self.0.insert(path, supervisor);
        }
    }

    fn is_simple(&self, path: &str) -> bool {
        let supervisor = self.0.get(path);
        supervisor.is_some_and(|it| it.strategy == Strategy::SimpleOneForOne)
    }

    /// Without an order among its children.
    fn is_dynamic(&self, path: &str) -> bool {
        let supervisor = self.0.get(path);
        supervisor
            .is_some_and(|it| matches!(it.strategy, Strategy::SimpleOneForOne | Strategy::Dynamic))
    }

    fn restarts_always(&self, path: &str) -> bool {
        let template = self.0.get(path).and_then(|it| it.template.as_ref());
        template.is_some_and(|it| it.restart == Restart::Permanent)
    }
}

/// The lines of both rows, marked, if they differ.
pub(crate) fn compare(
    step: &Step,
    supervisors: &Supervisors<'_>,
    recorded: &Row,
    replayed: &Row,
) -> Option<Vec<String>> {
    let mut recorded_events = expected(&recorded.events, supervisors);
    let mut replayed_events = replayed.events.clone();
    if let Step::Batch { sup, .. } = step
        && supervisors.is_dynamic(sup)
    {
        // Rule::StartsOverlap
        recorded_events = by_child(flat(recorded_events), sup);
        replayed_events = by_child(flat(replayed_events), sup);
        for (child, starts) in called_off(&replayed_events, sup) {
            cut_off(&mut recorded_events, sup, &child, starts);
        }
    }
    let recorded_events = ends_as_one(recorded_events, supervisors);
    let replayed_events = in_the_shape_of(&recorded_events, replayed_events);
    let lines = |row: &Row, events: &[Event]| {
        let mut lines = vec![format!("result {}", ordered(&row.result))];
        lines.extend(events.iter().map(Event::to_string));
        lines.extend(gone(&row.orphans));
        lines
    };
    let first = lines(recorded, &recorded_events);
    let second = lines(replayed, &replayed_events);
    (first != second).then(|| diff::lines(&first, &second))
}

/// What was recorded, as a supervisor of ours would have done it.
fn expected(events: &[Event], supervisors: &Supervisors<'_>) -> Vec<Event> {
    let mut out = Vec::with_capacity(events.len());
    for event in events {
        let mut of = match event {
            Event::Unordered { of } => of.clone(),
            event => vec![event.clone()],
        };
        of.retain(|event| !accepted(event, supervisors));
        let of = of.into_iter().flat_map(each);
        out.extend(unordered(of.collect()));
    }
    out
}

/// [`Rule::ElixirAccepts`](crate::Rule::ElixirAccepts)
fn accepted(event: &Event, supervisors: &Supervisors<'_>) -> bool {
    let Event::Report { p, ctx, r, .. } = event else {
        return false;
    };
    *ctx == Ctx::ShutdownError
        && matches!(r, Reason::Term(Term::Shutdown(_)))
        && supervisors.is_simple(p)
        && supervisors.restarts_always(p)
}

/// [`Rule::OneReportEach`](crate::Rule::OneReportEach)
fn each(event: Event) -> Vec<Event> {
    match event {
        Event::Report {
            p,
            ctx,
            id: None,
            n: Some(n),
            r,
        } => {
            let one = Event::Report {
                p,
                ctx,
                id: None,
                n: None,
                r,
            };
            vec![one; n]
        }
        event => vec![event],
    }
}

fn unordered(mut of: Vec<Event>) -> Option<Event> {
    of.sort();
    match of.len() {
        0 | 1 => of.pop(),
        _ => Some(Event::Unordered { of }),
    }
}

/// [`Rule::OneReportEach`](crate::Rule::OneReportEach): takes together how the children of a dynamic
/// supervisor end, and its reports of that, where its own end follows.
fn ends_as_one(events: Vec<Event>, supervisors: &Supervisors<'_>) -> Vec<Event> {
    let mut out: Vec<Event> = Vec::with_capacity(events.len());
    for event in events {
        if let Event::Down { p, .. } = &event
            && supervisors.is_dynamic(p)
        {
            let first = out.iter().rposition(|event| !is_end_below(event, p));
            let ends = flat(out.split_off(first.map_or(0, |first| first + 1)));
            out.extend(unordered(ends));
        }
        out.push(event);
    }
    out
}

/// Whether it is the end of a child of `sup`, or a report of that; or several of these.
fn is_end_below(event: &Event, sup: &str) -> bool {
    match event {
        Event::Down { p, .. } => p.rsplit_once('/').is_some_and(|(above, _)| above == sup),
        Event::Report { p, ctx, .. } => p == sup && *ctx == Ctx::ShutdownError,
        Event::Unordered { of } => of.iter().all(|event| is_end_below(event, sup)),
        _ => false,
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

/// Puts what happens to each child of `sup` together, where nothing else comes between.
fn by_child(events: Vec<Event>, sup: &str) -> Vec<Event> {
    let mut out = Vec::with_capacity(events.len());
    let mut run = Vec::new();
    for event in events {
        if event.child().is_some_and(|(above, _)| above == sup) {
            run.push(event);
        } else {
            out.extend(sorted_by_child(&mut run));
            out.push(event);
        }
    }
    out.extend(sorted_by_child(&mut run));
    out
}

fn flat(events: Vec<Event>) -> Vec<Event> {
    let flat = events.into_iter().flat_map(|event| match event {
        Event::Unordered { of } => of,
        event => vec![event],
    });
    flat.collect()
}

/// The children of `sup` whose last start is the last that is told of them: it was called off. With
/// the number of their starts.
fn called_off(events: &[Event], sup: &str) -> Vec<(String, usize)> {
    let mut starts = HashMap::new();
    for event in events {
        if let Some((above, child)) = event.child()
            && above == sup
        {
            let (number, last) = starts.entry(child.to_owned()).or_insert((0, false));
            *last = matches!(event, Event::Start { .. });
            *number += usize::from(*last);
        }
    }
    let called_off = starts.into_iter().filter(|(_, (_, last))| *last);
    called_off
        .map(|(child, (number, _))| (child, number))
        .collect()
}

/// Leaves out what is told of a child of `sup` after it was started so many times.
fn cut_off(events: &mut Vec<Event>, sup: &str, child: &str, starts: usize) {
    let mut left = starts;
    let mut ended_with = None;
    events.retain(|event| {
        if event.child() == Some((sup, child)) {
            if left == 0 {
                if let Event::Down { r, .. } = event {
                    ended_with = Some(r.clone());
                }
                return false;
            }
            left -= usize::from(matches!(event, Event::Start { .. }));
        }
        true
    });
    // A report that is only counted may be about it.
    let about_it = events.iter().position(|event| match event {
        Event::Report { p, id, r, .. } => {
            p == sup && id.is_none() && Some(r) == ended_with.as_ref()
        }
        _ => false,
    });
    if let Some(about_it) = about_it {
        events.remove(about_it);
    }
}

fn sorted_by_child(run: &mut Vec<Event>) -> Vec<Event> {
    let mut run = std::mem::take(run);
    let child = |event: &Event| event.child().map(|(_, id)| id.to_owned());
    run.sort_by_key(child);
    run
}

/// [`Rule::KilledSubtree`](crate::Rule::KilledSubtree)
fn gone(orphans: &[Event]) -> Vec<String> {
    let mut paths: Vec<_> = orphans
        .iter()
        .filter_map(|event| match event {
            Event::Down { p, .. } => Some(format!("orphan {p}")),
            _ => None,
        })
        .collect();
    paths.sort();
    paths
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
