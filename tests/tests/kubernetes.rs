//! `plan`, `manifest`, `check` and `healthcheck` of the real binaries.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use uptree::kubernetes::{Workload, workloads};
use uptree_tests::{Ended, Example, Service, Signal, command, eventually, free_addr};

const SOON: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(name: &str, words: &[&str], envs: &[(&str, &str)], stdin: &str) -> Answer {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let mut command = command(name);
    command
        .args(words)
        .envs(envs.iter().copied())
        .current_dir(folder.path());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it is built");
    let mut input = child.stdin.take().expect("it is piped");
    // It may have refused before it has read all.
    _ = input.write_all(stdin.as_bytes());
    drop(input);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("it writes text");
    Answer {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

#[track_caller]
fn manifest(name: &str, words: &[&str], envs: &[(&str, &str)]) -> String {
    let words: Vec<_> = ["manifest"].iter().chain(words).copied().collect();
    let answer = run(name, &words, envs, "");
    assert_eq!((answer.code, &*answer.stderr), (Some(0), ""), "{words:?}");
    answer.stdout
}

/// The findings of `check`, a line each.
#[track_caller]
fn check(name: &str, manifest: &str) -> Vec<String> {
    let answer = run(name, &["check", "--manifest", "-"], &[], manifest);
    assert_eq!(answer.stderr, "");
    let found = answer
        .stdout
        .lines()
        .filter(|line| line.starts_with("stdin:"));
    let found: Vec<_> = found
        .filter(|line| !line.contains("nothing contradicts"))
        .collect();
    assert_eq!(
        answer.code,
        Some(i32::from(!found.is_empty())),
        "{}",
        answer.stdout
    );
    found.into_iter().map(str::to_owned).collect()
}

fn deployment(manifest: &str) -> Workload {
    let all = workloads(manifest).expect("it is one");
    let mut all = all.into_iter();
    all.find(|it| it.kind == "Deployment").expect("it has one")
}

#[test]
fn what_manifest_prints_check_accepts() {
    let given = [
        ("TLS_CERT", "/etc/tls/tls.crt"),
        ("TLS_KEY", "/etc/tls/tls.key"),
    ];
    for (words, envs) in [
        (&[][..], &[][..]),
        (&["--explain", "--replicas", "1"], &[]),
        (
            &[
                "--pre-stop",
                "15s",
                "--name",
                "readings",
                "--namespace",
                "plant",
            ],
            &[],
        ),
        (&["--drain-limit", "90s", "--start-timeout", "5m"], &[]),
        (
            &[],
            &[
                ("ADDR", "[::1]:80"),
                ("DRAIN_DELAY", "20s"),
                ("STOP_BUDGET", "5m"),
            ],
        ),
        (
            &[],
            &[("METRICS_ADDR", "0.0.0.0:9000"), ("STALL_LIMIT", "off")],
        ),
        (
            &[],
            &[
                ("LOG_FORMAT", "json"),
                ("RUST_LOG", "info,a=debug"),
                ("STALL_LIMIT", "95s"),
            ],
        ),
    ] {
        for name in ["service", "minimal"] {
            let text = manifest(name, words, envs);
            assert_eq!(check(name, &text), [""; 0], "{text}");
        }
        let words: Vec<_> = words.iter().chain(&["--migration-job"]).copied().collect();
        let text = manifest("service", &words, envs);
        assert_eq!(check("service", &text), [""; 0], "{text}");
    }
    // The Job does not listen: it has neither the certificate nor the port.
    let mut envs = given.to_vec();
    envs.extend([("ADMIN_ADDR", "0.0.0.0:4001"), ("RUST_LOG", "debug")]);
    let answer = run("service", &["manifest", "--migration-job"], &envs, "");
    let all = workloads(&answer.stdout).expect("it is a manifest");
    let job = &all
        .iter()
        .find(|it| it.kind == "Job")
        .expect("it has one")
        .containers[0];
    let names: Vec<_> = job.env.keys().collect();
    assert_eq!(
        names,
        ["ADMIN_TOKEN", "DATABASE_URL", "MIGRATE_URL", "RUST_LOG"]
    );
    assert_eq!(
        check("service", &answer.stdout),
        [""; 0],
        "{}",
        answer.stdout
    );
    // The files are not here: that is said, and the manifest is for where they are.
    let answer = run("minimal", &["manifest"], &given, "");
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert!(answer.stdout.contains("scheme: HTTPS"), "{}", answer.stdout);
    assert_eq!(check("minimal", &answer.stdout), [""; 0]);
    assert!(
        answer.stderr.starts_with("warning: minimal/endpoint"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_service_runs_as_its_manifest_says() {
    let text = manifest("service", &["--drain-limit", "3s"], &[]);
    let deployment = deployment(&text);
    let container = &deployment.containers[0];
    let addr = free_addr();
    let env = container.env.iter();
    let env: BTreeMap<_, _> = env
        .filter_map(|(k, v)| Some((k.as_str(), v.value.clone()?)))
        .collect();
    assert_eq!(env["ADDR"], "0.0.0.0:4000");
    assert_eq!(env["DRAIN_LIMIT"], "3s");
    let own = [
        ("ADDR", addr.to_string()),
        ("DATABASE_URL", "sqlite::memory:".to_owned()),
    ];
    let mut service = Service::spawn("service", env.clone().into_iter().chain(own));
    let budget = format!("stop_budget={}", env["STOP_BUDGET"]);
    service.wait_for_line(|line| line.contains(&budget), SOON);
    service.wait_for_line(|line| line.contains("requests are let in"), SOON);
    service.signal(Signal::TERM);
    assert_eq!(
        service.wait(deployment.grace),
        Ended::Code(0),
        "{}",
        service.stderr()
    );
}

/// Replaces a text that is there.
#[track_caller]
fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in\n{text}");
    text.replacen(from, to, 1)
}

#[test]
fn the_tree_is_the_one_that_the_manifest_s_own_settings_make() {
    let text = manifest("service", &[], &[]);
    let variable = "          env:\n";
    for (changed, expected) in [
        // The tree needs more with it than it was given.
        (
            with(
                &text,
                variable,
                &format!("{variable}            - {{name: DRAIN_LIMIT, value: 60s}}\n"),
            ),
            &["STOP_BUDGET: STOP_BUDGET is 43s, and a stop may take 93s"][..],
        ),
        (
            with(
                &text,
                variable,
                &format!("          args: [run, --drain-limit, 60s]\n{variable}"),
            ),
            &["STOP_BUDGET: STOP_BUDGET is 43s, and a stop may take 93s"],
        ),
        (
            with(&text, "value: \"5s\"", "value: \"soon\""),
            &["DRAIN_DELAY: DRAIN_DELAY (--drain-delay): \"soon\": takes a length of time"],
        ),
        (
            with(
                &text,
                variable,
                &format!("          args: [--port, '5']\n{variable}"),
            ),
            &["unexpected argument '--port' found"],
        ),
        (
            with(
                &text,
                variable,
                &format!("{variable}            - {{name: SHOW_BLOCKING_QUERIES, value: 'yes'}}\n"),
            ),
            &["unexpected value 'yes' for '--show-blocking-queries'"],
        ),
        (
            with(
                &text,
                "- name: DATABASE_URL",
                "- {name: DATABASE_URL, value: 'postgres://app:hunter2@db/shop'}\n            \
                 - name: OTHER",
            ),
            &["DATABASE_URL: a secret stands in the manifest"],
        ),
        (
            with(&text, "path: /ready", "path: /alive"),
            &["readinessProbe: it asks /alive"],
        ),
        (
            with(
                &text,
                "terminationGracePeriodSeconds: 45",
                "terminationGracePeriodSeconds: 30",
            ),
            &["terminationGracePeriodSeconds: the grace is 30s, and a stop may take 45s"],
        ),
    ] {
        let found = check("service", &changed);
        // And nothing else, because of it.
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for expected in expected {
            assert!(
                found.iter().any(|line| line.contains(expected)),
                "{expected}: {found:#?}"
            );
        }
        assert!(!found.concat().contains("hunter2"), "{found:?}");
    }
}

#[test]
fn an_existing_manifest_is_held_against_the_tree() {
    // As they are often written.
    let text = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: readings}
spec:
  replicas: 3
  template:
    spec:
      containers:
        - name: app
          image: registry.example/service:1
          lifecycle:
            preStop: {exec: {command: [sleep, '10']}}
          livenessProbe:
            httpGet: {path: /ready, port: 8080}
        - name: proxy
          image: envoy
";
    let found = check("service", text);
    let found: Vec<_> = found
        .iter()
        .filter_map(|line| line.split_once(": Deployment readings: "))
        .collect();
    let expected = [
        (
            "stdin:2",
            "terminationGracePeriodSeconds: the grace is 30s, and a stop may take 55s",
        ),
        ("stdin:10", "readinessProbe: there is no readiness probe"),
        ("stdin:10", "ADDR: it listens on 127.0.0.1:4000"),
        (
            "stdin:13",
            "preStop: a preStop sleep of 10s and a DRAIN_DELAY of 5s",
        ),
        ("stdin:15", "livenessProbe: it asks at port 8080"),
        ("stdin:15", "livenessProbe: it asks /ready"),
        (
            "stdin:15",
            "livenessProbe: 3 failures at intervals of 10s kill a process that is stalled for 20s",
        ),
    ];
    for expected in expected {
        assert!(found.contains(&expected), "{expected:?}: {found:#?}");
    }
    let json = run(
        "service",
        &["check", "--json", "--manifest", "-"],
        &[],
        text,
    )
    .stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["checked"][0], "Deployment readings");
    let why = json["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["why"].to_string());
    let why: Vec<_> = why.collect();
    let kills = "it kills service/migrator in the midst of a migration after 30s";
    assert!(why.iter().any(|why| why.contains(kills)), "{why:#?}");
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("it can be written");
        path.display().to_string()
    };
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..100 {
        bomb.extend([
            format!("a{level}: &a{level} ["),
            format!("*a{}, ", level - 1).repeat(9),
            "]\n".to_owned(),
        ]);
    }
    let two = "kind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a}, {name: b}]}\n";
    let others = "kind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a}]}\n---\n\
                  kind: Job\nmetadata: {name: y}\nspec: {template: {spec: {containers: [{name: b}]}}}\n";
    for (path, expected) in [
        (
            folder.path().join("none").display().to_string(),
            "error: cannot read",
        ),
        (
            file("template", b"kind: {{ .Values.kind }}"),
            "a template is to be rendered first",
        ),
        (file("binary", b"\xff\xfe\x00"), "it is no text"),
        (file("zeros", &[0; 5000]), "line 1: "),
        (
            file("large", &vec![b' '; 5 << 20]),
            "line 1: longer than 4 MiB",
        ),
        (
            file("bomb", bomb.as_bytes()),
            "there is nothing in it that runs pods",
        ),
        (
            file("service", b"kind: Service\n"),
            "there is nothing in it that runs pods",
        ),
        (file("empty", b""), "there is nothing in it that runs pods"),
        (
            file("two", two.as_bytes()),
            "it is not known which container of Pod x is this service",
        ),
        (file("others", others.as_bytes()), "there are: Pod x, Job y"),
    ] {
        let answer = run("minimal", &["check", "--manifest", &path], &[], "");
        assert_eq!(answer.code, Some(1), "{path}: {answer:?}");
        assert_eq!(answer.stdout, "", "{path}");
        assert!(
            answer.stderr.starts_with("error: "),
            "{path}: {}",
            answer.stderr
        );
        assert!(
            answer.stderr.contains(expected),
            "{path}: {}",
            answer.stderr
        );
    }
    let chosen = [
        "check",
        "--manifest",
        &file("two", two.as_bytes()),
        "--container",
        "b",
    ];
    let answer = run("minimal", &chosen, &[], "");
    assert_eq!((answer.code, &*answer.stderr), (Some(1), ""));
    assert!(
        answer.stdout.contains("there is no readiness probe"),
        "{}",
        answer.stdout
    );
}

#[test]
fn the_commands_need_no_secret_and_no_database() {
    let url = [("DATABASE_URL", "postgres://app:hunter2@127.0.0.1:1/shop")];
    for words in [
        &["plan"][..],
        &["plan", "--json"],
        &["manifest"],
        &["manifest", "--explain"],
    ] {
        let answer = run("service", words, &url, "");
        assert_eq!((answer.code, &*answer.stderr), (Some(0), ""), "{words:?}");
        assert!(!answer.stdout.contains("hunter2"), "{}", answer.stdout);
    }
    let run_it = run("secretive", &["corner"], &[], "");
    assert_eq!(run_it.code, Some(1), "it does not run without");
    assert!(run_it.stderr.contains("--shop-key"), "{}", run_it.stderr);
    let plan = run("secretive", &["corner", "plan"], &[], "");
    assert_eq!((plan.code, &*plan.stderr), (Some(0), ""));
    let set = ["corner", "--detail", "all$", "manifest"];
    let answer = run("secretive", &set, &[("SHOP_KEY", "271828")], "");
    assert_eq!((answer.code, &*answer.stderr), (Some(0), ""));
    assert!(!answer.stdout.contains("271828"), "{}", answer.stdout);
    assert!(
        answer.stdout.contains("key: SHOP_KEY\n"),
        "{}",
        answer.stdout
    );
    let lines: Vec<_> = answer.stdout.lines().map(str::trim).collect();
    let behind = |key| lines.iter().skip_while(move |line| **line != key).nth(1);
    assert_ne!(behind("key: SHOP_KEY"), Some(&"optional: true"));
    assert_eq!(behind("key: ADMIN_TOKEN"), Some(&"optional: true"));
    // What has no variable is an argument.
    let container = deployment(&answer.stdout).containers.remove(0);
    assert_eq!(container.args, ["corner", "--detail=all$$"]);
    assert!(container.env["SHOP_KEY"].is_secret);
    let checked = run(
        "secretive",
        &["corner", "check", "--manifest", "-"],
        &[],
        &answer.stdout,
    );
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn a_plan_is_printed_before_anything_runs() {
    let answer = run(
        "service",
        &["plan"],
        &[("DRAIN_DELAY", "7s"), ("STOP_BUDGET", "20s")],
        "",
    );
    let expected = "\
child        restart    start  stop
service                         44s  one_for_one, 3 restarts in 5s, backoff 100ms to 5s until up for 30s
  endpoint   permanent    60s    5s  listens on 127.0.0.1:4000
  repo       permanent    60s    5s
  migrator   permanent    60s    5s  cancel 5s, migrates
  ingestion  permanent    60s   10s
  ready      permanent    60s   19s  drains: delay 7s, limit 10s

starts from the top, stops from the bottom
stop budget: ready 19s + ingestion 10s + migrator 5s + repo 5s + endpoint 5s = 44s
STOP_BUDGET: 20s: less than that, so that the children have less than their time
";
    assert_eq!(answer.stdout, expected);
    assert_eq!((answer.code, &*answer.stderr), (Some(0), ""));
}

#[test]
fn what_a_manifest_cannot_be_made_of_is_refused() {
    for (words, expected) in [
        (
            &["--stop-budget", "10s"][..],
            "error: STOP_BUDGET is 10s, and the children may take 43s\n  help: ",
        ),
        (
            &["--drain-delay", "0s"],
            "error: nothing waits for the removal of the pod's endpoint",
        ),
        (
            &["--addr", "127.0.0.1:0"],
            "error: its port is not known\n  help: set ADDR",
        ),
        (
            &["--name", "My Shop"],
            "error: invalid value 'My Shop' for '--name <NAME>'",
        ),
        (
            &["--replicas", "0"],
            "error: invalid value '0' for '--replicas <N>'",
        ),
        (
            &["--pre-stop", "1500ms"],
            "error: invalid value '1500ms' for '--pre-stop <TIME>'",
        ),
        (
            &["--drain-delay", "soon"],
            "error: DRAIN_DELAY (--drain-delay): \"soon\"",
        ),
    ] {
        let words: Vec<_> = ["manifest"].iter().chain(words).copied().collect();
        let answer = run("service", &words, &[], "");
        assert_eq!((answer.code, &*answer.stdout), (Some(1), ""), "{words:?}");
        assert!(answer.stderr.starts_with(expected), "{}", answer.stderr);
    }
    let answer = run("minimal", &["manifest", "--migration-job"], &[], "");
    assert!(
        answer.stderr.contains("has no migrator"),
        "{}",
        answer.stderr
    );
    assert_eq!(answer.code, Some(1));
}

#[test]
fn a_healthcheck_asks_the_service_beside_it() {
    let mut example = Example::boot("sqlite::memory:", &[("DRAIN_DELAY", "100s")]);
    let all = format!("0.0.0.0:{}", example.addr.port());
    let ask = |probe: &str| {
        run(
            "service",
            &["healthcheck", "--probe", probe],
            &[("ADDR", &all)],
            "",
        )
    };
    for probe in ["alive", "ready"] {
        let answer = ask(probe);
        assert_eq!((answer.code, &*answer.stderr), (Some(0), ""));
        assert_eq!(answer.stdout.lines().next(), Some(probe));
    }
    example.process.signal(Signal::TERM);
    eventually(SOON, || (ask("ready").code == Some(1)).then_some(()));
    let answer = ask("ready");
    assert_eq!(answer.stdout.lines().next(), Some("draining"));
    let told = format!(
        "error: service/endpoint: /ready at {}: the answer is 503\n",
        example.addr
    );
    assert_eq!(answer.stderr, told);
    assert_eq!(ask("alive").code, Some(0));
    // The second one skips the delay.
    example.process.signal(Signal::TERM);
    assert_eq!(example.process.wait(SOON), Ended::Code(0));
    let answer = ask("alive");
    assert_eq!((answer.code, &*answer.stdout), (Some(1), ""));
    assert!(
        answer.stderr.contains("caused by: Connection refused"),
        "{}",
        answer.stderr
    );
}
