//! The way through one event: along the schema's paths, in one pass over its JSON.
//!
//! **Owns** which value is whose, keys that stand twice, and how deep what is not looked at may be nested.
//! **Promises** the JSON is checked to its end before any of its values is judged; values are handed on as they are
//! written, so that no number is rounded on the way.
//! **Fails** with the parser's error, which says where.
//! **Not here**: what a value means (`event.rs`).

use std::fmt;

use messages::Reason;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::event::FoundFields;
use super::paths::{CHILDREN_MAX, PathEnd, PathNode, Paths};
use super::sightings::Sightings;

/// Reads the value that the text begins with. Says how many bytes of the text it takes.
pub(super) fn walk(
    text: &str,
    paths: &Paths,
    depth_max: usize,
    walk: Walk<'_, '_>,
) -> Result<usize, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    if text.starts_with('{') {
        ObjectSeed { paths, depths: Depths { here: 1, max: depth_max }, walk }.deserialize(&mut json)?;
    } else {
        let value = <&RawValue>::deserialize(&mut json)?.get();
        // A null is an object of which everything is absent.
        if value != "null" {
            walk.found.refuse(Reason::NotAnObject, format!("expected an object, found {}", kind_of(value)));
        }
        if deeper_than(value.as_bytes(), depth_max) {
            walk.found.too_deep(depth_max);
        }
    }
    Ok(json.into_iter::<IgnoredAny>().byte_offset())
}

/// Where what is found goes.
pub(super) struct Walk<'w, 'f> {
    pub(super) found: &'w mut FoundFields<'f>,
    pub(super) sightings: &'w mut Sightings,
}

impl<'f> Walk<'_, 'f> {
    fn again(&mut self) -> Walk<'_, 'f> {
        Walk { found: self.found, sightings: self.sightings }
    }
}

/// serde_json skips values without a limit on their depth, so the limit is ours.
#[derive(Clone, Copy)]
struct Depths {
    here: usize,
    max: usize,
}

/// Whether brackets are nested deeper.
pub(super) fn deeper_than(bytes: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > depth_max {
            return true;
        }
    }
    false
}

/// Reads an object, following the paths that begin in it.
struct ObjectSeed<'a, 'w, 'f> {
    paths: &'a Paths,
    depths: Depths,
    walk: Walk<'w, 'f>,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = [0_u64; CHILDREN_MAX.div_ceil(64)];
        while let Some(child) = map.next_key_seed(KeySeed(self.paths))? {
            let Some((number, node)) = child else {
                let value = map.next_value::<&RawValue>()?.get();
                self.skip(value);
                continue;
            };
            let (word, bit) = (number / 64, 1 << (number % 64));
            if seen[word] & bit != 0 {
                self.walk.found.refuse(Reason::DuplicateKey, "a key that the schema reads stands twice".into());
                let value = map.next_value::<&RawValue>()?.get();
                self.skip(value);
                continue;
            }
            seen[word] |= bit;
            match node {
                PathNode::Object(paths) => {
                    let depths = Depths { here: self.depths.here + 1, ..self.depths };
                    map.next_value_seed(ObjectSeed { paths, depths, walk: self.walk.again() })?;
                }
                PathNode::Leaf(slot) => {
                    let value = map.next_value::<&RawValue>()?.get();
                    self.leaf(*slot, value).map_err(A::Error::custom)?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<&RawValue>()? {
            self.skip(value.get());
        }
        self.not_an_object("a list")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.not_an_object("a text")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.not_an_object("a boolean")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.not_an_object("a number")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.not_an_object("a number")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.not_an_object("a number")
    }

    // A null where an object could stand: everything below it is absent.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

impl ObjectSeed<'_, '_, '_> {
    fn not_an_object<E>(self, what: &str) -> Result<(), E> {
        self.walk.found.refuse(Reason::NotAnObject, format!("expected an object, found {what}"));
        Ok(())
    }

    /// Looks at nothing of a value but its depth, and whether it is odd.
    fn skip(&mut self, value: &str) {
        let Depths { here, max } = self.depths;
        if value.starts_with(['{', '[']) && deeper_than(value.as_bytes(), max.saturating_sub(here)) {
            self.walk.found.too_deep(max);
        }
        self.walk.found.odd |= is_odd(value.as_bytes());
    }

    /// The value at the end of a path.
    fn leaf(&mut self, slot: PathEnd, value: &str) -> Result<(), serde_json::Error> {
        self.walk.sightings.saw(slot);
        let found = &mut *self.walk.found;
        match value.as_bytes()[0] {
            b'"' if value.contains('\\') => found.text(slot, &serde_json::from_str::<String>(value)?),
            b'"' => found.text(slot, &value[1..value.len() - 1]),
            b'{' | b'[' => {
                found.wrong_type(slot, kind_of(value));
                self.skip(value);
            }
            b't' | b'f' => found.boolean(slot, value == "true"),
            // A null is an absent value.
            b'n' => {}
            _ => found.number(slot, value),
        }
        Ok(())
    }
}

/// Whether a value may hold what is JSON by its grammar, and no text or number: half of a surrogate pair, or a number
/// beyond all doubles.
fn is_odd(value: &[u8]) -> bool {
    let surrogate = |at: &[u8]| matches!(at, [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
    let exponent = |at: &[u8]| {
        let [b'0'..=b'9', b'e' | b'E', digits @ ..] = at else { return false };
        let digits = digits.strip_prefix(b"+").unwrap_or(digits);
        digits.len() >= 3 && digits[..3].iter().all(u8::is_ascii_digit)
    };
    (0..value.len()).any(|at| match value[at] {
        b'\\' => surrogate(&value[at..]),
        b'0'..=b'9' => exponent(&value[at..]),
        _ => false,
    })
}

fn kind_of(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'"') => "a text",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Finds the child under a key without keeping the key.
struct KeySeed<'a>(&'a Paths);

impl<'de, 'a> DeserializeSeed<'de> for KeySeed<'a> {
    type Value = Option<&'a (usize, PathNode)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for KeySeed<'a> {
    type Value = Option<&'a (usize, PathNode)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(key))
    }
}
