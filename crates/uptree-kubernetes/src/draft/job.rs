//! The Job that migrates.

use std::time::Duration;

use super::{Draft, confine, pod, settings::variable};
use crate::{
    service::{AFTER_STOP, seconds, whole_seconds},
    sheet::{Sheet, quoted},
};

/// Settings of what listens and drains, which the Job does not. Of some of them it would miss what
/// they name: a certificate, a token.
const NOT_ITS: &[&str] = &[
    "ADDR",
    "TLS_CERT",
    "TLS_KEY",
    "ADMIN_ADDR",
    "METRICS_ADDR",
    "DRAIN_DELAY",
    "STOP_BUDGET",
    "MIGRATE",
];

impl Draft<'_> {
    pub(super) fn job(&self, sheet: &mut Sheet, path: &str, cancel_grace: Duration) {
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
                            let env = self.settings(NOT_ITS);
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
}
