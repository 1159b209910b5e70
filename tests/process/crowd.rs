//! GOAL    Whoever asks the ops endpoint, however often, slows down its answers and not the data: no fence, no lag, and
//!         probes are answered (BOUNDED).
//! METHOD  A demo under sixty sockets that send requests without a pause, and then under two hundred clients that connect
//!         anew for each. Records read meanwhile are held against the rate at which they are sent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mangrove_tests::process::{get, try_get, turn_alone};

use crate::mangrove;

const RATE: f64 = 500.0;
const SOCKETS: usize = 60;
const CLIENTS: usize = 200;
const LASTS: Duration = Duration::from_secs(5);

/// Threads that ask until it is over.
struct Crowd {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn of(n: usize, ask: fn(&str, &AtomicBool), ops: &str) -> Crowd {
        let over = Arc::new(AtomicBool::new(false));
        let thread = |_| {
            let (over, address) = (over.clone(), ops.trim_start_matches("http://").to_owned());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    ask(&address, &over);
                }
            })
        };
        let threads = (0..n).map(thread).collect();
        Crowd { over, threads }
    }
}

/// Also where the test has failed: what goes on asking would starve the tests that follow.
impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || thread::panicking(), "a client panicked");
        }
    }
}

fn connected(address: &str) -> Option<TcpStream> {
    let socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    Some(socket)
}

/// Sends requests without waiting for answers. Being thrown out is no failure.
fn without_a_pause(address: &str, over: &AtomicBool) {
    let requests = "GET /overview HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50);
    let Some(mut socket) = connected(address) else { return };
    let mut answer = [0; 1 << 16];
    while !over.load(Ordering::Relaxed) {
        let _ = socket.write(requests.as_bytes());
        if matches!(socket.read(&mut answer), Ok(0)) {
            return;
        }
    }
}

fn anew(address: &str, _: &AtomicBool) {
    let Some(mut socket) = connected(address) else { return };
    if socket.write_all(b"GET /overview HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_ok() {
        let _ = socket.read(&mut [0; 1 << 16]);
    }
}

fn metric(ops: &str, name: &str) -> f64 {
    let text = get(ops, "/metrics").1;
    let of = |line: &str| line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{'])).is_some();
    text.lines().filter(|line| of(line)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn a_crowd_at_the_ops_endpoint_costs_the_data_nothing() {
    let _alone = turn_alone();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("data").display().to_string();
    let line = "demo --rate 500 --sensors 100 --shards 2 --json --ops-port 0 --data-dir";
    let args: Vec<&str> = line.split(' ').chain([folder.as_str()]).collect();
    let mut process = mangrove(&args).start();
    let ops = process.printed("ops endpoint: ").split_whitespace().next().unwrap().to_owned();
    process.until("readiness", |_| get(&ops, "/readyz").0 == 200);

    for (n, ask) in [(SOCKETS, without_a_pause as fn(&str, &AtomicBool)), (CLIENTS, anew)] {
        let (began, before) = (Instant::now(), metric(&ops, "mangrove_reader_records_total"));
        let pictures = metric(&ops, "mangrove_ops_pictures_total");
        let crowd = Crowd::of(n, ask, &ops);
        let mut n_probes = 0;
        while began.elapsed() < LASTS {
            for probe in ["/livez", "/readyz"] {
                let answer = try_get(&ops, probe);
                assert!(
                    answer.as_ref().is_some_and(|(status, _)| *status == 200),
                    "{n} {probe} {n_probes}: {answer:?}"
                );
            }
            n_probes += 1;
            thread::sleep(Duration::from_millis(100));
        }
        drop(crowd);
        let seconds = began.elapsed().as_secs_f64();
        let read = metric(&ops, "mangrove_reader_records_total") - before;
        assert!(read > RATE * seconds / 2.0, "{n}: {read} records in {seconds:.1} s");
        // One every quarter of a second; the demo itself asks for none.
        let pictures = metric(&ops, "mangrove_ops_pictures_total") - pictures;
        assert!(pictures <= seconds * 4.0 + 2.0, "{n}: {pictures} pictures in {seconds:.1} s");
    }
    assert!(metric(&ops, "mangrove_fences_total") == 0.0 && process.is_running());
    process.signal("INT");
    process.end().ok();
}
