//! The prices: a table with its date, built into the binary or of the caller's own.

use serde::Deserialize;

/// The shipped table.
pub const SHIPPED: &str = include_str!("prices.toml");

/// What AWS asks for what Mangrove uses, in dollars; each field is named by its unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// When they were last looked up: a date as `2026-11-30`.
    pub as_of: String,
    /// Where they hold.
    pub region: String,
    pub(super) kinesis: Kinesis,
    pub(super) s3: S3,
    pub(super) kms: Kms,
    pub(super) dynamodb: DynamoDb,
    pub(super) sns: Sns,
    pub(super) network: Network,
    pub(super) compute: Compute,
    pub(super) redshift: Redshift,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kinesis {
    pub(super) shard_hour: f64,
    pub(super) put_million: f64,
    pub(super) retention_shard_hour: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct S3 {
    pub(super) put_thousand: f64,
    pub(super) get_thousand: f64,
    pub(super) gb_month: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kms {
    pub(super) call_thousand: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DynamoDb {
    pub(super) write_million: f64,
    pub(super) read_million: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sns {
    pub(super) publish_million: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    pub(super) endpoint_hour: f64,
    pub(super) endpoint_gb: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Compute {
    pub(super) worker_hour: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redshift {
    pub(super) rpu_hour: f64,
    pub(super) base_rpus: f64,
    pub(super) billed_s_min: f64,
    pub(super) node_hour: f64,
    pub(super) gb_month: f64,
}

impl Prices {
    /// Reads a table.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The shipped table.
    pub fn shipped() -> Self {
        Self::parse(SHIPPED).expect("a test parses the shipped prices")
    }
}
