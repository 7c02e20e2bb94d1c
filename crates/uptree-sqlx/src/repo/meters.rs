//! What is measured of a pool.

use metrics::{Gauge, Unit, describe_gauge, gauge};
use sqlx::Pool;
use uptree_app::{Context, Measuring, Monitor};

use crate::Backend;

const CONNECTIONS: &str = "uptree_pool_connections";

/// Has the pool's connections counted whenever somebody asks, for as long as the guard lives.
pub(super) fn measure<Db: Backend>(pool: &Pool<Db>, cx: &Context) -> Option<Measured> {
    let monitor = cx.extension::<Monitor>()?;
    describe_gauge!(
        CONNECTIONS,
        Unit::Count,
        "Connections that a pool has open, by whether they are in use"
    );
    let [idle, used] =
        ["idle", "used"].map(|state| gauge!(CONNECTIONS, "child" => cx.path(), "state" => state));
    let gauges = [idle.clone(), used.clone()];
    let pool = pool.clone();
    let measuring = monitor.measured(move || {
        let free = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        idle.set(free);
        // The two are read one after the other.
        used.set(pool.size().saturating_sub(free));
    });
    Some(Measured {
        measuring: Some(measuring),
        gauges,
    })
}

/// While it lives connections are counted; then there are none.
pub(super) struct Measured {
    measuring: Option<Measuring>,
    gauges: [Gauge; 2],
}

impl Drop for Measured {
    fn drop(&mut self) {
        drop(self.measuring.take());
        for gauge in &self.gauges {
            gauge.set(0.0);
        }
    }
}
