//! CREATE SCHEMA, TABLE and VIEW.
//!
//! Keys, distribution and sort order matter for one thing: Redshift alters no column that is part of them. It enforces no
//! key, and one file has no nodes.

use sqlparser::ast::{
    ColumnDef, ColumnOption, CreateTable as Tree, CreateTableLikeDefaults, CreateTableLikeKind, CreateTableOptions,
    CreateView, Expr, HiveDistributionStyle, SchemaName, TableConstraint,
};

use super::judge::rewritten;
use super::names::{self, TableName, quoted};
use super::plan::{Column, CreateTable, Pin, Plan, Shape};
use super::refusals;
use super::types::Type;
use crate::error::SqlError;

const COLUMNS_MAX: usize = 1_600;

pub(super) fn schema(name: &SchemaName, if_not_exists: bool) -> Result<Plan, SqlError> {
    let name = match name {
        SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => name,
        SchemaName::UnnamedAuthorization(_) => return Err(SqlError::unsupported("CREATE SCHEMA without a name")),
    };
    match name.0.as_slice() {
        [name] => Ok(Plan::CreateSchema { name: names::schema(names::part(name)?)?, if_not_exists }),
        _ => Err(SqlError(format!("schema \"{name}\" must be one name"))),
    }
}

pub(super) fn view(mut view: CreateView) -> Result<Plan, SqlError> {
    let plain = !view.or_alter
        && !view.materialized
        && !view.secure
        && view.options == CreateTableOptions::None
        && view.cluster_by.is_empty()
        && view.comment.is_none()
        && !view.if_not_exists
        && !view.temporary
        && !view.copy_grants
        && view.to.is_none()
        && view.params.is_none();
    if !plain || view.columns.iter().any(|column| column.data_type.is_some() || column.options.is_some()) {
        return Err(SqlError::unsupported("This form of CREATE VIEW"));
    }
    let mut sql = String::new();
    if !view.columns.is_empty() {
        let columns = view.columns.iter().map(|column| names::checked(&column.name).map(|name| quoted(&name)));
        sql = format!("({}) ", columns.collect::<Result<Vec<_>, _>>()?.join(", "));
    }
    sql.push_str(&format!("AS {}", rewritten(view.query.as_mut())?));
    Ok(Plan::CreateView { name: TableName::of(&view.name)?, replace: view.or_replace, sql })
}

pub(super) fn table(mut tree: Tree) -> Result<Plan, SqlError> {
    plain(&tree)?;
    let name = TableName::of(&tree.name)?;
    if tree.temporary && name.schema.is_some() {
        return Err(SqlError::new("Cannot create temporary relation in non-temporary schema"));
    }
    let shape = if let Some(query) = &mut tree.query {
        if !tree.columns.is_empty() {
            return Err(SqlError::unsupported("CREATE TABLE AS with columns"));
        }
        Shape::Query(rewritten(query.as_mut())?)
    } else if let Some(like) = &tree.like {
        let (CreateTableLikeKind::Parenthesized(like) | CreateTableLikeKind::Plain(like)) = like;
        if matches!(like.defaults, Some(CreateTableLikeDefaults::Including)) {
            return Err(SqlError::unsupported("INCLUDING DEFAULTS"));
        }
        Shape::Like(TableName::of(&like.name)?)
    } else {
        let mut columns = columns(tree.columns, &tree.constraints)?;
        pin(&mut columns, tree.distkey.as_slice(), Pin::DistKey)?;
        pin(&mut columns, tree.sortkey.as_deref().unwrap_or_default(), Pin::SortKey)?;
        Shape::Columns(columns)
    };
    Ok(Plan::CreateTable(CreateTable { name, temporary: tree.temporary, if_not_exists: tree.if_not_exists, shape }))
}

fn plain(tree: &Tree) -> Result<(), SqlError> {
    let plain = !tree.or_replace
        && !tree.unlogged
        && !tree.external
        && !tree.dynamic
        && !tree.transient
        && !tree.volatile
        && !tree.iceberg
        && !tree.snapshot
        && tree.global.is_none()
        && tree.hive_distribution == HiveDistributionStyle::NONE
        && tree.table_options == CreateTableOptions::None
        && tree.file_format.is_none()
        && tree.location.is_none()
        && !tree.without_rowid
        && tree.clone.is_none()
        && tree.version.is_none()
        && tree.comment.is_none()
        && tree.on_commit.is_none()
        && tree.primary_key.is_none()
        && tree.order_by.is_none()
        && tree.partition_by.is_none()
        && tree.inherits.is_none()
        && tree.partition_of.is_none()
        && !tree.strict;
    if plain { Ok(()) } else { Err(SqlError::unsupported("This form of CREATE TABLE")) }
}

/// The columns that a key names.
fn pin(columns: &mut [Column], named: &[Expr], pin: Pin) -> Result<(), SqlError> {
    for expr in named {
        let Expr::Identifier(ident) = expr else {
            return Err(SqlError::unsupported("an expression in a key"));
        };
        let name = names::checked(ident)?;
        let column = columns.iter_mut().find(|column| column.name == name);
        column.ok_or_else(|| SqlError(format!("column \"{name}\" named in key does not exist")))?.pinned = Some(pin);
    }
    Ok(())
}

fn columns(definitions: Vec<ColumnDef>, constraints: &[TableConstraint]) -> Result<Vec<Column>, SqlError> {
    if definitions.is_empty() || definitions.len() > COLUMNS_MAX {
        return Err(SqlError(format!("tables can have 1 to {COLUMNS_MAX} columns")));
    }
    let mut columns = definitions.into_iter().map(column).collect::<Result<Vec<_>, _>>()?;
    for constraint in constraints {
        match constraint {
            // Its columns hold no NULL; that is all Redshift enforces of it.
            TableConstraint::PrimaryKey(key) => {
                for part in &key.columns {
                    let Expr::Identifier(ident) = &part.column.expr else {
                        return Err(SqlError::unsupported("an expression in a key"));
                    };
                    let name = names::checked(ident)?;
                    let column = columns.iter_mut().find(|column| column.name == name);
                    let missing = || SqlError(format!("column \"{name}\" named in key does not exist"));
                    let column = column.ok_or_else(missing)?;
                    (column.not_null, column.pinned) = (true, Some(Pin::Constraint));
                }
            }
            TableConstraint::Unique(key) => {
                let named: Vec<Expr> = key.columns.iter().map(|part| part.column.expr.clone()).collect();
                pin(&mut columns, &named, Pin::Constraint)?;
            }
            TableConstraint::ForeignKey(key) => {
                let named: Vec<Expr> = key.columns.iter().cloned().map(Expr::Identifier).collect();
                pin(&mut columns, &named, Pin::Constraint)?;
            }
            _ => return Err(SqlError::unsupported("This constraint")),
        }
    }
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].iter().any(|other| other.name == column.name) {
            return Err(SqlError(format!("column \"{}\" duplicated", column.name)));
        }
    }
    Ok(columns)
}

/// One column, as CREATE TABLE and ADD COLUMN write it.
pub(super) fn column(definition: ColumnDef) -> Result<Column, SqlError> {
    let mut column = Column {
        name: names::checked(&definition.name)?,
        ty: Type::of(&definition.data_type)?,
        not_null: false,
        default: None,
        pinned: None,
    };
    for option in definition.options {
        match option.option {
            ColumnOption::Null => {}
            ColumnOption::Unique(_) | ColumnOption::ForeignKey(_) => column.pinned = Some(Pin::Constraint),
            ColumnOption::NotNull => column.not_null = true,
            ColumnOption::PrimaryKey(_) => (column.not_null, column.pinned) = (true, Some(Pin::Constraint)),
            ColumnOption::Default(mut default) => {
                refusals::default(&column.name, column.ty.name, &default)?;
                column.default = Some(rewritten(&mut default)?);
                column.pinned.get_or_insert(Pin::Default);
            }
            ColumnOption::DialectSpecific(tokens)
                if tokens.iter().all(|t| ["SORTKEY", "DISTKEY"].contains(&t.to_string().to_uppercase().as_str())) =>
            {
                let sorted = tokens.iter().any(|token| token.to_string().eq_ignore_ascii_case("sortkey"));
                column.pinned = Some(if sorted { Pin::SortKey } else { Pin::DistKey });
            }
            other => return Err(SqlError::unsupported(&format!("the column option {other}"))),
        }
    }
    Ok(column)
}
