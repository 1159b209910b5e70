//! The random numbers of one rule.
//!
//! **Owns** one `u64`.
//! **Promises** the same numbers for the same seed and place, in every release: a recorded run can be repeated.
//! **Fails** never.
//! **Not here**: secrets. This is SplitMix64, which anyone can predict.

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Chance(u64);

impl Chance {
    /// One independent stream of numbers per rule.
    pub(super) fn new(seed: u64, place: u64) -> Chance {
        Chance(mix(seed ^ mix(place.wrapping_add(1))))
    }

    /// Whether something of this probability happens this time.
    pub(super) fn comes_up(&mut self, probability: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // In [0, 1), so that 0 never and 1 always comes up.
        let unit = (mix(self.0) >> 11) as f64 / (1u64 << 53) as f64;
        unit < probability
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
