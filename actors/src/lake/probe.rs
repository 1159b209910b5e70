//! A few known rows of every type and edge that the lake's files have: what a warehouse makes of them is known before it is
//! given anything that matters.
//!
//! **Not here**: a text with NUL (such readings are quarantined), values that no reading can have.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// One of the rows, by the columns of [`schema`]; its number comes first there.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeRow {
    /// Microseconds since 1970.
    pub micros: Option<i64>,
    /// Milliseconds since 1970.
    pub millis: i64,
    /// A text that is in many rows, so that the file has a dictionary of it.
    pub word: Option<&'static str>,
    /// A text of its own, and how often it is repeated.
    pub text: (&'static str, usize),
    /// 64 bits.
    pub number: Option<f64>,
    /// 32 bits.
    pub small: f32,
    /// Whole.
    pub whole: Option<i64>,
    /// Yes or no.
    pub flag: Option<bool>,
}

const fn row(micros: Option<i64>, millis: i64, text: (&'static str, usize)) -> ProbeRow {
    let (word, number, small) = (Some("climate"), Some(21.125), 0.5);
    ProbeRow { micros, millis, word, text, number, small, whole: Some(-7), flag: Some(true) }
}

/// The rows, in order.
pub const ROWS: [ProbeRow; 6] = [
    row(Some(1_767_225_599_123_456), 1_767_225_599_789, ("usual", 1)),
    row(Some(-86_400_000_000), -86_400_000, ("before 1970", 1)),
    row(Some(4_102_444_799_999_999), 4_102_444_799_999, ("at the end of the year 2099", 1)),
    ProbeRow {
        word: None,
        number: None,
        whole: None,
        flag: None,
        ..row(None, 0, ("nothing, and beyond the plane: \u{1d70b} \u{1f321}", 1))
    },
    // Longer than what is read back.
    ProbeRow { number: Some(-0.0), flag: Some(false), ..row(Some(0), 0, ("x", 4_000)) },
    ProbeRow {
        number: Some(0.1),
        small: -1.5,
        whole: Some(9_007_199_254_740_993),
        ..row(Some(951_782_400_000_001), 951_782_400_001, ("", 1))
    },
];

/// The columns.
pub fn schema() -> SchemaRef {
    let time = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let columns = [
        ("n", DataType::Int32),
        ("micros", time(TimeUnit::Microsecond)),
        ("millis", time(TimeUnit::Millisecond)),
        ("word", DataType::Utf8),
        ("text", DataType::Utf8),
        ("number", DataType::Float64),
        ("small", DataType::Float32),
        ("whole", DataType::Int64),
        ("flag", DataType::Boolean),
    ];
    Arc::new(Schema::new(columns.map(|(name, kind)| Field::new(name, kind, name != "n")).to_vec()))
}

/// The values of the rows, column by column.
pub fn columns() -> Vec<ArrayRef> {
    let texts = ROWS.iter().map(|row| Some(row.text.0.repeat(row.text.1)));
    vec![
        Arc::new(Int32Array::from_iter_values(0..ROWS.len() as i32)),
        Arc::new(ROWS.iter().map(|row| row.micros).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(ROWS.iter().map(|row| Some(row.millis)).collect::<TimestampMillisecondArray>().with_timezone("UTC")),
        Arc::new(ROWS.iter().map(|row| row.word).collect::<StringArray>()),
        Arc::new(texts.collect::<StringArray>()),
        Arc::new(ROWS.iter().map(|row| row.number).collect::<Float64Array>()),
        Arc::new(ROWS.iter().map(|row| Some(row.small)).collect::<Float32Array>()),
        Arc::new(ROWS.iter().map(|row| row.whole).collect::<Int64Array>()),
        Arc::new(ROWS.iter().map(|row| row.flag).collect::<BooleanArray>()),
    ]
}
