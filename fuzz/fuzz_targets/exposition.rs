//! Exposition text: any bytes are read or refused, batches are well-formed, and what is read
//! and written once reads back the same.
#![no_main]

use icecore::Timestamp;
use icecore::integration::exposition::{Dialect, ExpositionReader, ExpositionWriter};
use icecore::integration::{Batch, SampleReader};
use libfuzzer_sys::fuzz_target;

type Sample = (String, i64, u64);

fn samples(text: &[u8], dialect: Dialect) -> (Vec<Sample>, Vec<u8>) {
    let mut reader = ExpositionReader::new(text, dialect, Some(Timestamp(0)));
    let mut found = Vec::new();
    let mut writer = ExpositionWriter::new(Vec::new());
    while let Some(batch) = reader.next_batch().expect("bytes in memory") {
        let rows: Vec<(u32, i64, f64)> = match batch {
            Batch::Scrape { timestamp, slots, values } => {
                assert_eq!(slots.len(), values.len());
                slots.iter().zip(values).map(|(slot, value)| (slot.0, timestamp.0, value)).collect()
            }
            Batch::Column { slot, timestamps, values } => {
                assert_eq!(timestamps.len(), values.len());
                timestamps.iter().zip(values).map(|(&at, value)| (slot.0, at, value)).collect()
            }
        };
        for (slot, at, value) in rows {
            let declared = &reader.declared()[slot as usize];
            let at = at - at % 1_000_000;
            found.push((declared.series.to_string(), at, value.to_bits()));
            writer.write(&declared.series, &declared.metadata, &[at], &[value]).expect("in memory");
        }
    }
    (found, writer.finish().expect("in memory"))
}

fuzz_target!(|text: &[u8]| {
    samples(text, Dialect::Auto);
    samples(text, Dialect::OpenMetrics);
    let (found, written) = samples(text, Dialect::Prometheus);
    assert_eq!(samples(&written, Dialect::Prometheus).0, found);
});
