//! The table: the engine's, as the simulation sees it.
//!
//! **Promises** pages of scans are small; a new table cannot be used at once; the history has each applied write with the
//! row before and after.
//! **Not here**: a second table, stale reads.

use std::collections::BTreeMap;

use local_engine::table::{Asking, Habits, Item, RowWrite, Table, Tables};
use local_engine::{ClientId, Refusal, Reply};
use serde_json::Value;

use super::state::{Context, HERE};

/// Small pages make every scan use its tokens.
const HABITS: Habits = Habits { rows_per_page: 3, creating_ms: 1_000, keeps_history: true };

/// The writer of rows when a table is restored: no worker.
pub const RESTORER: ClientId = ClientId(u32::MAX);

/// The one table.
#[derive(Default)]
pub(super) struct LeaseTable(Tables);

impl LeaseTable {
    pub(super) fn serve(&mut self, context: Context, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        let Context { now_ms, client, .. } = context;
        self.0.serve(Asking { place: HERE, now_ms, client, habits: HABITS }, operation, input)
    }

    pub(super) fn plant(&mut self, row: Item) {
        self.table_mut().plant(row);
    }

    /// Rows that are as they were then are not written.
    pub(super) fn restore(&mut self, at_ms: i64, rows: BTreeMap<String, Item>) {
        self.table_mut().restore(at_ms, RESTORER, rows);
    }

    pub(super) fn rows(&self) -> BTreeMap<String, Item> {
        self.table().map(Table::rows).unwrap_or_default()
    }

    pub(super) fn history(&self) -> Vec<RowWrite> {
        self.table().map(Table::history).unwrap_or_default().to_vec()
    }

    fn table(&self) -> Option<&Table> {
        self.0.tables().next()
    }

    /// A simulation that touches rows before there is a table is wrong: it panics.
    fn table_mut(&mut self) -> &mut Table {
        self.0.tables_mut().next().expect("the workers have made their table")
    }
}
