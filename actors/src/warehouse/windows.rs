//! Windows over shards: what each has counted, and the sum of it.
//!
//! **Promises**
//! - The rows of `sensor_hourly` and `sensor_daily` are functions of the parts alone: of what each shard has counted, in
//!   its latest revision, in whatever order and batches the parts came. A window of one shard is its part, bit by bit.
//! - Count, least and largest value are those of all values; mean and deviation differ from theirs by rounding alone
//!   (Chan, Golub and LeVeque 1979).
//! - Every write is joined with the guard.
//!
//! **Not here**: what a shard counts (`aggregator/`).

use super::literal::{self, Sql, Unquotable};
use super::sql::windows as sql;
use super::star::StarSchema;
use super::tables::{names, names_of};

/// Takes staged parts over, and adds up anew the windows that they belong to.
pub(super) fn merge(
    star: &StarSchema,
    (windows, parts): (&str, &str),
    stage: &Sql,
    statements: &mut Vec<Sql>,
) -> Result<(), Unquotable> {
    let schema = star.schema()?;
    let (columns, values) = (names(star.columns(parts))?, names_of("t", star.columns(parts))?);
    let whole = names(star.columns(windows))?;
    let (windows, parts) = (literal::identifier(windows)?, literal::identifier(parts)?);
    let taken = sql::ForgetParts { schema: schema.clone(), parts: parts.clone(), stage: stage.clone() };
    let fresh = sql::Parts { schema: schema.clone(), parts: parts.clone(), stage: stage.clone(), columns, values };
    let gone = sql::ForgetWindows { schema: schema.clone(), windows: windows.clone(), stage: stage.clone() };
    let sums = sql::Windows { schema, windows, parts, stage: stage.clone(), columns: whole };
    statements.extend([taken.sql(), fresh.sql(), gone.sql(), sums.sql()]);
    Ok(())
}
