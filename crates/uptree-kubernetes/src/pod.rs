//! Workloads as Kubernetes reads them: what stands in a manifest, and its defaults for what does
//! not.

use std::{collections::BTreeMap, time::Duration};

use crate::yaml::{Documents, ReadError, Yaml};

/// Something that makes pods: a Deployment, a Job, a Pod itself.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Workload {
    /// Such as `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Where it begins in the text, from 1 on.
    pub line: usize,
    /// How many pods. Defaults to 1.
    pub replicas: u32,
    /// How long a pod must have been ready to count as available. Defaults to none.
    pub min_ready: Duration,
    /// How long a rollout may be without progress. Defaults to 10 min.
    pub progress_deadline: Duration,
    /// How many pods, or which part of them, may be missing during a rollout. Defaults to 25 %.
    pub max_unavailable: Share,
    /// How many pods more there may be during a rollout. Defaults to 25 %.
    pub max_surge: Share,
    /// Between SIGTERM, the preStop hook before it included, and SIGKILL. Defaults to 30 s.
    pub grace: Duration,
    /// The labels of its pods.
    pub labels: BTreeMap<String, String>,
    /// How long it may run at all, of a Job. Defaults to no limit.
    pub active_deadline: Option<Duration>,
    /// The containers that run, without those that only initialise.
    pub containers: Vec<Container>,
    /// The containers that run before them, one after the other.
    pub init_containers: Vec<Container>,
}

/// A number, or a part in per cent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Share {
    /// So many.
    Number(u32),
    /// So many in a hundred.
    PerCent(u32),
}

/// A container of a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Where it begins, from 1 on.
    pub line: usize,
    /// Its image.
    pub image: String,
    /// What it runs instead of what the image says. Defaults to nothing.
    pub command: Vec<String>,
    /// What that, or the image's program, is given.
    pub args: Vec<String>,
    /// Its variables, as far as the manifest says them.
    pub env: BTreeMap<String, Variable>,
    /// Whether there are more, which only the cluster knows.
    pub env_elsewhere: bool,
    /// Its ports that have a name.
    pub ports: BTreeMap<String, u16>,
    /// What happens before SIGTERM, within the grace.
    pub pre_stop: Option<PreStop>,
    /// Until it succeeds, nothing else is asked.
    pub startup: Option<Probe>,
    /// When it fails, the container is killed.
    pub liveness: Option<Probe>,
    /// When it fails, the pod gets no traffic.
    pub readiness: Option<Probe>,
}

/// A variable of a container's environment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Variable {
    /// Where it stands, from 1 on.
    pub line: usize,
    /// What it says; `None` if only the cluster knows, as of a secret.
    pub value: Option<String>,
    /// Whether that comes from a secret.
    pub is_secret: bool,
}

/// What happens before SIGTERM.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PreStop {
    /// Where it stands, from 1 on.
    pub line: usize,
    /// How long it takes; `None` if it is no `sleep`.
    pub sleep: Option<Duration>,
}

/// A probe.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Probe {
    /// Where it begins, from 1 on.
    pub line: usize,
    /// What is asked.
    pub handler: Handler,
    /// How long after the start of the container the first one is. Defaults to none.
    pub initial_delay: Duration,
    /// From one to the next. Defaults to 10 s.
    pub period: Duration,
    /// How long the answer may take. Defaults to 1 s.
    pub timeout: Duration,
    /// How many must succeed in a row. Defaults to 1.
    pub success_threshold: u32,
    /// How many must fail in a row. Defaults to 3.
    pub failure_threshold: u32,
    /// The grace of a container that is killed for it. Defaults to the pod's.
    pub grace: Option<Duration>,
}

/// What a probe asks.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Handler {
    /// A GET; 200 to 399 is success.
    Http {
        /// Defaults to `/`.
        path: String,
        /// Where.
        port: Port,
        /// Whether by TLS. Defaults to not.
        https: bool,
    },
    /// gRPC's health protocol.
    Grpc {
        /// Where.
        port: Port,
        /// Which service. Defaults to the empty one.
        service: String,
    },
    /// That somebody listens.
    Tcp {
        /// Where.
        port: Port,
    },
    /// A command in the container.
    Exec {
        /// It.
        command: Vec<String>,
    },
}

/// A port of a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Port {
    /// This one, also if it was given by its name.
    Number(u16),
    /// A name that no port of the container has.
    Unknown(String),
}

impl Probe {
    /// Whether it asks for this path by HTTP.
    pub fn asks(&self, wanted: &str) -> bool {
        matches!(&self.handler, Handler::Http { path, .. } if path == wanted)
    }
}

/// The workloads of a text of YAML or JSON: of all its documents, and of the lists in them. What is
/// none is left out.
///
/// # Errors
///
/// Text that is no YAML, or one that Kubernetes would not take for a workload; with the line.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let manifest = "
/// apiVersion: v1
/// kind: Pod
/// metadata: {name: shop}
/// spec:
///   containers:
///     - name: shop
///       image: shop:1
///       ports: [{name: http, containerPort: 4000}]
///       livenessProbe:
///         httpGet: {path: /alive, port: http}
///         failureThreshold: 4
/// ";
/// let workloads = uptree_kubernetes::workloads(manifest)?;
/// let liveness = workloads[0].containers[0].liveness.as_ref().expect("it has one");
/// assert!(liveness.asks("/alive"));
/// assert_eq!(liveness.period * liveness.failure_threshold, Duration::from_secs(40));
/// # Ok::<_, uptree_kubernetes::ReadError>(())
/// ```
pub fn workloads(text: &str) -> Result<Vec<Workload>, ReadError> {
    let documents = Documents::read(text)?;
    read(&objects(&documents)?)
}

pub(crate) fn read(objects: &[Yaml<'_>]) -> Result<Vec<Workload>, ReadError> {
    let config = configs(objects);
    let mut all = Vec::new();
    for object in objects {
        all.extend(workload(*object, &config)?);
    }
    Ok(all)
}

/// Maps of variables that stand in the same text, by name.
type Configs<'a> = BTreeMap<&'a str, Yaml<'a>>;

/// The objects, those in lists too.
pub(crate) fn objects(documents: &Documents) -> Result<Vec<Yaml<'_>>, ReadError> {
    let mut all = Vec::new();
    for document in documents.iter() {
        if !document.is_map() {
            return Err(ReadError::new(
                document.line(),
                "takes an object of Kubernetes",
            ));
        }
        let kind = document
            .get("kind")
            .and_then(Yaml::text)
            .unwrap_or_default();
        match document.get("items") {
            // A list in a list is none of Kubernetes's.
            Some(items) if kind.ends_with("List") => all.extend(items.items()),
            _ => all.push(document),
        }
    }
    Ok(all)
}

fn configs<'a>(objects: &[Yaml<'a>]) -> Configs<'a> {
    let all = objects.iter().filter(|object| is(**object, "ConfigMap"));
    all.filter_map(|object| Some((name(*object)?, object.get("data")?)))
        .collect()
}

pub(crate) fn is(object: Yaml<'_>, kind: &str) -> bool {
    object.get("kind").and_then(Yaml::text) == Some(kind)
}

pub(crate) fn name(object: Yaml<'_>) -> Option<&str> {
    object.get("metadata")?.get("name")?.text()
}

fn workload(object: Yaml<'_>, configs: &Configs<'_>) -> Result<Option<Workload>, ReadError> {
    let kind = object.get("kind").and_then(Yaml::text).unwrap_or_default();
    let spec = object.get("spec");
    let job = || spec?.get("jobTemplate")?.get("spec");
    let (spec, template) = match kind {
        "Pod" => (spec, Some(object)),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => (spec, template(spec)),
        "CronJob" => (job(), template(job())),
        _ => return Ok(None),
    };
    let nothing = || ReadError::new(object.line(), format!("the {kind} has no pod"));
    let template = template.ok_or_else(nothing)?;
    let pod = template.get("spec").ok_or_else(nothing)?;
    let spec = spec.unwrap_or(object);
    let rolling = spec.get("strategy").or_else(|| spec.get("updateStrategy"));
    let rolling = rolling.and_then(|strategy| strategy.get("rollingUpdate"));
    let share = |key| match rolling.and_then(|rolling| rolling.get(key)) {
        Some(value) => read_share(value, key),
        None => Ok(Share::PerCent(25)),
    };
    let containers = |key| {
        let containers = list(pod, key)?.map(|container| read_container(container, configs));
        containers.collect::<Result<Vec<_>, _>>()
    };
    Ok(Some(Workload {
        kind: kind.to_owned(),
        name: name(object).unwrap_or_default().to_owned(),
        line: object.line(),
        replicas: number(spec, "replicas")?.unwrap_or(1),
        min_ready: seconds(spec, "minReadySeconds", 0)?,
        progress_deadline: seconds(spec, "progressDeadlineSeconds", 600)?,
        max_unavailable: share("maxUnavailable")?,
        max_surge: share("maxSurge")?,
        grace: seconds(pod, "terminationGracePeriodSeconds", 30)?,
        labels: labels(template.get("metadata").and_then(|it| it.get("labels"))),
        active_deadline: number(spec, "activeDeadlineSeconds")?.map(Duration::from_secs),
        containers: containers("containers")?,
        init_containers: containers("initContainers")?,
    }))
}

pub(crate) fn labels(of: Option<Yaml<'_>>) -> BTreeMap<String, String> {
    let labels = of.into_iter().flat_map(Yaml::entries);
    let pairs = labels.filter_map(|(key, value)| Some((key.text()?, value.text()?)));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn template(spec: Option<Yaml<'_>>) -> Option<Yaml<'_>> {
    spec?.get("template")
}

fn read_container(container: Yaml<'_>, configs: &Configs<'_>) -> Result<Container, ReadError> {
    let text = |key| {
        let text = container.get(key).and_then(Yaml::text);
        text.unwrap_or_default().to_owned()
    };
    let mut ports = BTreeMap::new();
    for port in list(container, "ports")? {
        let number: Option<u16> = number(port, "containerPort")?;
        let name = port.get("name").and_then(Yaml::text);
        ports.extend(name.map(str::to_owned).zip(number));
    }
    let probe = |key| match container.get(key) {
        Some(probe) => read_probe(probe, &ports).map(Some),
        None => Ok(None),
    };
    let (startup, liveness, readiness) = (
        probe("startupProbe")?,
        probe("livenessProbe")?,
        probe("readinessProbe")?,
    );
    let (env, env_elsewhere) = read_env(container, configs)?;
    Ok(Container {
        name: text("name"),
        line: container.line(),
        image: text("image"),
        command: texts(container, "command")?,
        args: texts(container, "args")?,
        env,
        env_elsewhere,
        pre_stop: read_pre_stop(container)?,
        startup,
        liveness,
        readiness,
        ports,
    })
}

/// The variables, and whether there are more.
fn read_env(
    container: Yaml<'_>,
    configs: &Configs<'_>,
) -> Result<(BTreeMap<String, Variable>, bool), ReadError> {
    let mut env = BTreeMap::new();
    let mut elsewhere = false;
    for from in list(container, "envFrom")? {
        let prefix = from.get("prefix").and_then(Yaml::text).unwrap_or_default();
        let map = from
            .get("configMapRef")
            .and_then(|map| map.get("name")?.text());
        let Some(map) = map.and_then(|map| configs.get(map)) else {
            elsewhere = true;
            continue;
        };
        for (key, value) in map.entries() {
            let name = format!("{prefix}{}", key.text().unwrap_or_default());
            env.insert(name, said(value));
        }
    }
    for variable in list(container, "env")? {
        let Some(name) = variable.get("name").and_then(Yaml::text) else {
            return Err(ReadError::new(variable.line(), "the variable has no name"));
        };
        let said = match (variable.get("value"), variable.get("valueFrom")) {
            (Some(value), _) if value.string().is_none() => {
                let what = format!("env {name}: takes a text: put it into quotes");
                return Err(ReadError::new(value.line(), what));
            }
            (Some(value), _) => said(value),
            (None, Some(from)) => referred(from, configs),
            // As for Kubernetes.
            (None, None) => Variable {
                line: variable.line(),
                value: Some(String::new()),
                is_secret: false,
            },
        };
        let said = expanded(said, &env);
        env.insert(name.to_owned(), said);
    }
    Ok((env, elsewhere))
}

/// Kubernetes puts variables that stand before it in the place of `$(NAME)`, and `$` in that of
/// `$$`.
fn expanded(variable: Variable, env: &BTreeMap<String, Variable>) -> Variable {
    let Some(value) = variable
        .value
        .as_deref()
        .filter(|value| value.contains('$'))
    else {
        return variable;
    };
    let mut text = Some(String::new());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('$') {
        let name = after.strip_prefix('(').and_then(|it| it.split_once(')'));
        let known = name.and_then(|(name, _)| env.get(name));
        let (put, left) = match (after.strip_prefix('$'), name, known) {
            (Some(left), ..) => (Some("$"), left),
            (None, Some((_, left)), Some(known)) => (known.value.as_deref(), left),
            _ => (Some("$"), after),
        };
        text = text.zip(put).map(|(text, put)| text + before + put);
        rest = left;
    }
    Variable {
        value: text.map(|text| text + rest),
        ..variable
    }
}

fn said(value: Yaml<'_>) -> Variable {
    Variable {
        line: value.line(),
        value: value.text().map(str::to_owned),
        is_secret: false,
    }
}

fn referred(from: Yaml<'_>, configs: &Configs<'_>) -> Variable {
    let config = from.get("configMapKeyRef").and_then(|reference| {
        let map = configs.get(reference.get("name")?.text()?)?;
        map.get(reference.get("key")?.text()?)?.text()
    });
    Variable {
        line: from.line(),
        value: config.map(str::to_owned),
        is_secret: from.get("secretKeyRef").is_some(),
    }
}

fn read_pre_stop(container: Yaml<'_>) -> Result<Option<PreStop>, ReadError> {
    let hook = container.get("lifecycle").and_then(|it| it.get("preStop"));
    let Some(hook) = hook else {
        return Ok(None);
    };
    let sleep = match hook.get("sleep") {
        Some(sleep) => Some(seconds(sleep, "seconds", 0)?),
        None => match hook.get("exec") {
            Some(exec) => slept(&texts(exec, "command")?),
            None => None,
        },
    };
    Ok(Some(PreStop {
        line: hook.line(),
        sleep,
    }))
}

/// The time that a command sleeps, if it does nothing else.
fn slept(command: &[String]) -> Option<Duration> {
    let words: Vec<&str> = match command {
        [shell, flag, line] if shell.ends_with("sh") && flag == "-c" => {
            line.split_whitespace().collect()
        }
        words => words.iter().map(String::as_str).collect(),
    };
    match words[..] {
        [sleep, time] if sleep.ends_with("sleep") => {
            let seconds = time.strip_suffix('s').unwrap_or(time).parse().ok()?;
            Some(Duration::from_secs(seconds))
        }
        _ => None,
    }
}

fn read_probe(probe: Yaml<'_>, ports: &BTreeMap<String, u16>) -> Result<Probe, ReadError> {
    let text = |of: Yaml<'_>, key, default: &str| {
        let text = of.get(key).and_then(Yaml::text);
        text.unwrap_or(default).to_owned()
    };
    let handler = if let Some(get) = probe.get("httpGet") {
        Handler::Http {
            path: text(get, "path", "/"),
            port: read_port(get, ports)?,
            https: text(get, "scheme", "HTTP") == "HTTPS",
        }
    } else if let Some(grpc) = probe.get("grpc") {
        Handler::Grpc {
            port: read_port(grpc, ports)?,
            service: text(grpc, "service", ""),
        }
    } else if let Some(tcp) = probe.get("tcpSocket") {
        Handler::Tcp {
            port: read_port(tcp, ports)?,
        }
    } else if let Some(exec) = probe.get("exec") {
        Handler::Exec {
            command: texts(exec, "command")?,
        }
    } else {
        let what = "the probe asks nothing: takes httpGet, grpc, tcpSocket or exec";
        return Err(ReadError::new(probe.line(), what));
    };
    let at_least_one = |key, default| {
        let number = number(probe, key)?.filter(|number| *number > 0);
        Ok::<_, ReadError>(number.unwrap_or(default))
    };
    let one_second = |key, default| {
        let time = seconds(probe, key, default)?;
        Ok::<_, ReadError>(time.max(Duration::from_secs(1)))
    };
    Ok(Probe {
        line: probe.line(),
        handler,
        initial_delay: seconds(probe, "initialDelaySeconds", 0)?,
        period: one_second("periodSeconds", 10)?,
        timeout: one_second("timeoutSeconds", 1)?,
        success_threshold: at_least_one("successThreshold", 1)?,
        failure_threshold: at_least_one("failureThreshold", 3)?,
        grace: number(probe, "terminationGracePeriodSeconds")?.map(Duration::from_secs),
    })
}

fn read_port(of: Yaml<'_>, ports: &BTreeMap<String, u16>) -> Result<Port, ReadError> {
    port_behind(of, "port", ports)
}

pub(crate) fn port_behind(
    of: Yaml<'_>,
    key: &str,
    ports: &BTreeMap<String, u16>,
) -> Result<Port, ReadError> {
    let wrong = |line| ReadError::new(line, format!("{key}: takes a number or the name of a port"));
    let port = of.get(key).ok_or_else(|| wrong(of.line()))?;
    if let Some(name) = port.string() {
        let number = ports.get(name).copied();
        return Ok(number.map_or_else(|| Port::Unknown(name.to_owned()), Port::Number));
    }
    let number = port.number().and_then(|number| number.try_into().ok());
    number.map(Port::Number).ok_or_else(|| wrong(port.line()))
}

pub(crate) fn read_share(value: Yaml<'_>, key: &str) -> Result<Share, ReadError> {
    let number = value.number().and_then(|number| number.try_into().ok());
    let per_cent = || value.string()?.strip_suffix('%')?.parse().ok();
    let share = number
        .map(Share::Number)
        .or_else(|| per_cent().map(Share::PerCent));
    let wrong = || ReadError::new(value.line(), format!("{key}: takes a number or per cent"));
    share.ok_or_else(wrong)
}

pub(crate) fn list<'a>(
    of: Yaml<'a>,
    key: &str,
) -> Result<impl Iterator<Item = Yaml<'a>>, ReadError> {
    let list = of.get(key);
    if let Some(list) = list.filter(|list| !list.is_list()) {
        return Err(ReadError::new(list.line(), format!("{key}: takes a list")));
    }
    Ok(list.into_iter().flat_map(Yaml::items))
}

fn texts(of: Yaml<'_>, key: &str) -> Result<Vec<String>, ReadError> {
    let texts = list(of, key)?.map(|item| {
        let text = item.string().map(str::to_owned);
        text.ok_or_else(|| ReadError::new(item.line(), format!("{key}: takes texts")))
    });
    texts.collect()
}

fn number<T: TryFrom<i64>>(of: Yaml<'_>, key: &str) -> Result<Option<T>, ReadError> {
    let Some(value) = of.get(key) else {
        return Ok(None);
    };
    // What goes beyond is not for Kubernetes either.
    let number = value
        .number()
        .filter(|number| *number <= i64::from(i32::MAX));
    let number = number.and_then(|number| T::try_from(number).ok());
    let wrong = || ReadError::new(value.line(), format!("{key}: takes a whole number"));
    number.ok_or_else(wrong).map(Some)
}

fn seconds(of: Yaml<'_>, key: &str, default: u64) -> Result<Duration, ReadError> {
    Ok(Duration::from_secs(number(of, key)?.unwrap_or(default)))
}

#[cfg(test)]
mod tests;
