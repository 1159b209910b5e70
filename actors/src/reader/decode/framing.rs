//! Where the events of a record stand: JSON values one after the other.
//!
//! **Owns** what may stand between values, and where reading goes on behind something that cannot be read.
//!
//! **Promises**
//! - Between values stand blanks, line breaks, at most one comma, the record separator of RFC 7464, or nothing at all.
//!   Each object or list is one piece, over however many lines it is written.
//! - What cannot be read is one piece. It ends where its own brackets close, if a value could follow there; else
//!   before the next line that begins with a value and is not indented deeper than the line in which it began, before a
//!   record separator, or with the record. So a bad line takes no other with it, and a bad event of many lines is one.
//! - What is compressed, or is no UTF-8 by the way it begins, is one piece to its end.
//! - Work is linear in the bytes: whoever makes it not so gets the rest of the record as one piece.
//!
//! **Not here**: what is in a value (`walk.rs`, `event.rs`).

use std::ops::Range;

use messages::Reason;

use super::event::EventRefusal;
use super::walk::deeper_than;

/// Begins a value in a sequence of JSON texts (RFC 7464). It cannot stand inside of one.
const RECORD_SEPARATOR: u8 = 0x1e;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How often each byte may be looked at in search of where to go on.
const LOOKS_PER_BYTE: usize = 8;

/// What bytes begin with that are no text, and what it is called.
const FORMATS: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\x78\x01", "compressed with zlib"),
    (b"\x78\x9c", "compressed with zlib"),
    (b"\x78\xda", "compressed with zlib"),
    (b"\x04\x22\x4d\x18", "compressed with LZ4"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed with Snappy"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// A record that is taken apart, piece by piece.
pub(super) struct Framing<'a> {
    data: &'a [u8],
    at: usize,
    /// The UTF-8 in front, and where it begins.
    text: &'a str,
    text_from: usize,
    /// Whether something came that a comma may follow.
    comma: bool,
    /// The last place that was found to go on at, for something that began in a line indented like this.
    go_on: Option<(usize, usize)>,
    looks_left: usize,
}

/// How a value was read: how many bytes it takes, and what it is.
pub(super) type ReadValue<T> = Result<(usize, T), serde_json::Error>;

/// A piece of a record.
pub(super) enum Framed<T> {
    /// A value.
    Value(Range<usize>, T),
    /// What is none.
    Unreadable(Range<usize>),
}

impl<'a> Framing<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        let looks_left = data.len() * LOOKS_PER_BYTE;
        Self { data, at: 0, text: "", text_from: 0, comma: false, go_on: None, looks_left }
    }

    /// The next piece. `read` reads the value that a text begins with.
    pub(super) fn next<T>(&mut self, read: impl FnOnce(&'a str) -> ReadValue<T>) -> Option<Framed<T>> {
        self.skip_separators();
        let start = self.at;
        let opens = matches!(self.data.get(start)?, b'{' | b'[');
        if opens {
            let text = self.text();
            match read(text) {
                Ok((bytes, value)) if self.ends_well(start + bytes) => {
                    self.at = start + bytes;
                    self.comma = true;
                    return Some(Framed::Value(start..self.at, value));
                }
                Ok(_) => {}
                Err(error) => self.look(offset_of(&error, text)),
            }
        }
        self.comma = true;
        if format_of(&self.data[start..]).is_some() {
            self.at = self.data.len();
            return Some(Framed::Unreadable(start..self.at));
        }
        self.at = self.end_of_unreadable(start, opens);
        Some(Framed::Unreadable(trimmed(self.data, start..self.at)))
    }

    /// The text from here on, up to what is no UTF-8.
    fn text(&mut self) -> &'a str {
        if self.at >= self.text_from + self.text.len() {
            let rest = &self.data[self.at..];
            self.text_from = self.at;
            self.text = match std::str::from_utf8(rest) {
                Ok(text) => text,
                Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
            };
        }
        // A value begins with a bracket, which is a character of its own.
        &self.text[self.at - self.text_from..]
    }

    fn skip_separators(&mut self) {
        while let Some(byte) = self.data.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | &RECORD_SEPARATOR => {}
                b',' if self.comma => self.comma = false,
                _ => break,
            }
            self.at += 1;
        }
    }

    /// Whether another value, or nothing more of this line, can follow here.
    fn ends_well(&self, mut at: usize) -> bool {
        let mut comma = false;
        loop {
            match self.data.get(at) {
                Some(b' ' | b'\t') => {}
                Some(b',') if !comma => comma = true,
                None | Some(b'\n' | b'\r' | b'{' | b'[' | &RECORD_SEPARATOR) => return true,
                Some(_) => return false,
            }
            at += 1;
        }
    }

    fn end_of_unreadable(&mut self, start: usize, opens: bool) -> usize {
        if self.looks_left == 0 {
            return self.data.len();
        }
        let end = self.next_line(start);
        let own_end = if opens { closing(&self.data[start..end]).map(|bytes| start + bytes) } else { None };
        own_end.filter(|end| self.ends_well(*end)).unwrap_or(end)
    }

    /// Where the next line begins that can be a value of its own, or the next text of a sequence.
    fn next_line(&mut self, start: usize) -> usize {
        let indent = self.indent_of(start);
        if let Some((_, at)) = self.go_on.filter(|(known, at)| *known == indent && *at > start) {
            return at;
        }
        let mut at = start;
        while at < self.data.len() {
            match self.data[at] {
                RECORD_SEPARATOR if at > start => break,
                b'\n' => {
                    let blanks = blanks(&self.data[at + 1..]);
                    let first = self.data.get(at + 1 + blanks);
                    if blanks <= indent && matches!(first, Some(b'{' | b'[' | &RECORD_SEPARATOR)) {
                        break;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        self.look(at - start);
        self.go_on = Some((indent, at));
        at
    }

    /// How deep the line is indented that begins with the byte here; 0 if something stands before it.
    fn indent_of(&self, start: usize) -> usize {
        let before = &self.data[..start];
        let blanks = before.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match before[..start - blanks].last() {
            None | Some(b'\n') => blanks,
            Some(_) => 0,
        }
    }

    fn look(&mut self, bytes: usize) {
        self.looks_left = self.looks_left.saturating_sub(bytes);
    }
}

/// How far the parser came.
pub(super) fn offset_of(error: &serde_json::Error, text: &str) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    (lines + error.column()).min(text.len())
}

fn blanks(data: &[u8]) -> usize {
    data.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Behind the bracket that closes the first one, if texts between them have an end.
fn closing(data: &[u8]) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for (at, byte) in data.iter().enumerate() {
        match byte {
            // No text of JSON goes over a line.
            b'\n' if in_text => return None,
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

fn trimmed(data: &[u8], span: Range<usize>) -> Range<usize> {
    let start = span.start + (span.len() - data[span.clone()].trim_ascii_start().len());
    start..start + data[start..span.end].trim_ascii_end().len()
}

/// What the bytes are, if they are known to be no JSON.
fn format_of(data: &[u8]) -> Option<&'static str> {
    // Two of the formats can begin like a text.
    let found = FORMATS.iter().find(|(magic, _)| data.starts_with(magic))?;
    std::str::from_utf8(&data[..data.len().min(64)]).err().filter(|error| error.valid_up_to() < 60).map(|_| found.1)
}

/// Why nothing can be read in these bytes, if that shows before they are parsed.
pub(super) fn refusal_of(data: &[u8], depth_max: usize) -> Option<EventRefusal> {
    if let Some(format) = format_of(data) {
        let advice = "records are read as they come: have the producer send plain JSON in UTF-8";
        return Some((Reason::NotUtf8, format!("this is {format}; {advice}")));
    }
    if let Err(error) = std::str::from_utf8(data) {
        return Some((Reason::NotUtf8, format!("the byte at {} is not UTF-8", error.valid_up_to())));
    }
    if data.starts_with(BYTE_ORDER_MARK) {
        let detail = "it begins with a byte order mark (U+FEFF), which is no JSON: have the producer leave it out";
        return Some((Reason::NotJson, detail.to_owned()));
    }
    if data.get(1) == Some(&0) || data.len() > 1 && data[0] == 0 {
        return Some((Reason::NotJson, "every other byte is zero: this looks like UTF-16".to_owned()));
    }
    deeper_than(data, depth_max).then(|| super::event::too_deep(depth_max))
}
