//! What a statement asks for, once it was judged. All SQL in it is for DuckDB.

use super::names::TableName;
use super::types::Type;

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plan {
    /// Rows.
    Query(String),
    /// Takes locks until the end of the transaction.
    Lock(Vec<TableName>),
    CreateSchema {
        name: String,
        if_not_exists: bool,
    },
    CreateTable(CreateTable),
    CreateExternalSchema {
        name: String,
        /// The name in the data catalog.
        database: String,
        if_not_exists: bool,
    },
    CreateExternal(CreateExternal),
    AddPartitions {
        table: TableName,
        if_not_exists: bool,
        partitions: Vec<Partition>,
    },
    CreateView {
        name: TableName,
        replace: bool,
        sql: String,
    },
    AddColumn {
        table: TableName,
        column: Column,
    },
    DropColumn {
        table: TableName,
        column: String,
    },
    AlterType {
        table: TableName,
        column: String,
        to: Type,
    },
    RenameTable {
        table: TableName,
        to: String,
    },
    DropTables {
        names: Vec<TableName>,
        if_exists: bool,
    },
    DropViews {
        names: Vec<TableName>,
        if_exists: bool,
    },
    DropSchema {
        name: String,
        if_exists: bool,
    },
    Truncate(TableName),
    Comment(Comment),
    Insert(Insert),
    Update(Update),
    /// A DELETE.
    Delete(String),
    Merge(Merge),
    Copy(Copy),
    /// Housekeeping that DuckDB does by itself.
    Nothing {
        alone: bool,
    },
}

impl Plan {
    /// Whether Redshift refuses it in a transaction, or would commit what came before it.
    pub(crate) fn must_be_alone(&self) -> Option<&'static str> {
        match self {
            Plan::Truncate(_) => Some("TRUNCATE"),
            Plan::AlterType { .. } => Some("ALTER TABLE ALTER COLUMN"),
            Plan::CreateExternal(_) => Some("CREATE EXTERNAL TABLE"),
            Plan::AddPartitions { .. } => Some("ALTER EXTERNAL TABLE"),
            Plan::Nothing { alone: true } => Some("VACUUM"),
            _ => None,
        }
    }
}

/// A column of a new table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) not_null: bool,
    pub(crate) default: Option<String>,
    /// What keeps its type as it is, if anything does.
    pub(crate) pinned: Option<Pin>,
}

/// What Redshift alters no column of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pin {
    /// A primary, unique or foreign key.
    Constraint,
    /// A default value.
    Default,
    /// The distribution key.
    DistKey,
    /// The sort key.
    SortKey,
}

impl Pin {
    /// The name in our notes.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Pin::Constraint => "constraint",
            Pin::Default => "default",
            Pin::DistKey => "distkey",
            Pin::SortKey => "sortkey",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CreateTable {
    pub(crate) name: TableName,
    pub(crate) temporary: bool,
    pub(crate) if_not_exists: bool,
    pub(crate) shape: Shape,
}

/// Where the columns of a new table come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Columns(Vec<Column>),
    Like(TableName),
    Query(String),
}

/// A table over files.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CreateExternal {
    pub(crate) name: TableName,
    pub(crate) columns: Vec<ExternalColumn>,
    /// Columns that are told by the partition and not by the files.
    pub(crate) parts: Vec<ExternalColumn>,
    /// A folder, with a slash at its end.
    pub(crate) location: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExternalColumn {
    pub(crate) name: String,
    pub(crate) ty: Type,
}

/// A folder of an external table's files.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Partition {
    pub(crate) values: Vec<(String, String)>,
    /// With a slash at its end.
    pub(crate) location: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comment {
    pub(crate) on: Commented,
    pub(crate) text: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Commented {
    Table(TableName),
    View(TableName),
    Column(TableName, String),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Insert {
    pub(crate) table: TableName,
    /// Empty for all of them in their order.
    pub(crate) columns: Vec<String>,
    pub(crate) source: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Update {
    pub(crate) table: TableName,
    /// The table with its alias.
    pub(crate) target: String,
    pub(crate) assignments: Vec<(String, String)>,
    /// `FROM ... WHERE ...`, or nothing.
    pub(crate) rest: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Merge {
    pub(crate) table: TableName,
    /// What the target's columns may be qualified with.
    pub(crate) alias: String,
    pub(crate) target: String,
    pub(crate) source: String,
    pub(crate) on: String,
    /// `None` deletes what matches.
    pub(crate) updates: Option<Vec<(String, String)>>,
    /// Empty for all of them in their order.
    pub(crate) columns: Vec<String>,
    pub(crate) values: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Copy {
    pub(crate) table: TableName,
    /// Empty for all of them in their order.
    pub(crate) columns: Vec<String>,
    pub(crate) url: String,
    pub(crate) manifest: bool,
    pub(crate) format: CopyFormat,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CopyFormat {
    Parquet,
    Json {
        ignore_case: bool,
        gzip: bool,
        time: TimeFormat,
        n_errors_max: u64,
        truncate: bool,
        replace_invalid: Option<char>,
    },
}

/// How timestamps are written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    Auto,
    EpochSeconds,
    EpochMillis,
}
