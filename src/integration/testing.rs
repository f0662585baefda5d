//! What the tests of all readers share.

use super::{Batch, SampleReader, Slot};

pub(crate) fn bits(value: f64) -> u64 {
    value.to_bits()
}

/// Every sample as `(series, nanoseconds, bits of the value)`, in the order of the text.
pub(crate) fn read_all(reader: &mut dyn SampleReader) -> Vec<(String, i64, u64)> {
    let mut samples = Vec::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        let name = |slot: Slot| reader.declared()[slot.0 as usize].series.to_string();
        match batch {
            Batch::Scrape { timestamp, slots, values } => {
                assert_eq!(slots.len(), values.len());
                let rows = slots.iter().zip(&values);
                samples.extend(rows.map(|(s, v)| (name(*s), timestamp.nanos(), v.to_bits())));
            }
            Batch::Column { slot, timestamps, values } => {
                assert_eq!(timestamps.len(), values.len());
                let rows = timestamps.iter().zip(&values);
                samples.extend(rows.map(|(t, v)| (name(slot), *t, v.to_bits())));
            }
        }
    }
    samples
}
