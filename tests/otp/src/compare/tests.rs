use serde_json::{Value, json};

use super::{Supervisors, compare};
use crate::{scenario::Scenario, trace::Row};

fn scenario(tree: &Value, step: &Value) -> Scenario {
    let line = json!({"id": "test", "tree": tree, "steps": [step], "trace": []});
    serde_json::from_value(line).expect("it is a scenario")
}

fn supervisor(strategy: &str) -> Value {
    json!({"id": "root", "type": "supervisor", "strategy": strategy, "intensity": 1, "period": 5,
           "template": {}})
}

#[track_caller]
fn check(tree: &Value, step: &Value, recorded: Value, replayed: Value, agree: bool) {
    let scenario = scenario(tree, step);
    let supervisors = Supervisors::of(&scenario);
    let row = |row| serde_json::from_value::<Row>(row).expect("it is a row");
    let (recorded, replayed) = (row(recorded), row(replayed));
    let difference = compare(&scenario.steps[0], &supervisors, &recorded, &replayed);
    assert_eq!(difference.is_none(), agree, "{difference:#?}");
}

fn row(events: &Value) -> Value {
    json!({"result": "ok", "events": events})
}

#[test]
fn order_counts() {
    let (a, b) = (
        json!({"e": "up", "p": "root/a"}),
        json!({"e": "up", "p": "root/b"}),
    );
    let tree = supervisor("one_for_one");
    let step = json!({"op": "boot"});
    let there = || row(&json!([a, b]));
    check(&tree, &step, there(), there(), true);
    check(&tree, &step, there(), row(&json!([b, a])), false);
    check(&tree, &step, there(), row(&json!([a])), false);
    let unordered = row(&json!([{"e": "unordered", "of": [a, b]}]));
    check(&tree, &step, unordered.clone(), row(&json!([b, a])), true);
    check(&tree, &step, unordered, row(&json!([b, b])), false);
}

#[test]
fn results_count_but_for_the_order_of_what_has_none() {
    let tree = supervisor("dynamic");
    let step = json!({"op": "which_children", "sup": "root"});
    let answer = |result: Value| json!({"result": result, "events": []});
    let recorded = answer(json!({"unordered": [["a", "running"], ["b", "running"]]}));
    let other = answer(json!({"unordered": [["b", "running"], ["a", "running"]]}));
    check(&tree, &step, recorded, other, true);
    let (one, two) = (answer(json!([1, 2])), answer(json!([2, 1])));
    check(&tree, &step, one, two, false);
}

#[test]
fn of_orphans_only_who_went_down_counts() {
    let tree = supervisor("one_for_one");
    let step = json!({"op": "exit", "path": "root/s", "reason": "kill"});
    let orphans = |orphans: Value| json!({"result": "ok", "events": [], "orphans": orphans});
    let down = |p: &str, r: &str| json!({"e": "down", "p": p, "r": r});
    let recorded = orphans(json!([
        down("root/s/a", "killed"), down("root/s/t/b", "shutdown"), down("root/s/t", "killed"),
        {"e": "report", "p": "root/s/t", "ctx": "shutdown_error", "id": "b", "r": "normal"},
    ]));
    let all = json!([
        down("root/s/t", "killed"),
        down("root/s/t/b", "killed"),
        down("root/s/a", "killed")
    ]);
    check(&tree, &step, recorded.clone(), orphans(all), true);
    let few = json!([down("root/s/a", "killed")]);
    check(&tree, &step, recorded, orphans(few), false);
}

#[test]
fn a_template_s_reports_are_counted_by_reason() {
    let tree = supervisor("simple_one_for_one");
    let step = json!({"op": "shutdown"});
    let report = |r: &Value| json!({"e": "report", "p": "root", "ctx": "shutdown_error", "r": r});
    let counted = |n: usize, r: &Value| {
        let mut report = report(r);
        report["n"] = n.into();
        report
    };
    let (killed, crash, bye) = (
        json!("killed"),
        json!({"crash": "x"}),
        json!({"shutdown": "bye"}),
    );
    let recorded = || {
        row(&json!([{"e": "unordered", "of": [
            counted(2, &killed), counted(1, &crash), counted(1, &bye),
        ]}]))
    };
    let replayed = json!([report(&killed), report(&crash), report(&killed)]);
    check(&tree, &step, recorded(), row(&replayed), true);
    let fewer = json!([report(&killed), report(&crash)]);
    check(&tree, &step, recorded(), row(&fewer), false);
}

#[test]
fn in_a_batch_on_a_dynamic_supervisor_each_child_has_its_own_order() {
    let step = json!({"op": "batch", "sup": "root", "items": []});
    let event = |e: &str, p: &str| json!({"e": e, "p": p});
    let recorded = json!([
        event("start", "root/a"),
        event("up", "root/a"),
        event("start", "root/b"),
        event("up", "root/b"),
    ]);
    let together = json!([
        event("start", "root/a"),
        event("start", "root/b"),
        event("up", "root/b"),
        event("up", "root/a"),
    ]);
    let wrong = json!([
        event("up", "root/a"),
        event("start", "root/a"),
        event("start", "root/b"),
        event("up", "root/b"),
    ]);
    for (strategy, agree) in [("dynamic", true), ("one_for_one", false)] {
        let tree = supervisor(strategy);
        check(&tree, &step, row(&recorded), row(&together), agree);
        check(&tree, &step, row(&recorded), row(&wrong), false);
    }
}

#[test]
fn a_start_that_is_called_off_goes_on_in_otp() {
    let step = json!({"op": "batch", "sup": "root", "items": []});
    let event = |e: &str, p: &str| json!({"e": e, "p": p});
    let down = |p: &str| json!({"e": "down", "p": p, "r": "shutdown"});
    let (a, b) = ("root/a", "root/b");
    let tree = supervisor("dynamic");
    let recorded = json!([
        event("start", a),
        event("up", a),
        down(a),
        down(b),
        down("root")
    ]);
    for (replayed, agree) in [
        (json!([event("start", a), down(b), down("root")]), true),
        (json!([down(b), down("root")]), false),
        (json!([event("start", a), down("root")]), false),
        (
            json!([event("start", a), event("up", a), down(b), down("root")]),
            false,
        ),
    ] {
        check(&tree, &step, row(&recorded), row(&replayed), agree);
    }
}

#[test]
fn a_child_that_had_ended_may_be_reported_or_not() {
    let step = json!({"op": "batch", "sup": "root", "items": [
        {"op": "terminate_child", "sup": "root", "id": "a"},
        {"op": "exit", "path": "root/a", "reason": "shutdown"},
    ]});
    let report = |id: &str| json!({"e": "report", "p": "root", "ctx": "shutdown_error", "id": id, "r": "shutdown"});
    let down = json!({"e": "down", "p": "root/a", "r": "shutdown"});
    let tree = supervisor("dynamic");
    for (id, agree) in [("a", true), ("b", false)] {
        let recorded = row(&json!([down, report(id)]));
        check(&tree, &step, recorded, row(&json!([down])), agree);
    }
}

#[test]
fn who_called_for_a_start_that_was_called_off_may_be_told_so() {
    let child = |id: &str| json!({"id": id, "type": "worker"});
    let step = json!({"op": "batch", "sup": "root", "items": [
        {"op": "start_child", "sup": "root", "child": child("a")},
        {"op": "start_child", "sup": "root", "child": child("b")},
    ]});
    let (start, up) = (
        json!({"e": "start", "p": "root/a"}),
        json!({"e": "up", "p": "root/a"}),
    );
    let answers = |a: Value, b: Value, events: Value| json!({"result": [a, b], "events": events});
    let max = || json!({"error": "max_children"});
    let noproc = || json!({"error": "noproc"});
    let recorded = || answers(json!({"ok": "root/a"}), max(), json!([start, up]));
    let tree = supervisor("dynamic");
    let called_off = answers(noproc(), max(), json!([start]));
    check(&tree, &step, recorded(), called_off, true);
    let another = answers(noproc(), noproc(), json!([start]));
    check(&tree, &step, recorded(), another, false);
    let went_on = answers(noproc(), max(), json!([start, up]));
    check(&tree, &step, recorded(), went_on, false);
}
