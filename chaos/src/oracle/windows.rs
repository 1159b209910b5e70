//! Statistics of a window, from scratch and in two passes.
//!
//! **Owns** the arithmetic, which shares nothing with the product's one pass.
//! **Promises** sums and deviations to nine digits, the rest exactly.
//! **Fails** never.
//! **Not here**: which values are in a window.

use super::rows::WindowRow;

/// What rounding may differ by, relative to the values.
const TOLERANCE: f64 = 1e-9;

/// The first difference between a stored window and its values, which come by event time, equals in stream order.
pub(super) fn difference(row: &WindowRow, values: &[f64]) -> Option<String> {
    let (first, last) = values.first().zip(values.last())?;
    let n = values.len() as f64;
    let sum: f64 = values.iter().sum();
    let mean: f64 = if sum.is_finite() { sum / n } else { values.iter().map(|x| x / n).sum() };
    let scale = values.iter().fold(0.0_f64, |scale, x| scale.max(x.abs()));
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    // As documented: none where the squares are beyond the range of doubles.
    let stddev = (values.len() > 1 && squares.is_finite()).then(|| (squares / (n - 1.0)).sqrt());
    if row.count != values.len() as i64 {
        return Some(format!("it counts {} values of {}", row.count, values.len()));
    }
    let exact = [("min", row.min, min), ("max", row.max, max), ("first", row.first, *first), ("last", row.last, *last)];
    let near = [
        ("sum", row.sum, sum, scale * n),
        ("mean", row.mean, mean, scale),
        ("stddev", row.stddev.unwrap_or(-1.0), stddev.unwrap_or(-1.0), scale),
    ];
    let exact = exact.into_iter().filter(|(_, said, is)| said != is);
    let near = near.into_iter().filter(|(_, said, is, scale)| !close(*said, *is, *scale));
    let mut differing = exact.chain(near.map(|(what, said, is, _)| (what, said, is)));
    differing.next().map(|(what, said, is)| format!("its {what} is {said}, that of its values is {is}"))
}

/// Equal but for rounding at this scale.
pub(super) fn close(a: f64, b: f64, scale: f64) -> bool {
    // Equal infinities have no difference.
    a == b || (a - b).abs() <= TOLERANCE * scale.max(b.abs())
}
