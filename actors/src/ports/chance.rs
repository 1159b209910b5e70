//! Chance, as a value that is handed down: nonces, jitter and the ids of traces are the only uses that
//! the product has for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Rolls dice. Cheap to clone; a simulation hands down one that begins with a seed.
#[derive(Clone)]
pub struct Chance(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Chance {
    /// The operating system's.
    pub fn system() -> Self {
        Self::from_fn(rand::random::<u64>)
    }

    /// Takes its numbers, all 64 bits equally likely, from this function.
    pub fn from_fn(next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    /// A number, all 64 bits equally likely.
    pub fn bits(&self) -> u64 {
        (self.0)()
    }

    /// A number in `[0, 1)`.
    pub fn unit(&self) -> f64 {
        // As many bits as a float's mantissa holds: more would round up to 1.
        ((self.0)() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Between half and all of a pause: what failed together must not come back together.
    pub fn spread(&self, pause: Duration) -> Duration {
        pause.mul_f64(0.5 + self.unit() / 2.0)
    }

    /// A text that nobody else writes: 128 bits in hex.
    pub fn nonce(&self) -> String {
        format!("{:016x}{:016x}", (self.0)(), (self.0)())
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_is_below_one() {
        assert!(Chance::from_fn(|| u64::MAX).unit() < 1.0);
        assert_eq!(Chance::from_fn(|| 0).unit(), 0.0);
    }

    #[test]
    fn a_pause_keeps_at_least_half() {
        let pause = Duration::from_millis(100);
        assert_eq!(Chance::from_fn(|| 0).spread(pause), pause / 2);
        assert!(Chance::from_fn(|| u64::MAX).spread(pause) <= pause);
    }
}
