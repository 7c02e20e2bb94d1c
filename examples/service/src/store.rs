//! The SQL, the same on SQLite and Postgres.

use std::fmt::Write;

use serde::Serialize;
use sqlx::{Any, AnyPool, AssertSqlSafe, Row, any::AnyRow, query::Query};

use crate::reading::{At, Reading};

/// The most readings in one statement: five parameters each, of which SQLite allows 32,766.
pub(crate) const BATCH: usize = 512;

/// A reading with the moment at which it was accepted: strictly rising, so that it tells the order
/// of arrival.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) reading: Reading,
    pub(crate) arrived_at: i64,
}

/// Writes readings in one statement; those whose id is there already are left as they are.
pub(crate) async fn write(pool: &AnyPool, readings: &[Accepted]) -> sqlx::Result<()> {
    let mut sql =
        String::from("INSERT INTO readings (id, sensor, value, measured_at, arrived_at) VALUES ");
    for n in 0..readings.len() {
        let comma = if n == 0 { "" } else { ", " };
        let first = 5 * n + 1;
        let [id, sensor, value, at, arrived] = [0, 1, 2, 3, 4].map(|column| first + column);
        write!(
            sql,
            "{comma}(${id}, ${sensor}, ${value}, ${at}, ${arrived})"
        )
        .expect("a string takes any text");
    }
    sql.push_str(" ON CONFLICT (id) DO NOTHING");
    // Safe: it consists of the numbers of the parameters.
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for Accepted {
        reading,
        arrived_at,
    } in readings
    {
        query = query
            .bind(reading.id.to_string())
            .bind(&reading.sensor)
            .bind(reading.value)
            .bind(reading.at.micros())
            .bind(*arrived_at);
    }
    query.execute(pool).await.map(drop)
}

/// A reading as `GET /readings` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    id: String,
    sensor: String,
    value: f64,
    at: At,
}

/// The newest readings, of one sensor or of all.
pub(crate) async fn newest(
    pool: &AnyPool,
    sensor: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<Shown>> {
    let query: Query<'_, Any, _> = match sensor {
        Some(sensor) => sqlx::query(
            "SELECT id, sensor, value, measured_at FROM readings WHERE sensor = $1 \
             ORDER BY measured_at DESC, arrived_at DESC LIMIT $2",
        )
        .bind(sensor),
        None => sqlx::query(
            "SELECT id, sensor, value, measured_at FROM readings \
             ORDER BY measured_at DESC, arrived_at DESC LIMIT $1",
        ),
    };
    let rows = query.bind(limit).fetch_all(pool).await?;
    rows.iter().map(shown).collect()
}

fn shown(row: &AnyRow) -> sqlx::Result<Shown> {
    Ok(Shown {
        id: row.try_get("id")?,
        sensor: row.try_get("sensor")?,
        value: row.try_get("value")?,
        at: At::from_micros(row.try_get("measured_at")?),
    })
}

/// A sensor as `GET /sensors/{id}` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    sensor: String,
    count: i64,
    mean: f64,
    last: Last,
}

#[derive(Debug, Serialize)]
struct Last {
    value: f64,
    at: At,
}

/// Count, mean and last reading of a sensor; `None` if it has none.
pub(crate) async fn summary(pool: &AnyPool, sensor: &str) -> sqlx::Result<Option<Summary>> {
    // The sum behind a mean must not leave the range of a float, though each value is in it: large
    // values are summed apart, 2^64 times smaller. Not by AVG: Postgres squares the values for it,
    // and fails if a square leaves the range.
    let row = sqlx::query(
        "SELECT COUNT(*) AS count, \
         SUM(CASE WHEN ABS(value) <= 1e200 THEN value ELSE 0.0 END) AS small, \
         SUM(CASE WHEN ABS(value) > 1e200 THEN value / 18446744073709551616.0 ELSE 0.0 END) AS large \
         FROM readings WHERE sensor = $1",
    )
    .bind(sensor)
    .fetch_one(pool)
    .await?;
    let count: i64 = row.try_get("count")?;
    if count == 0 {
        return Ok(None);
    }
    let (small, large): (f64, f64) = (row.try_get("small")?, row.try_get("large")?);
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 readings")]
    let divisor = count as f64;
    let mean = small / divisor + large / divisor * 2_f64.powi(64);
    let mean = mean.clamp(f64::MIN, f64::MAX);
    let last = newest(pool, Some(sensor), 1).await?;
    Ok(last.into_iter().next().map(|last| Summary {
        sensor: last.sensor,
        count,
        mean,
        last: Last {
            value: last.value,
            at: last.at,
        },
    }))
}
