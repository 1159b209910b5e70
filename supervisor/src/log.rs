//! Log lines of a process: where they go, how they look, and how many there may be.
//!
//! **Promises**
//! - Lines go to stderr: stdout belongs to results. One event is one line, whatever is in it, in either form; and
//!   nothing in it is obeyed by a terminal.
//! - BOUNDED: one place in the code writes at most `lines_max` lines in ten seconds. What is left out is counted, and
//!   said once the ten seconds are over. A million poisoned records are not a million lines.
//!
//! **Not here**: what is logged. No payload is.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber, error, warn};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{LogConfig, LogFormat};
use crate::exit::CliError;
use crate::inert::{InertJson, inert};

/// Lines are counted in windows of this length.
const WINDOW: Duration = Duration::from_secs(10);

/// Makes this process log. Once per process: `tracing` has room for one subscriber.
pub fn install(config: &LogConfig) -> Result<LogLimit, CliError> {
    let filter = EnvFilter::try_new(&config.level).map_err(|e| CliError::configuration(format!("log.level: {e}")))?;
    // ractor logs every actor's start and stop, with sensors by the thousand.
    let filter = filter.add_directive("ractor=warn".parse().map_err(CliError::internal)?);
    let limit = LogLimit::new(config.lines_max);
    let lines = lines(config.format, std::io::stderr, std::io::stderr().is_terminal());
    let lines = lines.with_filter(limit.clone()).with_filter(filter);
    tracing_subscriber::registry().with(lines).try_init().map_err(CliError::internal)?;
    // Rust's own hook writes past the log, without a limit. What the panic says, its supervisor logs.
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        error!(at, backtrace, "panic");
    }));
    Ok(limit)
}

/// How an event becomes a line. Our own colours are all that a terminal obeys.
fn lines<W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => {
            let fields = debug_fn(|line, field, value| {
                let value = format!("{value:?}");
                let value = inert(&value);
                match field.name() {
                    "message" => write!(line, "{value}"),
                    name => write!(line, "{}={value}", name.strip_prefix("r#").unwrap_or(name)),
                }
            });
            Box::new(fmt::layer().with_ansi(colours).fmt_fields(fields.delimited(" ")).with_writer(writer))
        }
        LogFormat::Json => Box::new(fmt::layer().json().with_writer(InertLines(writer))),
    }
}

/// Writers of lines of JSON.
struct InertLines<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for InertLines<W> {
    type Writer = InertJson<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        InertJson(self.0.make_writer())
    }
}

/// Keeps places in the code from writing too much. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogLimit(Arc<LimiterState>);

#[derive(Debug)]
struct LimiterState {
    lines_max: u64,
    // As many as there are places in the code that log.
    places: Mutex<HashMap<Identifier, CallSite>>,
}

#[derive(Debug)]
struct CallSite {
    began: Instant,
    lines: u64,
    left_out: u64,
    name: String,
}

impl LogLimit {
    fn new(lines_max: u64) -> Self {
        Self(Arc::new(LimiterState { lines_max, places: Mutex::default() }))
    }

    /// Says, for as long as it is polled, what was left out.
    pub async fn report(self) {
        loop {
            tokio::time::sleep(WINDOW).await;
            for (place, lines) in self.take_left_out(Instant::now()) {
                warn!(place, lines, "log lines were left out (log.lines_max)");
            }
        }
    }

    fn admits(&self, metadata: &Metadata<'_>, now: Instant) -> bool {
        let mut places = self.places();
        let place = places.entry(metadata.callsite()).or_insert_with(|| CallSite {
            began: now,
            lines: 0,
            left_out: 0,
            name: format!("{}:{}", metadata.file().unwrap_or(metadata.target()), metadata.line().unwrap_or_default()),
        });
        if now.duration_since(place.began) >= WINDOW {
            (place.began, place.lines) = (now, 0);
        }
        place.lines += 1;
        let admitted = place.lines <= self.0.lines_max;
        if !admitted {
            place.left_out += 1;
            counter!("mangrove_log_lines_left_out_total").increment(1);
        }
        admitted
    }

    /// The places whose window is over and that left something out.
    fn take_left_out(&self, now: Instant) -> Vec<(String, u64)> {
        let mut places = self.places();
        let over = places.values_mut().filter(|place| place.left_out > 0 && now.duration_since(place.began) >= WINDOW);
        over.map(|place| (place.name.clone(), std::mem::take(&mut place.left_out))).collect()
    }

    // A panic while the lock was held leaves whole values behind.
    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, CallSite>> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Filter<S> for LogLimit {
    /// The finest level is for our own lines alone: at it the SDK writes whole answers of the services, payload and all.
    fn enabled(&self, metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        *metadata.level() < Level::TRACE || metadata.target().starts_with("mangrove")
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        self.admits(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tracing::info;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(limit: &LogLimit, work: impl FnOnce()) -> String {
        logged_as(LogFormat::Json, limit, work)
    }

    fn logged_as(format: LogFormat, limit: &LogLimit, work: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = lines(format, move || writer.clone(), false).with_filter(limit.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), work);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let limit = LogLimit::new(10);
        let text = logged(&limit, || {
            for n in 0..100_000 {
                info!(n, "poison");
            }
            info!("another place has its own");
        });
        assert_eq!(text.lines().count(), 11, "{text}");
        let now = Instant::now();
        assert!(limit.take_left_out(now).is_empty(), "its window is not over");
        let left_out = limit.take_left_out(now + WINDOW);
        assert_eq!(left_out.len(), 1);
        assert!(left_out[0].0.contains("log.rs:") && left_out[0].1 == 99_990, "{left_out:?}");
        assert!(limit.take_left_out(now + WINDOW).is_empty(), "it is said once");
    }

    #[test]
    fn what_the_sdk_writes_at_its_finest_level_is_left_out() {
        let text = logged(&LogLimit::new(10), || {
            tracing::trace!(target: "aws_smithy_runtime::client", "a body");
            tracing::trace!("ours");
            tracing::debug!(target: "aws_smithy_runtime::client", "a call");
        });
        assert!(!text.contains("a body") && text.contains("ours") && text.contains("a call"), "{text}");
    }

    const HOSTILE: &str = "x\n2026-01-01T00:00:00Z ERROR forged\r\n\u{1b}[2J\u{9b}31m\u{202e}gpj\u{2028}\u{2066}\u{7f}\u{0}\" {\"level\":\"ERROR\"}";

    /// Every way in which a text gets into an event.
    fn tell() {
        let error = std::io::Error::other(HOSTILE);
        let cause: &dyn std::error::Error = &error;
        info!(hostile = HOSTILE, shown = %HOSTILE, debugged = ?HOSTILE, %error, cause, raw = ?Raw, "{HOSTILE}");
    }

    /// Writes itself as it is, also when it is debugged.
    struct Raw;

    impl std::fmt::Debug for Raw {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(HOSTILE)
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let text = logged(&LogLimit::new(10), tell);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert_eq!((&lines[0]["level"], &lines[0]["fields"]["hostile"]), (&"INFO".into(), &HOSTILE.into()));
        assert!(!text.trim_end_matches('\n').contains(crate::inert::is_obeyed), "{text:?}");
    }

    #[test]
    fn so_is_one_in_the_text_form() {
        let text = logged_as(LogFormat::Text, &LogLimit::new(10), tell);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(!text.trim_end_matches('\n').contains(crate::inert::is_obeyed), "{text:?}");
        assert_eq!(text.matches("ERROR forged").count(), 7, "all of it is there: {text}");
        assert!(text.contains(" INFO ") && text.contains("shown=x\\n2026-01-01"), "{text}");
    }
}
