//! Changes of a manifest, each of which contradicts the tree.

use super::Sample;

/// `None` where there is nothing to change.
type Change = fn(&Sample, &str) -> Option<String>;

const DEPLOYMENT: &str = "kind: Deployment";
const LIVENESS: [&str; 2] = [DEPLOYMENT, "livenessProbe:"];
const READINESS: [&str; 2] = [DEPLOYMENT, "readinessProbe:"];
const STARTUP: [&str; 2] = [DEPLOYMENT, "startupProbe:"];
const JOB: &str = "kind: Job";

pub(super) const MUTATIONS: &[(&str, Change)] = &[
    ("a grace that is one second short", |_, text| {
        lower(text, &[DEPLOYMENT], GRACE)
    }),
    ("a grace of Kubernetes's default, or none", |_, text| {
        set(text, &[DEPLOYMENT], GRACE, "1")
    }),
    ("a budget that is raised", |_, text| {
        env(text, "STOP_BUDGET", "100h")
    }),
    ("a budget that is less than the stops", |_, text| {
        env(text, "STOP_BUDGET", "1s")
    }),
    ("a budget that is no time", |_, text| {
        set(text, &[DEPLOYMENT, "name: STOP_BUDGET"], "value", "9")
    }),
    ("a loopback address", |_, text| {
        env(text, "ADDR", "127.0.0.1:4000")
    }),
    ("another address", |_, text| {
        env(text, "ADDR", "0.0.0.0:1").filter(|_| !text.contains("0.0.0.0:1\""))
    }),
    ("no address", |_, text| env(text, "ADDR", "")),
    ("no drain delay", |sample, text| {
        sample
            .pre_stop
            .is_none()
            .then(|| env(text, "DRAIN_DELAY", "0s"))?
    }),
    ("a drain delay beside a hook", |sample, text| {
        sample.pre_stop.and_then(|_| env(text, "DRAIN_DELAY", "5s"))
    }),
    ("a drain delay by default beside a hook", |sample, text| {
        sample.pre_stop.and_then(|_| env(text, "DRAIN_DELAY", ""))
    }),
    ("a hook beside a drain delay", |sample, text| {
        let hook = "        lifecycle: {preStop: {sleep: {seconds: 1}}}\n        livenessProbe:";
        let place = "        livenessProbe:";
        sample
            .pre_stop
            .is_none()
            .then(|| after(text, &[DEPLOYMENT], place, hook))?
    }),
    ("no hook, and no drain delay", |_, text| {
        without(text, "lifecycle:")
    }),
    ("no liveness probe", |_, text| {
        without(text, "livenessProbe:")
    }),
    ("no readiness probe", |_, text| {
        without(text, "readinessProbe:")
    }),
    ("liveness that asks for readiness", |_, text| {
        path(text, &LIVENESS, "/ready")
    }),
    ("liveness that asks for the boot", |_, text| {
        path(text, &LIVENESS, "/started")
    }),
    ("liveness that asks the app", |_, text| {
        path(text, &LIVENESS, "/healthz")
    }),
    ("a start that waits for the boot", |_, text| {
        path(text, &STARTUP, "/started")
    }),
    ("a start that waits for readiness", |_, text| {
        path(text, &STARTUP, "/ready")
    }),
    ("readiness that asks for liveness", |_, text| {
        path(text, &READINESS, "/alive")
    }),
    ("readiness that asks for the boot", |_, text| {
        path(text, &READINESS, "/started")
    }),
    ("readiness that asks the app", |_, text| {
        path(text, &READINESS, "/")
    }),
    ("liveness at another port", |_, text| {
        set(text, &LIVENESS, "port", "1").filter(|_| is_not(text))
    }),
    ("readiness at another port", |_, text| {
        set(text, &READINESS, "port", "1").filter(|_| is_not(text))
    }),
    ("a start at another port", |_, text| {
        set(text, &STARTUP, "port", "1").filter(|_| is_not(text))
    }),
    ("liveness at a port that has no name", |_, text| {
        set(text, &LIVENESS, "port", "admin")
    }),
    ("a port that leads elsewhere", |_, text| {
        set(text, &[DEPLOYMENT], "containerPort", "1").filter(|_| is_not(text))
    }),
    ("another scheme", |_, text| {
        let (is, other) = match text.contains("scheme: HTTPS") {
            true => ("scheme: HTTPS", "scheme: HTTP"),
            false => ("path: /ready", "path: /ready\n            scheme: HTTPS"),
        };
        after(text, &READINESS, is, other)
    }),
    ("liveness that gives up sooner", |_, text| {
        lower(text, &LIVENESS, "failureThreshold")
    }),
    ("liveness that asks more often", |_, text| {
        set(text, &LIVENESS, "periodSeconds", "5")
    }),
    ("liveness by Kubernetes's defaults", |_, text| {
        set(text, &LIVENESS, "failureThreshold", "3")
    }),
    ("liveness that only connects", |_, text| {
        let get = after(text, &LIVENESS, "httpGet:", "tcpSocket:")?;
        after(&get, &LIVENESS, "path: /alive\n", "#\n")
    }),
    ("liveness that kills with a grace of its own", |_, text| {
        after(
            text,
            &LIVENESS,
            "timeoutSeconds: 1",
            "terminationGracePeriodSeconds: 1",
        )
    }),
    (
        "a rollout that is given up before a migration is done",
        |sample, text| {
            sample
                .migrates
                .then(|| set(text, &[DEPLOYMENT], "progressDeadlineSeconds", "60"))?
        },
    ),
    ("a rollout that stops all", |_, text| {
        set(text, &[DEPLOYMENT], "maxUnavailable", "100%")
    }),
    ("traffic that goes elsewhere", |_, text| {
        set(text, &["kind: Service"], "targetPort", "1").filter(|_| is_not(text))
    }),
    ("pods that no node may let go", |_, text| {
        set(text, &["kind: PodDisruptionBudget"], "maxUnavailable", "0")
    }),
    ("pods of which all must stay", |sample, text| {
        let all = format!("minAvailable: {}", sample.replicas);
        after(
            text,
            &["kind: PodDisruptionBudget"],
            "maxUnavailable: 1",
            &all,
        )
    }),
    ("pods that migrate beside the Job", |_, text| {
        env(text, "MIGRATE", "apply")
    }),
    ("a Job that ends a migration", |_, text| {
        after(
            text,
            &[JOB],
            "ttlSecondsAfterFinished",
            "activeDeadlineSeconds",
        )
    }),
    ("a Job that is killed as it cancels", |_, text| {
        lower(text, &[JOB], GRACE)
    }),
];

const GRACE: &str = "terminationGracePeriodSeconds";

/// Whether the service does not listen on port 1.
fn is_not(text: &str) -> bool {
    !text.contains("containerPort: 1\n")
}

/// Replaces the first `from` that stands after the anchors, each after the one before.
fn after(text: &str, anchors: &[&str], from: &str, to: &str) -> Option<String> {
    let mut at = 0;
    for anchor in anchors {
        at += text[at..].find(anchor)? + anchor.len();
    }
    let (before, rest) = text.split_at(at);
    let rest = rest.contains(from).then(|| rest.replacen(from, to, 1))?;
    Some(before.to_owned() + &rest)
}

/// What stands behind a key.
fn value<'a>(text: &'a str, anchors: &[&str], key: &str) -> Option<&'a str> {
    let mut rest = text;
    for anchor in anchors {
        rest = rest.split_once(anchor)?.1;
    }
    let (_, rest) = rest.split_once(&format!("{key}: "))?;
    rest.lines().next()
}

fn set(text: &str, anchors: &[&str], key: &str, to: &str) -> Option<String> {
    let value = value(text, anchors, key)?;
    after(
        text,
        anchors,
        &format!("{key}: {value}\n"),
        &format!("{key}: {to}\n"),
    )
}

fn lower(text: &str, anchors: &[&str], key: &str) -> Option<String> {
    let number: u64 = value(text, anchors, key)?.parse().ok()?;
    set(text, anchors, key, &(number - 1).to_string())
}

fn env(text: &str, name: &str, to: &str) -> Option<String> {
    set(
        text,
        &[DEPLOYMENT, &format!("name: {name}\n")],
        "value",
        &format!("\"{to}\""),
    )
}

fn path(text: &str, anchors: &[&str], to: &str) -> Option<String> {
    after(
        text,
        anchors,
        "path: /",
        &format!("path: {to}\n            #"),
    )
}

/// Leaves out a key of the container with all that stands below it.
fn without(text: &str, key: &str) -> Option<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let begin = text.lines().position(|line| line.trim_start() == key)?;
    let depth = indent(text.lines().nth(begin)?);
    let below = text
        .lines()
        .skip(begin + 1)
        .take_while(|line| indent(line) > depth)
        .count();
    let kept = text.lines().enumerate();
    let kept = kept.filter(|(at, _)| !(begin..=begin + below).contains(at));
    Some(kept.fold(String::new(), |text, (_, line)| text + line + "\n"))
}
