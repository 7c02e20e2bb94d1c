use uptree_supervisor::{
    Child, Context, DynamicSupervisor, Fact, IntoChild, Result, Starting, Supervisor, parallel,
    worker,
};

use super::*;

async fn idle((): (), cx: Context) -> Result {
    cx.shutdown().await;
    Ok(())
}

struct Door;

impl Child for Door {
    fn facts(&self) -> Vec<Fact> {
        let drains = Drains {
            delay: Duration::ZERO,
            delay_in_kubernetes: Duration::from_secs(5),
            limit: Duration::from_secs(10),
        };
        let listens = Listens {
            addr: ([0, 0, 0, 0], 80).into(),
            tls: true,
        };
        vec![Box::new(drains), Box::new(listens)]
    }

    async fn run(&self, cx: Starting) -> Result {
        cx.done()
    }
}

fn built(app: App, stop_budget: Option<u64>) -> Built {
    let process = ProcessSettings {
        stop_budget: stop_budget.map(Duration::from_secs),
        ..ProcessSettings::default()
    };
    Built::new(app, process)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn shop() -> App {
    let group = Supervisor::new("group")
        .strategy(Strategy::RestForOne)
        .child(
            worker("a", (), idle)
                .restart(Restart::Transient)
                .gates_ready(seconds(2)),
        )
        .child(DynamicSupervisor::new("rooms").max_shutdown(seconds(7)));
    App::new("shop")
        .child(
            Door.shutdown(Shutdown::Timeout(seconds(12)))
                .cancel_grace(seconds(14)),
        )
        .child(group)
        .child(parallel([
            worker("x", (), idle).into_child(),
            worker("y", (), idle).start_timeout(seconds(9)),
        ]))
        .child(worker("last", (), idle).shutdown(Shutdown::BrutalKill))
}

#[test]
fn the_tree_is_printed_with_all_that_its_list_says() {
    let expected = "\
child      restart    start  stop
shop                          31s  one_for_one, 3 restarts in 5s, backoff 100ms to 5s until up for 30s
  door     permanent    60s   14s  cancel 14s, listens on 0.0.0.0:80 by TLS, drains: delay 0s (5s in Kubernetes), limit 10s
  group    permanent          12s  rest_for_one, 3 restarts in 5s
    a      transient    60s    5s  gates ready after 2s
    rooms  permanent           7s  dynamic, 3 restarts in 5s
  x+y      permanent           5s  together, 3 restarts in 5s
    x      permanent    60s    5s
    y      permanent     9s    5s
  last     permanent    60s    0s  killed at a stop

starts from the top, stops from the bottom
stop budget: x+y 5s + group 12s + door 14s = 31s
";
    let text = as_text(&built(shop(), None));
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn the_budget_is_the_sum_or_what_is_set() {
    for (set, last) in [
        (None, "stop budget: x+y 5s + group 12s + door 14s = 31s"),
        (Some(31), "STOP_BUDGET: 31s"),
        (
            Some(30),
            "STOP_BUDGET: 30s: less than that, so that the children have less than their time",
        ),
    ] {
        let built = built(shop(), set);
        let text = as_text(&built);
        assert_eq!(text.lines().last(), Some(last));
        assert_eq!(built.stop_budget(), Some(seconds(set.unwrap_or(31))));
        assert_eq!(verdict(&built).code(), 0);
    }
}

#[test]
fn the_needed_budget_leaves_every_child_its_time() {
    for (millis, needed) in [(0, 1), (400, 1), (500, 1), (501, 2), (31_000, 32)] {
        let limit = Shutdown::Timeout(Duration::from_millis(millis));
        let app = App::new("shop").child(worker("a", (), idle).shutdown(limit));
        assert_eq!(built(app, None).needed_budget(), Some(seconds(needed)));
    }
}

#[test]
fn who_has_no_limit_is_named() {
    let app = || {
        let endless = worker("endless", (), idle).shutdown(Shutdown::Infinity);
        App::new("shop").child(Supervisor::new("group").child(endless))
    };
    let exit = verdict(&built(app(), None));
    let expected = "error: shop/group/endless: its stop has no limit of its own\n  \
                    help: set STOP_BUDGET, or give the child a `Shutdown::Timeout`";
    assert_eq!((exit.code(), exit.failure()), (1, Some(expected)));
    let text = as_text(&built(app(), None));
    assert!(
        text.ends_with("stop budget: group no limit = no limit\n"),
        "{text}"
    );
    assert_eq!(verdict(&built(app(), Some(9))).code(), 0);
    assert_eq!(built(app(), None).needed_budget(), None);
}

#[test]
fn what_is_wrong_with_the_list_is_told_after_it() {
    let twice = App::new("shop")
        .child(worker("a", (), idle))
        .child(worker("a", (), idle));
    let built = built(twice, None);
    assert_eq!(as_text(&built).matches("\n  a ").count(), 2);
    let exit = verdict(&built);
    assert_eq!(exit.code(), 1);
    let failure = exit.failure().unwrap_or_default();
    assert!(failure.contains("shop"), "{failure}");
}

#[test]
fn json_has_numbers_and_nulls() {
    let json = as_object(&built(shop(), None));
    assert_eq!(json["stop_budget_ms"], 31_000);
    assert_eq!(json["children"][0]["path"], "shop");
    assert_eq!(json["children"][0]["start_timeout_ms"], Value::Null);
    assert_eq!(json["children"][1]["stop_ms"], 14_000);
    assert_eq!(json["children"][3]["restart"], "transient");
    assert_eq!(json["faults"], json!([]));
}
