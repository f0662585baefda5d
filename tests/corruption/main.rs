//! Damage: every flipped bit and every truncation of small files is an error, never a panic and
//! never a wrong answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a test may fail loudly"
)]

mod events;
mod records;
mod segment;
mod store;

fn every_flip_fails(bytes: &[u8], fails: impl Fn(&[u8]) -> bool) {
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(fails(&damaged), "bit {bit} of {}", bytes.len() * 8);
    }
}

fn every_cut_and_addition_fails(bytes: &[u8], fails: impl Fn(&[u8]) -> bool) {
    for end in 0..bytes.len() {
        assert!(fails(&bytes[..end]), "cut at {end}");
    }
    assert!(fails(&[bytes, &[0]].concat()));
}

/// Flips each bit of a segment's directory and seals it with a checksum that fits.
fn every_sealed_flip(bytes: &[u8], read: impl Fn(Vec<u8>)) {
    let length = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let directory = 20 + length(8);
    assert_eq!(directory + length(12), bytes.len());
    for at in directory..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << bit;
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&damaged[..16]);
            hasher.update(&damaged[directory..]);
            damaged[16..20].copy_from_slice(&hasher.finalize().to_le_bytes());
            read(damaged);
        }
    }
}
