//! What a supervisor keeps does not grow with what it has done.

use std::cell::Cell;

use super::{super::Driver, *};

/// How much a driver keeps.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Weight {
    slots: usize,
    entries: usize,
    flights: usize,
    deadlines: usize,
    waits: usize,
    lingering: usize,
    calls: usize,
    ids: usize,
    forgotten: usize,
}

thread_local! {
    /// Of the driver on this thread that did something last.
    static WEIGHT: Cell<Weight> = Cell::default();
}

pub(in crate::driver) fn weigh(driver: &Driver<'_>) {
    let (flights, deadlines) = driver.flights.sizes();
    WEIGHT.set(Weight {
        slots: driver.slots.len(),
        entries: driver.scope.entries().len(),
        flights,
        deadlines,
        waits: driver.waits.len(),
        lingering: driver.lingering.len(),
        calls: driver.calls.len(),
        ids: driver
            .ids
            .as_ref()
            .map_or(0, std::collections::HashMap::len),
        forgotten: driver.forgotten.len(),
    });
}

/// Nobody needs to know.
struct Silent;

impl Observer for Silent {
    fn observe(&self, _event: &Event<'_>) {}
}

async fn quiet(app: Supervisor) -> Tree {
    let mut tree = app.spawn(TreeOptions {
        observer: Arc::new(Silent),
        ..TreeOptions::default()
    });
    tree.ready().await.expect("boots");
    tree
}

const TIMES: usize = 100_000;

#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_keeps_nothing_of_children_that_were_terminated() {
    let crew = DynamicSupervisor::new("crew");
    let _tree = quiet(Supervisor::new("app").child(crew.clone())).await;
    let child = worker("it", (), steady).into_child();
    for _ in 0..TIMES {
        let started = crew.start_child(child.clone()).await.expect("starts");
        let it = started.child().expect("is not ignored");
        crew.terminate_child(it).await.expect("stops");
    }
    assert_eq!(
        crew.count_children().await.expect("runs"),
        Counts::default()
    );
    let weight = WEIGHT.get();
    assert!(weight.deadlines < 100, "{weight:?}");
    let expected = Weight {
        slots: 1,
        entries: 1,
        flights: 1,
        deadlines: weight.deadlines,
        ..Weight::default()
    };
    assert_eq!(weight, expected);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_keeps_nothing_of_children_that_were_forgotten() {
    let app = Supervisor::new("app").children(steadies(&["first"]));
    let _tree = quiet(app.clone()).await;
    let temporary = worker("temporary", (), steady).restart(Restart::Temporary);
    for time in 0..TIMES / 4 {
        app.start_child(temporary.clone()).await.expect("starts");
        app.terminate_child("temporary").await.expect("stops");
        let id = format!("permanent {time}");
        let permanent = worker(id.clone(), (), steady);
        app.start_child(permanent).await.expect("starts");
        app.terminate_child(&id).await.expect("stops");
        app.delete_child(&id).await.expect("forgets");
    }
    answers! { app.which_children() => "first Running"; }
    let weight = WEIGHT.get();
    assert!(weight.deadlines < 100, "{weight:?}");
    let expected = Weight {
        slots: 2,
        entries: 2,
        flights: 1,
        deadlines: weight.deadlines,
        ids: 1,
        ..Weight::default()
    };
    assert_eq!(weight, expected);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_keeps_nothing_of_starts_that_failed_and_of_children_that_ended() {
    async fn ends(error: Option<&'static str>, _cx: Context) -> Result {
        error.map_or(Ok(()), |error| Err(error.into()))
    }
    let crew = DynamicSupervisor::new("crew").intensity(usize::MAX, SECOND);
    let _tree = quiet(Supervisor::new("app").child(crew.clone())).await;
    for _ in 0..TIMES / 10 {
        let failed = crew.start_child(service("broken", (), broken)).await;
        assert!(matches!(failed, Err(ControlError::StartFailed { .. })));
        let done = worker("done", None, ends).restart(Restart::Transient);
        crew.start_child(done).await.expect("starts");
        let lost = worker("lost", Some("boom"), ends).restart(Restart::Temporary);
        crew.start_child(lost).await.expect("starts");
        while crew.count_children().await.expect("runs").specs > 0 {
            tokio::task::yield_now().await;
        }
    }
    let weight = WEIGHT.get();
    assert!(
        weight.slots <= 3 && weight.flights <= 3 && weight.deadlines < 100,
        "{weight:?}"
    );
    assert_eq!(
        weight.waits + weight.lingering + weight.calls + weight.forgotten,
        0
    );
}
