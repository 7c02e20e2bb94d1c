//! The stop: what it may take, and what it is given.

use std::time::Duration;

use super::Findings;
use crate::service::{AFTER_STOP, seconds, whole_seconds};

pub(super) fn judge(findings: &mut Findings<'_>) {
    let service = &findings.case.service;
    let Some(budget) = service.stop_budget() else {
        let sum = service.sum_of_stops();
        let line = findings.case.container.line;
        return findings.add(
            line,
            "env",
            "there is no STOP_BUDGET",
            format!("a child's stop has no limit: {sum}; the service does not boot without"),
            "set STOP_BUDGET",
        );
    };
    if let Some(needed) = service.needed_budget.filter(|needed| budget < *needed) {
        let sum = service.sum_of_stops();
        findings.add(
            findings.case.line_of("STOP_BUDGET"),
            "STOP_BUDGET",
            format!(
                "STOP_BUDGET is {}, and a stop may take {}",
                seconds(budget),
                seconds(needed)
            ),
            format!("children are killed before their time is over: {sum}"),
            format!(
                "set it to {} or more, and the grace accordingly",
                seconds(needed)
            ),
        );
    }
    drain(findings);
    grace(findings, budget);
}

/// One of the two sides waits for the removal of the pod's endpoint, and not both.
fn drain(findings: &mut Findings<'_>) {
    let case = findings.case;
    let Some(drains) = case.service.drains.filter(|_| !case.is_job()) else {
        return;
    };
    let delay = seconds(drains.delay);
    let hook = case.container.pre_stop.as_ref();
    match hook.map(|hook| (hook.line, hook.sleep)) {
        None | Some((_, Some(Duration::ZERO))) if drains.delay.is_zero() => findings.add(
            case.line_of("DRAIN_DELAY"),
            "DRAIN_DELAY",
            "DRAIN_DELAY is 0s, and there is no preStop hook that sleeps",
            "the removal of the pod's endpoint races SIGTERM: requests come to a pod that refuses them",
            "leave DRAIN_DELAY out, which makes it 5s in Kubernetes",
        ),
        Some((line, Some(sleep))) if !sleep.is_zero() && !drains.delay.is_zero() => findings.add(
            line,
            "preStop",
            format!("a preStop sleep of {} and a DRAIN_DELAY of {delay}", seconds(sleep)),
            "both wait for the same, one after the other",
            "leave out the preStop hook, or set DRAIN_DELAY to 0s",
        ),
        _ => {}
    }
}

fn grace(findings: &mut Findings<'_>, budget: Duration) {
    let case = findings.case;
    let hook = case.container.pre_stop.as_ref();
    let pre_stop = hook.and_then(|hook| hook.sleep).unwrap_or_default();
    let Some(needed) = case.service.grace(pre_stop) else {
        return;
    };
    let why = format!(
        "preStop {} + stop budget {} + {} for the container to end; SIGKILL comes before",
        seconds(pre_stop),
        seconds(budget),
        seconds(AFTER_STOP)
    );
    let short = |grace: Duration| {
        format!(
            "the grace is {}, and a stop may take {}",
            seconds(grace),
            seconds(needed)
        )
    };
    let help = format!("set it to {}", whole_seconds(needed));
    let grace = case.workload.grace;
    if grace < needed {
        let line = case.workload.line;
        findings.add(
            line,
            "terminationGracePeriodSeconds",
            short(grace),
            why.clone(),
            &*help,
        );
    }
    let liveness = [
        ("livenessProbe", &case.container.liveness),
        ("startupProbe", &case.container.startup),
    ];
    for (name, probe) in liveness {
        let Some((line, grace)) = probe.as_ref().and_then(|it| Some((it.line, it.grace?))) else {
            continue;
        };
        if grace < needed {
            let place = format!("{name}.terminationGracePeriodSeconds");
            findings.add(line, &place, short(grace), why.clone(), &*help);
        }
    }
}
