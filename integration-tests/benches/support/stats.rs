//! Order statistics. What may not live here: anything that assumes a distribution.

use std::fmt;
use std::time::Duration;

/// Sorted samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Sorts the samples.
    pub(crate) fn new(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sample at `part` of the way from the least (0) to the greatest (1), interpolated; NaN when there is none.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let Some(last) = self.0.len().checked_sub(1) else { return f64::NAN };
        let at = part.clamp(0.0, 1.0) * last as f64;
        let (low, high) = (at.floor() as usize, at.ceil() as usize);
        self.0[low] + (self.0[high] - self.0[low]) * (at - low as f64)
    }

    /// The median.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The least.
    pub(crate) fn least(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The greatest.
    pub(crate) fn greatest(&self) -> f64 {
        self.quantile(1.0)
    }

    /// An interval that holds the true median with a probability of at least 95 %, from order statistics alone.
    /// With fewer than six samples there is none, and the whole range is given.
    pub(crate) fn median_interval(&self) -> (f64, f64) {
        let n = self.0.len();
        // The number of samples below the true median is binomial with p = 1/2.
        let mut tail = 0.0;
        let mut term = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
        let mut cut = 0;
        for k in 0..n / 2 {
            tail += term;
            if tail > 0.025 {
                break;
            }
            cut = k + 1;
            term *= (n - k) as f64 / (k + 1) as f64;
        }
        match (cut.checked_sub(1), n.checked_sub(cut)) {
            (Some(low), Some(high)) if high < n => (self.0[low], self.0[high]),
            _ => (self.least(), self.greatest()),
        }
    }
}

/// A time in milliseconds, with a sign.
#[derive(Clone, Copy)]
pub(crate) struct Millis(pub(crate) f64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() {
            f.write_str("–")
        } else if self.0.abs() < 100.0 {
            write!(f, "{:.1} ms", self.0)
        } else if self.0.abs() < 10_000.0 {
            write!(f, "{:.0} ms", self.0)
        } else {
            write!(f, "{:.1} s", self.0 / 1000.0)
        }
    }
}

/// A duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
