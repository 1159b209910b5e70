//! How old readings are when they are loaded: counted by the warehouse, in cells whose width grows with the age.
//!
//! **Promises** the answer has at most [`AGES_MAX`] rows, however many readings there are (BOUNDED); an age is known to
//! 2 %.
//! **Not here**: the statement (`Ages` in `sql/load.sql`).

/// Cells for each e-fold of the age, as the statement has them too.
const CELLS: f64 = 50.0;
/// The most cells there can be: ages of up to 60 years.
pub const AGES_MAX: usize = 1_500;

/// The age, in milliseconds, that a cell stands for: its middle.
pub fn age_ms(cell: i64) -> f64 {
    ((cell as f64 + 0.5) / CELLS).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warehouse::literal;
    use crate::warehouse::sql::load::Ages;

    #[test]
    fn the_statement_counts_in_these_cells() {
        let now = literal::timestamp_ms(0);
        let sql = Ages { now }.sql().sent();
        assert!(sql.contains(&format!("FLOOR({CELLS:.1} * LN(")), "{sql}");
    }

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
