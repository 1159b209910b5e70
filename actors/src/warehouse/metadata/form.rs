//! What an object is: its format, what it is packed in, and what its text is written in. What a spreadsheet or an export
//! makes of a file is read where that can be told for certain, and named where it cannot.
//!
//! **Promises** nothing is guessed: an object whose form is not clear is refused whole, with what to do.
//!
//! **Not here**: rows (`files.rs`), what becomes of an object that is refused (`sources.rs`).

use std::borrow::Cow;
use std::io::Read as _;

use bytes::Bytes;

/// How rows stand in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Json,
    Parquet,
}

/// Delimiters that spreadsheets write.
const DELIMITERS: [u8; 4] = *b",;\t|";
const GZIP: &[u8] = b"\x1f\x8b";
/// Beginnings of what is often named as if it were a table.
const IMPOSTORS: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "is a ZIP archive, as .xlsx files are: save the sheet as CSV UTF-8"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel file: save the sheet as CSV UTF-8"),
    (b"%PDF", "is a PDF"),
    (b"PAR1", "is a Parquet file by another name: let its name end in .parquet"),
    (b"BZh", "is packed with bzip2: pack it with gzip, or not at all"),
];

/// The format that a key's ending names, in capitals or not, packed or not.
pub(super) fn format(key: &str) -> Result<Format, String> {
    let name = key.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".gzip")).unwrap_or(&name);
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("csv" | "tsv") => Ok(Format::Csv),
        Some("json" | "jsonl" | "ndjson") => Ok(Format::Json),
        Some("parquet") => Ok(Format::Parquet),
        Some("xlsx" | "xlsm" | "xls" | "ods") => Err("is a spreadsheet: save the sheet as CSV UTF-8".to_owned()),
        Some("zip" | "7z" | "tar" | "bz2" | "xz" | "zst") => {
            Err("is an archive: put its file itself, packed with gzip or not at all".to_owned())
        }
        _ => Err("is none of .csv, .tsv, .json, .jsonl, .ndjson and .parquet, nor one of them with .gz".to_owned()),
    }
}

/// The object without gzip, if it was packed.
pub(super) fn unpacked(body: &Bytes, bytes_max: usize) -> Result<Bytes, String> {
    if !body.starts_with(GZIP) {
        return Ok(body.clone());
    }
    let mut unpacked = Vec::new();
    let limit = (bytes_max as u64).saturating_add(1);
    let reader = flate2::read::MultiGzDecoder::new(body.as_ref());
    reader.take(limit).read_to_end(&mut unpacked).map_err(|error| format!("is not whole gzip: {error}"))?;
    if unpacked.len() > bytes_max {
        return Err(format!("holds more than the {bytes_max} bytes allowed"));
    }
    Ok(unpacked.into())
}

/// The text of an object: UTF-8, or UTF-16 that says so.
pub(super) fn text(body: &[u8]) -> Result<Cow<'_, str>, String> {
    if let Some((_, what)) = IMPOSTORS.iter().find(|(begins, _)| body.starts_with(begins)) {
        return Err((*what).to_owned());
    }
    let text = match body {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)?),
        _ => {
            let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
            let first_line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
            if first_line.contains(&0) {
                return Err(
                    "has NUL characters in its first line, as UTF-16 without a mark has: save it as UTF-8".into()
                );
            }
            Cow::Borrowed(std::str::from_utf8(body).map_err(|error| {
                let line = body[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
                format!("is not UTF-8 in line {line}, but Latin-1 or Windows-1252 perhaps: save it as UTF-8")
            })?)
        }
    };
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if text.trim_start().starts_with('<') {
        return Err("is HTML or XML, an error page perhaps".to_owned());
    }
    Ok(text)
}

fn utf16(body: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (units, rest) = body.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("is UTF-16 with half a character at its end: is it cut off?".to_owned());
    }
    let text = char::decode_utf16(units.iter().map(|bytes| unit(*bytes))).collect::<Result<_, _>>();
    text.map_err(|_| "is not whole UTF-16: save it as UTF-8".to_owned())
}

/// A table with delimiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delimited<'t> {
    pub(super) delimiter: u8,
    /// From the header on.
    pub(super) text: &'t str,
    /// Lines before the header.
    pub(super) skipped: u64,
}

/// The delimiter that the file names (`sep=;`), else the first by which its header has the column `key`.
pub(super) fn delimited<'t>(text: &'t str, key: &str) -> Result<Delimited<'t>, String> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let named = first.trim_end_matches('\r').trim_matches('"');
    if let Some([delimiter]) =
        named.get(..4).filter(|sep| sep.eq_ignore_ascii_case("sep=")).map(|_| &named.as_bytes()[4..])
    {
        return Ok(Delimited { delimiter: *delimiter, text: rest, skipped: 1 });
    }
    let mut alike = None;
    for delimiter in DELIMITERS {
        let names = header(text, delimiter)?;
        if names.iter().any(|name| name == key) {
            return Ok(Delimited { delimiter, text, skipped: 0 });
        }
        alike = alike.or_else(|| names.into_iter().find(|name| is_alike(name, key)));
    }
    match alike {
        Some(name) => Err(format!("has no column {key}: write {name:?} so")),
        None => Err(format!("has no column {key}, with a comma, semicolon, tab or bar between columns")),
    }
}

/// The names of the columns, without blanks around them.
pub(super) fn header(text: &str, delimiter: u8) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| error.to_string())?;
    Ok(names.iter().map(|name| name.trim().to_owned()).collect())
}

/// Whether one was meant for the other: they differ in capitals, blanks and dashes.
fn is_alike(name: &str, key: &str) -> bool {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    plain(name) == plain(key)
}

/// The line in which quotes were opened that are never closed.
pub(super) fn open_quotes(text: &str, delimiter: u8) -> Option<u64> {
    let (mut line, mut opened, mut is_start, mut quoted) = (1, 1, true, false);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        line += u64::from(byte == b'\n');
        if quoted {
            // Two of them stand for one.
            if byte == b'"' && bytes.next_if_eq(&b'"').is_none() {
                quoted = false;
            }
            continue;
        }
        if byte == b'"' && is_start {
            (quoted, opened) = (true, line);
        }
        is_start = byte == delimiter || byte == b'\n' || byte == b'\r';
    }
    quoted.then_some(opened)
}
