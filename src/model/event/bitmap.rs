//! Bits in a row.

/// As many bits as rows: which of them hold a value, or a column of booleans. Packed as Arrow packs
/// validity: row `i` is bit `i % 64`, from the lowest, of word `i / 64`; bits past the end are 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// No bits.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Vec::new(), len: 0 }
    }

    /// `len` bits, all set or all not.
    #[must_use]
    pub fn filled(bit: bool, len: usize) -> Self {
        let mut words = vec![if bit { u64::MAX } else { 0 }; len.div_ceil(64)];
        if let Some(last) = words.last_mut().filter(|_| bit && !len.is_multiple_of(64)) {
            *last = (1 << (len % 64)) - 1;
        }
        Self { words, len }
    }

    /// Bits.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether bit `at` is set; one past the end is not.
    #[must_use]
    #[inline]
    pub fn get(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Sets or clears bit `at`; past the end it does nothing.
    pub fn set(&mut self, at: usize, bit: bool) {
        if at >= self.len {
            return;
        }
        if let Some(word) = self.words.get_mut(at / 64) {
            *word = *word & !(1 << (at % 64)) | u64::from(bit) << (at % 64);
        }
    }

    /// One more bit.
    pub fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        self.len += 1;
        self.set(self.len - 1, bit);
    }

    /// How many are set.
    #[must_use]
    pub fn count_ones(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The words, the last one filled up with zeros.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Every bit in turn.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = bool> {
        (0..self.len).map(|at| self.get(at))
    }

    /// The positions of the bits that are set, ascending.
    pub fn ones(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                (left != 0).then(|| {
                    left &= left - 1;
                    at * 64 + bit
                })
            })
        })
    }

    /// Bytes in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}

impl FromIterator<bool> for Bitmap {
    fn from_iter<I: IntoIterator<Item = bool>>(bits: I) -> Self {
        let mut all = Self::new();
        bits.into_iter().for_each(|bit| all.push(bit));
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bitmap_is_a_list_of_booleans(
            bits in prop::collection::vec(any::<bool>(), 0..300),
            flips in prop::collection::vec((0..300_usize, any::<bool>()), 0..20),
        ) {
            let mut list = bits;
            let mut map: Bitmap = list.iter().copied().collect();
            for (at, bit) in flips {
                map.set(at, bit);
                if let Some(place) = list.get_mut(at) {
                    *place = bit;
                }
            }
            prop_assert_eq!(map.iter().collect::<Vec<_>>(), list.clone());
            prop_assert_eq!(map.count_ones(), list.iter().filter(|bit| **bit).count());
            let ones: Vec<usize> = (0..list.len()).filter(|&at| list[at]).collect();
            prop_assert_eq!(map.ones().collect::<Vec<_>>(), ones);
            for bit in [false, true] {
                let expected: Bitmap = list.iter().map(|_| bit).collect();
                prop_assert_eq!(Bitmap::filled(bit, list.len()), expected);
            }
        }
    }
}
