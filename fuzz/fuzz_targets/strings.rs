//! Lists of strings: any bytes decode or are an error; any list round-trips.
#![no_main]

use icecore::codec::bytes::Reader;
use icecore::codec::strings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = strings::decode(&mut Reader::new(bytes));
    let text = String::from_utf8_lossy(bytes);
    let list: Vec<&str> = text.split('\n').collect();
    let mut out = Vec::new();
    strings::encode(&list, &mut out).expect("within the limits");
    assert_eq!(strings::decode(&mut Reader::new(&out)).expect("own bytes decode"), list);
});
