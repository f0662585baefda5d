//! Any text either parses, and then reads back from what it displays, or is an error with an
//! offset within it; series likewise.
#![no_main]

use icecore::model::{Selector, Series};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Selector::parse(text) {
        Ok(selector) => assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector),
        Err(icecore::Error::InvalidSelector { offset, .. }) => assert!(offset <= text.len()),
        Err(_) => {}
    }
    if let Ok(series) = Series::parse(text) {
        assert_eq!(Series::parse(&series.to_string()).unwrap(), series);
        assert!(Selector::parse(text).unwrap().accepts(&series));
    }
});
