//! `mangrove demo`: the local cloud, a fleet, a webhook and a worker in one process.
//!
//! **Owns** the order of things: cloud, worker, fleet; then fleet done, all committed, worker drained, counted.
//! **Promises** what is reported was read back from the bucket after the drain; the worker speaks to the local cloud
//! through the same SDKs and the same code as to AWS.
//! **Not here**: anything that `mangrove run` does not do, but for starting the parts around it.

mod report;
mod webhook;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actors::loading::Loading;
use actors::ports::clock::Clock;
use actors::ports::{aws, provision};
use actors::warehouse::ledger::RowCounts;
use fleet::{
    FleetError, FleetOptions, FleetReport, Ledger, Line, Outcome, Progress, ReplayMapping, ReplayOptions, Target,
};
use indicatif::{ProgressBar, ProgressStyle};
use local::{LocalCloud, LocalOptions};
use tokio::sync::watch;

pub use self::report::DemoReport;
use self::webhook::Webhook;
use crate::config::Effective;
use crate::exit::CliError;
use crate::lake;
use crate::run::Running;

/// What to demonstrate.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Where everything is stored.
    pub data_dir: PathBuf,
    /// Shards of the stream.
    pub shards: u32,
    /// What feeds the stream.
    pub source: DemoSource,
    /// Ends by itself after this time; none runs until Ctrl-C.
    pub duration: Option<Duration>,
    /// Whether to draw progress.
    pub progress: bool,
}

/// What feeds the stream.
#[derive(Clone, Debug)]
pub enum DemoSource {
    /// Simulated devices.
    Fleet {
        /// How many.
        sensors: u32,
        /// Events per second, over all.
        rate: f64,
        /// The same seed gives the same events.
        seed: u64,
    },
    /// Recorded data.
    Replay {
        /// A glob of files.
        pattern: String,
        /// How rows become events.
        mapping: ReplayMapping,
    },
}

/// How long the worker may take to commit what the fleet has sent.
const CATCH_UP_MAX: Duration = Duration::from_secs(300);
const REFRESH: Duration = Duration::from_millis(250);

/// Runs the demo to its end.
pub async fn demo(
    options: DemoOptions,
    configure: impl FnOnce(&str, &str) -> Result<Effective, CliError>,
    mut stop: watch::Receiver<bool>,
) -> Result<DemoReport, CliError> {
    let began = Instant::now();
    if let DemoSource::Replay { pattern, .. } = &options.source {
        ReplayOptions::matches(pattern)?;
    }
    let bind = "127.0.0.1:0".parse().expect("a literal address");
    let cloud = LocalCloud::start(LocalOptions::new(bind, options.data_dir.clone())).await?;
    let webhook = Webhook::start().await.map_err(|e| CliError::environment(format!("demo webhook: {e}")))?;
    let effective = configure(&cloud.endpoint_url(), &webhook.url())?;
    let sdk = aws::load(&effective.config.aws).await;
    let stream = effective.config.stream_name.clone();
    let provisioned = async {
        provision::stream(&sdk, &stream, options.shards).await?;
        provision::bucket(&sdk, &effective.config.bucket_name).await
    };
    provisioned.await?;

    let mut running = Running::start(&effective).await?;
    running.announce("  (open it in a browser)");
    let mut asked = running.worker().drain_asked();
    let (fleet_stop, fleet_stopped) = watch::channel(false);
    let progress = Arc::new(Progress::default());
    let target = Target { stream, client: fleet::client(Some(&cloud.endpoint_url()), "us-east-1").await };
    let ledgers = options.data_dir.join("ledger");
    let mut producing =
        tokio::spawn(produce(options.clone(), target, ledgers.clone(), progress.clone(), fleet_stopped));

    let bar = progress_bar(options.progress);
    let mut produced = None;
    let mut failed = None;
    while produced.is_none() {
        tokio::select! {
            result = &mut producing => produced = Some(result),
            _ = stop.wait_for(|stop| *stop), if !*fleet_stop.borrow() => { fleet_stop.send_replace(true); }
            _ = asked.wait_for(|asked| *asked), if !*fleet_stop.borrow() => { fleet_stop.send_replace(true); }
            ended = running.ended() => {
                failed = ended.err();
                fleet_stop.send_replace(true);
                break;
            }
            () = tokio::time::sleep(REFRESH) => show(&bar, began, &progress, &running),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let produced = produced.expect("the loop ends with a result").map_err(CliError::internal)?;
    let fleet_report = match produced {
        Ok(report) => report,
        Err(error) => {
            // In good order here too: a worker whose cloud vanishes would bury the reason under its own complaints.
            bar.finish_and_clear();
            running.drain(effective.config.drain_timeout).await?;
            return Err(error.into());
        }
    };
    let producing_for = began.elapsed();

    catch_up(&running, &bar, began, &progress).await?;
    let worker = running.worker();
    let latency = |share| worker.alert_figures().quantile_ms(share);
    let alert_latency_ms = report::Latency { p50: latency(0.5), p99: latency(0.99), max: latency(1.0) };
    let late = running.drain(effective.config.drain_timeout).await?;
    bar.finish_and_clear();
    if !late.is_empty() {
        return Err(CliError::internal(format!("did not finish in time: {}", late.join(", "))));
    }
    let totals = lake::totals(running.objects()).await.map_err(CliError::internal)?;
    let loaded = load_rest(running.loading()).await?;
    let report = DemoReport {
        records_acked: acked(&ledgers)?,
        alerts_sent: running.worker().alert_figures().count(),
        alerts_received: webhook.received(),
        alert_latency_ms,
        events_per_second: (fleet_report.acked as f64 / producing_for.as_secs_f64()).round(),
        peak_rss_mb: report::peak_rss_mb(),
        actor_restarts: running.worker().restarts(),
        warehouse_rows: loaded.rows,
        warehouse_lag_ms: loaded.lag_ms,
        ledger_batches: loaded.batches,
        bucket: effective.config.bucket_name.clone(),
        ..DemoReport::new(&totals, &fleet_report, began.elapsed())
    };
    cloud.stop().await.map_err(CliError::internal)?;
    Ok(report)
}

#[derive(Default)]
struct LoadedCounts {
    rows: RowCounts,
    batches: u64,
    lag_ms: report::Lag,
}

/// Loads what the drain has committed. The worker's loader has given the warehouse up by then.
async fn load_rest(loading: Option<&Loading>) -> Result<LoadedCounts, CliError> {
    let Some(loading) = loading else { return Ok(LoadedCounts::default()) };
    loading.ensure_tables().await.map_err(CliError::internal)?;
    loading.load_all(CATCH_UP_MAX).await.map_err(CliError::internal)?;
    let (rows, batches) = loading.counts().await.map_err(CliError::internal)?;
    let lag = |share| loading.figures().freshness_ms(share);
    Ok(LoadedCounts { rows, batches, lag_ms: report::Lag { p50: lag(0.5), p99: lag(0.99) } })
}

/// What to do with what a demo has left behind.
pub fn next_steps(options: &DemoOptions, effective_bucket: &str) -> String {
    let s3 = options.data_dir.join("s3").join(effective_bucket);
    let s3 = s3.display();
    format!(
        "data: {s3}\n\
         try:  duckdb -c \"select sensor_id, count(*), max(event_time) from '{s3}/cleansed/**/*.parquet' group by 1 limit 5\"\n      \
               duckdb -c \"select reason, count(*) from '{s3}/quarantine/**/*.parquet' group by 1\"\n      \
               run the same command again: it goes on where this one ended"
    )
}

async fn produce(
    options: DemoOptions,
    target: Target,
    ledgers: PathBuf,
    progress: Arc<Progress>,
    stop: watch::Receiver<bool>,
) -> Result<FleetReport, FleetError> {
    match options.source {
        DemoSource::Fleet { sensors, rate, seed } => {
            let run = ledger_files(&ledgers).len() as u64 + 1;
            // Another seed for every run in the same folder: its events are new ones, not the earlier ones again.
            let seed = seed.wrapping_add((run - 1).wrapping_mul(1_000_003));
            let ledger = ledgers.join(format!("run-{run:04}.jsonl"));
            let fleet = FleetOptions { duration: options.duration, ..FleetOptions::new(sensors, rate, seed, ledger) };
            fleet::run_fleet(target, fleet, progress, stop).await
        }
        DemoSource::Replay { pattern, mapping } => {
            let replay = ReplayOptions::new(pattern, mapping, ledgers.join("replay.jsonl"));
            fleet::run_replay(target, replay, progress, stop).await
        }
    }
}

async fn catch_up(running: &Running, bar: &ProgressBar, began: Instant, progress: &Progress) -> Result<(), CliError> {
    let done_ms = Clock::system().now_ms();
    let deadline = Instant::now() + CATCH_UP_MAX;
    while !running.worker().has_caught_up(done_ms) {
        if Instant::now() > deadline {
            return Err(CliError::internal(format!("the worker did not catch up within {CATCH_UP_MAX:?}")));
        }
        show(bar, began, progress, running);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn ledger_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "jsonl")).collect()
}

/// Records that the stream has acknowledged, over all runs in this folder.
fn acked(folder: &Path) -> Result<u64, FleetError> {
    let mut acked = 0;
    for file in ledger_files(folder) {
        for line in Ledger::read(&file)? {
            acked += u64::from(matches!(line?, Line::Outcome(entry) if entry.k == Outcome::Acked));
        }
    }
    Ok(acked)
}

fn progress_bar(draw: bool) -> ProgressBar {
    if !draw {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}").expect("a literal template");
    ProgressBar::new_spinner().with_style(style)
}

fn show(bar: &ProgressBar, began: Instant, progress: &Progress, running: &Running) {
    let worker = running.worker();
    let totals = worker.owned().totals();
    let (read, committed) = (totals.read, totals.committed);
    let acked = progress.acked.load(Ordering::Relaxed);
    let rate = acked as f64 / began.elapsed().as_secs_f64().max(0.001);
    let (known, live) = worker.shards().iter().fold((0, 0), |(k, l), shard| {
        let (known, live) = shard.context.figures.sensors();
        (k + known, l + live)
    });
    bar.set_message(format!(
        "in {acked} ({rate:.0}/s)  read {read}  committed {committed}  behind {} ms  sensors {live}/{known}  \
         alerts {}  restarts {}",
        worker.millis_behind(),
        worker.alert_figures().count(),
        worker.restarts()
    ));
    bar.tick();
}
