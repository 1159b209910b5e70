//! When something is done next.
//!
//! **Not here**: doing it.

use tokio::time::Instant;

/// Something that is done again and again, one at a time.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) under_way: bool,
    /// Wanted again while it was under way.
    again: bool,
}

impl Due {
    pub(super) fn at(at: Instant) -> Self {
        Self { at, under_way: false, again: false }
    }

    pub(super) fn begins(&mut self, now: Instant) -> bool {
        let begins = !self.under_way && now >= self.at;
        self.under_way |= begins;
        begins
    }

    pub(super) fn ended(&mut self, next: Instant) {
        *self = Self::at(if self.again { Instant::now() } else { next });
    }

    /// As soon as may be; what is under way began too early to count.
    pub(super) fn soon(&mut self) {
        self.again = self.under_way;
        if !self.under_way {
            self.at = Instant::now();
        }
    }
}
