//! `mangrove fleet`: drives a stream, and writes down what was acknowledged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::ports::aws::{self, AwsSettings};
use actors::ports::stream::Stream;
use clap::Args;
use fleet::{FleetError, FleetOptions, FleetReport, Progress, ReplayMapping, ReplayOptions, Target};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::config::print;
use super::{duration, rate, stop_signal};
use crate::exit::CliError;

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const REFRESH: Duration = Duration::from_millis(250);

/// Drives a Kinesis stream with simulated sensors or recorded data.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove fleet --endpoint-url http://127.0.0.1:4566 --stream events --ledger run-1.jsonl --for 60s
  mangrove fleet --stream events --sensors 100000 --rate 20000 --seed 7 --ledger run-2.jsonl --json
  mangrove fleet --stream air --replay 'tests/data/beijing-air/*.csv.gz' --mapping air-quality --ledger air.jsonl

Open loop: a slow stream does not slow the schedule. The ledger holds every record that was acknowledged. A replay that
was stopped or killed goes on with the same ledger; a simulated fleet wants a new one.")]
pub struct FleetArgs {
    /// Another endpoint than AWS
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL")]
    pub endpoint_url: Option<String>,
    /// The region
    #[arg(long, value_name = "NAME", env = "AWS_REGION", default_value = "us-east-1")]
    pub region: String,
    /// The stream; it must exist
    #[arg(long, value_name = "NAME")]
    pub stream: String,
    /// Where acknowledged records are written down
    #[arg(long, value_name = "FILE")]
    pub ledger: PathBuf,
    /// Simulated sensors
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub sensors: u32,
    /// Events per second, all sensors together
    #[arg(long, value_name = "N", default_value_t = 5_000.0, value_parser = rate, allow_negative_numbers = true)]
    pub rate: f64,
    /// The same seed gives the same events
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,
    /// End by itself after this time, such as 30s [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Replay recorded data instead: a glob of .csv and .csv.gz files
    #[arg(long, value_name = "GLOB", requires = "mapping", conflicts_with_all = ["sensors", "rate", "seed", "duration"])]
    pub replay: Option<String>,
    /// How the columns of recorded data become events: air-quality, or a file
    #[arg(long, value_name = "NAME|FILE", requires = "replay")]
    pub mapping: Option<String>,
    /// Print the report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Runs the command to its end, or until Ctrl-C or SIGTERM; then sends what is queued.
pub async fn fleet(args: &FleetArgs) -> Result<(), CliError> {
    let replay = args.replay_options()?;
    let stop = stop_signal();
    probe(args).await?;
    let client = fleet::client(args.endpoint_url.as_deref(), &args.region).await;
    let target = Target { stream: args.stream.clone(), client };
    let progress = Arc::new(Progress::default());
    let shown = tokio::spawn(show(progress.clone(), stop.clone()));
    let report = match replay {
        Some(options) => fleet::run_replay(target, options, progress, stop).await,
        None => fleet::run_fleet(target, args.fleet_options(), progress, stop).await,
    };
    shown.abort();
    // Only its end is awaited: being aborted is how it ends.
    let _ = shown.await;
    conclude(args, &report?)
}

impl FleetArgs {
    fn fleet_options(&self) -> FleetOptions {
        let options = FleetOptions::new(self.sensors, self.rate, self.seed, &self.ledger);
        FleetOptions { duration: self.duration, ..options }
    }

    fn replay_options(&self) -> Result<Option<ReplayOptions>, FleetError> {
        let (Some(pattern), Some(mapping)) = (&self.replay, &self.mapping) else { return Ok(None) };
        let mapping = match mapping {
            file if file.ends_with(".toml") || file.contains(['/', '\\']) => ReplayMapping::load(Path::new(file))?,
            name => ReplayMapping::named(name)?,
        };
        Ok(Some(ReplayOptions::new(pattern, mapping, &self.ledger)))
    }

    fn endpoint_is_loopback(&self) -> bool {
        let host =
            self.endpoint_url.as_deref().and_then(|url| Some(reqwest::Url::parse(url).ok()?.host_str()?.to_owned()));
        let ip =
            |host: &str| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        host.is_some_and(|host| host == "localhost" || ip(&host))
    }
}

/// A wrong address or name is told at once, and not after as many attempts as an outage is worth.
async fn probe(args: &FleetArgs) -> Result<(), CliError> {
    if args.endpoint_url.is_some() && !args.endpoint_is_loopback() {
        // The probe would not have the credentials that such an endpoint may want; the fleet itself will tell.
        return Ok(());
    }
    let sdk = aws::load(&AwsSettings {
        region: Some(args.region.clone()),
        endpoint_url: args.endpoint_url.clone(),
        attempt_timeout: PROBE_TIMEOUT,
    })
    .await;
    let shards = Stream::new(&sdk, &args.stream).shards().await;
    let hint = "check --stream, --endpoint-url, --region and the credentials";
    shards.map(drop).map_err(|error| CliError::environment(format!("{error}; {hint}")))
}

/// Redraws until it is aborted. Draws nothing where stderr is no terminal.
async fn show(progress: Arc<Progress>, stop: watch::Receiver<bool>) {
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}").expect("a literal template");
    let bar = ProgressBar::new_spinner().with_style(style);
    let began = Instant::now();
    loop {
        let at = progress.snapshot();
        let rate = at.acked as f64 / began.elapsed().as_secs_f64().max(0.001);
        let read = match at.input_bytes_total {
            0 => String::new(),
            total => format!("  read {:.0} %", 100.0 * at.input_bytes as f64 / total as f64),
        };
        let ending = if *stop.borrow() { "  stopping" } else { "" };
        bar.set_message(format!(
            "acknowledged {} ({rate:.0}/s)  waiting {}  shed {}  throttled {}  retried {}  failed {}{read}{ending}",
            at.acked, at.backlog, at.shed, at.throttled, at.retried, at.failed
        ));
        bar.tick();
        tokio::time::sleep(REFRESH).await;
    }
}

fn conclude(args: &FleetArgs, report: &FleetReport) -> Result<(), CliError> {
    eprintln!("{}", summary(args, report));
    if args.json {
        print(&format!("{}\n", serde_json::to_string(report).map_err(CliError::internal)?))?;
    }
    match report.failed + report.unsent {
        0 => Ok(()),
        lost => Err(CliError::environment(format!(
            "{lost} records were not acknowledged; {} has those that were. Is the stream {:?} reachable and large enough?",
            args.ledger.display(),
            args.stream
        ))),
    }
}

fn summary(args: &FleetArgs, report: &FleetReport) -> String {
    if report.already_complete {
        let rows = report.skipped;
        return format!("{}: all {rows} rows were delivered by an earlier run; nothing to send", args.ledger.display());
    }
    let seconds = report.elapsed_ms as f64 / 1e3;
    format!(
        "{} records acknowledged in {seconds:.1} s, {} retried, {} shed, p99 {:.0} ms from due to acknowledged; ledger {}",
        report.acked,
        report.retried,
        report.shed,
        report.latency.p99_ms,
        args.ledger.display()
    )
}
