//! The real binary, as a user starts it: a process with its output, its end, and nothing left behind.
//!
//! **Promises** whatever becomes of a test, the processes that it has started end with it, and no others do. At most
//! two tests have processes at once; one that measures has the machine for itself.

pub mod leases;
pub mod ledgers;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

const POLL: Duration = Duration::from_millis(10);
/// Longer than anything that is waited for: a test that hangs says where.
const PATIENCE: Duration = Duration::from_secs(60);
const TURNS: usize = 2;

pub const SIGABRT: i32 = 6;
pub const SIGKILL: i32 = 9;

/// A command that has not been started yet. It sees nothing of this process's environment but PATH.
#[derive(Debug)]
pub struct Call {
    command: Command,
    shown: String,
}

impl Call {
    pub fn new(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // What must not be shown to users is not shown by those either who have this set.
        command.env("RUST_BACKTRACE", "1");
        Self { command, shown: format!("mangrove {}", args.join(" ")) }
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn start(mut self) -> Process {
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.shown));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let began = Instant::now();
        Process { child, shown: self.shown, began, stdout: Output::of(stdout), stderr: Output::of(stderr) }
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> End {
        self.start().end()
    }
}

/// A process that may still be running. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    shown: String,
    began: Instant,
    stdout: Output,
    stderr: Output,
}

/// How a process ended.
#[derive(Debug)]
pub struct End {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub after: Duration,
    shown: String,
}

impl Process {
    /// The rest of the first line, on stdout or stderr, after this mark.
    pub fn printed(&mut self, mark: &str) -> String {
        let mut rest = None;
        self.until(&format!("a line with {mark:?}"), |process| {
            let outputs = [process.stdout.text(), process.stderr.text()];
            let mut whole =
                outputs.iter().flat_map(|text| text.split_inclusive('\n')).filter(|line| line.ends_with('\n'));
            rest = whole.find_map(|line| Some(line.split_once(mark)?.1.trim_end().to_owned()));
            rest.is_some()
        });
        rest.unwrap()
    }

    /// Waits for a fact; panics if the process ends before.
    pub fn until(&mut self, what: &str, mut fact: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !fact(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                // It may have come true with its last breath.
                assert!(fact(self), "{}: {status} before {what}: {}", self.shown, self.stderr.text());
                return;
            }
            assert!(Instant::now() < deadline, "{}: no {what}: {}", self.shown, self.stderr.text());
            thread::sleep(POLL);
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has had at once, as the kernel says; none once it has ended.
    pub fn peak_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024)
    }

    /// As `kill` does it: TERM or INT, to this process alone.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name} of {}", self.shown);
    }

    /// SIGKILL.
    pub fn kill(mut self) -> End {
        self.child.kill().unwrap();
        self.end()
    }

    pub fn end(mut self) -> End {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{} does not end: {}", self.shown, self.stderr.text());
            thread::sleep(POLL);
        };
        let (stdout, stderr) = (self.stdout.whole(), self.stderr.whole());
        End { status, stdout, stderr, after: self.began.elapsed(), shown: self.shown.clone() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl End {
    /// It ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{}: {}: {}", self.shown, self.status, self.stderr);
        self
    }

    #[track_caller]
    pub fn died_of(self, signal: i32) -> Self {
        assert_eq!(self.status.signal(), Some(signal), "{}: {}: {}", self.shown, self.status, self.stderr);
        self
    }

    /// All of stdout is one JSON object on one line.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.trim_end().lines().count(), 1, "{}: {:?}", self.shown, self.stdout);
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        assert!(value.is_object(), "{}: {value}", self.shown);
        value
    }
}

/// What a process has written so far, read by a thread that ends with it.
#[derive(Debug)]
struct Output {
    text: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let filled = text.clone();
        let reading = thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                filled.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, reading: Some(reading) }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn whole(&mut self) -> String {
        if let Some(reading) = self.reading.take() {
            reading.join().unwrap();
        }
        self.text()
    }
}

/// A place in the queue for the machine, given back when dropped.
#[derive(Debug)]
pub struct Turn {
    places: usize,
}

#[derive(Debug)]
struct Places {
    taken: usize,
    /// Tests that want all places: nobody else begins while they wait.
    waiting: usize,
}

static PLACES: Mutex<Places> = Mutex::new(Places { taken: 0, waiting: 0 });
static GIVEN_BACK: Condvar = Condvar::new();

/// One of two at once.
pub fn turn() -> Turn {
    let full = |places: &mut Places| places.taken >= TURNS || places.waiting > 0;
    let mut places = GIVEN_BACK.wait_while(places(), full).unwrap_or_else(PoisonError::into_inner);
    places.taken += 1;
    Turn { places: 1 }
}

/// The only one: for what measures.
pub fn turn_alone() -> Turn {
    let mut places = places();
    places.waiting += 1;
    let mut places = GIVEN_BACK.wait_while(places, |places| places.taken > 0).unwrap_or_else(PoisonError::into_inner);
    places.waiting -= 1;
    places.taken = TURNS;
    Turn { places: TURNS }
}

impl Drop for Turn {
    fn drop(&mut self) {
        places().taken -= self.places;
        GIVEN_BACK.notify_all();
    }
}

fn places() -> MutexGuard<'static, Places> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `GET` of a target as it is written here: no client tidies it up. The status and the body.
pub fn get(base_url: &str, target: &str) -> (u16, String) {
    try_get(base_url, target).unwrap_or_else(|| panic!("{base_url} does not answer"))
}

/// As `get`; none if the connection is closed without an answer.
pub fn try_get(base_url: &str, target: &str) -> Option<(u16, String)> {
    let address = base_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    // A server that has read enough closes; what it has said by then counts.
    let _ = write!(stream, "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{target} comes in pieces: {head}");
    Some((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
}

/// `POST` of a body, with these header lines besides the usual ones. The status and the body of the answer.
pub fn post(base_url: &str, target: &str, headers: &str, body: &str) -> (u16, String) {
    let address = base_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let n = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {n}\r\n");
    // A server that refuses by the head alone may close before the body.
    let _ = write!(stream, "{head}{headers}\r\n{body}");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{target}: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Puts an object into a local cloud, as a client without credentials does.
pub fn put_object(base_url: &str, target: &str, body: &[u8]) {
    let address = base_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let n = body.len();
    write!(stream, "PUT {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {n}\r\n\r\n")
        .unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{target}: {answer}");
}

/// How many objects a zone of a lake has so far.
pub fn n_objects(root: &Path, zone: &str) -> usize {
    crate::lake::Lake::read(root).files(zone, "").len()
}
