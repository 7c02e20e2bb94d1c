//! A pod as a manifest has it.

use std::net::SocketAddr;
use std::process::Command;

use uptree::kubernetes::{self as k8s, Handler, Workload};

use super::{PodSpec, PreStop, Probe};

impl PodSpec {
    /// The pod of a workload with one container and HTTP probes, on an address of its own: its
    /// variables, its probes, its hook, its grace. `program` runs what the image has; what only the
    /// cluster knows is for it to set.
    ///
    /// Its probes are asked `hurry` times as often as the manifest says, so that a test need not wait;
    /// the hook and the grace take the time that it says.
    ///
    /// # Panics
    ///
    /// If there is something in it that a kubelet would do and this one cannot.
    pub fn of(
        workload: &Workload,
        addr: SocketAddr,
        hurry: u32,
        program: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        let [container] = &workload.containers[..] else {
            panic!("a pod here has one container: {workload:#?}");
        };
        let port = container.ports.values().next().copied();
        let probe = |probe: &Option<k8s::Probe>| {
            let probe = probe.as_ref()?;
            let Handler::Http {
                path,
                port: k8s::Port::Number(asked),
                https: false,
            } = &probe.handler
            else {
                panic!("a probe here is a GET: {probe:#?}");
            };
            assert_eq!(Some(*asked), port, "the port that the container has");
            assert_eq!(probe.grace, None, "a probe here has the pod's grace");
            Some(Probe {
                path: path.clone(),
                initial_delay: probe.initial_delay / hurry,
                period: probe.period / hurry,
                timeout: probe.timeout,
                success_threshold: probe.success_threshold,
                failure_threshold: probe.failure_threshold,
            })
        };
        let (startup, liveness) = (probe(&container.startup), probe(&container.liveness));
        let readiness = probe(&container.readiness);
        let pre_stop = container.pre_stop.as_ref().map(|hook| {
            let sleep = hook.sleep.expect("a hook here is a sleep");
            PreStop::Sleep(sleep)
        });
        let env: Vec<_> = container
            .env
            .iter()
            .filter_map(|(name, variable)| Some((name.clone(), variable.value.clone()?)))
            .collect();
        let spec = Self::new(addr, move || {
            let mut command = program();
            command.envs(env.clone());
            // A pod has an IP of its own; here it has a port of its own.
            command.env("ADDR", addr.to_string());
            command
        });
        Self {
            startup,
            liveness,
            readiness,
            pre_stop,
            grace: workload.grace,
            ..spec
        }
    }
}
