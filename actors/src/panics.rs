//! What a caught panic says.

use std::any::Any;

/// Code of our own panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub(crate) String);

impl Panicked {
    /// With the panic's own text.
    pub(crate) fn with(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("without a text").to_owned())
    }
}
