//! Takes a signature off a request: s3s decodes a signed body only when it can verify the signature, and here any
//! credentials are good.

use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use bytes::{Buf, Bytes};

/// The request as an anonymous client would have sent it. `None` when the body does not decode.
///
/// A checksum that came as a trailer becomes the header it stands for, so that it is verified like any other.
pub(super) fn unsign(parts: &mut Parts, body: Bytes) -> Option<Bytes> {
    parts.headers.remove(AUTHORIZATION);
    parts.headers.remove("x-amz-security-token");
    parts.uri = without_signature(&parts.uri)?;

    let content = parts.headers.remove("x-amz-content-sha256");
    let is_chunked = content.is_some_and(|content| content.as_bytes().starts_with(b"STREAMING-"));
    let body = if is_chunked { decode(&mut parts.headers, body)? } else { body };
    if matches!(parts.method, Method::PUT | Method::POST) {
        parts.headers.remove(TRANSFER_ENCODING);
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    Some(body)
}

fn without_signature(uri: &Uri) -> Option<Uri> {
    let Some(query) = uri.query() else { return Some(uri.clone()) };
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_signature(pair)).collect();
    let path = match kept.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), kept.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

/// A field of a presigned URL. Some clients still presign in version 2, whose fields have no prefix.
fn is_signature(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or("");
    let v4 = ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token"];
    let v2 = ["AWSAccessKeyId", "Signature", "Expires", "x-amz-security-token"];
    v2.contains(&name) || name.strip_prefix("X-Amz-").is_some_and(|name| v4.contains(&name))
}

/// Decodes `aws-chunked`: `<size in hex>[;chunk-signature=..]\r\n<data>\r\n`, a chunk of size 0, trailers.
fn decode(headers: &mut HeaderMap, mut body: Bytes) -> Option<Bytes> {
    let promised = headers.remove("x-amz-decoded-content-length");
    headers.remove("x-amz-trailer");
    drop_chunked_encoding(headers);

    let mut decoded = Vec::with_capacity(body.len());
    loop {
        let line = take_line(&mut body)?;
        let size = std::str::from_utf8(&line).ok()?.split(';').next()?.trim().to_owned();
        let size = usize::from_str_radix(&size, 16).ok()?;
        if size == 0 {
            break;
        }
        // One comparison that cannot overflow, because the size is the client's.
        if body.len().checked_sub(2)? < size {
            return None;
        }
        decoded.extend_from_slice(&body.split_to(size));
        if body.split_to(2) != b"\r\n"[..] {
            return None;
        }
    }
    while let Some(line) = take_line(&mut body) {
        let Some((name, value)) = std::str::from_utf8(&line).ok()?.split_once(':') else { continue };
        let name = name.trim().to_ascii_lowercase();
        if name.starts_with("x-amz-checksum-") {
            headers.insert(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.trim()).ok()?);
        }
    }
    let n_bytes = promised.and_then(|promised| promised.to_str().ok()?.parse::<usize>().ok());
    (n_bytes.is_none_or(|n_bytes| n_bytes == decoded.len())).then(|| Bytes::from(decoded))
}

fn drop_chunked_encoding(headers: &mut HeaderMap) {
    let Some(encoding) = headers.remove(CONTENT_ENCODING) else { return };
    let kept: Vec<&str> = encoding
        .to_str()
        .unwrap_or("")
        .split(',')
        .map(str::trim)
        .filter(|encoding| !encoding.is_empty() && *encoding != "aws-chunked")
        .collect();
    if let Ok(kept) = HeaderValue::try_from(kept.join(","))
        && !kept.is_empty()
    {
        headers.insert(CONTENT_ENCODING, kept);
    }
}

fn take_line(body: &mut Bytes) -> Option<Bytes> {
    let at = body.iter().position(|byte| *byte == b'\n')?;
    let mut line = body.split_to(at);
    body.advance(1);
    if line.last() == Some(&b'\r') {
        line.truncate(at - 1);
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn chunked(body: &'static str, decoded_len: usize) -> (Parts, Bytes) {
        let request = Request::put("/b/k?x-id=PutObject&X-Amz-Signature=ab")
            .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .header("x-amz-decoded-content-length", decoded_len)
            .header("content-encoding", "aws-chunked,gzip")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=x")
            .body(())
            .unwrap();
        (request.into_parts().0, Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn a_chunked_body_is_decoded_and_its_trailer_becomes_a_header() {
        let (mut parts, body) =
            chunked("5;chunk-signature=ab\r\nhello\r\n1\r\n!\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", 6);
        assert_eq!(unsign(&mut parts, body).unwrap(), "hello!");
        assert_eq!(parts.headers["x-amz-checksum-crc32"], "AAAAAA==");
        assert_eq!(parts.headers["content-encoding"], "gzip");
        assert_eq!(parts.headers["content-length"], "6");
        assert!(!parts.headers.contains_key("authorization"));
        assert_eq!(parts.uri, "/b/k?x-id=PutObject");
    }

    #[test]
    fn a_presigned_url_of_either_version_is_a_plain_one() {
        for query in ["X-Amz-Signature=a&X-Amz-Expires=9", "AWSAccessKeyId=a&Signature=b&Expires=9"] {
            let uri: Uri = format!("/b/k?{query}&versions").parse().unwrap();
            assert_eq!(without_signature(&uri).unwrap(), "/b/k?versions");
        }
    }

    #[test]
    fn a_body_that_lies_about_its_chunks_is_refused() {
        for body in
            ["", "5\r\nhel", "zz\r\n", "ffffffffffffffff\r\nx\r\n", "2\r\nhello\r\n0\r\n\r\n", "1\r\n!\r\n0\r\n\r\n"]
        {
            let (mut parts, body) = chunked(body, 5);
            assert_eq!(unsign(&mut parts, body), None);
        }
    }
}
