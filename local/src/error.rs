//! Why the local cloud could not start, each with the way out.
//!
//! **Owns** the one error type of this crate's public surface.
//! **Promises** that every message names what is wrong and what to do about it.
//! **Fails** never.
//! **Not here**: errors of single requests; those are answered in the wire format of their service.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why [`LocalCloud::start`](crate::LocalCloud::start) gave up.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The local cloud checks no credentials, so it is never offered to a network.
    #[error("{addr} is not a loopback address; the local cloud accepts any credentials: bind 127.0.0.1 or [::1]")]
    NotLoopback {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// Somebody else listens there.
    #[error("{addr} is already in use: stop what listens there, choose another port, or use port 0 for a free one")]
    PortInUse {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The address could not be bound for another reason.
    #[error("cannot listen on {addr}: choose another address or port")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data folder, or a file in it, cannot be created, read or written.
    #[error("cannot use {}: make it a folder this user can write, or choose another data folder", path.display())]
    Folder {
        /// What could not be used.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process works on the same folder; two writers would destroy each other's data.
    #[error("{} is in use by {holder}: stop that process, or choose another data folder", path.display())]
    FolderInUse {
        /// The data folder.
        path: PathBuf,
        /// The process that holds it, as far as its lock file tells.
        holder: String,
    },
    /// A state file is not what this version writes.
    #[error("{} is damaged ({detail}): restore it, or delete the data folder to start empty", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What did not fit.
        detail: String,
    },
    /// A state file was there at an earlier start.
    #[error("{} is missing, and was there before: restore it, or delete the data folder to start empty", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
}

impl LocalError {
    /// An error of the file system at `path`.
    pub(crate) fn folder(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> LocalError {
        let path = path.into();
        move |source| LocalError::Folder { path, source }
    }

    /// A file at `path` that cannot be understood.
    pub(crate) fn damaged<D: std::fmt::Display>(path: impl Into<PathBuf>) -> impl FnOnce(D) -> LocalError {
        let path = path.into();
        move |detail| LocalError::Damaged { path, detail: detail.to_string() }
    }
}
