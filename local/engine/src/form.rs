//! The query protocol: forms in, XML out.

use std::collections::BTreeMap;

/// A form's fields, by name.
pub type Form = BTreeMap<String, String>;

/// Reads a form, or the query of an address.
pub fn pairs(text: &str) -> Form {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(value))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// Undoes percent-encoding; what is not an escape stays.
pub fn decoded(text: &str) -> String {
    let hex = |at: usize| text.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, hex(at + 1)) {
            (b'%', Some(escaped)) => (out.push(escaped), at += 3),
            _ => (out.push(*byte), at += 1),
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The members of a list, in order: `Tags.member.1.Key=a` is the field `Key` of the first. A plain member is its field
/// without a name.
pub(crate) fn members(form: &Form, list: &str) -> Vec<Form> {
    let prefix = format!("{list}.member.");
    let mut found: BTreeMap<u32, Form> = BTreeMap::new();
    for (name, value) in form {
        let Some(rest) = name.strip_prefix(&prefix) else { continue };
        let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
        if let Ok(number) = number.parse() {
            found.entry(number).or_default().insert(field.to_owned(), value.clone());
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() {
        assert_eq!(decoded("a%2Fb%3D%C3%A9%"), "a/b=é%");
        assert_eq!(
            pairs("a=1&b=x%26y&c"),
            [("a", "1"), ("b", "x&y"), ("c", "")].map(|(k, v)| (k.into(), v.into())).into()
        );
    }

    #[test]
    fn members_are_in_the_order_of_their_numbers() {
        let form = pairs("T.member.10.Key=b&T.member.2.Key=a&T.member.2.Value=1&T.member.x.Key=c&U.member.1=d");
        let keys: Vec<_> = members(&form, "T").iter().map(|member| member["Key"].clone()).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(members(&form, "U")[0][""], "d");
    }
}
