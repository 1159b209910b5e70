//! Writes metrics in Prometheus' text format.
//!
//! **Promises** a family is written whole, with its meaning; a value that nobody has is not written at all.

use std::fmt::Write;

use actors::metrics::Family;

/// A text that grows by one family at a time.
#[derive(Debug)]
pub struct Scrape {
    text: String,
}

impl Scrape {
    /// Goes on after this text.
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// Writes all samples of a family: the values of its labels, in their order, and the value itself.
    pub fn samples<'a, const N: usize>(
        &mut self,
        family: &Family,
        samples: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) {
        assert_eq!(family.labels.len(), N, "{} has other labels", family.name);
        let Family { name, kind, labels, help } = family;
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        for (values, value) in samples {
            self.text.push_str(name);
            for (place, (label, value)) in labels.iter().zip(values).enumerate() {
                self.text.push(if place == 0 { '{' } else { ',' });
                self.push(format_args!("{label}=\"{}\"", escaped(value)));
            }
            self.text.push_str(if N == 0 { "" } else { "}" });
            self.push(format_args!(" {value}\n"));
        }
        self.text.push('\n');
    }

    /// Writes a family that has one value and no labels.
    pub fn value(&mut self, family: &Family, value: f64) {
        self.samples(family, [([], value)]);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a text takes all that is written");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
