//! What can be wrong with an S3 request, and the S3 code for it.

use std::io;

use s3s::{S3Error, S3ErrorCode};

#[derive(Debug, thiserror::Error)]
pub(super) enum ObjectError {
    #[error("the bucket does not exist")]
    NoSuchBucket,
    #[error("the bucket exists already")]
    BucketExists,
    #[error("the bucket still holds objects")]
    BucketNotEmpty,
    #[error("the key does not exist")]
    NoSuchKey,
    #[error("the upload does not exist")]
    NoSuchUpload,
    #[error("a part is missing, or the parts are out of order")]
    InvalidPart,
    #[error("at least one of the conditions did not hold")]
    ConditionFailed,
    #[error("the content does not match its {0}")]
    BadDigest(&'static str),
    #[error("the local cloud cannot store this key: {0}")]
    BadKey(&'static str),
    #[error("the local cloud cannot store a key with a part over 255 bytes, or over 1024 bytes in all")]
    KeyTooLong,
    #[error("{0} is damaged ({1}): restore it, or delete the object")]
    Damaged(String, String),
    #[error("the local cloud could not use its data folder: {0}")]
    Io(#[from] io::Error),
}

impl ObjectError {
    /// Missing files are an answer, everything else is trouble.
    pub(super) fn missing_key(error: io::Error) -> ObjectError {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ObjectError::NoSuchKey,
            _ => ObjectError::Io(error),
        }
    }
}

impl From<ObjectError> for S3Error {
    fn from(error: ObjectError) -> S3Error {
        let code = match &error {
            ObjectError::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            ObjectError::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
            ObjectError::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            ObjectError::NoSuchKey => S3ErrorCode::NoSuchKey,
            ObjectError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            ObjectError::InvalidPart => S3ErrorCode::InvalidPart,
            ObjectError::ConditionFailed => S3ErrorCode::PreconditionFailed,
            ObjectError::BadDigest(_) => S3ErrorCode::BadDigest,
            ObjectError::BadKey(_) => S3ErrorCode::InvalidArgument,
            ObjectError::KeyTooLong => S3ErrorCode::KeyTooLongError,
            ObjectError::Damaged(..) | ObjectError::Io(_) => {
                tracing::error!(%error, "cannot use the objects' folder");
                S3ErrorCode::InternalError
            }
        };
        S3Error::with_message(code, error.to_string())
    }
}
