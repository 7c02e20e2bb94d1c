//! Which of a manifest's containers are the service.

use uptree_app::{BoxError, Result, help};

use crate::{
    objects::Objects,
    pod::{Container, Handler, Probe, Workload},
};

/// What is asked to be looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// The workload's name.
    pub(crate) name: Option<String>,
    /// The container's.
    pub(crate) container: Option<String>,
}

/// The service's containers, those that initialise too; each workload has one at the most beside
/// these.
///
/// `id` is what the service calls itself.
pub(crate) fn choose<'a>(
    objects: &'a Objects,
    chosen: &Chosen,
    id: &str,
) -> Result<Vec<(&'a Workload, &'a Container)>> {
    let mut found = Vec::new();
    let all = &objects.workloads;
    for workload in all {
        if chosen
            .name
            .as_ref()
            .is_some_and(|name| *name != workload.name)
        {
            continue;
        }
        let named = chosen.container.as_deref();
        let ours: Vec<_> = match named {
            Some(named) => containers(workload).filter(|it| it.name == named).collect(),
            None => containers(workload).filter(|it| is_ours(it, id)).collect(),
        };
        let only = all.len() == 1 || chosen.name.is_some();
        match (&ours[..], &workload.containers[..]) {
            ([], [container]) if named.is_none() && only => found.push((workload, container)),
            ([], [_, _, ..]) if named.is_none() && only => return Err(which(workload)),
            _ => {}
        }
        let running = workload.containers.iter();
        if running.filter(|it| ours.contains(it)).count() > 1 {
            return Err(which(workload));
        }
        found.extend(ours.into_iter().map(|container| (workload, container)));
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let names = all.iter().map(|it| format!("{} {}", it.kind, it.name));
    let names: Vec<_> = names.collect();
    Err(match names.is_empty() {
        true => help(
            "there is nothing in it that runs pods",
            "give it a manifest with a Deployment",
        ),
        false => help(
            "none of its containers is known for this service",
            format!(
                "name one with --name or --container; there are: {}",
                names.join(", ")
            ),
        ),
    })
}

fn which(workload: &Workload) -> BoxError {
    let names: Vec<_> = workload.containers.iter().map(|it| &*it.name).collect();
    let Workload { kind, name, .. } = workload;
    help(
        format!("it is not known which container of {kind} {name} is this service"),
        format!("name it with --container: {}", names.join(", ")),
    )
}

fn containers(workload: &Workload) -> impl Iterator<Item = &Container> {
    workload.init_containers.iter().chain(&workload.containers)
}

/// Whether a container looks like the service: by its name, its image, what it is set to, what it
/// is asked.
fn is_ours(container: &Container, id: &str) -> bool {
    let plain = |text: &str| text.replace('_', "-").to_ascii_lowercase();
    let image = container.image.rsplit('/').next().unwrap_or_default();
    let image = image.split([':', '@']).next().unwrap_or_default();
    let own = ["STOP_BUDGET", "DRAIN_DELAY", "DRAIN_LIMIT", "STALL_LIMIT"];
    plain(&container.name) == plain(id)
        || plain(image) == plain(id)
        || own.iter().any(|name| container.env.contains_key(*name))
        || [&container.liveness, &container.readiness]
            .into_iter()
            .flatten()
            .any(is_own)
}

fn is_own(probe: &Probe) -> bool {
    let Handler::Http { path, .. } = &probe.handler else {
        return false;
    };
    ["/alive", "/started"].contains(&&**path)
}
