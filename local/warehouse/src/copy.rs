//! COPY: objects become rows of a table.
//!
//! **Owns** the links under which DuckDB reads objects. A key may hold anything; a link's name is ours, so nothing in it
//! is a pattern, a partition or a path.
//! **Promises** all rows of all files or none; each file of a manifest once.
//! **Fails** with the file and the reason, in the words Redshift uses.
//! **Not here**: prefixes. FROM names one object or one manifest.

mod json;
pub(crate) mod layout;
mod manifest;
mod parquet;

use std::path::{Path, PathBuf};

use crate::dialect::{Copy, CopyFormat};
use crate::error::SqlError;
use crate::object::{Object, ObjectError};
use crate::session::{Outcome, Session, StoredColumn, TextLimit};

/// An object that is to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    url: String,
    object: Object,
}

/// Where rows go.
struct Target<'a> {
    table: &'a crate::dialect::TableName,
    columns: Vec<StoredColumn>,
    limits: Vec<TextLimit>,
}

pub(crate) fn load(session: &mut Session, copy: &Copy) -> Result<Outcome, SqlError> {
    let columnar = matches!(copy.format, CopyFormat::Parquet);
    let objects = session.shared.objects.as_ref();
    let files = if copy.manifest {
        let manifest = object(objects.object(&copy.url), &copy.url)?;
        manifest::files(objects, &manifest, columnar)?
    } else {
        vec![object(objects.object(&copy.url), &copy.url)?]
    };
    let target = Target {
        table: &copy.table,
        columns: session.chosen(&copy.table, &copy.columns)?,
        limits: session.limits(&copy.table)?,
    };
    match &copy.format {
        CopyFormat::Parquet => parquet::load(session, &target, &files),
        CopyFormat::Json { .. } => json::load(session, &target, &files, &copy.format),
    }
}

fn object(found: Result<Object, ObjectError>, url: &str) -> Result<File, SqlError> {
    match found {
        Ok(object) => Ok(File { url: url.to_owned(), object }),
        Err(error) => Err(SqlError(format!("S3ServiceException: {error}: {url}"))),
    }
}

/// Links to objects; they go when it is dropped.
struct Links {
    paths: Vec<PathBuf>,
    urls: Vec<String>,
}

impl Links {
    fn new(folder: &Path, files: &[File]) -> Result<Links, SqlError> {
        let mut links = Links { paths: Vec::with_capacity(files.len()), urls: Vec::with_capacity(files.len()) };
        for file in files {
            let path = folder.join(format!("{:016x}.parquet", rand::random::<u64>()));
            let failed = |error: std::io::Error| SqlError(format!("S3ServiceException: {error}: {}", file.url));
            std::fs::hard_link(&file.object.path, &path).map_err(failed)?;
            links.paths.push(path);
            links.urls.push(file.url.clone());
        }
        Ok(links)
    }

    /// An error of DuckDB's with the objects it is about, and not their links.
    fn hide(&self, message: &str) -> String {
        let links = self.paths.iter().zip(&self.urls);
        links.fold(message.to_owned(), |text, (path, url)| text.replace(&path.display().to_string(), url))
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for path in &self.paths {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(%error, "a link to an object stays until the next start");
            }
        }
    }
}
