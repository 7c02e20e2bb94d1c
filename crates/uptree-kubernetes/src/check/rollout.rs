//! A rollout, and what brings traffic and takes pods away.

use super::Findings;
use crate::{
    objects::{Budget, Objects, Service, selects},
    pod::{Port, Share},
    service::{seconds, whole_seconds},
};

pub(super) fn judge(findings: &mut Findings<'_>, objects: &Objects) {
    let workload = findings.case.workload;
    if workload.kind == "Deployment" {
        deployment(findings);
    }
    for service in &objects.services {
        if selects(&service.selector, &workload.labels) {
            traffic(findings, service);
        }
    }
    for budget in &objects.budgets {
        if selects(&budget.selector, &workload.labels) {
            disruption(findings, budget);
        }
    }
}

fn deployment(findings: &mut Findings<'_>) {
    let case = findings.case;
    let (workload, service) = (case.workload, &case.service);
    let needed = service.rollout();
    if let Some(migrator) = &service.migrator
        && workload.progress_deadline < needed
    {
        findings.add(
            workload.line,
            "progressDeadlineSeconds",
            format!(
                "a rollout counts as failed after {}",
                seconds(workload.progress_deadline)
            ),
            format!(
                "{} may wait {} for locks, and the starts take their time",
                migrator.path,
                seconds(migrator.migrates.longest_wait)
            ),
            format!("set it to {} or more", whole_seconds(needed)),
        );
    }
    // Of a part Kubernetes leaves out the fraction.
    let missing = number(workload.max_unavailable, workload.replicas);
    if workload.replicas > 0 && missing >= workload.replicas {
        findings.add(
            workload.line,
            "maxUnavailable",
            "a rollout may stop every pod before a new one is ready",
            "nobody serves meanwhile",
            "set maxUnavailable to 0 and maxSurge to 1",
        );
    }
}

fn number(share: Share, of: u32) -> u32 {
    match share {
        Share::Number(number) => number,
        Share::PerCent(part) => {
            let number = u64::from(of) * u64::from(part) / 100;
            u32::try_from(number).unwrap_or(u32::MAX)
        }
    }
}

fn traffic(findings: &mut Findings<'_>, service: &Service) {
    let container = findings.case.container;
    let Some(own) = findings.case.service.port() else {
        return;
    };
    let leads = |port: &Port| match port {
        Port::Number(number) => *number == own,
        Port::Unknown(name) => container.ports.get(name) == Some(&own),
    };
    if !service.ports.iter().any(leads) {
        findings.add(
            service.line,
            &format!("Service {}", service.name),
            "none of its ports leads to where the service listens",
            format!("that is {own}"),
            format!("set targetPort to {own}, or to the name of that port"),
        );
    }
}

fn disruption(findings: &mut Findings<'_>, budget: &Budget) {
    let replicas = findings.case.workload.replicas;
    let keeps_all = match budget.min_available {
        Some(Share::Number(number)) => number >= replicas,
        Some(Share::PerCent(part)) => part >= 100,
        None => false,
    };
    let takes_none = matches!(
        budget.max_unavailable,
        Some(Share::Number(0) | Share::PerCent(0))
    );
    if keeps_all || takes_none {
        findings.add(
            budget.line,
            &format!("PodDisruptionBudget {}", budget.name),
            "it lets no pod go",
            "a node with such a pod cannot be drained",
            "set maxUnavailable to 1, and leave out minAvailable",
        );
    }
}
