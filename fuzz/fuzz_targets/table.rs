//! Any body under a right checksum decodes without panic, and what decodes is a table that its
//! encoder would take.
#![no_main]

use std::sync::Arc;

use icecore::codec::bytes::write_frame;
use icecore::index::table;
use icecore::model::Series;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = table::decode(body);
    let mut bytes = Vec::new();
    write_frame(&mut bytes, *b"ICST", 1, body);
    let Ok(decoded) = table::decode(&bytes) else { return };
    // A dictionary of long texts may stand for far more bytes of series than it has itself.
    if decoded.len() > 1000 {
        return;
    }
    let series: Vec<Arc<Series>> = decoded.series().map(Arc::new).collect();
    let again = table::decode(&table::encode(&series, decoded.metadata()).unwrap()).unwrap();
    assert!(again.series().eq(series.iter().map(|series| Series::clone(series))));
    assert_eq!(again.metadata(), decoded.metadata());
});
