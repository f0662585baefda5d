//! CSV: any bytes are read or refused, batches are well-formed, and what is read and written once
//! reads back bit for bit.
#![no_main]

use icecore::integration::csv::{CsvReader, CsvWriter};
use icecore::integration::{Batch, SampleReader};
use icecore::model::Series;
use libfuzzer_sys::fuzz_target;

type Sample = (String, i64, u64);

fn samples(text: &[u8]) -> (Vec<Sample>, Vec<u8>) {
    let mut reader = CsvReader::new(text, Series::new("given", []).ok());
    let mut found = Vec::new();
    let mut writer = CsvWriter::new(Vec::new()).expect("in memory");
    // An error is a refusal of the whole text; what came before it counts.
    while let Ok(Some(batch)) = reader.next_batch() {
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
            found.push((declared.series.to_string(), at, value.to_bits()));
            let (timestamps, values) = ([at], [value]);
            writer.write(&declared.series, &timestamps, &values).expect("in memory");
        }
    }
    (found, writer.finish().expect("in memory"))
}

fuzz_target!(|text: &[u8]| {
    let (found, written) = samples(text);
    assert_eq!(samples(&written).0, found);
});
