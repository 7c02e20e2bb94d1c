//! A histogram with fixed buckets: what is measured costs three atomics, and takes no memory.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::HistogramFn;

/// The upper ends of the buckets where seconds are measured.
pub(super) const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Those where something else is.
pub(super) const OTHERS: &[f64] = &[
    1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 1e7, 1e8, 1e9,
];

/// How many of the values measured were how large.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    /// Of each bucket alone; the last one is for what is beyond the bounds.
    counts: Box<[AtomicU64]>,
    /// The bits of the sum.
    sum: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// How many values are no greater than each bound, the last of which is infinite.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut so_far = 0;
        let counts = self.counts.iter().map(|count| {
            so_far += count.load(Ordering::Relaxed);
            so_far
        });
        bounds.zip(counts).collect()
    }

    pub(super) fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }
}

impl HistogramFn for Histogram {
    fn record(&self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
        _ = self
            .sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_every_bucket_that_it_fits_in() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.5, f64::NAN] {
            histogram.record(value);
        }
        let counts: Vec<_> = histogram.buckets().into_iter().map(|(_, it)| it).collect();
        // What is no number is less than nothing: it is in the first bucket.
        assert_eq!(counts, [3, 4, 5]);
        let histogram = Histogram::new(&[1.0, 2.0]);
        histogram.record_many(0.25, 4);
        assert!((histogram.sum() - 1.0).abs() < 1e-9);
    }
}
