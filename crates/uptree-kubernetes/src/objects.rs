//! What stands in a manifest beside the workloads and has to do with them.

use std::collections::BTreeMap;

use crate::{
    pod::{self, Port, Share, Workload, is, labels, list, name, port_behind, read_share},
    yaml::{Documents, ReadError, Yaml},
};

/// Everything of a manifest that is looked at.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) services: Vec<Service>,
    pub(crate) budgets: Vec<Budget>,
}

/// A Service: where traffic goes.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) selector: BTreeMap<String, String>,
    /// A name is one of a container's port.
    pub(crate) ports: Vec<Port>,
}

/// A `PodDisruptionBudget`: how many pods may be taken from a node at once.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) selector: BTreeMap<String, String>,
    pub(crate) max_unavailable: Option<Share>,
    pub(crate) min_available: Option<Share>,
}

impl Objects {
    pub(crate) fn read(text: &str) -> Result<Self, ReadError> {
        let documents = Documents::read(text)?;
        let objects = pod::objects(&documents)?;
        let of = |kind| {
            objects
                .iter()
                .copied()
                .filter(move |object| is(*object, kind))
        };
        Ok(Self {
            workloads: pod::read(&objects)?,
            services: of("Service").map(read_service).collect::<Result<_, _>>()?,
            budgets: of("PodDisruptionBudget")
                .map(read_budget)
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Whether a selector takes pods with these labels. An empty one takes none.
pub(crate) fn selects(
    selector: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> bool {
    let mut all = selector.iter();
    !selector.is_empty() && all.all(|(key, value)| labels.get(key) == Some(value))
}

fn read_service(object: Yaml<'_>) -> Result<Service, ReadError> {
    let spec = object.get("spec");
    let mut ports = Vec::new();
    if let Some(spec) = spec {
        for port in list(spec, "ports")? {
            let key = if port.get("targetPort").is_some() {
                "targetPort"
            } else {
                "port"
            };
            ports.push(port_behind(port, key, &BTreeMap::new())?);
        }
    }
    Ok(Service {
        name: name(object).unwrap_or_default().to_owned(),
        line: object.line(),
        selector: labels(spec.and_then(|spec| spec.get("selector"))),
        ports,
    })
}

fn read_budget(object: Yaml<'_>) -> Result<Budget, ReadError> {
    let spec = object.get("spec");
    let share = |key| match spec.and_then(|spec| spec.get(key)) {
        Some(value) => read_share(value, key).map(Some),
        None => Ok(None),
    };
    let selector = spec.and_then(|spec| spec.get("selector")?.get("matchLabels"));
    Ok(Budget {
        name: name(object).unwrap_or_default().to_owned(),
        line: object.line(),
        selector: labels(selector),
        max_unavailable: share("maxUnavailable")?,
        min_available: share("minAvailable")?,
    })
}
