//! What the commands have in common.

mod check;
mod manifest;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use uptree_app::{Built, settings::duration};

pub use self::{check::Check, manifest::Manifest};
use crate::service::Service;

/// Whether a setting is set otherwise than by default.
fn is_set(built: &Built, name: &str) -> bool {
    let mut settings = built.settings.iter();
    settings.any(|it| it.variable.as_deref() == Some(name) && !it.values.is_empty())
}

/// The service as these variables make it, where it cannot be built again: as far as they are known.
fn overlaid(mut service: Service, variables: &BTreeMap<String, String>) -> Service {
    let time = |name| variables.get(name).and_then(|value| duration(value).ok());
    service.set_budget = time("STOP_BUDGET").or(service.set_budget);
    service.stall_limit = match variables.get("STALL_LIMIT").map(String::as_str) {
        Some("off") => None,
        _ => time("STALL_LIMIT").or(service.stall_limit),
    };
    if let Some(drains) = &mut service.drains {
        let before = drains.delay.saturating_add(drains.limit);
        drains.delay = time("DRAIN_DELAY").unwrap_or(drains.delay_in_kubernetes);
        drains.limit = time("DRAIN_LIMIT").unwrap_or(drains.limit);
        let after = drains.delay.saturating_add(drains.limit);
        let changed = |stop: Duration| stop.saturating_add(after).saturating_sub(before);
        service.needed_budget = service.needed_budget.map(changed);
        if let Some((_, stop)) = service.stops.first_mut() {
            *stop = stop.map(changed);
        }
    }
    if let Some(listens) = &mut service.listens {
        let addr = variables.get("ADDR").and_then(|addr| addr.parse().ok());
        listens.addr = addr.unwrap_or(listens.addr);
    }
    if let Some(migrator) = &mut service.migrator
        && let Some(role) = variables.get("MIGRATE")
    {
        migrator.migrates.applies = role == "apply";
    }
    service
}
