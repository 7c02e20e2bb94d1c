//! On paused time: connections without sockets, told from one side and looked at from the other.

use std::{
    future::{pending, poll_fn},
    task::Poll,
};

use tokio::{task::JoinHandle, time::advance};

use super::*;
use crate::away::GoingAway;

const SECOND: Duration = Duration::from_secs(1);
const NO_DELAY: Drain = Drain {
    delay: Duration::ZERO,
    limit: Duration::from_secs(10),
};

fn open() -> Arc<Connections> {
    let all = Connections::new();
    all.gate.set(Stage::Open);
    all
}

fn drain(all: &Arc<Connections>, drain: Drain) -> JoinHandle<Duration> {
    let all = Arc::clone(all);
    tokio::spawn(async move {
        let start = Instant::now();
        drain.run(&all, pending).await;
        start.elapsed()
    })
}

/// A connection without a socket; as a connection's task would, it ends as it is told.
fn connect(all: &Arc<Connections>) -> Arc<Connection> {
    let connection = all.open();
    let task = Arc::downgrade(&connection);
    tokio::spawn(poll_fn(move |cx| {
        let Some(connection) = task.upgrade() else {
            return Poll::Ready(());
        };
        connection.task.register(cx.waker());
        match connection.order() {
            Order::Cut => {}
            Order::End if !connection.is_busy() => {}
            _ => return Poll::Pending,
        }
        connection.part();
        Poll::Ready(())
    }));
    connection
}

async fn took(drain: JoinHandle<Duration>) -> Duration {
    drain.await.expect("a drain does not panic")
}

#[test]
fn farewells_are_spread_evenly_over_the_delay() {
    for (count, delay, moments) in [
        (0, 8000, vec![]),
        (1, 8000, vec![4000]),
        (2, 8000, vec![2000, 6000]),
        (4, 8000, vec![1000, 3000, 5000, 7000]),
        (3, 0, vec![0, 0, 0]),
    ] {
        let delay = Duration::from_millis(delay);
        let found = (0..count).map(|index| farewell(index, count, delay).as_millis());
        assert_eq!(found.collect::<Vec<_>>(), moments, "{count} in {delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_nobody_there_no_time_passes() {
    let all = open();
    assert_eq!(took(drain(&all, NO_DELAY)).await, Duration::ZERO);
    assert_eq!(all.gate.stage(), Stage::Stopping);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_ended_after_a_moment() {
    let all = open();
    let idle = [connect(&all), connect(&all)];
    assert_eq!(took(drain(&all, NO_DELAY)).await, IDLE);
    assert!(idle.iter().all(|one| one.order() == Order::End));
}

#[tokio::test(start_paused = true)]
async fn a_client_between_two_requests_is_waited_for() {
    let all = open();
    let connection = connect(&all);
    let drain = drain(&all, NO_DELAY);
    // It is served for as long as it comes back in time, but for no longer than a second.
    for _ in 0..4 {
        sleep(IDLE * 9 / 10).await;
        assert_eq!(all.gate.stage(), Stage::LastCall);
        assert_eq!(connection.order(), Order::Retire);
        connection.asked(|| (true, false));
        assert!(connection.enter().is_some(), "it is served");
    }
    assert_eq!(took(drain).await, LAST_CALL);
    assert_eq!(connection.order(), Order::End);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_finished() {
    let all = open();
    let connection = connect(&all);
    let in_flight = connection.enter();
    let drain = drain(&all, NO_DELAY);
    sleep(3 * SECOND).await;
    assert_eq!(all.gate.stage(), Stage::Stopping);
    assert!(!drain.is_finished());
    drop(in_flight);
    assert_eq!(took(drain).await, 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_finished_within_the_limit_is_cut() {
    let all = open();
    let (slow, idle) = (connect(&all), connect(&all));
    let in_flight = slow.enter();
    advance(SECOND).await;
    let drain = drain(&all, NO_DELAY);
    sleep(NO_DELAY.limit * 9 / 10).await;
    assert_eq!(slow.order(), Order::End);
    sleep(NO_DELAY.limit / 10 + SECOND / 10).await;
    assert_eq!((slow.order(), idle.order()), (Order::Cut, Order::End));
    drop(in_flight);
    assert_eq!(took(drain).await, NO_DELAY.limit + SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_cut_is_not_waited_for() {
    let all = open();
    let connection = connect(&all);
    let _stuck = connection.enter();
    let took = took(drain(&all, NO_DELAY)).await;
    assert_eq!(took, NO_DELAY.limit + CUT_LIMIT);
    assert!(took < NO_DELAY.longest());
}

#[tokio::test(start_paused = true)]
async fn a_limit_shorter_than_the_last_call_holds() {
    let all = open();
    let connection = connect(&all);
    let in_flight = connection.enter();
    let limit = SECOND / 2;
    let drain = drain(&all, Drain { limit, ..NO_DELAY });
    sleep(limit + SECOND / 10).await;
    assert_eq!(connection.order(), Order::Cut);
    drop(in_flight);
    assert_eq!(took(drain).await, limit + SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn through_the_delay_each_connection_retires_at_its_moment() {
    let all = open();
    let connections = [connect(&all), connect(&all), connect(&all), connect(&all)];
    let delay = 8 * SECOND;
    let drain = drain(&all, Drain { delay, ..NO_DELAY });
    let retired = || {
        let retired = connections
            .iter()
            .filter(|one| one.order() == Order::Retire);
        retired.count()
    };
    let start = Instant::now();
    for (halves, expected) in [(1, 0), (4, 1), (8, 2), (12, 3), (15, 4)] {
        sleep_until(start + halves * SECOND / 2).await;
        assert_eq!(retired(), expected, "after {halves} half seconds");
        assert_eq!(all.gate.stage(), Stage::Draining);
        assert!(connections[0].enter().is_some(), "served as always");
        let new = connect(&all);
        assert_eq!(new.order(), Order::Retire, "a new one retires at once");
        assert!(new.enter().is_some(), "and is served");
    }
    drop(connections);
    assert_eq!(took(drain).await, delay);
}

/// When a request on this connection is told to go, counted from now.
fn told_to_go(connection: &Arc<Connection>) -> JoinHandle<Duration> {
    let going_away = GoingAway::new(connection);
    let start = Instant::now();
    tokio::spawn(async move {
        going_away.wait().await;
        start.elapsed()
    })
}

#[tokio::test(start_paused = true)]
async fn what_lives_long_goes_in_the_second_half_of_the_delay_each_at_its_moment() {
    let all = open();
    let connections = [connect(&all), connect(&all), connect(&all), connect(&all)];
    // As on HTTP/2, several on each.
    let streams = connections
        .each_ref()
        .map(|one| [(); 3].map(|()| told_to_go(one)));
    let in_flight = connections.each_ref().map(Connection::enter);
    let delay = 8 * SECOND;
    let drain = drain(&all, Drain { delay, ..NO_DELAY });
    sleep(delay * 3 / 4).await;
    let late = connect(&all);
    let late_in_flight = late.enter();
    let again = told_to_go(&late);
    let mut firsts = Vec::new();
    for on_one in streams {
        let mut moments = Vec::new();
        for stream in on_one {
            moments.push(stream.await.expect("no panic"));
        }
        moments.sort();
        let (first, last) = (moments[0], moments[2]);
        assert!(first >= delay / 2 && last <= delay, "{moments:?}");
        assert!(
            last.abs_diff(first) <= delay / 8,
            "within its connection's share: {moments:?}"
        );
        firsts.push(first);
    }
    firsts.sort();
    for (first, share) in firsts.iter().zip(4..) {
        let begin = delay / 8 * share;
        assert!((begin..begin + delay / 8).contains(first), "{firsts:?}");
    }
    // Who comes again while the delay lasts is not told at once, or it would come again and again.
    let moment = again.await.expect("no panic");
    assert!(moment >= delay / 4, "{moment:?}");
    assert!(moment <= delay / 4 + LAST_CALL, "{moment:?}");
    drop((in_flight, late_in_flight));
    drain.await.expect("a drain does not panic");
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_few_need_not_wait_for_each_other_and_many_have_a_second() {
    for (count, longest) in [(1, APART), (10, APART * 10), (1000, LAST_CALL)] {
        let all = open();
        let connection = connect(&all);
        let in_flight: Vec<_> = (0..count).map(|_| connection.enter()).collect();
        let told: Vec<_> = (0..count).map(|_| told_to_go(&connection)).collect();
        let drain = drain(&all, NO_DELAY);
        let mut moments = Vec::new();
        for told in told {
            moments.push(told.await.expect("no panic"));
        }
        moments.sort();
        let last = moments[moments.len() - 1];
        assert!(last <= longest + SECOND / 100, "{last:?}");
        assert!(count < 1000 || last > longest / 2, "{last:?}");
        drop(in_flight);
        drain.await.expect("a drain does not panic");
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_hurry_what_lives_long_goes_at_once() {
    let all = open();
    let connection = connect(&all);
    let in_flight = connection.enter();
    let told = told_to_go(&connection);
    let hurry = Instant::now() + SECOND;
    let drain = tokio::spawn({
        let all = Arc::clone(&all);
        let delay = 60 * SECOND;
        let drain = Drain { delay, ..NO_DELAY };
        async move { drain.run(&all, || sleep_until(hurry)).await }
    });
    let moment = told.await.expect("no panic");
    assert!(
        (SECOND..SECOND + SECOND / 100).contains(&moment),
        "{moment:?}"
    );
    drop(in_flight);
    drain.await.expect("a drain does not panic");
}

#[tokio::test(start_paused = true)]
async fn what_has_become_a_websocket_is_waited_for_and_cut() {
    let all = open();
    let connection = connect(&all);
    let stream = connection.begin_stream();
    assert_eq!((connection.in_flight(), connection.others()), (0, 1));
    let drain = drain(&all, NO_DELAY);
    sleep(LAST_CALL / 2).await;
    assert_eq!(connection.order(), Order::Retire, "it is not idle");
    sleep(NO_DELAY.limit).await;
    assert_eq!(connection.order(), Order::Cut);
    drop(stream);
    assert_eq!(took(drain).await, NO_DELAY.limit + LAST_CALL / 2);
}

#[tokio::test(start_paused = true)]
async fn in_a_hurry_only_what_is_in_flight_is_waited_for() {
    let all = open();
    let (busy, idle) = (connect(&all), connect(&all));
    let in_flight = busy.enter();
    let hurry = Instant::now() + SECOND;
    let drain = tokio::spawn({
        let all = Arc::clone(&all);
        let delay = 60 * SECOND;
        let drain = Drain { delay, ..NO_DELAY };
        async move { drain.run(&all, || sleep_until(hurry)).await }
    });
    sleep(SECOND + SECOND / 100).await;
    assert_eq!(all.gate.stage(), Stage::Stopping);
    assert_eq!((busy.order(), idle.order()), (Order::End, Order::End));
    assert!(!drain.is_finished());
    drop(in_flight);
    drain.await.expect("a drain does not panic");
}

#[test]
fn a_drain_with_too_little_time_is_shorter_in_proportion() {
    let seconds = Duration::from_secs;
    let drain = Drain {
        delay: seconds(5),
        limit: seconds(10),
    };
    assert_eq!(drain.within(None), drain);
    assert_eq!(drain.within(Some(seconds(17))), drain);
    let shorter = drain.within(Some(seconds(8)));
    assert_eq!((shorter.delay, shorter.limit), (seconds(5) / 2, seconds(5)));
    let none = drain.within(Some(Duration::ZERO));
    assert_eq!((none.delay, none.limit), (Duration::ZERO, Duration::ZERO));
}
