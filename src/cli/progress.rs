//! How far long work has come: on stderr, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over bytes. Hidden where stderr is no terminal.
pub(super) fn over_bytes(what: &str, total: Option<u64>) -> ProgressBar {
    // indicatif draws to stderr, and not at all where that is no terminal.
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::no_length(),
    };
    let template = if total.is_some() {
        "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}"
    } else {
        "{msg} {spinner} {bytes} {binary_bytes_per_sec}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

/// A bar over samples. Hidden where stderr is no terminal.
pub(super) fn over_samples(what: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{msg} {wide_bar} {human_pos}/{human_len} samples {per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

/// A count of steps of an unknown number. Hidden where stderr is no terminal.
pub(super) fn over_steps(what: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} steps, {elapsed}; {msg}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}
