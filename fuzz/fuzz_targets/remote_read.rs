//! Bodies of remote read: any bytes are read or refused, and matchers that are read compile or are
//! refused.
#![no_main]

use icecore::model::{Matcher, Selector};
use icecore::server::remote::{decode_read, decompress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(message) = decompress(body, 1 << 20) {
        check(&message);
    }
    check(body);
});

fn check(message: &[u8]) {
    let Ok(request) = decode_read(message) else { return };
    let matchers: usize = request.queries.iter().map(|query| query.matchers.len()).sum();
    assert!(request.queries.len() + matchers + request.accepted.len() <= message.len());
    for query in &request.queries {
        let matchers =
            query.matchers.iter().map(|(op, name, value)| Matcher::new(name, *op, value));
        if let Ok(matchers) = matchers.collect::<Result<Vec<_>, _>>()
            && let Ok(selector) = Selector::new(matchers)
        {
            assert_eq!(Selector::parse(&selector.to_string()).expect("its own text"), selector);
        }
    }
}
