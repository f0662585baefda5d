//! What a power cut leaves of things that were not synced, decided by a seed.

/// The outcome of each thing that was not synced.
pub(crate) struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Whether a change of a name that was not synced has happened.
    pub(crate) fn keeps(&mut self) -> bool {
        match self.seed {
            0 => false,
            1 => true,
            _ => self.next() & 1 == 1,
        }
    }

    /// What a power cut leaves of a file.
    pub(crate) fn tear(&mut self, live: &[u8], durable: &[u8]) -> Vec<u8> {
        let grown = live.len() > durable.len() && live.starts_with(durable);
        if self.seed < 2 || !grown {
            return if self.keeps() { live } else { durable }.to_vec();
        }
        let synced = durable.len();
        let cut = synced + self.below(live.len() - synced + 1);
        let mut image = live.to_vec();
        match self.below(5) {
            0 => image.truncate(synced),
            1 => {}
            2 => image.truncate(cut),
            3 => {
                for block in image[synced..].chunks_mut(48) {
                    if self.next() & 1 == 0 {
                        block.fill(0);
                    }
                }
            }
            _ => image[cut..].iter_mut().for_each(|byte| *byte = self.next() as u8),
        }
        image
    }
}
