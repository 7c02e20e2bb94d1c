//! The Deployment.

use std::{net::SocketAddr, time::Duration};

use super::{Draft, confine, pod};
use crate::{
    service::{
        AFTER_STOP, LIVENESS_PERIOD, READINESS_PERIOD, STARTUP_PERIOD, Service, seconds,
        whole_seconds,
    },
    sheet::{Sheet, quoted},
};

impl Draft<'_> {
    pub(super) fn deployment(&self, sheet: &mut Sheet) {
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
}
