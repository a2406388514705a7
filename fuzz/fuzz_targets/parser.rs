//! One parser under a coverage-guided fuzzer: the format that `PLACET_FORMAT` names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use placet_fuzz::Format;
use std::sync::LazyLock;

static FORMAT: LazyLock<Format> = LazyLock::new(|| {
    let name = std::env::var("PLACET_FORMAT").expect("PLACET_FORMAT names a format");
    Format::named(&name).unwrap_or_else(|| panic!("there is no format {name}"))
});

fuzz_target!(|bytes: &[u8]| {
    if let Err(why) = FORMAT.holds(bytes) {
        panic!("{why}");
    }
});
