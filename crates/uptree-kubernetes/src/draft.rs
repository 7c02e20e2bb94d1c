//! What `SERVICE manifest` prints.

use std::{net::SocketAddr, time::Duration};

use uptree_app::{Built, Setting};

use crate::{
    service::{
        AFTER_STOP, LIVENESS_PERIOD, READINESS_PERIOD, STARTUP_PERIOD, Service, seconds,
        whole_seconds,
    },
    sheet::{Sheet, literal, quoted},
};

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

    fn deployment(&self, sheet: &mut Sheet) {
        let service = self.service;
        self.head(sheet, "apps/v1", "Deployment", &self.wanted.name);
        sheet.block("spec", |sheet| {
            sheet.line(format!("replicas: {}", self.wanted.replicas));
            sheet.why(format!(
                "A new pod counts once it has been ready for so long: one that fails until it gives \
                 up does so within the window in which restarts are counted, {}",
                seconds(service.settling)
            ));
            sheet.line(format!("minReadySeconds: {}", whole_seconds(service.min_ready())));
            let waits = service.migrator.as_ref().map(|it| it.migrates.longest_wait);
            let waits = waits.map(|waits| format!(" + {} for locks of migrations", seconds(waits)));
            sheet.why(format!(
                "After that `kubectl rollout status` fails; nothing is stopped. 60s for the image + {} \
                 for all starts{} + minReadySeconds + a readiness probe = {}, and 10 min at the least",
                seconds(service.starts),
                waits.unwrap_or_default(),
                seconds(service.rollout())
            ));
            let deadline = whole_seconds(service.progress_deadline());
            sheet.line(format!("progressDeadlineSeconds: {deadline}"));
            sheet.block("selector", |sheet| self.labels(sheet, "matchLabels"));
            sheet.block("strategy", |sheet| {
                sheet.line("type: RollingUpdate");
                sheet.block("rollingUpdate", |sheet| {
                    sheet.why("No pod goes before the one that replaces it is ready");
                    sheet.line("maxUnavailable: 0");
                    sheet.line("maxSurge: 1");
                });
            });
            sheet.block("template", |sheet| {
                sheet.block("metadata", |sheet| self.labels(sheet, "labels"));
                sheet.block("spec", |sheet| {
                    let pre_stop = self.wanted.pre_stop.unwrap_or_default();
                    sheet.why(format!(
                        "preStop {} + STOP_BUDGET {} + {} for the container to end",
                        seconds(pre_stop),
                        seconds(self.budget),
                        seconds(AFTER_STOP)
                    ));
                    let grace = whole_seconds(self.grace);
                    sheet.line(format!("terminationGracePeriodSeconds: {grace}"));
                    pod(sheet);
                    sheet.block("containers", |sheet| sheet.item(|sheet| self.container(sheet)));
                    self.tls_volume(sheet);
                });
            });
        });
    }

    fn container(&self, sheet: &mut Sheet) {
        let service = self.service;
        sheet.line(format!("name: {}", self.wanted.name));
        sheet.line(format!("image: {}", quoted(&self.wanted.image)));
        self.args(sheet, &[]);
        sheet.block("env", |sheet| self.env(sheet));
        sheet.block("ports", |sheet| {
            sheet.item(|sheet| {
                sheet.line(format!("name: {}", self.port_name()));
                sheet.line(format!("containerPort: {}", self.port));
            });
            if let Some(port) = self.metrics_port() {
                sheet.item(|sheet| {
                    sheet.line("name: metrics");
                    sheet.line(format!("containerPort: {port}"));
                });
            }
        });
        sheet.why(
            "The process answers as soon as it listens, whatever boots after that: this ends long \
             before a migration does",
        );
        let needed = service.before_listening.saturating_add(service.listening);
        self.probe(
            sheet,
            "startupProbe",
            "/alive",
            STARTUP_PERIOD,
            u32::try_from(whole_seconds(needed))
                .unwrap_or(u32::MAX)
                .max(30),
            &format!(
                "START_TIMEOUTs of what must start before it listens: {}",
                seconds(needed)
            ),
        );
        let failures = service.liveness_failures(LIVENESS_PERIOD);
        let stall = match service.stall_limit {
            Some(limit) => format!(
                "A stall of STALL_LIMIT {} is told by the process itself, in its log and to the last \
                 of so many probes: ({failures} - 1) x {} = {}",
                seconds(limit),
                seconds(LIVENESS_PERIOD),
                seconds(Service::tolerated(LIVENESS_PERIOD, failures))
            ),
            None => "STALL_LIMIT is off: Kubernetes's default".to_owned(),
        };
        sheet.why("Says that the process serves; never how its boot or its dependencies are");
        self.probe(
            sheet,
            "livenessProbe",
            "/alive",
            LIVENESS_PERIOD,
            failures,
            &stall,
        );
        sheet.why("Says that it is to be given work: no from the first SIGTERM on");
        self.probe(
            sheet,
            "readinessProbe",
            "/ready",
            READINESS_PERIOD,
            1,
            "It answers at once, so that one no is enough",
        );
        if let Some(pre_stop) = self.wanted.pre_stop {
            sheet
                .why("Before SIGTERM, while the word spreads that the pod goes. DRAIN_DELAY is 0s");
            sheet.block("lifecycle", |sheet| {
                sheet.block("preStop", |sheet| {
                    sheet.block("sleep", |sheet| {
                        sheet.line(format!("seconds: {}", whole_seconds(pre_stop)));
                    });
                });
            });
        }
        confine(sheet);
        self.tls_mount(sheet);
    }

    fn probe(
        &self,
        sheet: &mut Sheet,
        kind: &str,
        path: &str,
        period: Duration,
        failures: u32,
        why: &str,
    ) {
        sheet.block(kind, |sheet| {
            sheet.block("httpGet", |sheet| {
                sheet.line(format!("path: {path}"));
                sheet.line(format!("port: {}", self.port_name()));
                if self.service.tls() {
                    sheet.line("scheme: HTTPS");
                }
            });
            sheet.line(format!("periodSeconds: {}", whole_seconds(period)));
            sheet.line("timeoutSeconds: 1");
            sheet.why(why);
            sheet.line(format!("failureThreshold: {failures}"));
        });
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

    fn job(&self, sheet: &mut Sheet, path: &str, cancel_grace: Duration) {
        let name = job_name(&self.wanted.name, &self.wanted.image);
        sheet.why("A Job cannot be changed: another image is another Job");
        self.head(sheet, "batch/v1", "Job", &name);
        sheet.block("spec", |sheet| {
            sheet.remark(
                "No activeDeadlineSeconds: it would end a migration that takes long, and to begin \
                 again takes as long",
            );
            sheet.line("ttlSecondsAfterFinished: 86400");
            sheet.block("template", |sheet| {
                sheet.block("metadata", |sheet| {
                    sheet.block("labels", |sheet| {
                        sheet.why("Not the service's: a Job gets no traffic");
                        sheet.line(format!("app.kubernetes.io/name: {}-migrate", self.wanted.name));
                    });
                });
                sheet.block("spec", |sheet| {
                    sheet.line("restartPolicy: Never");
                    let grace = cancel_grace.saturating_add(AFTER_STOP);
                    sheet.why(format!(
                        "{path} has {} to cancel what it does on the server, and {} for the container \
                         to end",
                        seconds(cancel_grace),
                        seconds(AFTER_STOP)
                    ));
                    let grace = whole_seconds(grace);
                    sheet.line(format!("terminationGracePeriodSeconds: {grace}"));
                    pod(sheet);
                    sheet.block("containers", |sheet| {
                        sheet.item(|sheet| {
                            sheet.line(format!("name: {}", self.wanted.name));
                            sheet.line(format!("image: {}", quoted(&self.wanted.image)));
                            self.args(sheet, &["migrate", "up"]);
                            let env = self.settings(&["ADDR", "DRAIN_DELAY", "STOP_BUDGET", "MIGRATE"]);
                            let secrets = self.secrets();
                            if !env.is_empty() || !secrets.is_empty() {
                                sheet.block("env", |sheet| {
                                    for (name, value) in env {
                                        variable(sheet, &name, &value);
                                    }
                                    for secret in secrets {
                                        self.secret(sheet, secret);
                                    }
                                });
                            }
                            confine(sheet);
                        });
                    });
                });
            });
        });
    }

    /// The variables of the service.
    fn env(&self, sheet: &mut Sheet) {
        let service = self.service;
        sheet.why("A loopback address is not reached from outside the container");
        variable(sheet, "ADDR", &self.addr);
        if let Some(drains) = service.drains {
            sheet.why(match self.wanted.pre_stop {
                Some(_) => "The preStop hook waits",
                None => {
                    "For how long requests are served as always after SIGTERM: the removal of the \
                     pod's endpoint races it"
                }
            });
            variable(sheet, "DRAIN_DELAY", &setting(drains.delay));
        }
        sheet.why(
            match service.set_budget.is_some() && self.is_given("STOP_BUDGET") {
                true => "As it was set for `manifest`".to_owned(),
                false => format!(
                    "What the stops of the children come to, and 0.5s to tell of the end: {}",
                    service.sum_of_stops()
                ),
            },
        );
        variable(sheet, "STOP_BUDGET", &setting(self.budget));
        if self.wanted.migration_job {
            sheet.why("The Job migrates");
            variable(sheet, "MIGRATE", "wait");
        }
        let mut own = vec!["ADDR", "DRAIN_DELAY", "STOP_BUDGET"];
        own.extend(self.wanted.migration_job.then_some("MIGRATE"));
        for (name, value) in self.settings(&own) {
            sheet.why("As it was set for `manifest`");
            variable(sheet, &name, &value);
        }
        for secret in self.secrets() {
            self.secret(sheet, secret);
        }
    }

    /// The settings that were given, except those that are told apart.
    fn settings(&self, except: &[&str]) -> Vec<(String, String)> {
        let all = self.here.settings.iter().filter_map(|setting| {
            let name = setting.variable.as_deref()?;
            match &setting.values[..] {
                [value] if !except.contains(&name) => Some((name.to_owned(), value.clone())),
                _ => None,
            }
        });
        all.collect()
    }

    fn is_given(&self, name: &str) -> bool {
        let mut settings = self.here.settings.iter();
        settings.any(|it| it.variable.as_deref() == Some(name) && !it.values.is_empty())
    }

    /// The settings that have no variable, or that a variable cannot say, and `command`.
    fn args(&self, sheet: &mut Sheet, command: &[&str]) {
        let mut words = Vec::new();
        for setting in &self.here.settings {
            let fits = setting.variable.is_some() && setting.values.len() < 2;
            if fits {
                continue;
            }
            let Some(flag) = setting.flag.as_deref() else {
                words.extend(setting.values.iter().map(|value| literal(value)));
                continue;
            };
            words.extend(
                setting
                    .values
                    .iter()
                    .map(|value| match setting.takes_value {
                        true => literal(&format!("{flag}={value}")),
                        false => literal(flag),
                    }),
            );
        }
        words.extend(command.iter().map(|word| quoted(word)));
        if !words.is_empty() {
            sheet.line(format!("args: [{}]", words.join(", ")));
        }
    }

    fn secrets(&self) -> Vec<&Setting> {
        let all = self.here.settings.iter();
        all.filter(|setting| setting.is_secret && setting.variable.is_some())
            .collect()
    }

    fn secret(&self, sheet: &mut Sheet, secret: &Setting) {
        let variable = secret.variable.as_deref().unwrap_or_default();
        let is_optional = !secret.is_required && !secret.has_default;
        sheet.item(|sheet| {
            sheet.line(format!("name: {variable}"));
            sheet.block("valueFrom", |sheet| {
                sheet.block("secretKeyRef", |sheet| {
                    sheet.line(format!("name: {}", self.wanted.name));
                    sheet.line(format!("key: {variable}"));
                    if is_optional {
                        sheet.line("optional: true");
                    }
                });
            });
        });
    }

    fn port_name(&self) -> &'static str {
        if self.service.tls() { "https" } else { "http" }
    }

    /// That of `METRICS_ADDR`, if it is set.
    fn metrics_port(&self) -> Option<u16> {
        let settings = self.settings(&[]);
        let (_, addr) = settings
            .into_iter()
            .find(|(name, _)| name == "METRICS_ADDR")?;
        let addr: SocketAddr = addr.parse().ok()?;
        Some(addr.port()).filter(|port| *port != self.port)
    }

    fn tls_folder(&self) -> Option<String> {
        let settings = self.settings(&[]);
        let (_, path) = settings.into_iter().find(|(name, _)| name == "TLS_CERT")?;
        let (folder, _) = path.rsplit_once('/')?;
        folder.starts_with('/').then(|| folder.to_owned())
    }

    fn tls_mount(&self, sheet: &mut Sheet) {
        if let Some(folder) = self.tls_folder() {
            sheet.block("volumeMounts", |sheet| {
                sheet.item(|sheet| {
                    sheet.line("name: tls");
                    sheet.line(format!("mountPath: {}", quoted(&folder)));
                    sheet.line("readOnly: true");
                });
            });
        }
    }

    fn tls_volume(&self, sheet: &mut Sheet) {
        if self.tls_folder().is_some() {
            sheet.block("volumes", |sheet| {
                sheet.item(|sheet| {
                    sheet.line("name: tls");
                    sheet.block("secret", |sheet| {
                        sheet.line(format!("secretName: {}-tls", self.wanted.name));
                    });
                });
            });
        }
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

fn variable(sheet: &mut Sheet, name: &str, value: &str) {
    sheet.item(|sheet| {
        sheet.line(format!("name: {name}"));
        sheet.line(format!("value: {}", literal(value)));
    });
}

/// A time as a setting takes it.
pub(crate) fn setting(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}

/// The Job of an image: named by its tag, or the beginning of its digest.
fn job_name(name: &str, image: &str) -> String {
    let tag = match image.rsplit_once('@') {
        Some((_, digest)) => digest.rsplit(':').next().unwrap_or_default().get(..12),
        None => image
            .rsplit('/')
            .next()
            .and_then(|it| Some(it.split_once(':')?.1)),
    };
    let tag = tag.unwrap_or_default().to_ascii_lowercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let tag: String = tag.chars().map(plain).collect();
    let whole = format!("{name}-migrate-{tag}");
    let fits = whole.get(..63).unwrap_or(&whole);
    fits.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_its_image() {
        let long = format!("shop:{}", "1.".repeat(40));
        for (image, expected) in [
            ("shop", "shop-migrate"),
            ("shop:1.4.2", "shop-migrate-1-4-2"),
            ("registry:5000/a/shop:V1_b", "shop-migrate-v1-b"),
            ("registry:5000/a/shop", "shop-migrate"),
            ("shop@sha256:0123456789abcdef", "shop-migrate-0123456789ab"),
            (
                &long,
                &format!("shop-migrate-{}", "1-".repeat(25).trim_end_matches('-')),
            ),
        ] {
            assert_eq!(job_name("shop", image), expected);
        }
    }

    #[test]
    fn times_are_what_a_setting_takes() {
        for millis in [0, 1, 999, 1000, 1500, 90_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(uptree_app::settings::duration(&setting(time)), Ok(time));
        }
    }
}
