//! Columns: any bytes decode to a column of the count asked for, or an error; any column
//! round-trips bit for bit.
#![no_main]

use icecore::codec::{timestamps, values};
use libfuzzer_sys::fuzz_target;

// Tag and count, then a column.
fuzz_target!(|input: &[u8]| {
    let &[tag, low, high, ref bytes @ ..] = input else { return };
    let count = usize::from(u16::from_le_bytes([low, high]));
    let (mut times, mut numbers, mut out) = (Vec::new(), Vec::new(), Vec::new());
    if timestamps::decode(bytes, count, &mut times).is_ok() {
        assert_eq!(times.len(), count);
    }
    if let Ok(encoding) = values::ValueEncoding::from_tag(tag)
        && values::decode(encoding, bytes, count, &mut numbers).is_ok()
    {
        assert_eq!(numbers.len(), count);
    }

    let words = bytes.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word));
    let column: Vec<i64> = words.clone().collect();
    timestamps::encode(&column, &mut out);
    timestamps::decode(&out, column.len(), &mut times).expect("own bytes decode");
    assert_eq!(times, column);

    let column: Vec<f64> = words.map(|word| f64::from_bits(word as u64)).collect();
    out.clear();
    let encoding = values::encode(&column, &mut out);
    values::decode(encoding, &out, column.len(), &mut numbers).expect("own bytes decode");
    assert!(numbers.iter().map(|v| v.to_bits()).eq(column.iter().map(|v| v.to_bits())));
});
