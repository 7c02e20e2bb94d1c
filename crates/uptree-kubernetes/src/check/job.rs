//! Who migrates: a Job, an init container, the pods themselves.

use super::{Case, Findings};
use crate::service::{AFTER_STOP, seconds, whole_seconds};

/// A container that does `migrate up`.
pub(super) fn judge(findings: &mut Findings<'_>) {
    let case = findings.case;
    let workload = case.workload;
    if let Some(deadline) = workload.active_deadline {
        findings.add(
            workload.line,
            "activeDeadlineSeconds",
            format!("a migration is ended after {}", seconds(deadline)),
            "to begin again takes as long",
            "leave it out",
        );
    }
    let Some(migrator) = &case.service.migrator else {
        return;
    };
    let needed = migrator.cancel_grace.saturating_add(AFTER_STOP);
    if workload.grace < needed {
        findings.add(
            workload.line,
            "terminationGracePeriodSeconds",
            format!("the grace is {}", seconds(workload.grace)),
            format!(
                "{} has {} to cancel what it does on the server, and {} for the container to end",
                migrator.path,
                seconds(migrator.cancel_grace),
                seconds(AFTER_STOP)
            ),
            format!("set it to {}", whole_seconds(needed)),
        );
    }
}

/// A service beside which another migrates.
pub(super) fn judge_beside(findings: &mut Findings<'_>, cases: &[Case<'_>]) {
    let case = findings.case;
    let Some(migrator) = case
        .service
        .migrator
        .as_ref()
        .filter(|it| it.migrates.applies)
    else {
        return;
    };
    let mut others = cases
        .iter()
        .filter(|other| other.command.as_deref() == Some("migrate"));
    if let Some(job) = others.next() {
        findings.add(
            case.line_of("MIGRATE"),
            "MIGRATE",
            format!("{} migrates too", migrator.path),
            format!("{} {} does", job.workload.kind, job.workload.name),
            "set MIGRATE to wait, or leave out the other",
        );
    }
}
