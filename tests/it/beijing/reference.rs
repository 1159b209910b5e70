//! The second opinion: the recorded files in SQLite, and every aggregate computed there by SQL, in two passes.

use std::path::Path;

use chrono::NaiveDate;
use flate2::read::MultiGzDecoder;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// Numeric columns of the files: header, name in the events, valid range of `schemas/air-quality.toml`.
pub(super) const FIELDS: [(&str, &str, f64, f64); 11] = [
    ("PM2.5", "pm25", 0.0, 5_000.0),
    ("PM10", "pm10", 0.0, 10_000.0),
    ("SO2", "so2", 0.0, 5_000.0),
    ("NO2", "no2", 0.0, 5_000.0),
    ("CO", "co", 0.0, 100_000.0),
    ("O3", "o3", 0.0, 5_000.0),
    ("TEMP", "temp", -60.0, 60.0),
    ("DEWP", "dewp", -80.0, 50.0),
    ("PRES", "pres", 850.0, 1_100.0),
    ("RAIN", "rain", 0.0, 500.0),
    ("WSPM", "wspm", 0.0, 100.0),
];

/// One window of one field of one station.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stats {
    pub(super) count: i64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) mean: f64,
    pub(super) stddev: Option<f64>,
    pub(super) first: f64,
    pub(super) last: f64,
}

impl Stats {
    /// Whether the other says the same, to 1e-9 of the value.
    ///
    /// Where values cancel each other out (a mean around 0 degrees, the spread of equal values), the true value is 0
    /// and what remains is rounding of the inputs: that is measured against the largest input.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let rounding = 1e-12 * self.min.abs().max(self.max.abs());
        let close = |a: f64, b: f64| (a - b).abs() <= (1e-9 * a.abs().max(b.abs())).max(rounding);
        let stddev = match (self.stddev, other.stddev) {
            (Some(a), Some(b)) => close(a, b),
            (a, b) => a == b,
        };
        // What is picked rather than computed has to be the very value.
        let picked = |s: &Self| (s.count, s.min, s.max, s.first, s.last);
        picked(self) == picked(other) && close(self.sum, other.sum) && close(self.mean, other.mean) && stddev
    }
}

/// The recorded readings, and those that landed beside them.
pub(super) struct Reference {
    db: Connection,
}

impl Reference {
    /// Reads every file of the folder.
    pub(super) fn load(folder: &Path) -> Self {
        let db = Connection::open_in_memory().unwrap();
        let fields: String = FIELDS.iter().map(|(_, name, ..)| format!(", {name} REAL")).collect();
        for table in ["recorded", "landed"] {
            let columns = format!("station TEXT, t INTEGER, n INTEGER{fields}, wd TEXT, PRIMARY KEY (station, t)");
            db.execute_batch(&format!("CREATE TABLE {table} ({columns}) WITHOUT ROWID")).unwrap();
        }
        let reference = Self { db };
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|path| path.extension().is_some_and(|ending| ending == "gz")) {
            reference.insert("recorded", recorded(&file));
        }
        reference
    }

    /// Adds what landed: station, seconds since 1970, number, the fields in order, wind direction.
    pub(super) fn add_landed(&self, rows: impl Iterator<Item = Vec<Value>>) {
        self.insert("landed", rows);
    }

    fn insert(&self, table: &str, rows: impl Iterator<Item = Vec<Value>>) {
        let places = vec!["?"; FIELDS.len() + 4].join(", ");
        let transaction = self.db.unchecked_transaction().unwrap();
        let mut insert = transaction.prepare(&format!("INSERT INTO {table} VALUES ({places})")).unwrap();
        for row in rows {
            insert.execute(params_from_iter(row)).unwrap();
        }
        drop(insert);
        transaction.commit().unwrap();
    }

    /// The answer to a question that has one number.
    pub(super) fn number(&self, sql: &str) -> i64 {
        self.db.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Station and month of UTC, in order: readings, readings with a value of this field, its sum, least and greatest.
    pub(super) fn months(&self, field: &str) -> Vec<(String, i64, [i64; 2], [f64; 3])> {
        let sql = format!(
            "SELECT station, CAST(strftime('%Y%m', t, 'unixepoch') AS INTEGER) AS month, count(*), count({field}),
                    sum({field}), min({field}), max({field})
             FROM recorded GROUP BY station, month ORDER BY station, month"
        );
        let mut query = self.db.prepare(&sql).unwrap();
        let months = query.query_map([], |row| {
            let floats = [row.get(4)?, row.get(5)?, row.get(6)?];
            Ok((row.get(0)?, row.get(1)?, [row.get(2)?, row.get(3)?], floats))
        });
        months.unwrap().map(Result::unwrap).collect()
    }

    /// How many readings have a value outside its valid range.
    pub(super) fn n_out_of_range(&self) -> i64 {
        let within = FIELDS.map(|(_, name, low, high)| format!("coalesce({name} BETWEEN {low:?} AND {high:?}, 1)"));
        self.number(&format!("SELECT count(*) FROM recorded WHERE NOT ({})", within.join(" AND ")))
    }

    /// Calls back with (station, window's start in seconds, statistics) for every window with a value.
    pub(super) fn windows(&self, field: &str, length_s: i64, mut each: impl FnMut(&str, i64, Stats)) {
        let sql = format!(
            "SELECT station, w * {length_s}, count(*), sum(v), min(v), max(v), mean,
                    CASE WHEN count(*) > 1 THEN sum((v - mean) * (v - mean)) / (count(*) - 1) END, first, last
             FROM (SELECT station, w, v, avg(v) OVER window_ AS mean,
                          first_value(v) OVER window_ AS first, last_value(v) OVER window_ AS last
                   FROM (SELECT station, t, t / {length_s} AS w, {field} AS v
                         FROM recorded WHERE {field} IS NOT NULL)
                   WINDOW window_ AS (PARTITION BY station, w ORDER BY t
                                      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING))
             GROUP BY station, w"
        );
        let mut query = self.db.prepare(&sql).unwrap();
        let mut rows = query.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let float = |at: usize| row.get::<_, f64>(at).unwrap();
            let variance: Option<f64> = row.get(7).unwrap();
            let stats = Stats {
                count: row.get(2).unwrap(),
                sum: float(3),
                min: float(4),
                max: float(5),
                mean: float(6),
                stddev: variance.map(f64::sqrt),
                first: float(8),
                last: float(9),
            };
            each(row.get_ref(0).unwrap().as_str().unwrap(), row.get(1).unwrap(), stats);
        }
    }
}

/// The rows of one file, `NA` and blank as null.
fn recorded(file: &Path) -> impl Iterator<Item = Vec<Value>> {
    let mut reader = csv::Reader::from_reader(MultiGzDecoder::new(std::fs::File::open(file).unwrap()));
    let headers = reader.headers().unwrap().clone();
    let at = move |name: &str| headers.iter().position(|header| header == name).unwrap();
    let (station, wd, number) = (at("station"), at("wd"), at("No"));
    let time = ["year", "month", "day", "hour"].map(&at);
    let fields = FIELDS.map(|(header, ..)| at(header));
    reader.into_records().map(move |record| {
        let record = record.unwrap();
        let cell = |at: usize| Some(&record[at]).filter(|text| !matches!(text.trim(), "" | "NA"));
        let [year, month, day, hour] = time.map(|at| record[at].parse::<u32>().unwrap());
        let time = NaiveDate::from_ymd_opt(year as i32, month, day).unwrap().and_hms_opt(hour, 0, 0).unwrap();
        let float = |at: usize| cell(at).map_or(Value::Null, |text| Value::Real(text.parse().unwrap()));
        let key = [
            Value::Text(record[station].to_owned()),
            Value::Integer(time.and_utc().timestamp()),
            Value::Integer(record[number].parse().unwrap()),
        ];
        let wd = cell(wd).map_or(Value::Null, |text| Value::Text(text.to_owned()));
        key.into_iter().chain(fields.map(float)).chain([wd]).collect()
    })
}
