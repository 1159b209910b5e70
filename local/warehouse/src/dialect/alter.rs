//! ALTER TABLE, as far as a loader needs it.

use sqlparser::ast::{AlterColumnOperation, AlterTable, AlterTableOperation, RenameTableNameKind};

use super::create;
use super::names::{self, TableName};
use super::plan::Plan;
use super::types::Type;
use crate::error::SqlError;

pub(super) fn plan(alter: AlterTable) -> Result<Plan, SqlError> {
    let plain = !alter.if_exists && !alter.only && alter.location.is_none() && alter.table_type.is_none();
    let table = TableName::of(&alter.name)?;
    let mut operations = alter.operations.into_iter();
    let (Some(operation), None, true) = (operations.next(), operations.next(), plain) else {
        return Err(SqlError::unsupported("This form of ALTER TABLE"));
    };
    match operation {
        AlterTableOperation::AddColumn { if_not_exists: false, column_def, column_position: None, .. } => {
            let column = create::column(column_def)?;
            if column.not_null {
                return Err(SqlError::new("ALTER TABLE ADD COLUMN defined as NOT NULL must have a non-null default"));
            }
            Ok(Plan::AddColumn { table, column })
        }
        AlterTableOperation::AlterColumn {
            column_name,
            op: AlterColumnOperation::SetDataType { data_type, using: None, .. },
        } => {
            let to = Type::of(&data_type)?;
            if to.name != "character varying" {
                return Err(SqlError::new("only the length of a VARCHAR column can be altered"));
            }
            Ok(Plan::AlterType { table, column: names::checked(&column_name)?, to })
        }
        AlterTableOperation::DropColumn { column_names, if_exists: false, .. } => match column_names.as_slice() {
            [column] => Ok(Plan::DropColumn { table, column: names::checked(column)? }),
            _ => Err(SqlError::unsupported("dropping several columns at once")),
        },
        AlterTableOperation::RenameTable { table_name: RenameTableNameKind::To(to) } => match to.0.as_slice() {
            [name] => Ok(Plan::RenameTable { table, to: names::checked(names::part(name)?)? }),
            _ => Err(SqlError::new("a new name has no schema: the table stays where it is")),
        },
        _ => Err(SqlError::unsupported("This form of ALTER TABLE")),
    }
}
