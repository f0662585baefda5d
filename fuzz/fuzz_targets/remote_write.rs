//! Bodies of remote write: any bytes are read or refused within bounds, and series that are read are
//! written so that they read back the same.
#![no_main]

use icecore::model::Series;
use icecore::server::remote::{WriteRequest, compress, decode_write, decompress, push_series};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;

fuzz_target!(|body: &[u8]| {
    if let Ok(message) = decompress(body, LIMIT) {
        assert!(message.len() <= LIMIT);
        check(&message);
    }
    // A change seldom leaves a block whole: the message by itself, too.
    check(body);
    let packed = compress(body).expect("short");
    assert_eq!(decompress(&packed, body.len()).expect("what was packed"), body);
});

fn check(message: &[u8]) {
    let Ok(request) = decode_write(message) else { return };
    // No more is there than bytes to say so.
    let samples: usize = request.series.iter().map(|series| series.samples.len()).sum();
    assert!(request.series.len() + samples + request.metadata.len() <= message.len());
    let mut written = Vec::new();
    let mut expected = Vec::new();
    for series in &request.series {
        let name = series.labels.iter().find(|(label, _)| *label == "__name__");
        let others = series.labels.iter().copied().filter(|(label, _)| *label != "__name__");
        let Ok(identity) = Series::new(name.map_or("", |(_, name)| name), others) else { continue };
        push_series(&mut written, &identity, series.samples.iter().copied());
        expected.push(bits(&series.samples));
    }
    let WriteRequest { series, .. } = decode_write(&written).expect("what was written");
    assert_eq!(series.iter().map(|series| bits(&series.samples)).collect::<Vec<_>>(), expected);
}

fn bits(samples: &[(i64, f64)]) -> Vec<(i64, u64)> {
    samples.iter().map(|(at, value)| (*at, value.to_bits())).collect()
}
