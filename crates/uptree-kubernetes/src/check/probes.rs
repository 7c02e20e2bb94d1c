//! The probes: what they ask, where, and how long they bear a no.

use super::Findings;
use crate::{
    pod::{Handler, Port, Probe},
    service::{LIVENESS_PERIOD, Service, seconds},
};

pub(super) fn judge(findings: &mut Findings<'_>) {
    let case = findings.case;
    if case.service.listens.is_none() {
        return;
    }
    let container = case.container;
    let all = [
        ("startupProbe", &container.startup),
        ("livenessProbe", &container.liveness),
        ("readinessProbe", &container.readiness),
    ];
    for (name, probe) in all {
        if let Some(probe) = probe {
            place(findings, name, probe);
        }
    }
    match &container.readiness {
        None => findings.add(
            container.line,
            "readinessProbe",
            "there is no readiness probe",
            "the pod gets traffic while it boots and while it drains, and answers 503",
            "add one that asks for /ready",
        ),
        Some(probe) => readiness(findings, probe),
    }
    match &container.liveness {
        None => findings.add(
            container.line,
            "livenessProbe",
            "there is no liveness probe",
            "nobody restarts a process that is stalled",
            "add one that asks for /alive",
        ),
        Some(probe) => liveness(findings, probe),
    }
    if let Some(probe) = &container.startup {
        startup(findings, probe);
    }
    reachable(findings);
}

/// Which of the service's own answers a probe asks for.
fn asked(probe: &Probe) -> Option<&str> {
    match &probe.handler {
        Handler::Http { path, .. } => {
            let path = path.split('?').next().unwrap_or_default();
            path.strip_prefix('/')
                .filter(|name| ["alive", "ready", "started"].contains(name))
        }
        Handler::Grpc { service, .. } => match &**service {
            "" => Some("ready"),
            name => Some(name).filter(|name| ["alive", "ready", "started"].contains(name)),
        },
        Handler::Exec { command } => {
            let at = command.iter().position(|word| word == "healthcheck")?;
            let mut words = command[at..].iter();
            let named = words.find_map(|word| word.strip_prefix("--probe="));
            let behind = command.iter().position(|word| word == "--probe");
            let behind = behind
                .and_then(|at| command.get(at + 1))
                .map(String::as_str);
            Some(named.or(behind).unwrap_or("alive"))
        }
        Handler::Tcp { .. } => None,
    }
}

fn shown(probe: &Probe) -> String {
    match &probe.handler {
        Handler::Http { path, .. } => path.clone(),
        Handler::Grpc { service, .. } => format!("gRPC's {service:?}"),
        Handler::Tcp { .. } => "whether somebody listens".to_owned(),
        Handler::Exec { command } => command.join(" "),
    }
}

fn liveness(findings: &mut Findings<'_>, probe: &Probe) {
    let case = findings.case;
    never_of_boot(findings, "livenessProbe", probe);
    let failures = case.service.liveness_failures(probe.period);
    let borne = Service::tolerated(probe.period, probe.failure_threshold);
    if let Some(limit) = case.service.stall_limit.filter(|limit| borne < *limit) {
        let better = case.service.liveness_failures(LIVENESS_PERIOD);
        findings.add(
            probe.line,
            "livenessProbe",
            format!(
                "{} failures at intervals of {} kill a process that is stalled for {}",
                probe.failure_threshold,
                seconds(probe.period),
                seconds(borne)
            ),
            format!(
                "what blocks for less than STALL_LIMIT {} is no stall; beyond it the process itself \
                 says what blocks it",
                seconds(limit)
            ),
            format!("set failureThreshold to {failures}, or to {better} with a periodSeconds of 10"),
        );
    }
}

fn startup(findings: &mut Findings<'_>, probe: &Probe) {
    never_of_boot(findings, "startupProbe", probe);
    let needed = findings.case.service.before_listening;
    let borne = probe
        .initial_delay
        .saturating_add(Service::tolerated(probe.period, probe.failure_threshold));
    if asked(probe) == Some("alive") && borne < needed {
        findings.add(
            probe.line,
            "startupProbe",
            format!(
                "the process is killed if it does not listen within {}",
                seconds(borne)
            ),
            format!("what starts before it listens may take {}", seconds(needed)),
            "let the endpoint be the first child, or raise failureThreshold",
        );
    }
}

/// A probe that kills must not depend on the boot, or on what the service needs.
fn never_of_boot(findings: &mut Findings<'_>, name: &str, probe: &Probe) {
    let asked = asked(probe);
    if asked == Some("alive") {
        return;
    }
    let service = &findings.case.service;
    let limit = probe
        .initial_delay
        .saturating_add(probe.period.saturating_mul(probe.failure_threshold));
    let limit = seconds(limit);
    let why = match (&probe.handler, asked, &service.migrator) {
        (Handler::Tcp { .. }, ..) => {
            "the system accepts connections for a process that is stalled".to_owned()
        }
        (_, _, Some(migrator)) => {
            format!(
                "it kills {} in the midst of a migration after {limit}",
                migrator.path
            )
        }
        (_, Some(_), None) => {
            let starts = seconds(service.starts);
            format!("it kills a boot after {limit}, whose starts may take {starts}")
        }
        (_, None, None) => format!("until it has booted, the service answers 503 to that: {limit}"),
    };
    let what = format!("it asks {}", shown(probe));
    findings.add(probe.line, name, what, why, "let it ask for /alive");
}

fn readiness(findings: &mut Findings<'_>, probe: &Probe) {
    let why = match asked(probe) {
        Some("ready") => return,
        Some("alive") => "the pod gets traffic while it boots and while it drains",
        Some("started") => "the pod gets traffic while it drains",
        _ => "only /ready knows of the boot, the drain and what the service needs",
    };
    let what = format!("it asks {}", shown(probe));
    findings.add(
        probe.line,
        "readinessProbe",
        what,
        why,
        "let it ask for /ready",
    );
}

/// Whether a probe asks where the service listens, and as it speaks.
fn place(findings: &mut Findings<'_>, name: &str, probe: &Probe) {
    let service = &findings.case.service;
    let (port, https) = match &probe.handler {
        Handler::Http { port, https, .. } => (port, Some(*https)),
        Handler::Grpc { port, .. } => (port, None),
        Handler::Tcp { port } => (port, None),
        Handler::Exec { .. } => return,
    };
    let (Some(own), tls) = (service.port(), service.tls()) else {
        return;
    };
    let what = match port {
        Port::Number(number) if *number == own => None,
        Port::Number(number) => Some(format!("it asks at port {number}")),
        Port::Unknown(named) => Some(format!("no port of the container is called {named}")),
    };
    if let Some(what) = what {
        let why = format!("the service listens on {own}, and every probe fails");
        findings.add(probe.line, name, what, why, format!("let it ask at {own}"));
    }
    let (speaks, scheme) = match tls {
        true => ("it speaks TLS", "HTTPS"),
        false => ("it does not speak TLS", "HTTP"),
    };
    if https.is_some_and(|https| https != tls) {
        let why = format!("{speaks}, and every probe fails");
        findings.add(
            probe.line,
            name,
            "it has the wrong scheme",
            why,
            format!("set scheme to {scheme}"),
        );
    }
}

/// Whether it can be reached from outside the container at all.
fn reachable(findings: &mut Findings<'_>) {
    let case = findings.case;
    let Some(addr) = case.service.listens.map(|listens| listens.addr) else {
        return;
    };
    if addr.ip().is_loopback() {
        findings.add(
            case.line_of("ADDR"),
            "ADDR",
            format!("it listens on {addr}"),
            "no probe and no traffic reaches a loopback address",
            format!("set ADDR to 0.0.0.0:{}", addr.port()),
        );
    }
}
