//! `mangrove local`: the local cloud, with resources in it, until Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use actors::ports::aws::{self, AwsSettings};
use actors::ports::provision::{self, Provisioned};
use clap::Args;
use local::{LocalCloud, LocalOptions};

use super::config::print;
use super::stop_signal;
use crate::exit::CliError;

/// The resources are created over loopback.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const REGION: &str = "us-east-1";

/// Runs the local cloud: Kinesis, S3, DynamoDB, SNS and the Redshift Data API on one loopback port.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove local --stream events --shards 4 --bucket lake
  mangrove local --bind 127.0.0.1:0 --data-dir /tmp/cloud --topic alerts
  aws --endpoint-url http://127.0.0.1:4566 s3 ls     any AWS tool, with any credentials
  mangrove local --stream events --bucket lake --faults

With --faults, clients set rules for faults on the same port, and see what was injected:
  curl -X PUT http://127.0.0.1:4566/_mangrove/faults -d '{\"seed\": 7, \"rules\": [
    {\"service\": \"s3\", \"operation\": \"PutObject\", \"kind\": \"lose_reply\", \"probability\": 0.1, \"count\": 5}]}'
  curl http://127.0.0.1:4566/_mangrove/faults
  curl -X DELETE http://127.0.0.1:4566/_mangrove/faults
A rule has a service (kinesis, dynamodb, s3, sns, redshift, any) and a kind (throttle, error, deny, skew, timeout_before, lose_reply,
delay, reset); it may have an operation, a probability, a count, a delay_ms, and a match: a text in the key, path or body.

What is stored stays in the folder, whether the process is stopped or killed.")]
pub struct LocalArgs {
    /// A loopback address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    pub bind: SocketAddr,
    /// Where everything is stored; one process at a time
    #[arg(long, value_name = "DIR", default_value = "mangrove-data")]
    pub data_dir: PathBuf,
    /// A Kinesis stream to create; can be repeated
    #[arg(long, value_name = "NAME")]
    pub stream: Vec<String>,
    /// Shards of every stream that is created
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub shards: u32,
    /// A bucket to create; can be repeated
    #[arg(long, value_name = "NAME")]
    pub bucket: Vec<String>,
    /// An SNS topic to create; can be repeated
    #[arg(long, value_name = "NAME")]
    pub topic: Vec<String>,
    /// Throttle shards as AWS does: a second takes 1 MiB and 1,000 records, and gives five reads and 2 MiB
    #[arg(long)]
    pub enforce_limits: bool,
    /// Memory of the embedded warehouse, MiB; it is opened by the first statement
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = memory_mib)]
    pub warehouse_memory_mib: usize,
    /// Threads of the embedded warehouse
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = threads)]
    pub warehouse_threads: usize,
    /// Let clients inject faults, by rules set at /_mangrove/faults
    #[arg(long)]
    pub faults: bool,
}

/// Below this DuckDB does not open a table.
fn memory_mib(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|mib| (64..=1_048_576).contains(mib)).ok_or("write MiB, at least 64".to_owned())
}

fn threads(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=256).contains(n)).ok_or("write a number from 1 to 256".to_owned())
}

/// Runs the command until Ctrl-C or SIGTERM.
pub async fn local(args: &LocalArgs) -> Result<(), CliError> {
    let mut stop = stop_signal();
    let options = LocalOptions {
        enforce_limits: args.enforce_limits,
        faults: args.faults,
        warehouse_memory_mib: args.warehouse_memory_mib,
        warehouse_threads: args.warehouse_threads,
        ..LocalOptions::new(args.bind, args.data_dir.clone())
    };
    let cloud = LocalCloud::start(options).await?;
    let created = provision(args, &cloud.endpoint_url()).await?;
    print(&greeting(args, &cloud.endpoint_url(), &created))?;
    // An error means that nobody can ask to stop any more: stop.
    let _ = stop.wait_for(|stop| *stop).await;
    Ok(cloud.stop().await?)
}

/// One line for each resource.
async fn provision(args: &LocalArgs, endpoint_url: &str) -> Result<Vec<String>, CliError> {
    let sdk = aws::load(&AwsSettings {
        region: Some(REGION.to_owned()),
        endpoint_url: Some(endpoint_url.to_owned()),
        attempt_timeout: ATTEMPT_TIMEOUT,
    })
    .await;
    let mut lines = Vec::new();
    for name in &args.stream {
        lines.push(line("stream", name, provision::stream(&sdk, name, args.shards).await?));
    }
    for name in &args.bucket {
        lines.push(line("bucket", name, provision::bucket(&sdk, name).await?));
    }
    for name in &args.topic {
        lines.push(format!("topic   {}", provision::topic(&sdk, name).await?));
    }
    Ok(lines)
}

fn line(kind: &str, name: &str, provisioned: Provisioned) -> String {
    let remark = match provisioned {
        Provisioned::Created => "",
        Provisioned::Existing => "  (was there; unchanged)",
    };
    format!("{kind:<7} {name}{remark}")
}

fn greeting(args: &LocalArgs, endpoint_url: &str, created: &[String]) -> String {
    let mut text = format!("local cloud at {endpoint_url}, data in {}\n", args.data_dir.display());
    for line in created {
        text.push_str(&format!("  {line}\n"));
    }
    text.push_str(&format!(
        "\nFor any AWS tool:\n  export AWS_ENDPOINT_URL={endpoint_url} AWS_REGION={REGION} \
         AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local\n"
    ));
    if let (Some(stream), Some(bucket)) = (args.stream.first(), args.bucket.first()) {
        text.push_str(&format!(
            "For a worker:\n  MANGROVE_STREAM__NAME={stream} MANGROVE_BUCKET__NAME={bucket} \
             MANGROVE_SCHEMA__USE=climate \\\n    mangrove run --config deploy/local/mangrove.toml \
             --endpoint-url {endpoint_url}\n"
        ));
    }
    if args.faults {
        text.push_str(&format!("For faults:\n  curl {endpoint_url}/_mangrove/faults\n"));
    }
    text.push_str("Ctrl-C stops it.\n");
    text
}
