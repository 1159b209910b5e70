//! Mapping, merging, and resuming after stops and kills.

use std::path::Path;

use serde_json::Value;

use super::merge::BadRows;
use super::source::is_json_number;
use super::*;
use crate::fake::{Fake, Reply, until};

const HEADER: &str = "No,year,month,day,hour,PM2.5,PM10,SO2,NO2,CO,O3,TEMP,PRES,DEWP,RAIN,wd,WSPM,station";

fn air_quality() -> ReplayMapping {
    ReplayMapping::named("air-quality").unwrap()
}

fn row(no: u64, day: u64, temperature: &str, station: &str) -> String {
    format!("{no},2013,3,{day},0,4.0,4,4,NA,300,77,{temperature},1023,-18.8,0,NNW,4.4,{station}")
}

fn write(folder: &Path, name: &str, rows: &[String]) {
    std::fs::write(folder.join(name), format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
}

/// `n_rows` rows for each of three stations, one row a day apart.
fn write_stations(folder: &Path, n_rows: u64) {
    for station in ["a", "b", "c"] {
        let rows: Vec<_> = (1..=n_rows).map(|no| row(no, 1 + no * 28 / (n_rows + 1), "1.50", station)).collect();
        write(folder, &format!("{station}.csv"), &rows);
    }
}

fn read(pattern: &str) -> (Vec<Row>, BadRows) {
    let mut merge = Merge::open(pattern, Arc::new(air_quality()), Arc::default()).unwrap();
    let rows = std::iter::from_fn(|| merge.next().unwrap()).collect();
    let (chunks, _incoming) = mpsc::channel(1);
    (rows, std::thread::spawn(move || merge.pump(1, &chunks)).join().unwrap().unwrap())
}

fn pattern(folder: &Path) -> String {
    format!("{}/*.csv*", folder.display())
}

#[test]
fn a_row_becomes_the_agreed_json_token_by_token() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.csv", &[row(1, 1, "-2.77555756156289e-17", "Aotizhongxin")]);
    let (rows, bad) = read(&pattern(folder.path()));
    assert_eq!(bad.count, 0);
    assert_eq!(
        rows[0].json,
        r#"{"station":"Aotizhongxin","time":"2013-03-01T00:00:00Z","seq":1,"pm25":4.0,"pm10":4,"so2":4,"no2":null,"co":300,"o3":77,"temp":-2.77555756156289e-17,"dewp":-18.8,"pres":1023,"rain":0,"wd":"NNW","wspm":4.4}"#
    );
    assert_eq!(rows[0].time_ms, 1_362_096_000_000);
}

#[test]
fn json_numbers_are_told_from_lookalikes() {
    for good in ["0", "-0", "4.0", "10", "1e5", "1E+05", "-2.7e-17", "0.10"] {
        assert!(is_json_number(good), "{good}");
        assert!(serde_json::from_str::<Value>(good).unwrap().is_number(), "{good}");
    }
    for bad in ["", "-", "+1", "01", "4.", ".5", "1e", "1e+", "NaN", "Infinity", "0x1", "1 ", "1,2", "NA", "1.2.3"] {
        assert!(!is_json_number(bad), "{bad}");
    }
}

#[test]
fn rows_that_do_not_parse_are_reported_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [
        row(1, 1, "1", "a"),
        row(2, 99, "1", "a"),
        row(3, 3, "warm", "a"),
        "too,short".to_owned(),
        row(5, 5, "1", ""),
        row(6, 6, "1", &"x".repeat(300)),
        row(7, 7, "1", "\"a\n\"\"b\"\"\""),
    ];
    write(folder.path(), "a.csv", &rows);
    let (rows, bad) = read(&pattern(folder.path()));
    assert_eq!(rows.iter().map(|row| row.sensor.as_str()).collect::<Vec<_>>(), ["a", "a\n\"b\""]);
    assert_eq!(serde_json::from_str::<Value>(&rows[1].json).unwrap()["station"], "a\n\"b\"");
    assert_eq!(bad.count, 5);
    let lines: Vec<_> = bad.samples.iter().map(|it| it.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines, ["3", "4", "5", "6", "7"], "{:?}", bad.samples);
    assert!(bad.samples[1].contains("a.csv:4: `TEMP` is not a number: \"warm\""), "{:?}", bad.samples);
}

#[test]
fn lines_are_counted_alike_whatever_ends_them() {
    for end in ["\n", "\r\n"] {
        let folder = tempfile::tempdir().unwrap();
        let rows = [row(1, 1, "1", "a"), row(2, 2, "warm", "a"), row(3, 3, "1", "\"b\"")];
        std::fs::write(folder.path().join("a.csv"), format!("{HEADER}\n{}\n", rows.join("\n")).replace('\n', end))
            .unwrap();
        let (rows, bad) = read(&pattern(folder.path()));
        assert_eq!(rows.iter().map(|row| row.sensor.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(bad.samples[0].contains("a.csv:3: "), "{end:?}: {bad:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_a_bad_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = format!("{HEADER}\n").into_bytes();
    bytes.extend(row(1, 1, "1", "?\n").bytes().map(|byte| if byte == b'?' { 0xff } else { byte }));
    std::fs::write(folder.path().join("a.csv"), bytes).unwrap();
    let (rows, bad) = read(&pattern(folder.path()));
    assert!(rows.is_empty() && bad.samples[0].contains("not UTF-8"), "{bad:?}");
}

#[test]
fn files_are_merged_by_time_and_ties_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "b.csv", &[row(1, 1, "1", "b"), row(2, 4, "1", "b")]);
    write(folder.path(), "a.csv", &[row(1, 1, "1", "a"), row(2, 2, "1", "a"), row(3, 5, "1", "a")]);
    write(folder.path(), "c.csv", &[row(1, 3, "1", "c")]);
    let (rows, _) = read(&pattern(folder.path()));
    let order: Vec<_> = rows.iter().map(|row| row.sensor.as_str()).collect();
    assert_eq!(order, ["a", "b", "a", "c", "b", "a"]);
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let open = |pattern: &str| Merge::open(pattern, Arc::new(air_quality()), Arc::default()).err().unwrap();
    let error = open(&pattern(folder.path()));
    assert!(matches!(error, FleetError::NoMatch { .. }), "{error}");
    std::fs::write(folder.path().join("a.csv"), "No,year\n").unwrap();
    let error = open(&pattern(folder.path())).to_string();
    assert!(error.contains("a.csv has no column `month`"), "{error}");
    assert!(matches!(open("[["), FleetError::Pattern { .. }));
}

#[test]
fn a_file_that_breaks_off_is_an_error_not_a_shorter_replay() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/beijing-air/Gucheng.csv.gz"));
    std::fs::write(folder.path().join("a.csv.gz"), &whole.unwrap()[..300_000]).unwrap();
    let mut merge = Merge::open(&pattern(folder.path()), Arc::new(air_quality()), Arc::default()).unwrap();
    let error = loop {
        match merge.next() {
            Ok(row) => assert!(row.is_some(), "the end was not noticed"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, FleetError::Source { .. }), "{error}");
}

#[test]
fn mappings_that_contradict_themselves_are_refused() {
    let text = include_str!("../../../schemas/air-quality.replay.toml");
    assert!(ReplayMapping::parse(text).is_ok());
    for (from, to) in [
        ("name = \"pm25\"", "name = \"station\""),
        ("year = \"year\"", "column = \"year\""),
        ("type = \"text\"", "type = \"colour\""),
        ("null = \"NA\"", "nul = \"NA\""),
    ] {
        assert!(text.contains(from));
        let error = ReplayMapping::parse(&text.replace(from, to)).unwrap_err();
        assert!(matches!(error, FleetError::Mapping { .. }), "{error}");
    }
    let error = ReplayMapping::named("weather").unwrap_err().to_string();
    assert!(error.contains("air-quality"), "{error}");
}

#[test]
fn time_may_come_from_one_column() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = |format: &str| {
        let text = format!(
            "name = \"t\"\nfields = []\n[id]\ncolumn = \"id\"\nname = \"id\"\n\
             [time]\nname = \"at\"\ncolumn = \"at\"\nformat = \"{format}\"\n"
        );
        Arc::new(ReplayMapping::parse(&text).unwrap())
    };
    for (format, token, expected) in [
        ("%Y-%m-%d %H:%M:%S", "2020-02-29 01:02:03", "2020-02-29T01:02:03Z"),
        ("%Y-%m-%dT%H:%M:%S%.f%:z", "2020-02-29T01:02:03.5+02:00", "2020-02-28T23:02:03.500Z"),
        ("%d.%m.%Y", "29.02.2020", "2020-02-29T00:00:00Z"),
    ] {
        std::fs::write(folder.path().join("a.csv"), format!("id,at\ns,{token}\n")).unwrap();
        let mut merge = Merge::open(&pattern(folder.path()), mapping(format), Arc::default()).unwrap();
        let row = merge.next().unwrap().unwrap();
        assert_eq!(row.json, format!(r#"{{"id":"s","at":"{expected}"}}"#));
    }
}

/// The events of a file with this header and these rows, under a mapping with these lines.
fn events(mapping: &str, file: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), file).unwrap();
    let mapping = ReplayMapping::parse(&format!("name = \"t\"\n{mapping}")).map_err(|error| error.to_string())?;
    let merge = Merge::open(&pattern(folder.path()), Arc::new(mapping), Arc::default());
    let mut merge = merge.map_err(|error| error.to_string())?;
    Ok(std::iter::from_fn(|| merge.next().unwrap()).map(|row| row.json).collect())
}

#[test]
fn files_are_read_as_they_come() {
    let mapping = "delimiter = \";\"\nnull = [\"?\", \"-\"]\n\
                   fields = [{ column = \"W\", name = \"power.W\", type = \"float\" }, \
                   { column = \"ok\", name = \"ok\", type = \"boolean\" }]\n\
                   [id]\nvalue = \"meter\"\nname = \"id\"\n\
                   [time]\nname = \"ts\"\ncolumns = [\"Date\", \"Time\"]\nformat = \"%d/%m/%Y %H:%M:%S\"\n";
    let file = "Date;Time;W;ok\n16/12/2006;17:24:00;4.216;true\n16/12/2006;17:25:00;?;-\n";
    assert_eq!(
        events(mapping, file).unwrap(),
        [
            r#"{"id":"meter","ts":"2006-12-16T17:24:00Z","power.W":4.216,"ok":true}"#,
            r#"{"id":"meter","ts":"2006-12-16T17:25:00Z","power.W":null,"ok":null}"#,
        ]
    );
    let parts = "fields = []\n[id]\ncolumn = \"id\"\nname = \"id\"\n[time]\nname = \"ts\"\nyear = \"y\"\nmonth = \"m\"\n\
                 day = \"d\"\nhour = \"h\"\nminute = \"min\"\nsecond = \"s\"\n";
    let found = events(parts, "id,y,m,d,h,min,s\na,2020,2,29,1,2,3\n").unwrap();
    assert_eq!(found, [r#"{"id":"a","ts":"2020-02-29T01:02:03Z"}"#]);
}

#[test]
fn another_delimiter_is_named() {
    let mapping = |more: &str| {
        format!(
            "{more}fields = []\n[id]\ncolumn = \"id\"\nname = \"id\"\n[time]\nname = \"ts\"\ncolumn = \"ts\"\nformat = \"%Y\"\n"
        )
    };
    for (more, header, words) in [
        ("", "id;ts", "separated by ';': the mapping says so by delimiter = ';'"),
        ("", "id\tts", r"delimiter = '\t'"),
        ("delimiter = \";\"\n", "id,ts", "delimiter = ','"),
        ("", "Id,Time", "it has Id, Time"),
    ] {
        let error = events(&mapping(more), &format!("{header}\n")).unwrap_err();
        assert!(error.contains("has no column `id`") || error.contains("has no column `ts`"), "{error}");
        assert!(error.contains(words), "{error}");
    }
    assert!(events(&mapping("delimiter = \"\u{20ac}\"\n"), "").unwrap_err().contains("one character of ASCII"));
    let both = "fields = []\n[id]\ncolumn = \"id\"\nvalue = \"x\"\nname = \"id\"\n[time]\nname = \"ts\"\ncolumn = \"ts\"\nformat = \"%Y\"\n";
    assert!(events(both, "").unwrap_err().contains("either column or value"));
    let missing = ReplayMapping::load(Path::new("/nowhere/x.replay.toml")).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/x.replay.toml does not exist: this file says which columns"), "{missing}");
}

#[test]
fn all_of_the_recorded_data_parses_the_one_blank_cell_too() {
    let (rows, bad) = read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/beijing-air/*.csv.gz"));
    assert_eq!((rows.len(), bad.count), (280_512, 0), "{bad:?}");
    // Row 75 of Aotizhongxin holds a space where a gap would be `NA`.
    let blank = rows
        .iter()
        .find(|row| row.json.starts_with(r#"{"station":"Aotizhongxin""#) && row.json.contains(r#""seq":75,"#));
    assert!(blank.unwrap().json.contains(r#""so2":null"#), "{blank:?}");
    assert!(rows.windows(2).all(|pair| pair[0].time_ms <= pair[1].time_ms));
    assert!(rows.iter().step_by(997).all(|row| serde_json::from_str::<Value>(&row.json).is_ok()));
}

fn options(folder: &Path) -> ReplayOptions {
    ReplayOptions::new(pattern(folder), air_quality(), folder.join("ledger.jsonl"))
}

/// What the stream holds of one station, as row numbers, in order.
fn seqs(fake: &Fake, station: &str) -> Vec<u64> {
    let seq = |json: &String| serde_json::from_str::<Value>(json).unwrap()["seq"].as_u64().unwrap();
    fake.stored_of(station).iter().map(seq).collect()
}

#[tokio::test]
async fn a_replay_runs_once_and_then_says_so() {
    let folder = tempfile::tempdir().unwrap();
    write_stations(folder.path(), 700);
    let fake = Fake::start([], Reply::Store).await;
    let (_keep, stop) = watch::channel(false);
    let report = run_replay(fake.target().await, options(folder.path()), Arc::default(), stop.clone()).await.unwrap();
    assert_eq!((report.acked, report.failed, report.already_complete), (2100, 0, false));
    assert!(["a", "b", "c"].iter().all(|it| seqs(&fake, it) == (1..=700).collect::<Vec<_>>()));

    let again = run_replay(fake.target().await, options(folder.path()), Arc::default(), stop).await.unwrap();
    assert!(again.already_complete);
    assert_eq!((again.acked, again.skipped), (0, 2100));
    assert_eq!(fake.stored().len(), 2100);
}

#[tokio::test]
async fn a_killed_replay_sends_only_what_is_not_known_to_be_delivered() {
    let folder = tempfile::tempdir().unwrap();
    write_stations(folder.path(), 3000);
    let fake = Fake::start([], Reply::Store).await;
    let (_keep, stop) = watch::channel(false);
    let progress = Arc::<Progress>::default();
    let run = tokio::spawn(run_replay(fake.target().await, options(folder.path()), progress.clone(), stop.clone()));
    until("some acknowledgements", || progress.snapshot().acked >= 1000).await;
    // As a kill would: the tasks are gone at once, with whatever is in flight.
    fake.set_open(false);
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    fake.set_open(true);

    let report = run_replay(fake.target().await, options(folder.path()), Arc::default(), stop.clone()).await.unwrap();
    assert!(report.skipped >= 1000 && report.skipped < 9000, "{report:?}");
    assert_eq!(report.acked + report.skipped, 9000);
    for station in ["a", "b", "c"] {
        let mut unique = seqs(&fake, station);
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique, (1..=3000).collect::<Vec<_>>());
    }
    let n_doubled = fake.stored().len() as u64 - 9000;
    assert!(n_doubled <= report.maybe_resent, "{n_doubled} doubled, {report:?}");
    assert!(report.maybe_resent <= 500, "{report:?}");
    let third = run_replay(fake.target().await, options(folder.path()), Arc::default(), stop).await.unwrap();
    assert!(third.already_complete);
}

#[tokio::test]
async fn lost_replies_count_as_resent_and_failed_rows_keep_a_replay_open() {
    let folder = tempfile::tempdir().unwrap();
    write_stations(folder.path(), 10);
    let (_keep, stop) = watch::channel(false);
    let run = async |fake: &Fake| {
        let mut options = options(folder.path());
        options.delivery.attempts_max = 1;
        run_replay(fake.target().await, options, Arc::default(), stop.clone()).await.unwrap()
    };
    let lost = run(&Fake::start([], Reply::StoreAndLose).await).await;
    assert_eq!((lost.acked, lost.maybe, lost.failed), (0, 30, 30));
    let refused = run(&Fake::start([], Reply::Error("ProvisionedThroughputExceededException")).await).await;
    assert_eq!((refused.acked, refused.failed, refused.maybe_resent), (0, 30, 30));
    let good = run(&Fake::start([], Reply::Store).await).await;
    assert_eq!((good.acked, good.maybe_resent, good.already_complete), (30, 30, false));
}

#[tokio::test]
async fn other_data_under_the_same_ledger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_stations(folder.path(), 10);
    let fake = Fake::start([], Reply::Store).await;
    let (_keep, stop) = watch::channel(false);
    run_replay(fake.target().await, options(folder.path()), Arc::default(), stop.clone()).await.unwrap();
    // Without its last line the ledger is that of a replay that was killed just before the end.
    let ledger = folder.path().join("ledger.jsonl");
    let text = std::fs::read_to_string(&ledger).unwrap();
    let open = text.trim_end().rsplit_once('\n').unwrap().0;
    std::fs::write(&ledger, format!("{open}\n")).unwrap();
    write(folder.path(), "a.csv", &[row(1, 1, "99", "a")]);
    let error = run_replay(fake.target().await, options(folder.path()), Arc::default(), stop).await.unwrap_err();
    assert!(matches!(error, FleetError::LedgerMismatch { .. }), "{error}");
}

#[tokio::test]
async fn stop_ends_a_replay_early_and_leaves_it_open() {
    let folder = tempfile::tempdir().unwrap();
    write_stations(folder.path(), 5000);
    let fake = Fake::start([], Reply::Store).await;
    let (stop, stopping) = watch::channel(false);
    let progress = Arc::<Progress>::default();
    let run = tokio::spawn(run_replay(fake.target().await, options(folder.path()), progress.clone(), stopping));
    until("some acknowledgements", || progress.snapshot().acked >= 500).await;
    stop.send(true).unwrap();
    let report = run.await.unwrap().unwrap();
    assert!(report.acked < 15_000, "{report:?}");
    assert_eq!((report.failed, report.unsent), (0, 0));
    assert_eq!(report.acked, fake.stored().len() as u64);
    assert!(History::read(&folder.path().join("ledger.jsonl")).unwrap().completion().is_none());
}
