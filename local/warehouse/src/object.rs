//! Where COPY and external tables find objects. The warehouse knows urls; whoever runs it knows files.

use std::path::PathBuf;

/// An object as a plain file. It does not change while it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub n_bytes: u64,
}

/// Why there is no object behind a url.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Nothing is stored there.
    #[error("The specified key does not exist")]
    Missing,
    /// It is no `s3://bucket/key`, or a key that cannot exist.
    #[error("The specified S3 path is not valid")]
    BadUrl,
    /// It is there and cannot be read.
    #[error("The object cannot be read: {0}")]
    Unreadable(String),
}

/// Finds objects.
pub trait ObjectSource: Send + Sync {
    /// The object at `s3://bucket/key`.
    fn object(&self, url: &str) -> Result<Object, ObjectError>;

    /// The objects at and below `s3://bucket/folder/`, with what their names have behind it; in no order.
    fn folder(&self, url: &str) -> Result<Vec<(String, Object)>, ObjectError>;
}
