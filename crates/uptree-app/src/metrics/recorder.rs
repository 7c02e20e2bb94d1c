//! The recorder behind `/metrics`.
//!
//! A counter, a gauge and a histogram are atomics that whoever measures holds; who asks for them
//! reads them all. What is unbounded at its users, the values of labels, is bounded here.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Counter, Gauge, Key, KeyName, Metadata, SharedString, Unit};

use super::histogram::{Histogram, OTHERS, SECONDS};

/// How many series are kept. Further ones are not: a label may be something that never ends.
const SERIES: usize = 10_000;

/// Keeps what is measured. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<RwLock<Families>>);

#[derive(Debug, Default)]
struct Families {
    by_name: BTreeMap<String, Family>,
    /// What each is, by name; in part of what was never measured.
    help: BTreeMap<String, String>,
    series: usize,
    too_many: bool,
}

/// What has one name.
#[derive(Debug)]
enum Family {
    Counter(Series<AtomicU64>),
    /// The bits of a number.
    Gauge(Series<AtomicU64>),
    Histogram(Series<Histogram>),
}

/// By their labels, as they are shown.
type Series<T> = BTreeMap<String, Arc<T>>;

impl Recorder {
    /// Everything that was measured, in Prometheus's text format.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string does not fail.
        _ = all.render(&mut text);
        text
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>, text: &str) {
        let text = text.replace('\\', "\\\\").replace('\n', "\\n");
        let unit = unit.filter(|unit| *unit != Unit::Count);
        let unit = unit.map(|unit| format!(" ({})", unit.as_str()));
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let help = format!("{text}{}", unit.unwrap_or_default());
        all.help.insert(sane(name.as_str()), help);
    }

    /// The series of a key; `None` if its name is another kind's, or there are too many.
    fn series<T>(
        &self,
        key: &Key,
        make: impl Fn(&str) -> T,
        family: impl Fn(Series<T>) -> Family,
        of: impl Fn(&mut Family) -> Option<&mut Series<T>>,
    ) -> Option<Arc<T>> {
        let (name, labels) = (sane(key.name()), labels(key));
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let all = &mut *all;
        let kept = all.by_name.entry(name.clone());
        let series = of(kept.or_insert_with(|| family(Series::new())))?;
        if let Some(known) = series.get(&labels) {
            return Some(known.clone());
        }
        if all.series == SERIES {
            if !std::mem::replace(&mut all.too_many, true) {
                let metric = name;
                tracing::warn!(
                    metric,
                    "there are {SERIES} series of metrics: no more are kept"
                );
            }
            return None;
        }
        all.series += 1;
        let new = Arc::new(make(&name));
        series.insert(labels, new.clone());
        Some(new)
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(&key, unit, &description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(&key, unit, &description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(&key, unit, &description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let series = self.series(
            key,
            |_| AtomicU64::new(0),
            Family::Counter,
            |it| match it {
                Family::Counter(series) => Some(series),
                _ => None,
            },
        );
        series.map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let series = self.series(
            key,
            |_| AtomicU64::new(0),
            Family::Gauge,
            |it| match it {
                Family::Gauge(series) => Some(series),
                _ => None,
            },
        );
        series.map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        let make = |name: &str| match name.ends_with("_seconds") {
            true => Histogram::new(SECONDS),
            false => Histogram::new(OTHERS),
        };
        let series = self.series(key, make, Family::Histogram, |it| match it {
            Family::Histogram(series) => Some(series),
            _ => None,
        });
        series.map_or_else(metrics::Histogram::noop, metrics::Histogram::from_arc)
    }
}

impl Families {
    fn render(&self, text: &mut impl Write) -> fmt::Result {
        for (name, family) in &self.by_name {
            if let Some(help) = self.help.get(name) {
                writeln!(text, "# HELP {name} {help}")?;
            }
            match family {
                Family::Counter(series) => {
                    writeln!(text, "# TYPE {name} counter")?;
                    for (labels, value) in series {
                        let value = value.load(Ordering::Relaxed);
                        writeln!(text, "{name}{} {value}", braced(labels, ""))?;
                    }
                }
                Family::Gauge(series) => {
                    writeln!(text, "# TYPE {name} gauge")?;
                    for (labels, value) in series {
                        let value = Number(f64::from_bits(value.load(Ordering::Relaxed)));
                        writeln!(text, "{name}{} {value}", braced(labels, ""))?;
                    }
                }
                Family::Histogram(series) => {
                    writeln!(text, "# TYPE {name} histogram")?;
                    for (labels, histogram) in series {
                        histogram_lines(text, name, labels, histogram)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn histogram_lines(
    text: &mut impl Write,
    name: &str,
    labels: &str,
    histogram: &Histogram,
) -> fmt::Result {
    let mut count = 0;
    for (bound, so_many) in histogram.buckets() {
        let le = format!("le=\"{}\"", Number(bound));
        writeln!(text, "{name}_bucket{} {so_many}", braced(labels, &le))?;
        count = so_many;
    }
    let sum = Number(histogram.sum());
    writeln!(text, "{name}_sum{} {sum}", braced(labels, ""))?;
    writeln!(text, "{name}_count{} {count}", braced(labels, ""))
}

/// A number as Prometheus writes it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => number.fmt(f),
        }
    }
}

/// A name with nothing in it that a name must not have.
fn sane(name: &str) -> String {
    let sane = name.chars().enumerate().map(|(index, c)| match c {
        'a'..='z' | 'A'..='Z' | '_' | ':' => c,
        '0'..='9' if index > 0 => c,
        _ => '_',
    });
    sane.collect()
}

/// The labels of a key, in an order that does not depend on who names them.
fn labels(key: &Key) -> String {
    let labels = key.labels().map(|label| {
        let value = label.value().replace('\\', "\\\\");
        let value = value.replace('\n', "\\n").replace('"', "\\\"");
        format!("{}=\"{value}\"", sane(label.key()).replace(':', "_"))
    });
    let mut labels: Vec<_> = labels.collect();
    labels.sort();
    labels.join(",")
}

fn braced(labels: &str, more: &str) -> String {
    match (labels, more) {
        ("", "") => String::new(),
        ("", one) | (one, "") => format!("{{{one}}}"),
        (labels, more) => format!("{{{labels},{more}}}"),
    }
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_counter, describe_histogram, gauge, histogram};

    use super::*;

    fn rendered(measure: impl FnOnce()) -> String {
        let recorder = Recorder::default();
        metrics::with_local_recorder(&recorder, measure);
        recorder.render()
    }

    #[test]
    fn counters_and_gauges_are_told_with_what_they_are() {
        let text = rendered(|| {
            describe_counter!("seen_total", Unit::Count, "What was\nseen");
            counter!("seen_total", "b" => "x", "a" => "say \"hi\"\\").increment(2);
            counter!("seen_total", "a" => "say \"hi\"\\", "b" => "x").increment(3);
            counter!("seen_total").increment(1);
            gauge!("now.here").set(-1.5);
            gauge!("never").set(f64::INFINITY);
        });
        let expected = "# TYPE never gauge\n\
            never +Inf\n\
            # TYPE now_here gauge\n\
            now_here -1.5\n\
            # HELP seen_total What was\\nseen\n\
            # TYPE seen_total counter\n\
            seen_total 1\n\
            seen_total{a=\"say \\\"hi\\\"\\\\\",b=\"x\"} 5\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_histogram_of_seconds_has_buckets_of_seconds() {
        let text = rendered(|| {
            describe_histogram!("took_seconds", Unit::Seconds, "How long it took");
            histogram!("took_seconds", "who" => "x").record(0.02);
            histogram!("took_seconds", "who" => "x").record(20.0);
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "# HELP took_seconds How long it took (seconds)");
        assert_eq!(lines[1], "# TYPE took_seconds histogram");
        for line in [
            "took_seconds_bucket{who=\"x\",le=\"0.01\"} 0",
            "took_seconds_bucket{who=\"x\",le=\"0.025\"} 1",
            "took_seconds_bucket{who=\"x\",le=\"10\"} 1",
            "took_seconds_bucket{who=\"x\",le=\"+Inf\"} 2",
            "took_seconds_sum{who=\"x\"} 20.02",
            "took_seconds_count{who=\"x\"} 2",
        ] {
            assert!(lines.contains(&line), "{line} in {text}");
        }
    }

    #[test]
    fn a_name_is_of_one_kind() {
        let text = rendered(|| {
            counter!("one").increment(1);
            gauge!("one").set(5);
        });
        assert_eq!(text, "# TYPE one counter\none 1\n");
    }

    #[test]
    fn labels_without_end_do_not_take_memory_without_end() {
        let text = rendered(|| {
            for number in 0..SERIES + 10 {
                counter!("many", "number" => number.to_string()).increment(1);
            }
            counter!("many", "number" => "7").increment(1);
        });
        assert_eq!(text.lines().count(), SERIES + 1);
        assert!(text.contains("many{number=\"7\"} 2\n"), "those known go on");
    }
}
