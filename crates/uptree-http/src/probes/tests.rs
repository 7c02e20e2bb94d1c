use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use uptree_app::{
    App, ChildState, Context, HealthCheck, IntoChild, Result, Starting, Supervisor, service, worker,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const OPEN: Stage = Stage::Open;

/// What a probe is answered: the status, and the text or the JSON.
fn ask(probes: &Probes, path: &str, stage: Stage, accept: &'static str) -> (u16, String) {
    let request = Request::get(path).header(header::ACCEPT, accept).body(());
    let response = probes.answer(&request.expect("a request"), stage);
    let response = response.expect("a probe");
    let status = response.status().as_u16();
    let retry_after = response.headers().contains_key(header::RETRY_AFTER);
    assert_eq!(retry_after, status == 503);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let Reply::Fixed(Some(body)) = response.body() else {
        panic!("a probe's body is fixed");
    };
    let body = std::str::from_utf8(body).expect("a text").to_owned();
    let kind = response.headers()[header::CONTENT_TYPE].to_str();
    let is_json = kind.expect("a text") == "application/json";
    assert_eq!(is_json, body.starts_with('{'), "{body}");
    (status, body)
}

#[track_caller]
fn check(probes: &Probes, path: &str, stage: Stage, status: u16, body: &str) {
    let answer = ask(probes, path, stage, "*/*");
    assert_eq!(answer, (status, body.to_owned()), "{path} at {stage:?}");
}

#[track_caller]
fn check_json(probes: &Probes, path: &str, stage: Stage, status: u16, body: &str) {
    let answer = ask(probes, path, stage, "application/json");
    assert_eq!(answer, (status, body.to_owned()), "{path} at {stage:?}");
}

#[test]
fn what_each_stage_answers() {
    let probes = Probes::new(None, true);
    for (stage, ready, word) in [
        (Stage::Starting, 503, "starting"),
        (Stage::Open, 200, "ready"),
        (Stage::Draining, 503, "draining"),
        (Stage::LastCall, 503, "draining"),
        (Stage::Stopping, 503, "stopping"),
        (Stage::Stopped, 503, "stopping"),
    ] {
        check(&probes, "/ready", stage, ready, word);
        check(&probes, "/alive", stage, 200, "alive");
        let json = format!(r#"{{"status":"{word}","missing":[]}}"#);
        check_json(&probes, "/ready", stage, ready, &json);
        check_json(&probes, "/alive", stage, 200, r#"{"status":"alive"}"#);
        let (started, word) = match stage {
            Stage::Starting => (503, "starting"),
            _ => (200, "started"),
        };
        check(&probes, "/started", stage, started, word);
    }
}

#[test]
fn a_probe_is_only_read() {
    let probes = Probes::new(None, true);
    let answer = |method: &Method| {
        let answers = ["/alive", "/ready", "/started"].map(|path| {
            let request = Request::builder().method(method).uri(path).body(());
            let response = probes.answer(&request.expect("a request"), OPEN);
            let response = response.expect("a probe");
            let allow = response.headers().get(header::ALLOW).cloned();
            (response.status().as_u16(), allow)
        });
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        answers[0].clone()
    };
    assert_eq!(answer(&Method::GET), (200, None));
    assert_eq!(answer(&Method::HEAD), (200, None));
    let allow = Some(HeaderValue::from_static("GET, HEAD"));
    for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
        assert_eq!(answer(&method), (405, allow.clone()));
    }
}

#[test]
fn every_other_path_is_the_apps() {
    let probes = Probes::new(None, true);
    for path in ["/", "/alive/", "/ready/x", "/aliver", "/ALIVE", "/start"] {
        let request = Request::get(path).body(()).expect("a request");
        let answer = probes.answer(&request, OPEN);
        assert!(answer.is_none(), "{path}");
    }
}

#[test]
fn long_lists_are_cut_and_control_characters_are_not_told() {
    let child = |number: u64| Missing::Child {
        path: format!("app/\n{number}"),
        state: ChildState::Down,
        age: Duration::from_millis(number),
    };
    let mut told = Told::word("unready");
    let children: Vec<_> = (0..200).map(child).collect();
    told.list(&children, &children[..30]);
    let text = told.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 42);
    assert_eq!(lines[1], "app/\u{fffd}0: down for 0.0 s");
    assert_eq!(lines[21], "informative: app/\u{fffd}0: down for 0.0 s");
    assert_eq!(lines[41], "and 190 more");
    let json: serde_json::Value = serde_json::from_str(&told.json()).expect("JSON");
    assert_eq!(json["missing"].as_array().map(Vec::len), Some(20));
    assert_eq!(json["missing"][3]["child"], "app/\n3");
    assert_eq!(json["missing"][3]["for_ms"], 3);
    assert_eq!(json["more"], 190);
}

/// Hands out the app's monitor.
async fn spy(found: mpsc::UnboundedSender<Monitor>, cx: Context) -> Result {
    let monitor = cx.extension::<Monitor>().ok_or("not in an app")?;
    _ = found.send(monitor.clone());
    cx.shutdown().await;
    Ok(())
}

/// Runs an app while somebody looks at it, from its first child on.
async fn run(app: impl FnOnce(App) -> App, look: impl AsyncFnOnce(Monitor)) {
    let (found, mut monitors) = mpsc::unbounded_channel();
    let app = app(App::new("app").child(worker("spy", found, spy)));
    let looked = async move {
        let monitor = monitors.recv().await.expect("the spy runs");
        look(monitor).await;
    };
    assert_eq!(app.run_until(looked).await.code(), 0);
}

async fn steady((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

/// Takes two seconds to start, and registers a check that fails if it is told to.
async fn slow(fails: Arc<AtomicBool>, cx: Starting) -> Result {
    sleep(2 * SECOND).await;
    let cx = cx.ready();
    HealthCheck::new("disk")
        .critical()
        .every(SECOND)
        .register(&cx, move || {
            let fails = fails.load(Ordering::Relaxed);
            async move {
                match fails {
                    true => Err("postgres://app:hunter2@db is full".into()),
                    false => Ok(()),
                }
            }
        });
    cx.shutdown().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_body_says_what_is_missing_and_for_how_long() {
    let fails = Arc::new(AtomicBool::new(false));
    let group = Supervisor::new("group")
        .child(worker("gate", (), steady).gates_ready(SECOND))
        .child(worker("free", (), steady));
    let app = |app: App| {
        app.child(group.clone())
            .child(service("slow", fails.clone(), slow))
            .child(worker("last", (), steady))
    };
    let look = async |monitor: Monitor| {
        let probes = Probes::new(Some(monitor.clone()), true);
        let terse = Probes::new(Some(monitor), false);
        sleep(SECOND).await;
        let starting = "starting\napp/slow: starting for 1.0 s\napp/last: down for 1.0 s";
        for (path, stage) in [
            ("/ready", Stage::Starting),
            ("/started", OPEN),
            ("/ready", OPEN),
        ] {
            check(&probes, path, stage, 503, starting);
            check(&terse, path, stage, 503, "starting");
            check_json(&terse, path, stage, 503, r#"{"status":"starting"}"#);
        }
        check_json(
            &probes,
            "/ready",
            Stage::Starting,
            503,
            r#"{"status":"starting","missing":[{"child":"app/slow","state":"starting","for_ms":1000},{"child":"app/last","state":"down","for_ms":1000}]}"#,
        );
        check(&probes, "/alive", Stage::Starting, 200, "alive");

        sleep(SECOND * 3 / 2).await;
        check(&probes, "/ready", OPEN, 200, "ready");
        check(&probes, "/started", Stage::Starting, 200, "started");
        check_json(
            &probes,
            "/ready",
            OPEN,
            200,
            r#"{"status":"ready","missing":[]}"#,
        );
        check_json(&terse, "/ready", OPEN, 200, r#"{"status":"ready"}"#);
        // `Ready` is restarted, and stopped.
        check(&probes, "/ready", Stage::Starting, 503, "starting");
        check(&probes, "/ready", Stage::Draining, 503, "draining");

        group.terminate_child("free").await.expect("stops");
        group.terminate_child("gate").await.expect("stops");
        fails.store(true, Ordering::Relaxed);
        sleep(SECOND * 4 / 5).await;
        check(
            &probes,
            "/ready",
            OPEN,
            503,
            "unready\napp/slow/disk: failing for 0.3 s",
        );
        check(&terse, "/ready", OPEN, 503, "unready");
        sleep(SECOND / 5).await;
        let unready = "unready\napp/group/gate: down for 1.0 s\napp/slow/disk: failing for 0.5 s";
        check(&probes, "/ready", OPEN, 503, unready);
        check(&probes, "/started", OPEN, 200, "started");
        check(&probes, "/alive", OPEN, 200, "alive");
        let draining = "draining\napp/group/gate: down for 1.0 s\napp/group/free: down for 1.0 s\n\
                        app/slow/disk: failing for 0.5 s";
        check(&probes, "/ready", Stage::Draining, 503, draining);
        check_json(
            &probes,
            "/ready",
            OPEN,
            503,
            r#"{"status":"unready","missing":[{"child":"app/group/gate","state":"down","for_ms":1000},{"check":"app/slow/disk","state":"failing","for_ms":500}]}"#,
        );
    };
    run(app, look).await;
}

#[tokio::test(start_paused = true)]
async fn an_informative_check_is_told_beside_the_word_ready() {
    let failing = async |(), cx: Context| {
        HealthCheck::new("queue").register(&cx, || async { Err("full".into()) });
        cx.shutdown().await;
        Ok(())
    };
    let look = async |monitor: Monitor| {
        let probes = Probes::new(Some(monitor), true);
        sleep(SECOND).await;
        let ready = "ready\ninformative: app/keeper/queue: failing for 1.0 s";
        check(&probes, "/ready", OPEN, 200, ready);
        check_json(
            &probes,
            "/ready",
            OPEN,
            200,
            r#"{"status":"ready","missing":[],"informative":[{"check":"app/keeper/queue","state":"failing","for_ms":1000}]}"#,
        );
    };
    run(|app| app.child(worker("keeper", (), failing)), look).await;
}

/// A child that fails, and a check that does not pass, at random moments.
#[tokio::test(start_paused = true)]
async fn the_quick_answer_is_the_one_that_looking_gives() {
    let (fails, burn) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let fuse = async |burn: Arc<Notify>, cx: Starting| {
        sleep(SECOND).await;
        let cx = cx.ready();
        match cx.until_shutdown(burn.notified()).await {
            Some(()) => Err("burnt".into()),
            None => Ok(()),
        }
    };
    let app = |app: App| {
        app.intensity(100_000, SECOND)
            .child(service("fuse", burn.clone(), fuse).gates_ready(SECOND / 2))
            .child(service("slow", fails.clone(), slow))
    };
    let look = async |monitor: Monitor| {
        let probes = Probes::new(Some(monitor), true);
        let stages = [
            Stage::Starting,
            OPEN,
            Stage::Draining,
            Stage::LastCall,
            Stage::Stopping,
        ];
        let (mut quick, mut slow, mut no) = (0, 0, 0);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            match random.u32(0..40) {
                0 => burn.notify_waiters(),
                1..4 => fails.store(random.bool(), Ordering::Relaxed),
                _ => sleep(Duration::from_millis(random.u64(0..200))).await,
            }
            for stage in stages {
                for probe in [Probe::Alive, Probe::Ready, Probe::Started] {
                    let (status, told) = probes.look(probe, stage);
                    let yes = status == StatusCode::OK;
                    let is_well = probes.is_well(probe, stage);
                    let quickly = is_well && !(yes && told.text() == probe.yes());
                    assert!(!quickly, "{probe:?} {stage:?}: {}", told.text());
                    match (is_well, yes) {
                        (true, _) => quick += 1,
                        (false, true) => slow += 1,
                        (false, false) => no += 1,
                    }
                }
            }
        }
        // All three have been seen, often.
        assert!(quick.min(slow).min(no) > 100, "{quick} {slow} {no}");
    };
    run(app, look).await;
}
