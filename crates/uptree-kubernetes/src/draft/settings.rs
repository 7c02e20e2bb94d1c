//! What the containers are set to.

use uptree_app::Setting;

use super::{Draft, setting};
use crate::sheet::{Sheet, literal, quoted};

impl Draft<'_> {
    /// The variables of the service.
    pub(super) fn env(&self, sheet: &mut Sheet) {
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
    pub(super) fn settings(&self, except: &[&str]) -> Vec<(String, String)> {
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
    pub(super) fn args(&self, sheet: &mut Sheet, command: &[&str]) {
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

    pub(super) fn secrets(&self) -> Vec<&Setting> {
        let all = self.here.settings.iter();
        all.filter(|setting| setting.is_secret && setting.variable.is_some())
            .collect()
    }

    pub(super) fn secret(&self, sheet: &mut Sheet, secret: &Setting) {
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
}

pub(super) fn variable(sheet: &mut Sheet, name: &str, value: &str) {
    sheet.item(|sheet| {
        sheet.line(format!("name: {name}"));
        sheet.line(format!("value: {}", literal(value)));
    });
}
