//! What `SERVICE manifest` prints.

mod deployment;
mod job;
mod settings;

use std::time::Duration;

use uptree_app::Built;

use crate::{service::Service, sheet::Sheet};

/// Whoever runs it in a container owns no file there: distroless's `nonroot`.
const USER: u32 = 65532;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) namespace: Option<String>,
    pub(crate) replicas: u32,
    pub(crate) migration_job: bool,
    pub(crate) pre_stop: Option<Duration>,
    pub(crate) explain: bool,
}

/// A service, and what it is to run with.
pub(crate) struct Draft<'a> {
    pub(crate) wanted: &'a Wanted,
    /// As it will be there.
    pub(crate) service: &'a Service,
    /// As the process is that prints it.
    pub(crate) here: &'a Built,
    /// The port, and what an address that is reached from outside has in front of it.
    pub(crate) port: u16,
    pub(crate) addr: String,
    pub(crate) budget: Duration,
    pub(crate) grace: Duration,
}

impl Draft<'_> {
    pub(crate) fn print(&self) -> String {
        let mut sheet = Sheet::new(self.wanted.explain);
        if self.wanted.migration_job
            && let Some(migrator) = &self.service.migrator
        {
            self.job(&mut sheet, &migrator.path, migrator.cancel_grace);
            sheet.next_document();
        }
        self.deployment(&mut sheet);
        sheet.next_document();
        self.service(&mut sheet);
        sheet.next_document();
        self.disruption_budget(&mut sheet);
        sheet.finish()
    }

    fn service(&self, sheet: &mut Sheet) {
        self.head(sheet, "v1", "Service", &self.wanted.name);
        sheet.block("spec", |sheet| {
            self.labels(sheet, "selector");
            sheet.block("ports", |sheet| {
                sheet.item(|sheet| {
                    sheet.line(format!("name: {}", self.port_name()));
                    sheet.line(if self.service.tls() {
                        "port: 443"
                    } else {
                        "port: 80"
                    });
                    sheet.line(format!("targetPort: {}", self.port_name()));
                });
            });
        });
    }

    fn disruption_budget(&self, sheet: &mut Sheet) {
        self.head(sheet, "policy/v1", "PodDisruptionBudget", &self.wanted.name);
        sheet.block("spec", |sheet| {
            sheet.why("A node that is drained takes one pod after the other, and is never held up");
            sheet.line("maxUnavailable: 1");
            sheet.why("A pod that is not ready serves nobody");
            sheet.line("unhealthyPodEvictionPolicy: AlwaysAllow");
            sheet.block("selector", |sheet| self.labels(sheet, "matchLabels"));
        });
    }

    fn port_name(&self) -> &'static str {
        if self.service.tls() { "https" } else { "http" }
    }

    fn head(&self, sheet: &mut Sheet, version: &str, kind: &str, name: &str) {
        sheet.line(format!("apiVersion: {version}"));
        sheet.line(format!("kind: {kind}"));
        sheet.block("metadata", |sheet| {
            sheet.line(format!("name: {name}"));
            if let Some(namespace) = &self.wanted.namespace {
                sheet.line(format!("namespace: {namespace}"));
            }
            self.labels(sheet, "labels");
        });
    }

    fn labels(&self, sheet: &mut Sheet, key: &str) {
        sheet.block(key, |sheet| {
            sheet.line(format!("app.kubernetes.io/name: {}", self.wanted.name));
        });
    }
}

/// What holds of every pod.
fn pod(sheet: &mut Sheet) {
    sheet.why("The service asks nothing of Kubernetes");
    sheet.line("automountServiceAccountToken: false");
    sheet.why("Variables of other Services' names could be taken for settings");
    sheet.line("enableServiceLinks: false");
    sheet.block("securityContext", |sheet| {
        sheet.line("runAsNonRoot: true");
        sheet.line(format!("runAsUser: {USER}"));
        sheet.line(format!("runAsGroup: {USER}"));
        sheet.block("seccompProfile", |sheet| sheet.line("type: RuntimeDefault"));
    });
}

/// What holds of every container.
fn confine(sheet: &mut Sheet) {
    sheet.remark("resources: only a measurement of your own says what it needs");
    sheet.block("securityContext", |sheet| {
        sheet.line("allowPrivilegeEscalation: false");
        sheet.line("readOnlyRootFilesystem: true");
        sheet.block("capabilities", |sheet| sheet.line("drop: [ALL]"));
    });
}

/// A time as a setting takes it.
pub(crate) fn setting(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_a_setting_takes() {
        for millis in [0, 1, 999, 1000, 1500, 90_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(uptree_app::settings::duration(&setting(time)), Ok(time));
        }
    }
}
