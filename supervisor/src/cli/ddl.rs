//! `mangrove ddl`: prints the statements that make the warehouse's tables, or what a warehouse lacks of them.
//!
//! **Owns** nothing: what it prints is what the loader sends.
//! **Promises** read only.
//! **Not here**: the tables (`actors/src/warehouse/tables.rs`).

use std::path::PathBuf;

use actors::ports::aws;
use actors::warehouse::tables::StarSchema;
use actors::warehouse::views;
use clap::{Args, ValueEnum};

use super::config::print;
use crate::config::{Config, Sources};
use crate::exit::CliError;
use crate::run::loading;

/// In which SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DialectChoice {
    /// Amazon Redshift
    Redshift,
    /// DuckDB, for readers of the lake itself: views over its files
    Duckdb,
}

/// Prints the statements that make the warehouse's tables.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove ddl --schema climate --dialect redshift
  mangrove ddl --schema schemas/climate.toml
  mangrove ddl --diff --config mangrove.toml        what the configured warehouse lacks
  mangrove ddl --schema climate --dialect duckdb --lake s3://lake      views over the files, windows at their newest

The loader makes and extends the tables by itself; this is for who wants to see the statements, or to run them.")]
pub struct DdlArgs {
    /// What an event looks like: climate, air-quality, or a file
    #[arg(long, value_name = "NAME|FILE", required_unless_present = "config")]
    pub schema: Option<String>,
    /// In which SQL
    #[arg(long, value_enum, default_value = "redshift")]
    pub dialect: DialectChoice,
    /// The warehouse's schema that holds the tables [default: mangrove, or as configured]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Where the lake is, for --dialect duckdb: s3://bucket, or a folder [default: the configured bucket]
    #[arg(long, value_name = "URL")]
    pub lake: Option<String>,
    /// Print what the configured warehouse lacks; nothing, if its tables are as they should be
    #[arg(long, requires = "config")]
    pub diff: bool,
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "MANGROVE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Runs the command.
pub async fn ddl(args: &DdlArgs) -> Result<(), CliError> {
    let sources = Sources::of_process(args.config.clone()).schema_flag("--schema", args.schema.as_deref());
    let sources = sources.flag("--namespace", "warehouse.schema", args.namespace.as_deref());
    // Without a file only the schema counts: what else must be set has no part in it.
    let sources = match args.config {
        Some(_) => sources,
        None => sources.preset("mangrove ddl", "stream.name", "any").preset("mangrove ddl", "bucket.name", "any"),
    };
    let config = Config::load(&sources)?.config;
    let statements = match args.diff {
        true => {
            let sdk = aws::load(&config.aws).await;
            let (loading, _) = loading(&config, &sdk)?.ok_or_else(super::load::no_warehouse)?;
            loading.missing().await.map_err(super::load::failed)?
        }
        false if args.dialect == DialectChoice::Duckdb => {
            let lake =
                args.lake.clone().or_else(|| args.config.as_ref().map(|_| format!("s3://{}", config.bucket_name)));
            let lake = lake
                .ok_or_else(|| CliError::configuration("--dialect duckdb needs --lake, or --config with a bucket"))?;
            views::duckdb(config.schema(), &lake).map_err(|e| CliError::configuration(e.to_string()))?
        }
        false => {
            let namespace = &config.warehouse_schema;
            let star = StarSchema::new(config.schema(), namespace, &config.metadata.columns);
            let star = star.map_err(|e| CliError::configuration(e.to_string()))?;
            star.ddl().map_err(|e| CliError::configuration(e.to_string()))?
        }
    };
    print(&statements.iter().map(|statement| format!("{statement};\n")).collect::<String>())
}
