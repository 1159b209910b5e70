//! The S3 operations, translated: s3s' types on one side, `store` on the other.
//!
//! **Owns** nothing. One method per operation, in the order of the API: buckets, objects, listings, uploads. Longer than
//! other files, because the operations are one trait.
//! **Promises** nothing of its own.
//! **Fails** with the S3 code of the error (`error`).
//! **Not here**: what an operation does; each body is a translation.

mod convert;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use super::error::ObjectError;
use super::list::Listing;
use super::store::{Condition, NewObject, ObjectStore};
use convert::{
    Encoding, algorithm, attributes_of, condition, content_range, contents, e_tag, encryption_is_sound, read_range,
};

/// The bound of one DeleteObjects call in the real service.
const DELETES_MAX: usize = 1_000;

/// What s3s calls.
pub(super) struct Objects {
    store: Arc<ObjectStore>,
}

impl Objects {
    pub(super) fn new(store: Arc<ObjectStore>) -> Objects {
        Objects { store }
    }

    /// Runs file work off the async threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ObjectStore) -> Result<T, ObjectError> + Send + 'static,
    ) -> S3Result<T> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => Ok(result?),
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = req.input.bucket;
        let location = Some(format!("/{bucket}"));
        self.run(move |store| store.create_bucket(&bucket)).await?;
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.run(move |store| store.delete_bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.run(move |store| store.bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.run(move |store| store.bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let ListBucketsInput { prefix, continuation_token, max_buckets, .. } = req.input;
        let buckets = self.run(|store| store.all_buckets()).await?;
        let after = continuation_token.unwrap_or_default();
        let starts = prefix.clone().unwrap_or_default();
        let mut buckets: Vec<Bucket> = buckets
            .into_iter()
            .filter(|(name, _)| name.starts_with(&starts) && *name > after)
            .map(|(name, made)| Bucket { name: Some(name), creation_date: Some(made.into()), ..Default::default() })
            .collect();
        let n_max = max_buckets.map_or(usize::MAX, |n_max| n_max.max(1) as usize);
        let more = buckets.len() > n_max;
        buckets.truncate(n_max);
        let continuation_token = buckets.last().filter(|_| more).and_then(|last| last.name.clone());
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token,
            prefix,
            ..Default::default()
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = req.input;
        let condition = condition(input.if_match.take(), input.if_none_match.take())?;
        encryption_is_sound(input.server_side_encryption.as_ref(), input.ssekms_key_id.as_ref())?;
        let content = collect(input.body.take()).await?;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let new = NewObject { content_md5: input.content_md5.take(), attributes: attributes_of(input), content };
        let stored = self.run(move |store| store.put(&bucket, &key, new, &condition)).await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(e_tag(stored.e_tag)),
            server_side_encryption: algorithm(&stored.encryption),
            ssekms_key_id: stored.encryption.kms_key,
            bucket_key_enabled: stored.encryption.bucket_key,
            checksum_crc32: stored.checksums.crc32,
            checksum_crc32c: stored.checksums.crc32c,
            checksum_crc64nvme: stored.checksums.crc64nvme,
            checksum_sha1: stored.checksums.sha1,
            checksum_sha256: stored.checksums.sha256,
            ..Default::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let (bucket, key) = (input.bucket, input.key);
        let found = self.run(move |store| store.find(&bucket, &key)).await?;
        let since = [input.if_modified_since, input.if_unmodified_since];
        convert::readable(&found, [input.if_match, input.if_none_match], since)?;
        let range = match &input.range {
            Some(range) => Some(range.check(found.n_bytes)?),
            None => None,
        };
        let attributes = found.attributes;
        // A checksum is of the whole object, so it would not fit a part of it.
        let checksums = if range.is_none() { attributes.checksums } else { Default::default() };
        let wanted = range.clone().unwrap_or(0..found.n_bytes);
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some((wanted.end - wanted.start) as i64),
            content_range: range.map(|range| content_range(&range, found.n_bytes)),
            body: Some(StreamingBlob::wrap(read_range(found.file, wanted))),
            last_modified: Some(found.modified.into()),
            e_tag: Some(e_tag(attributes.e_tag)),
            content_type: attributes.content_type,
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            content_language: attributes.content_language,
            cache_control: attributes.cache_control,
            metadata: attributes.metadata,
            server_side_encryption: algorithm(&attributes.encryption),
            ssekms_key_id: attributes.encryption.kms_key,
            bucket_key_enabled: attributes.encryption.bucket_key,
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let (bucket, key) = (input.bucket, input.key);
        let found = self.run(move |store| store.find(&bucket, &key)).await?;
        let since = [input.if_modified_since, input.if_unmodified_since];
        convert::readable(&found, [input.if_match, input.if_none_match], since)?;
        let attributes = found.attributes;
        let checksums = attributes.checksums;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(found.n_bytes as i64),
            last_modified: Some(found.modified.into()),
            e_tag: Some(e_tag(attributes.e_tag)),
            content_type: attributes.content_type,
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            content_language: attributes.content_language,
            cache_control: attributes.cache_control,
            metadata: attributes.metadata,
            server_side_encryption: algorithm(&attributes.encryption),
            ssekms_key_id: attributes.encryption.kms_key,
            bucket_key_enabled: attributes.encryption.bucket_key,
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            ..Default::default()
        }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        let CopySource::Bucket { bucket: from_bucket, key: from_key, version_id: None } = input.copy_source.clone()
        else {
            return Err(s3_error!(NotImplemented, "only bucket/key can be copied from"));
        };
        encryption_is_sound(input.server_side_encryption.as_ref(), input.ssekms_key_id.as_ref())?;
        let replaced = convert::replaced_attributes(&input);
        // A copy is encrypted as it is asked to be, and not as its source is.
        let encryption =
            convert::encryption(input.server_side_encryption, input.ssekms_key_id, input.bucket_key_enabled);
        if replaced.is_none() && *from_bucket == *input.bucket && *from_key == *input.key {
            return Err(s3_error!(InvalidRequest, "an object is copied onto itself, and nothing is changed"));
        }
        let (bucket, key) = (input.bucket, input.key);
        let stored = self
            .run(move |store| {
                let mut found = store.find(&from_bucket, &from_key)?;
                let temporary = store.temporary();
                std::io::copy(&mut found.file, &mut std::fs::File::create(&temporary)?)?;
                let mut attributes = replaced.unwrap_or_else(|| found.attributes.clone());
                attributes.e_tag = found.attributes.e_tag;
                attributes.checksums = found.attributes.checksums;
                attributes.encryption = encryption;
                store.publish(&bucket, &key, &temporary, &attributes, &Condition::Always)?;
                store.find(&bucket, &key)
            })
            .await?;
        let result = CopyObjectResult {
            e_tag: Some(e_tag(stored.attributes.e_tag)),
            last_modified: Some(stored.modified.into()),
            ..Default::default()
        };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.run(move |store| store.delete(&req.input.bucket, &req.input.key)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = req.input;
        if input.delete.objects.len() > DELETES_MAX {
            return Err(s3_error!(MalformedXML, "at most 1000 objects can be deleted at once"));
        }
        if input.delete.objects.iter().any(|object| object.version_id.is_some()) {
            return Err(s3_error!(NotImplemented, "the local cloud has no versions"));
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        let deleted = self
            .run(move |store| {
                let mut deleted = Vec::new();
                for object in input.delete.objects {
                    store.delete(&input.bucket, &object.key)?;
                    deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
                }
                Ok(deleted)
            })
            .await?;
        let deleted = Some(deleted).filter(|_| !quiet);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = req.input;
        let listing = listing(&input.prefix, &input.delimiter, input.marker.clone(), input.max_keys);
        let bucket = input.bucket.clone();
        let page = self.run(move |store| store.list(&bucket, &listing)).await?;
        let encoding = Encoding(input.encoding_type);
        let (objects, prefixes) = contents(page.lines, &encoding);
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: encoding.maybe(input.prefix),
            marker: encoding.maybe(input.marker),
            delimiter: encoding.maybe(input.delimiter),
            max_keys: input.max_keys,
            is_truncated: Some(page.next.is_some()),
            next_marker: encoding.maybe(page.next),
            encoding_type: encoding.0,
            contents: Some(objects),
            common_prefixes: Some(prefixes),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let after = input.continuation_token.clone().max(input.start_after.clone());
        let listing = listing(&input.prefix, &input.delimiter, after, input.max_keys);
        let bucket = input.bucket.clone();
        let page = self.run(move |store| store.list(&bucket, &listing)).await?;
        let key_count = Some(page.lines.len() as i32);
        let encoding = Encoding(input.encoding_type);
        let (objects, prefixes) = contents(page.lines, &encoding);
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: encoding.maybe(input.prefix),
            delimiter: encoding.maybe(input.delimiter),
            start_after: encoding.maybe(input.start_after),
            encoding_type: encoding.0,
            continuation_token: input.continuation_token,
            max_keys: input.max_keys,
            key_count,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            contents: Some(objects),
            common_prefixes: Some(prefixes),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        encryption_is_sound(input.server_side_encryption.as_ref(), input.ssekms_key_id.as_ref())?;
        let attributes = convert::upload_attributes(input);
        let (to_bucket, to_key) = (bucket.clone(), key.clone());
        let id = self.run(move |store| store.begin_upload(&to_bucket, &to_key, attributes)).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = req.input;
        let content = collect(input.body.take()).await?;
        let said = convert::part_checksums(&input);
        let content_md5 = input.content_md5.take();
        let (id, number) = (input.upload_id, input.part_number);
        let (tag, checksums) = self
            .run(move |store| {
                super::store::verify_md5(content_md5.as_deref(), &content)?;
                let checksums = said.verify(&content)?;
                Ok((store.put_part(&id, number, &content)?, checksums))
            })
            .await?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(e_tag(tag)),
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            ..Default::default()
        }))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = req.input;
        let id = input.upload_id.clone();
        let parts = self.run(move |store| store.parts(&id)).await?;
        let parts = parts
            .into_iter()
            .map(|part| Part { part_number: Some(part.number), size: Some(part.n_bytes as i64), ..Default::default() })
            .collect();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            parts: Some(parts),
            is_truncated: Some(false),
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let condition = condition(input.if_match, input.if_none_match)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let numbers: Vec<i32> = parts.iter().filter_map(|part| part.part_number).collect();
        let id = input.upload_id;
        let tag = self.run(move |store| store.complete_upload(&id, &numbers, &condition)).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(e_tag(tag)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.run(move |store| store.abort_upload(&req.input.upload_id)).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// The gateway has the whole body already; this only takes it out of the stream.
async fn collect(body: Option<StreamingBlob>) -> S3Result<Vec<Bytes>> {
    let Some(body) = body else { return Ok(Vec::new()) };
    body.try_collect().await.map_err(|error| s3_error!(IncompleteBody, "the body broke off: {error}"))
}

fn listing(
    prefix: &Option<String>,
    delimiter: &Option<String>,
    after: Option<String>,
    max_keys: Option<i32>,
) -> Listing {
    Listing {
        prefix: prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        after,
        n_max: max_keys.map_or(usize::MAX, |n_max| n_max.max(0) as usize),
    }
}
