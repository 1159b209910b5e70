//! Where a run takes place: its folder, its configuration, and its local cloud.
//!
//! **Owns** the folder and the process of the local cloud.
//! **Promises** a folder that is not empty is refused; a temporary one is kept if anything was wrong.
//! **Fails** when the cloud does not start.
//! **Not here**: the workers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actors::loading::Loading;
use actors::ports::aws::{self, AwsSettings};
use aws_config::SdkConfig;
use supervisor::config::{Config, Sources};
use supervisor::exit::CliError;
use supervisor::run;
use tempfile::TempDir;

use super::Options;
use super::child::{Child, OnLine, Signal};
use super::journal::Journal;
use crate::evidence::Places;
use crate::oracle::Limits;

pub(super) const STREAM: &str = "events";
pub(super) const BUCKET: &str = "lake";
/// The folder of the local cloud.
const CLOUD: &str = "cloud";
const START_MAX: Duration = Duration::from_secs(30);
/// Time to write everything into its files.
const CLOSE_MAX: Duration = Duration::from_secs(60);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A folder and a cloud.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) folder: PathBuf,
    temporary: Option<TempDir>,
    pub(super) endpoint_url: String,
    pub(super) sdk: SdkConfig,
    pub(super) config: Config,
    pub(super) journal: Journal,
    pub(super) local: Child,
}

impl Scene {
    pub(super) async fn set(options: &Options) -> Result<Self, CliError> {
        let (folder, temporary) = folder(options)?;
        let text = |name: &str| folder.join(name).display().to_string();
        let printed: Arc<Mutex<Option<String>>> = Arc::default();
        let seen = printed.clone();
        let on_line: OnLine = Arc::new(move |line| {
            if let Some(rest) = line.strip_prefix("local cloud at ") {
                let url = rest.split(',').next().unwrap_or(rest).to_owned();
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(url);
            }
        });
        let (cloud, shards) = (text(CLOUD), options.shards.to_string());
        let args = ["local", "--bind", "127.0.0.1:0", "--data-dir", &cloud, "--stream", STREAM, "--shards", &shards];
        let args = strings(&[&args, ["--bucket", BUCKET, "--faults"].as_slice()].concat());
        let mut local = Child::start("local", &args, &folder.join("local.log"), on_line)?;
        let endpoint_url = first(&printed, &mut local, "the local cloud's address").await?;
        let file = folder.join("mangrove.toml");
        fs::write(&file, config_text(&endpoint_url, options.warehouse)).map_err(|error| failed(&file, error))?;
        let config = Config::load(&Sources::of_file(Some(file)).host_name("chaos"))?.config;
        let settings =
            AwsSettings { region: None, endpoint_url: Some(endpoint_url.clone()), attempt_timeout: ATTEMPT_TIMEOUT };
        let sdk = aws::load(&settings).await;
        Ok(Self { folder, temporary, endpoint_url, sdk, config, journal: Journal::default(), local })
    }

    /// Starts a worker, the n-th time.
    pub(super) fn worker(&self, id: &str, incarnation: &str) -> Result<Child, CliError> {
        let config = self.folder.join("mangrove.toml").display().to_string();
        let (journal, name) = (self.journal.clone(), incarnation.to_owned());
        let on_line: OnLine = Arc::new(move |line| journal.line(&name, line));
        let log = self.folder.join(format!("{}.log", incarnation.replace('#', "-")));
        Child::start(incarnation, &strings(&["run", "--config", &config, "--worker-id", id]), &log, on_line)
    }

    /// Starts the producer; its report is the last line that is an object.
    pub(super) fn fleet(&self, options: &Options, report: Arc<Mutex<Option<String>>>) -> Result<Child, CliError> {
        let ledger = self.ledger().display().to_string();
        let (rate, sensors) = (options.rate.to_string(), options.sensors.to_string());
        let seed = options.seed.to_string();
        let target = ["fleet", "--endpoint-url", &self.endpoint_url, "--stream", STREAM, "--ledger", &ledger];
        let what = ["--rate", &rate, "--sensors", &sensors, "--seed", &seed, "--json"];
        let on_line: OnLine = Arc::new(move |line| {
            if line.starts_with('{') {
                *report.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.to_owned());
            }
        });
        Child::start("fleet", &strings(&[target.as_slice(), &what].concat()), &self.folder.join("fleet.log"), on_line)
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.folder.join("ledger.jsonl")
    }

    /// Where the evidence is.
    pub(super) fn places(&self) -> Places {
        let worker = self.config.worker();
        let limits = Limits {
            decode: worker.shard.reader.decode,
            event_ids_max: worker.event_ids_max,
            lateness: worker.shard.aggregator.allowed_lateness,
        };
        Places {
            stream: STREAM.to_owned(),
            table: self.config.leases_table.clone(),
            bucket: BUCKET.to_owned(),
            ledgers: vec![self.ledger()],
            limits: Some(limits),
        }
    }

    /// What loads the warehouse, if there is one.
    pub(super) fn loading(&self) -> Result<Option<Loading>, CliError> {
        Ok(run::loading(&self.config, &self.sdk)?.map(|(loading, _)| loading))
    }

    /// Ends the cloud in good order, so that its files can be read.
    pub(super) async fn close(&mut self) -> Result<(), CliError> {
        self.local.signal(Signal::Term)?;
        match self.local.end(CLOSE_MAX).await? {
            Some(_) => Ok(()),
            None => Err(CliError::internal(format!("the local cloud has not ended {CLOSE_MAX:?} after SIGTERM"))),
        }
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.join(CLOUD)
    }

    /// Ends the cloud. The folder is kept if it was asked for, or if it is needed.
    pub(super) fn strike(self, keep: bool) -> Option<PathBuf> {
        self.local.kill();
        match self.temporary {
            Some(temporary) if keep => Some(temporary.keep()),
            Some(_) => None,
            None => Some(self.folder),
        }
    }
}

fn folder(options: &Options) -> Result<(PathBuf, Option<TempDir>), CliError> {
    let Some(folder) = &options.data_dir else {
        let temporary = tempfile::Builder::new().prefix("mangrove-chaos-").tempdir();
        let temporary = temporary.map_err(|error| failed(&std::env::temp_dir(), error))?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    if fs::read_dir(folder).map_err(|error| failed(folder, error))?.next().is_some() {
        return Err(CliError::configuration(format!("--data-dir {}: is not empty", folder.display())));
    }
    Ok((folder.clone(), None))
}

/// Short epochs, so that many are under way when something breaks. Reads are as frequent as the local cloud's small
/// pages ask for: once it has seen a record of 1 MiB it answers with 40 records at most.
///
/// Loads are frequent too, and a loader that stands still is followed as soon as the clients' patience allows.
fn config_text(endpoint_url: &str, warehouse: bool) -> String {
    let warehouse = match warehouse {
        true => {
            "warehouse.enabled = true\nwarehouse.workgroup = \"local\"\nwarehouse.load_interval = \"2s\"\n\
             warehouse.failover_after = \"10s\"\nwarehouse.backoff_max = \"2s\"\nwarehouse.statement_timeout = \"20s\"\n"
        }
        false => "",
    };
    format!(
        "stream.name = \"{STREAM}\"\nbucket.name = \"{BUCKET}\"\nschema.use = \"climate\"\n\
         aws.endpoint_url = \"{endpoint_url}\"\nops.bind = \"127.0.0.1:0\"\nepoch.age_max = \"2s\"\n\
         log.format = \"json\"\nreader.poll_interval = \"50ms\"\n{warehouse}"
    )
}

/// Waits for what a process prints.
async fn first(printed: &Mutex<Option<String>>, child: &mut Child, what: &str) -> Result<String, CliError> {
    let deadline = Instant::now() + START_MAX;
    loop {
        if let Some(text) = printed.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(text);
        }
        if let Some(status) = child.ended()? {
            return Err(CliError::environment(format!("{status} before {what}")));
        }
        if Instant::now() > deadline {
            return Err(CliError::environment(format!("no {what} within {START_MAX:?}")));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn failed(path: &Path, error: std::io::Error) -> CliError {
    CliError::environment(format!("{}: {error}", path.display()))
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}
