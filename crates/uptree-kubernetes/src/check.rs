//! What in a manifest contradicts the tree.

mod choose;
mod job;
mod probes;
mod rollout;
mod stop;

use std::collections::BTreeMap;

pub(crate) use self::choose::{Chosen, choose};
use crate::{
    objects::Objects,
    pod::{Container, Variable, Workload},
    service::Service,
};

/// Something that contradicts the tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    /// Where it stands, from 1 on.
    pub(crate) line: usize,
    /// Such as `Deployment shop: livenessProbe`.
    pub(crate) place: String,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) help: String,
}

/// A container of the service, and the service as it is with that container's variables.
pub(crate) struct Case<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) container: &'a Container,
    pub(crate) service: Service,
    /// What it does instead of running the service.
    pub(crate) command: Option<String>,
    /// What is wrong with its settings.
    pub(crate) wrong: Vec<String>,
    /// The settings that are secret.
    pub(crate) secrets: Vec<String>,
}

/// Collects what is found.
struct Findings<'a> {
    case: &'a Case<'a>,
    all: Vec<Finding>,
}

impl Findings<'_> {
    fn add(
        &mut self,
        line: usize,
        place: &str,
        what: impl Into<String>,
        why: impl Into<String>,
        help: impl Into<String>,
    ) {
        let Workload { kind, name, .. } = self.case.workload;
        self.all.push(Finding {
            line,
            place: format!("{kind} {name}: {place}"),
            what: what.into(),
            why: why.into(),
            help: help.into(),
        });
    }
}

impl Case<'_> {
    fn variable(&self, name: &str) -> Option<&Variable> {
        self.container.env.get(name)
    }

    /// The line of a variable, or of the container.
    fn line_of(&self, name: &str) -> usize {
        let line = self.variable(name).map(|variable| variable.line);
        line.unwrap_or(self.container.line)
    }

    /// Whether it ends by itself.
    fn is_job(&self) -> bool {
        matches!(&*self.workload.kind, "Job" | "CronJob")
    }
}

/// The values of a container's variables that are known.
pub(crate) fn known(container: &Container) -> BTreeMap<String, String> {
    let env = container.env.iter();
    env.filter_map(|(name, variable)| Some((name.clone(), variable.value.clone()?)))
        .collect()
}

/// Everything that contradicts the tree, in the order of the text.
pub(crate) fn judge(cases: &[Case<'_>], objects: &Objects) -> Vec<Finding> {
    let mut all = Vec::new();
    for case in cases {
        let mut findings = Findings {
            case,
            all: Vec::new(),
        };
        settings(&mut findings);
        if case.command.as_deref() == Some("migrate") {
            job::judge(&mut findings);
        } else if case.command.is_none() {
            stop::judge(&mut findings);
            if !case.is_job() {
                probes::judge(&mut findings);
                rollout::judge(&mut findings, objects);
                job::judge_beside(&mut findings, cases);
            }
        }
        all.extend(findings.all);
    }
    all.sort_by_key(|finding| finding.line);
    all
}

/// Values that the service does not take, and secrets that lie open.
fn settings(findings: &mut Findings<'_>) {
    let case = findings.case;
    for wrong in &case.wrong {
        let name = wrong.split([' ', ':']).next().unwrap_or_default();
        let (line, place, help) = match case.variable(name) {
            Some(variable) => (variable.line, name, "mend the value"),
            None => (case.container.line, "args", "mend the arguments"),
        };
        findings.add(
            line,
            place,
            wrong,
            "the service does not boot with it",
            help,
        );
    }
    for name in &case.secrets {
        let Some(variable) = case.variable(name) else {
            continue;
        };
        if variable
            .value
            .as_deref()
            .is_some_and(|value| !value.is_empty())
        {
            findings.add(
                variable.line,
                name,
                "a secret stands in the manifest",
                "whoever reads the manifest or the pod knows it",
                "put it into a Secret, and take it from there by `secretKeyRef`",
            );
        }
    }
}
