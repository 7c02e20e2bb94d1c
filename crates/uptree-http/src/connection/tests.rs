use super::*;

fn opened_at(stage: Stage) -> Arc<Connection> {
    let all = Connections::new();
    all.gate.set(stage);
    all.open()
}

#[test]
fn a_request_is_in_flight_until_its_guard_is_dropped() {
    let connection = opened_at(Stage::Open);
    let first = connection.enter().expect("the gate is open");
    let second = connection.enter().expect("the gate is open");
    assert_eq!(connection.in_flight(), 2);
    drop(first);
    assert!(connection.is_busy());
    drop(second);
    assert!(!connection.is_busy());
}

#[test]
fn a_request_that_is_refused_is_not_in_flight() {
    let connection = opened_at(Stage::Starting);
    assert!(connection.enter().is_none());
    assert_eq!(connection.in_flight(), 0);
}

#[test]
fn after_the_last_call_only_old_connections_are_served() {
    let old = opened_at(Stage::Open);
    old.all().gate.set(Stage::LastCall);
    assert!(old.enter().is_some());
    assert!(old.all.open().enter().is_none());
    for (stage, late) in [
        (Stage::Starting, false),
        (Stage::Draining, false),
        (Stage::LastCall, true),
        (Stage::Stopping, true),
    ] {
        assert_eq!(opened_at(stage).is_late(), late, "{stage:?}");
    }
}

#[test]
fn an_order_is_never_taken_back() {
    let connection = opened_at(Stage::Open);
    connection.tell(Order::End);
    connection.tell(Order::Retire);
    assert_eq!(connection.order(), Order::End);
}

#[test]
fn a_connection_is_told_once_in_the_drain_delay_and_always_after_it() {
    let connection = opened_at(Stage::Open);
    let answer = |goes_on| {
        let reads_on = connection.asked(|| (goes_on, false));
        assert!(!reads_on, "there is no body");
        connection.answering()
    };
    assert!(!answer(true));
    connection.all().gate.set(Stage::Draining);
    assert!(!answer(true), "its moment has not come");
    connection.tell(Order::Retire);
    assert!(answer(true));
    assert!(connection.goes_on());
    connection.stand_by_farewell();
    assert!(!answer(true), "it has been told");
    connection.all().gate.set(Stage::LastCall);
    assert!(answer(true));
    assert!(answer(true));
    assert!(!connection.goes_on());
}

#[test]
fn a_connection_opened_in_a_drain_is_told_with_its_first_response() {
    let connection = opened_at(Stage::Draining);
    connection.asked(|| (true, false));
    assert!(connection.answering());
}

#[test]
fn after_a_farewell_a_client_is_served_on_if_its_next_request_can_be_told_apart() {
    for (wanted, has_body, read, goes_on) in [
        (true, false, false, true),
        (false, false, false, false),
        (true, true, false, false),
        (true, true, true, true),
    ] {
        let connection = opened_at(Stage::Draining);
        assert_eq!(connection.asked(|| (wanted, has_body)), has_body);
        if read {
            connection.body_read();
        }
        assert!(connection.answering());
        assert_eq!(connection.goes_on(), goes_on, "{wanted} {has_body} {read}");
    }
}

#[test]
fn half_a_header_is_neither_in_flight_nor_quiet() {
    let connection = opened_at(Stage::Open);
    assert!(!connection.in_header(), "nothing has come yet");
    connection.heard();
    assert!(connection.in_header());
    assert!(!connection.is_busy());
    connection.asked(|| (true, true));
    let in_flight = connection.enter().expect("the gate is open");
    connection.heard();
    assert!(!connection.in_header());
    drop(in_flight);
    assert!(!connection.in_header(), "the body is no header");
}

#[test]
fn what_comes_on_an_idle_http2_connection_is_no_header() {
    let connection = opened_at(Stage::Open);
    connection.set_http2();
    connection.heard();
    assert!(!connection.in_header());
}
