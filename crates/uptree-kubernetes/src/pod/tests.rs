use super::*;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  replicas: 3
  minReadySeconds: 5
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 50%}
  template:
    spec:
      terminationGracePeriodSeconds: 40
      containers:
        - name: shop
          image: shop:1
          args: [\"run\"]
          envFrom:
            - configMapRef: {name: shop-config}
          env:
            - {name: STOP_BUDGET, value: 38s}
            - name: DATABASE_URL
              valueFrom: {secretKeyRef: {name: shop, key: url}}
          ports:
            - {name: http, containerPort: 4000}
          lifecycle:
            preStop: {sleep: {seconds: 5}}
          livenessProbe:
            httpGet: {path: /alive, port: http}
            failureThreshold: 4
          readinessProbe:
            httpGet: {path: /ready, port: 4000, scheme: HTTPS}
            periodSeconds: 5
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop-config}
data: {DRAIN_LIMIT: 20s, STOP_BUDGET: 1s}
";

#[test]
fn a_deployment_is_read_with_its_defaults() {
    let all = workloads(DEPLOYMENT).unwrap();
    assert_eq!(all.len(), 1);
    let shop = &all[0];
    assert_eq!(
        (&*shop.kind, &*shop.name, shop.line),
        ("Deployment", "shop", 2)
    );
    let seconds = Duration::from_secs;
    assert_eq!(
        (shop.replicas, shop.min_ready, shop.grace),
        (3, seconds(5), seconds(40))
    );
    assert_eq!(shop.progress_deadline, seconds(600));
    assert_eq!(shop.max_unavailable, Share::Number(0));
    assert_eq!(shop.max_surge, Share::PerCent(50));
    let container = &shop.containers[0];
    assert_eq!(container.pre_stop.as_ref().unwrap().sleep, Some(seconds(5)));
    assert!(!container.env_elsewhere);
    let value = |name: &str| container.env[name].value.as_deref();
    assert_eq!(value("STOP_BUDGET"), Some("38s"));
    assert_eq!(value("DRAIN_LIMIT"), Some("20s"));
    assert_eq!(value("DATABASE_URL"), None);
    assert!(container.env["DATABASE_URL"].is_secret);
    let liveness = container.liveness.as_ref().unwrap();
    assert_eq!(
        (liveness.period, liveness.timeout),
        (seconds(10), seconds(1))
    );
    assert_eq!(liveness.failure_threshold, 4);
    let readiness = container.readiness.as_ref().unwrap();
    let expected = Handler::Http {
        path: "/ready".to_owned(),
        port: Port::Number(4000),
        https: true,
    };
    assert_eq!(readiness.handler, expected);
    assert_eq!(readiness.line, 32);
    assert!(container.startup.is_none());
}

#[test]
fn workloads_are_found_in_lists_and_by_kind() {
    let pod = |kind: &str, spec: &str| {
        let containers = "containers: [{name: a, image: b}]";
        format!(
            "{{kind: {kind}, metadata: {{name: x}}, spec: {}}}",
            spec.replace('P', containers)
        )
    };
    let all = [
        pod("Pod", "{P}"),
        pod("Job", "{template: {spec: {P}}}"),
        pod("CronJob", "{jobTemplate: {spec: {template: {spec: {P}}}}}"),
    ];
    let list = format!("kind: List\nitems: [{}, {{kind: Service}}]", all.join(", "));
    for text in [all.join("\n---\n"), list] {
        let found = workloads(&text).unwrap();
        let kinds: Vec<_> = found.iter().map(|found| &*found.kind).collect();
        assert_eq!(kinds, ["Pod", "Job", "CronJob"], "{text}");
        assert!(found.iter().all(|found| found.containers[0].name == "a"));
    }
}

#[test]
fn what_kubernetes_would_not_take_says_where() {
    let with =
        |line: &str| format!("kind: Pod\nspec:\n  containers:\n    - name: a\n      {line}\n");
    for (text, expected) in [
        (
            "kind: Job\nspec: {}".to_owned(),
            "line 1: the Job has no pod",
        ),
        ("- a".to_owned(), "line 1: takes an object of Kubernetes"),
        (
            with("env: [{name: A, value: 5}]"),
            "line 5: env A: takes a text: put it into quotes",
        ),
        (
            with("env: [{value: x}]"),
            "line 5: the variable has no name",
        ),
        (with("env: {A: x}"), "line 5: env: takes a list"),
        (with("args: [1]"), "line 5: args: takes texts"),
        (
            with("livenessProbe: {periodSeconds: 5}"),
            "line 5: the probe asks nothing",
        ),
        (
            with("livenessProbe: {tcpSocket: {port: 1}, periodSeconds: '5'}"),
            "line 5: periodSeconds: takes a whole number",
        ),
        (
            with("livenessProbe: {tcpSocket: {port: 1}, periodSeconds: -5}"),
            "line 5: periodSeconds: takes a whole number",
        ),
        (
            with("livenessProbe: {tcpSocket: {port: 70000}}"),
            "line 5: port: takes",
        ),
    ] {
        let error = workloads(&text).expect_err(&text).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_hook_that_does_nothing_but_sleep_is_known_for_one() {
    for (command, expected) in [
        (&["sleep", "5"][..], Some(5)),
        (&["/bin/sleep", "5s"], Some(5)),
        (&["sh", "-c", "sleep 7"], Some(7)),
        (&["/bin/sh", "-c", "sleep 7 && rm x"], None),
        (&["nginx", "-s", "quit"], None),
    ] {
        let command: Vec<_> = command.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(
            slept(&command),
            expected.map(Duration::from_secs),
            "{command:?}"
        );
    }
}
