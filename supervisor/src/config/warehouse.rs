//! Reads the section of the warehouse.
//!
//! **Promises** a section that is not enabled is checked all the same, but for what must be set.
//! **Not here**: whether what is named exists.

use std::time::Duration;

use actors::loader::LoaderConfig;
use actors::loading::{LoadingConfig, MetadataConfig, RefusalPatience, SpectrumConfig};
use actors::ports::warehouse::{WarehousePlace, WarehouseTarget};
use actors::sinks::Encoding;
use actors::warehouse::SITE_BYTES_MAX;
use actors::warehouse::external::SpectrumMode;
use actors::warehouse::metadata::{COLUMNS_MAX, Limits, MetadataColumn, MetadataColumns};
use messages::EventSchema;
use messages::schema::FieldKind;

use super::names;
use super::section::{GIB, MIB, Section, millis, seconds};

const HOUR: Duration = seconds(3_600);
/// As many rows of the ledger as fit into one statement.
const EPOCHS_MAX: u64 = 200;

/// The longest VARCHAR.
const TEXT_BYTES_MAX: usize = 65_535;
/// The largest row that COPY takes, 4 MB, less what is in it beside the event's own values.
const ROW_BYTES_MAX: usize = 4_000_000 - 64 * 1024;

/// What the tables of an event schema could never hold, or COPY never take, with what would fit.
pub(super) fn too_large(schema: &EventSchema, record_bytes_max: usize) -> Option<String> {
    let texts = || schema.fields.iter().filter(|field| field.kind == FieldKind::Text);
    if let Some(field) = texts().find(|field| field.text_bytes_max > TEXT_BYTES_MAX) {
        let (name, bytes) = (&field.name, field.text_bytes_max);
        return Some(format!(
            "field {name} may have {bytes} bytes, and no text in the warehouse more than {TEXT_BYTES_MAX}: set its \
             bytes_max to {TEXT_BYTES_MAX} or less"
        ));
    }
    let site = texts().find(|field| field.name == "site" && field.tracked.is_some());
    if let Some(field) = site.filter(|field| field.text_bytes_max > SITE_BYTES_MAX as usize) {
        return Some(format!(
            "field site may have {} bytes, and the keys of the warehouse's places never hold more than {SITE_BYTES_MAX}: \
             set its bytes_max to {SITE_BYTES_MAX} or less",
            field.text_bytes_max
        ));
    }
    let row: usize = texts().map(|field| field.text_bytes_max).sum();
    (row.min(record_bytes_max) > ROW_BYTES_MAX).then(|| {
        format!(
            "a reading may have {row} bytes of text, and COPY takes no row of more than 4 MB: set \
             decode.record_bytes_max to {ROW_BYTES_MAX} or less, or shorten texts by their bytes_max"
        )
    })
}

/// The warehouse, and how it is loaded.
#[derive(Clone, Debug)]
pub struct WarehouseConfig {
    /// Where it is.
    pub target: WarehouseTarget,
    /// A statement that runs for longer is cancelled.
    pub statement_timeout: Duration,
    /// What a load is made of.
    pub loading: LoadingConfig,
    /// When it is made.
    pub loader: LoaderConfig,
}

/// The warehouse's schema that holds the tables.
pub(super) fn namespace(s: &mut Section<'_>) -> String {
    s.text("schema", names::namespace)
}

/// The section of the metadata.
pub(super) fn metadata(s: &mut Section<'_>, schema: &EventSchema) -> MetadataConfig {
    let sensors = s.text("sensors", names::prefix);
    let locations = s.text("locations", names::prefix);
    let columns = MetadataColumns {
        sensors: attributes(s, "sensor_columns"),
        locations: attributes(s, "location_columns"),
        text_bytes_max: s.count("text_bytes_max", 1..=60_000),
    };
    let (of_sensors, of_locations) = columns.problems(schema);
    for (key, problems) in [("sensor_columns", of_sensors), ("location_columns", of_locations)] {
        for problem in problems {
            s.problem(key, problem);
        }
    }
    MetadataConfig {
        sensors,
        locations,
        columns,
        refresh: s.duration("refresh", seconds(1)..=24 * HOUR),
        limits: Limits {
            objects_max: s.count("objects_max", 1..=10_000),
            bytes_max: s.bytes("bytes_max", 1..=GIB),
            rows_max: s.count("rows_max", 1..=10_000_000),
        },
    }
}

fn attributes(s: &mut Section<'_>, key: &str) -> Vec<MetadataColumn> {
    let declared = s.texts(key, COLUMNS_MAX, |text| MetadataColumn::parse(text).map(drop));
    declared.iter().filter_map(|text| MetadataColumn::parse(text).ok()).collect()
}

pub(super) fn read(
    s: &mut Section<'_>,
    namespace: &str,
    metadata: &MetadataConfig,
    encoding: Encoding,
) -> Option<WarehouseConfig> {
    let enabled = s.flag("enabled");
    let workgroup = optional(s, "workgroup", names::workgroup);
    let cluster = optional(s, "cluster", names::cluster);
    let database = s.text("database", names::database);
    let db_user = optional(s, "db_user", names::database);
    let secret_arn = optional(s, "secret_arn", |text| names::arn(text, "secretsmanager"));
    let iam_role = optional(s, "iam_role", |text| names::arn(text, "iam"));
    let statement_timeout = s.duration("statement_timeout", millis(100)..=24 * HOUR);
    let loading = LoadingConfig {
        namespace: namespace.to_owned(),
        iam_role: iam_role.unwrap_or_default(),
        epochs_max: s.count("epochs_max", 1..=EPOCHS_MAX),
        bytes_max: s.bytes("bytes_max", MIB..=1024 * GIB),
        patience: RefusalPatience {
            attempts_max: s.count("attempts_max", 1..=1_000),
            alike_max: s.count("alike_max", 2..=1_000),
        },
        metadata: metadata.clone(),
        encoding,
        spectrum: spectrum(s, namespace),
    };
    let loader = LoaderConfig {
        load_interval: s.duration("load_interval", millis(100)..=24 * HOUR),
        backoff_max: s.duration("backoff_max", millis(10)..=HOUR),
        failover_after: s.duration("failover_after", millis(500)..=HOUR),
        // Metadata, the ledger and the load, each with its question before; looks and uploads have their own, shorter ends.
        turn_max: statement_timeout * 6 + seconds(60),
    };
    let place = match (workgroup, cluster) {
        (Some(_), Some(_)) => {
            s.problem("cluster", "is set beside warehouse.workgroup: set one of the two");
            None
        }
        (Some(workgroup), None) => Some(WarehousePlace::Workgroup(workgroup)),
        (None, Some(cluster)) => Some(WarehousePlace::Cluster(cluster)),
        (None, None) => {
            if enabled {
                s.missing("workgroup", "the warehouse is enabled, and neither workgroup nor cluster names it");
            }
            None
        }
    };
    if db_user.is_some() && matches!(place, Some(WarehousePlace::Workgroup(_))) {
        s.problem("db_user", "is for clusters; a workgroup knows its users by IAM identity or secret");
    }
    let target = WarehouseTarget { place: place?, database, db_user, secret_arn };
    enabled.then_some(WarehouseConfig { target, statement_timeout, loading, loader })
}

fn spectrum(s: &mut Section<'_>, namespace: &str) -> Option<SpectrumConfig> {
    let modes = [("off", None), ("beside", Some(SpectrumMode::Beside)), ("instead", Some(SpectrumMode::Instead))];
    let mode = s.choice("spectrum", &modes);
    let (external, database) =
        (s.text("spectrum_schema", names::namespace), s.text("spectrum_database", names::database));
    if external == namespace {
        s.problem(
            "spectrum_schema",
            "is warehouse.schema: an external schema holds no other tables, choose another name",
        );
    }
    mode.map(|mode| SpectrumConfig { mode, namespace: external, database })
}

fn optional(s: &mut Section<'_>, key: &str, check: impl Fn(&str) -> Result<(), String>) -> Option<String> {
    let text = s.text(key, |text| if text.is_empty() { Ok(()) } else { check(text) });
    (!text.is_empty()).then_some(text)
}
