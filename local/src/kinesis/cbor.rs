//! The two encodings of Kinesis: JSON, and CBOR, which Java's SDK asks for.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;
use local_engine::{Refusal, Reply, Service};
use serde_json::{Number, Value};

use crate::reply;

pub(super) const CONTENT_TYPE: &str = "application/x-amz-cbor-1.1";
/// The one field of bytes, which JSON has in Base64.
const BLOB: &str = "Data";

/// The request, whichever way it is encoded.
pub(super) fn read(is_cbor: bool, body: &[u8]) -> Result<Value, Refusal> {
    let read = match is_cbor {
        true => ciborium::from_reader(body).ok().map(json),
        false => serde_json::from_slice(body).ok(),
    };
    let read = read.filter(Value::is_object);
    read.ok_or_else(|| Refusal::new(400, "SerializationException", "the body is not an object"))
}

/// An answer, in the encoding of its request.
pub(super) fn written(is_cbor: bool, answered: Result<Reply, Refusal>) -> Response<Body> {
    if !is_cbor {
        return reply::of_engine(Service::Kinesis, answered);
    }
    let answer = answered.unwrap_or_else(|refusal| {
        let code = refusal.code;
        refusal.reply(Service::Kinesis, false).with("x-amzn-errortype", code)
    });
    let body = encoded(&answer.body).into();
    let mut response = reply::of_engine(Service::Kinesis, Ok(Reply { body, ..answer }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

/// JSON, as CBOR; no content is none.
pub(super) fn encoded(body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    if let Ok(answer) = serde_json::from_slice::<Value>(body) {
        ciborium::into_writer(&binary(answer, false), &mut content).expect("a JSON value is always valid CBOR");
    }
    content
}

fn json(value: Cbor) -> Value {
    match value {
        Cbor::Bool(value) => Value::Bool(value),
        Cbor::Integer(number) => i64::try_from(number).map_or(Value::Null, Value::from),
        Cbor::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Cbor::Text(text) => Value::String(text),
        Cbor::Bytes(bytes) => Value::String(STANDARD.encode(bytes)),
        Cbor::Array(values) => values.into_iter().map(json).collect(),
        Cbor::Map(entries) => {
            let entry = |(name, value): (Cbor, Cbor)| Some((name.into_text().ok()?, json(value)));
            Value::Object(entries.into_iter().filter_map(entry).collect())
        }
        Cbor::Tag(_, value) => json(*value),
        _ => Value::Null,
    }
}

fn binary(value: Value, is_blob: bool) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(value) => Cbor::Bool(value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Cbor::Integer(number.into()),
            None => Cbor::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => match is_blob.then(|| STANDARD.decode(&text)) {
            Some(Ok(bytes)) => Cbor::Bytes(bytes),
            _ => Cbor::Text(text),
        },
        Value::Array(values) => Cbor::Array(values.into_iter().map(|value| binary(value, false)).collect()),
        Value::Object(fields) => {
            let field = |(name, value): (String, Value)| (Cbor::Text(name.clone()), binary(value, name == BLOB));
            Cbor::Map(fields.into_iter().map(field).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_is_bytes_in_one_encoding_and_text_in_the_other() {
        let record =
            json!({ "Records": [{ "Data": "aGk=", "PartitionKey": "aGk=", "At": 1.5, "N": 7, "None": null }] });
        let content = encoded(record.to_string().as_bytes());
        let read: Cbor = ciborium::from_reader(&content[..]).unwrap();
        assert!(format!("{read:?}").contains("Bytes([104, 105])"), "{read:?}");
        assert_eq!(super::read(true, &content).unwrap(), record);
        assert!(encoded(b"").is_empty());
        assert_eq!(super::read(true, b"\x01").unwrap_err().code, "SerializationException");
    }
}
