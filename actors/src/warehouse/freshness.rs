//! How old readings are when they are loaded: counted by the warehouse, in cells whose width grows with the age.
//!
//! **Promises** the answer has at most [`AGES_MAX`] rows, however many readings there are (BOUNDED); an age is known to
//! 2 %.

/// Cells for each e-fold of the age.
const CELLS: f64 = 50.0;
/// The most cells there can be: ages of up to 60 years.
pub const AGES_MAX: usize = 1_500;

/// Counts the rows of `stage` by the cell of their age at that time; no rows if the guard is empty.
pub(super) fn query(stage: &str, guard: &str, now_ms: i64) -> String {
    let now = super::literal::timestamp_ms(now_ms);
    // Clocks differ: what seems to come from the future has no age.
    format!(
        "SELECT \"a\".\"cell\", COUNT(*) AS \"readings\" FROM (SELECT CAST(FLOOR({CELLS:.1} * LN(CAST(GREATEST(1, \
         DATEDIFF(millisecond, \"s\".\"arrival_time\", {now})) AS DOUBLE PRECISION))) AS INTEGER) AS \"cell\" \
         FROM {stage} \"s\", {guard} \"g\") \"a\" GROUP BY \"a\".\"cell\""
    )
}

/// The age, in milliseconds, that a cell stands for: its middle.
pub fn age_ms(cell: i64) -> f64 {
    ((cell as f64 + 0.5) / CELLS).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_narrow_and_few() {
        for ms in [2.0_f64, 137.0, 4_999.0, 86_400_000.0] {
            let cell = (CELLS * ms.ln()).floor() as i64;
            assert!((age_ms(cell) / ms - 1.0).abs() < 0.02, "{ms}: {}", age_ms(cell));
        }
        let sixty_years_ms = 60.0 * 366.0 * 86_400_000.0_f64;
        assert!((CELLS * sixty_years_ms.ln()) < AGES_MAX as f64);
    }
}
