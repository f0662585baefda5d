//! Any text is a policy or an error that tells its place; a policy is written as a text that reads
//! back to it, and the engine takes it or names what it does not take.
#![no_main]

use icecore::Options;
use icecore::integration::policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(read) = policy::parse(text) else { return };
    let written = policy::to_text(&read);
    assert_eq!(policy::parse(&written).unwrap(), read, "{written}");
    // The relations to other options are checked there; nothing may panic.
    let _ = Options { policy: read, ..Options::default() }.check();
});
