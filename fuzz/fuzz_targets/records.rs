//! Columns of records: any bytes decode to as many aggregates or sketches as were asked for, or are
//! an error; any aggregates round-trip bit for bit, and so do the sketches of any values.
#![no_main]

use icecore::Timestamp;
use icecore::aggregate::{Partial, Sketch, Sketches};
use icecore::codec::partials::{self, Times};
use icecore::codec::sketches;
use icecore::model::Sample;
use libfuzzer_sys::fuzz_target;

fn bits(partial: &Partial) -> [u64; 10] {
    let sample = |sample: Sample| [sample.timestamp.0 as u64, sample.value.to_bits()];
    let ([first, at], [last, end]) = (sample(partial.first), sample(partial.last));
    let Partial { count, resets, .. } = *partial;
    let [sum, min, max, grown] =
        [partial.sum, partial.min, partial.max, partial.increase].map(f64::to_bits);
    [count, resets, first, at, last, end, sum, min, max, grown]
}

// Count and whether increase is kept, then a column.
fuzz_target!(|input: &[u8]| {
    let &[count, increase, ref bytes @ ..] = input else { return };
    let (count, increase) = (usize::from(count), increase & 1 == 1);
    let firsts: Vec<i64> = (0..count as i64).map(|row| row * 60).collect();
    let lasts: Vec<i64> = firsts.iter().map(|first| first + 50).collect();
    let (mut partials, mut list, mut out) = (Vec::new(), Sketches::default(), Vec::new());
    let times = Times { firsts: &firsts, lasts: &lasts };
    if partials::decode(bytes, times, increase, &mut partials).is_ok() {
        assert_eq!(partials.len(), count);
    }
    if sketches::decode(bytes, count, &mut list).is_ok() {
        assert_eq!(list.len(), count);
    }

    let words: Vec<u64> =
        bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let values: Vec<f64> = words.iter().map(|&word| f64::from_bits(word)).collect();
    let rows = words.as_chunks::<8>().0.iter().zip(&firsts).zip(&lasts);
    let written: Vec<Partial> = rows
        .map(|((&[count, sum, min, max, first, last, increase, resets], &at), &end)| {
            let number = f64::from_bits;
            let sample = |at, value| Sample { timestamp: Timestamp(at), value: number(value) };
            Partial {
                count: count.max(1),
                sum: number(sum),
                min: number(min),
                max: number(max),
                first: sample(at, first),
                last: sample(end, last),
                increase: number(increase),
                resets,
            }
        })
        .collect();
    let rows = written.len();
    let times = Times { firsts: &firsts[..rows], lasts: &lasts[..rows] };
    partials::encode(&written, times, true, &mut out);
    partials::decode(&out, times, true, &mut partials).expect("own bytes decode");
    assert!(partials.iter().map(bits).eq(written.iter().map(bits)));

    let mut written = Sketches::default();
    values.chunks(5).for_each(|values| written.push(&Sketch::of(values)));
    out.clear();
    list.clear();
    sketches::encode(written.iter(), &mut out);
    sketches::decode(&out, written.len(), &mut list).expect("own bytes decode");
    assert_eq!(list, written);
});
