//! A process of this run.
//!
//! **Owns** the process and the threads that read its output.
//! **Promises** it ends when this is dropped, and when this process ends: its stdin is the tie.
//! **Fails** with what the system says.
//! **Not here**: what its lines mean.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child as System, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use supervisor::exit::CliError;

const POLL: Duration = Duration::from_millis(10);

/// What is done with every line that it writes.
pub(super) type OnLine = Arc<dyn Fn(&str) + Send + Sync>;

/// A process of the product, from this very executable. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    system: System,
}

/// As `kill` names them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    Term,
    Stop,
    Continue,
}

impl Child {
    /// Starts `mangrove <args>`. Its output is appended to the log.
    pub(super) fn start(name: &str, args: &[String], log: &Path, on_line: OnLine) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| CliError::environment(format!("start {name}: {error}"));
        let mut command = Command::new(executable().map_err(failed)?);
        command.args(["mangrove", "--tied"]).args(args).env_clear();
        // Nothing of the surroundings changes what is tested.
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut system = command.spawn().map_err(failed)?;
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            system.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            system.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        // First, so that whatever fails from here on ends it.
        let child = Self { name: name.to_owned(), system };
        for output in outputs.into_iter().flatten() {
            let mut log = OpenOptions::new().create(true).append(true).open(log).map_err(failed)?;
            let on_line = on_line.clone();
            thread::spawn(move || {
                let mut lines = BufReader::new(output).lines();
                while let Some(Ok(line)) = lines.next() {
                    // A log that cannot be written must not stop the process whose log it is.
                    let _ = writeln!(log, "{line}");
                    on_line(&line);
                }
            });
        }
        Ok(child)
    }

    /// Sends a signal, to this process alone.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), CliError> {
        let name = match signal {
            Signal::Term => "TERM",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        // The id is ours until the process has been waited for, so that nobody else can be hit.
        let status = Command::new("kill").args(["-s", name, &self.system.id().to_string()]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(CliError::environment(format!("kill -s {name} of {}: {status}", self.name))),
            Err(error) => Err(CliError::environment(format!("kill -s {name} of {}: {error}", self.name))),
        }
    }

    /// SIGKILL, and waits for the end.
    pub(super) fn kill(mut self) {
        self.end_now();
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, CliError> {
        self.system.try_wait().map_err(|error| CliError::environment(format!("wait for {}: {error}", self.name)))
    }

    /// Waits for its end; none if it does not come in time.
    pub(super) async fn end(&mut self, within: Duration) -> Result<Option<ExitStatus>, CliError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn end_now(&mut self) {
        // An error means that it has ended already.
        let _ = self.system.kill();
        let _ = self.system.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end_now();
    }
}

/// This executable. By its file where the system can tell: it may have been replaced on the disk since.
fn executable() -> std::io::Result<std::path::PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() { Ok(own.to_owned()) } else { std::env::current_exe() }
}
