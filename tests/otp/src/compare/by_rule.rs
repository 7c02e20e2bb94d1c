//! The rules, applied to what was recorded and what was replayed.

use std::collections::HashMap;

use super::{Supervisors, flat, unordered};
use crate::{
    scenario::{Call, Restart, Step},
    trace::{Ctx, Event, Reason, Row, Term},
};

/// [`Rule::KilledSubtree`](crate::Rule::KilledSubtree)
pub(super) fn orphans(orphans: &[Event]) -> Vec<String> {
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

/// What was recorded, as a supervisor of ours would have done it.
pub(super) fn expected(events: &[Event], supervisors: &Supervisors<'_>) -> Vec<Event> {
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
        && supervisors
            .template(p)
            .is_some_and(|it| it.restart == Restart::Permanent && !it.is_brutal())
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

/// [`Rule::OneReportEach`](crate::Rule::OneReportEach): takes together how the children of a dynamic
/// supervisor end, and its reports of that, where its own end follows.
pub(super) fn ends_as_one(events: Vec<Event>, supervisors: &Supervisors<'_>) -> Vec<Event> {
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

/// [`Rule::StartsOverlap`](crate::Rule::StartsOverlap): what was recorded of a batch on the dynamic
/// supervisor `sup`, as it would have been if starts were called off there, too.
pub(super) fn with_starts_called_off(
    recorded: &mut Row,
    replayed: &Row,
    sup: &str,
    items: &[Step],
) {
    for (child, starts) in called_off(&replayed.events, sup) {
        cut_off(&mut recorded.events, sup, &child, starts);
        let answers = recorded.result.as_array_mut().into_iter().flatten();
        let replayed = replayed.result.as_array().into_iter().flatten();
        for ((item, recorded), replayed) in items.iter().zip(answers).zip(replayed) {
            // Whoever called for that start is told that the supervisor has ended.
            if let Step::Call(Call {
                child: Some(node), ..
            }) = item
                && node.id() == child
                && replayed["error"] == "noproc"
            {
                recorded.clone_from(replayed);
            }
        }
    }
}

/// [`Rule::EndedBefore`](crate::Rule::EndedBefore): leaves out the reports that are not compared, of a
/// batch on the dynamic supervisor `sup`.
pub(super) fn leave_out_ended_before(
    row: &mut Row,
    sup: &str,
    items: &[Step],
    supervisors: &Supervisors<'_>,
) {
    let ended = |path: &str| {
        items.iter().any(|item| match item {
            Step::Exit { path: it, .. } => it == path,
            _ => false,
        })
    };
    // Nobody else can end in order where everybody is killed.
    let template = supervisors.template(sup);
    let killed = template.is_some_and(|it| it.restart != Restart::Permanent && it.is_brutal());
    row.events.retain(|event| match event {
        Event::Report {
            p,
            ctx: Ctx::ShutdownError,
            id,
            r,
            ..
        } if p == sup => match id {
            Some(id) => !ended(&format!("{p}/{id}")),
            None => !(killed && r.is_in_order()),
        },
        _ => true,
    });
}

/// Puts what happens to each child of `sup` together, where nothing else comes between.
pub(super) fn by_child(events: Vec<Event>, sup: &str) -> Vec<Event> {
    let mut out = Vec::with_capacity(events.len());
    let mut run = Vec::new();
    for event in events {
        let counted = matches!(&event, Event::Report { p, .. } if p == sup);
        if counted || event.child().is_some_and(|(above, _)| above == sup) {
            run.push(event);
        } else {
            out.extend(sorted_by_child(&mut run));
            out.push(event);
        }
    }
    out.extend(sorted_by_child(&mut run));
    out
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
    // Reports that are only counted are about nobody, and have no order.
    run.sort_by(|a, b| match (a.child(), b.child()) {
        (None, None) => a.cmp(b),
        (a, b) => a.cmp(&b),
    });
    run
}
