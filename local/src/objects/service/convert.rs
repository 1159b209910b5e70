//! Between s3s' types and ours.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream;
use s3s::dto::*;
use s3s::{S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::objects::attributes::{Attributes, Checksums, Encryption};
use crate::objects::list::Line;
use crate::objects::store::{Condition, Found};

const READ_BYTES: u64 = 256 * 1024;

pub(super) fn e_tag(value: String) -> ETag {
    ETag::Strong(value)
}

pub(super) fn attributes_of(input: PutObjectInput) -> Attributes {
    Attributes {
        e_tag: String::new(),
        content_type: input.content_type,
        content_encoding: input.content_encoding,
        content_disposition: input.content_disposition,
        content_language: input.content_language,
        cache_control: input.cache_control,
        metadata: input.metadata,
        checksums: Checksums {
            crc32: input.checksum_crc32,
            crc32c: input.checksum_crc32c,
            crc64nvme: input.checksum_crc64nvme,
            sha1: input.checksum_sha1,
            sha256: input.checksum_sha256,
        },
        encryption: encryption(input.server_side_encryption, input.ssekms_key_id, input.bucket_key_enabled),
    }
}

pub(super) fn encryption(
    algorithm: Option<ServerSideEncryption>,
    kms_key: Option<String>,
    bucket_key: Option<bool>,
) -> Encryption {
    Encryption { algorithm: algorithm.map(|algorithm| algorithm.as_str().to_owned()), kms_key, bucket_key }
}

/// The service refuses what it does not know, and a key of KMS without KMS.
pub(super) fn encryption_is_sound(algorithm: Option<&ServerSideEncryption>, kms_key: Option<&String>) -> S3Result<()> {
    const KMS: [&str; 2] = [ServerSideEncryption::AWS_KMS, ServerSideEncryption::AWS_KMS_DSSE];
    let algorithm = algorithm.map(ServerSideEncryption::as_str);
    match algorithm {
        Some(name) if name != ServerSideEncryption::AES256 && !KMS.contains(&name) => {
            Err(s3_error!(InvalidArgument, "The encryption method specified is not supported"))
        }
        name if kms_key.is_some() && name.is_none_or(|name| !KMS.contains(&name)) => Err(s3_error!(
            InvalidArgument,
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
        )),
        _ => Ok(()),
    }
}

pub(super) fn algorithm(encryption: &Encryption) -> Option<ServerSideEncryption> {
    encryption.algorithm.clone().map(ServerSideEncryption::from)
}

pub(super) fn upload_attributes(input: CreateMultipartUploadInput) -> Attributes {
    Attributes {
        content_type: input.content_type,
        content_encoding: input.content_encoding,
        content_disposition: input.content_disposition,
        content_language: input.content_language,
        cache_control: input.cache_control,
        metadata: input.metadata,
        encryption: encryption(input.server_side_encryption, input.ssekms_key_id, input.bucket_key_enabled),
        ..Attributes::default()
    }
}

pub(super) fn part_checksums(input: &UploadPartInput) -> Checksums {
    Checksums {
        crc32: input.checksum_crc32.clone(),
        crc32c: input.checksum_crc32c.clone(),
        crc64nvme: input.checksum_crc64nvme.clone(),
        sha1: input.checksum_sha1.clone(),
        sha256: input.checksum_sha256.clone(),
    }
}

/// The attributes a copy gets in place of the source's, if the client says so.
pub(super) fn replaced_attributes(input: &CopyObjectInput) -> Option<Attributes> {
    let directive = input.metadata_directive.as_ref()?;
    (directive.as_str() == MetadataDirective::REPLACE).then(|| Attributes {
        content_type: input.content_type.clone(),
        content_encoding: input.content_encoding.clone(),
        content_disposition: input.content_disposition.clone(),
        content_language: input.content_language.clone(),
        cache_control: input.cache_control.clone(),
        metadata: input.metadata.clone(),
        ..Attributes::default()
    })
}

pub(super) fn condition(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::Always),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::Any), None) => Ok(Condition::Exists),
        (Some(ETagCondition::ETag(tag)), None) => Ok(Condition::Tagged(tag.into_value())),
        (_, Some(_)) => Err(s3_error!(NotImplemented, "a write takes If-Match or If-None-Match: *")),
    }
}

/// Whether an object is to be read under these conditions; the order is that of RFC 9110.
pub(super) fn readable(
    found: &Found,
    [if_match, if_none_match]: [Option<ETagCondition>; 2],
    [modified_since, unmodified_since]: [Option<Timestamp>; 2],
) -> S3Result<()> {
    let is = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(tag) => tag.value() == found.attributes.e_tag,
    };
    let later_than = |since: Timestamp| Timestamp::from(seconds(found.modified)) > since;
    let holds = match (&if_match, unmodified_since) {
        (Some(condition), _) => is(condition),
        (None, Some(since)) => !later_than(since),
        (None, None) => true,
    };
    if !holds {
        return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
    }
    let modified = match (&if_none_match, modified_since) {
        (Some(condition), _) => !is(condition),
        (None, Some(since)) => later_than(since),
        (None, None) => true,
    };
    if modified { Ok(()) } else { Err(s3_error!(NotModified)) }
}

/// Headers know seconds only.
fn seconds(at: SystemTime) -> SystemTime {
    at.duration_since(UNIX_EPOCH).map_or(at, |since| UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

/// How keys are written in a listing: as they are, or in percent notation, in which XML can hold any key.
pub(super) struct Encoding(pub(super) Option<EncodingType>);

impl Encoding {
    pub(super) fn text(&self, text: String) -> String {
        if self.0.is_none() {
            return text;
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/*".contains(&byte);
        let mut encoded = String::with_capacity(text.len());
        for byte in text.bytes() {
            match plain(byte) {
                true => encoded.push(char::from(byte)),
                false => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
        encoded
    }

    pub(super) fn maybe(&self, text: Option<String>) -> Option<String> {
        text.map(|text| self.text(text))
    }
}

pub(super) fn contents(lines: Vec<Line>, encoding: &Encoding) -> (Vec<Object>, Vec<CommonPrefix>) {
    let mut objects = Vec::new();
    let mut prefixes = Vec::new();
    for line in lines {
        match line {
            Line::Object { key, n_bytes, modified, e_tag } => objects.push(Object {
                key: Some(encoding.text(key)),
                size: Some(n_bytes as i64),
                last_modified: Some(modified.into()),
                e_tag: e_tag.map(self::e_tag),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                ..Default::default()
            }),
            Line::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(encoding.text(prefix)) }),
        }
    }
    (objects, prefixes)
}

pub(super) fn content_range(range: &Range<u64>, n_bytes: u64) -> String {
    format!("bytes {}-{}/{n_bytes}", range.start, range.end.saturating_sub(1))
}

/// The bytes of a file, a piece at a time.
pub(super) fn read_range(
    file: File,
    range: Range<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static {
    let file = tokio::fs::File::from_std(file);
    stream::try_unfold((file, range, false), |(mut file, mut left, sought)| async move {
        if left.is_empty() {
            return Ok(None);
        }
        if !sought {
            file.seek(io::SeekFrom::Start(left.start)).await?;
        }
        let n_bytes = (left.end - left.start).min(READ_BYTES);
        let mut piece = BytesMut::zeroed(n_bytes as usize);
        file.read_exact(&mut piece).await?;
        left.start += n_bytes;
        Ok(Some((piece.freeze(), (file, left, true))))
    })
}
