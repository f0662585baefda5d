//! The cap on label values: the first so many are kept, the rest is `other`, and counted.

use std::collections::HashMap;
use std::sync::Arc;

use super::outcome::{OTHER, cut};

/// The values of one label.
#[derive(Debug)]
pub(super) struct LabelValues {
    max: usize,
    known: HashMap<Box<str>, Arc<str>>,
    other: Arc<str>,
    /// Times that `other` was given for want of room.
    pub(super) overflowed: u64,
}

impl LabelValues {
    pub(super) fn new(max: usize) -> Self {
        Self { max, known: HashMap::new(), other: OTHER.into(), overflowed: 0 }
    }

    /// The value to be used for this one, and whether it is new.
    pub(super) fn admit(&mut self, value: &str) -> (Arc<str>, bool) {
        let value = cut(value);
        if let Some(known) = self.known.get(value) {
            return (Arc::clone(known), false);
        }
        if self.known.len() >= self.max {
            self.overflowed += 1;
            return (self.other(), false);
        }
        let admitted: Arc<str> = value.into();
        self.known.insert(value.into(), Arc::clone(&admitted));
        (admitted, true)
    }

    pub(super) fn other(&self) -> Arc<str> {
        Arc::clone(&self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_values_stay_and_the_rest_is_other() {
        let mut values = LabelValues::new(2);
        for (value, expected) in
            [("a", ("a", true)), ("b", ("b", true)), ("a", ("a", false)), ("c", (OTHER, false))]
        {
            let (found, new) = values.admit(value);
            assert_eq!((&*found, new), expected);
        }
        assert_eq!(values.overflowed, 1);
    }
}
