//! A catalog of version 1, byte by byte (`docs/format/catalog.md`).

use std::path::Path;

use icecore::catalog::{CATALOG_FILE, Catalog, PartEntry, decode, save};
use icecore::part::Layout;
use icecore::{Tier, TimeRange, Timestamp};

use crate::support::fault_fs::SimFs;

fn catalog() -> Catalog {
    let part = PartEntry {
        id: 1,
        rank: 258,
        window: TimeRange::new(Timestamp(-7_200_000_000_000), Timestamp(0)),
        first: Timestamp(-60_000_000_000),
        last: Timestamp(-1),
        samples: 65_536,
        series: 3,
        segments: 2,
        bytes: 4_096,
        meta_crc: 0x0403_0201,
        store: 1,
        tier: Tier::MINUTE,
        layout: Layout::Records,
        tombstones: 4,
    };
    let created = Timestamp(1_000_000_000);
    let mut catalog = Catalog::new(0x0807_0605_0403_0201, created, 7_200_000_000_000);
    catalog.next_tombstone = 5;
    let range = TimeRange::new(Timestamp(-120_000_000_000), Timestamp(-60_000_000_000));
    catalog.with_added(&[part], 259).unwrap().with_tombstone(range, "up".to_owned())
}

#[rustfmt::skip]
const VERSION_1: [u8; 13 + 56 + 94 + 42 + 8] = [
    b'I', b'C', b'C', b'T',                            // magic
    1,                                                 // version
    0xc8, 0, 0, 0,                                     // body bytes
    0xc2, 0x08, 0xc6, 0xa0,                            // crc32
    1, 2, 3, 4, 5, 6, 7, 8,                            // store id
    0, 0xca, 0x9a, 0x3b, 0, 0, 0, 0,                   // created
    0, 0x40, 0x71, 0x61, 0x8c, 6, 0, 0,                // partition width
    3, 1, 0, 0, 0, 0, 0, 0,                            // watermark
    2, 0, 0, 0, 0, 0, 0, 0,                            // next part
    6, 0, 0, 0, 0, 0, 0, 0,                            // next tombstone
    1, 0, 0, 0,                                        // parts
    1, 0, 0, 0,                                        // tombstones
    1, 0, 0, 0, 0, 0, 0, 0,                            // part: id
    2, 1, 0, 0, 0, 0, 0, 0,                            // rank
    0, 0xc0, 0x8e, 0x9e, 0x73, 0xf9, 0xff, 0xff,       // window start
    0, 0, 0, 0, 0, 0, 0, 0,                            // window end
    0, 0xa8, 0xb8, 7, 0xf2, 0xff, 0xff, 0xff,          // first
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,    // last
    0, 0, 1, 0, 0, 0, 0, 0,                            // samples
    3, 0, 0, 0,                                        // series
    2, 0, 0, 0,                                        // segments
    0, 0x10, 0, 0, 0, 0, 0, 0,                         // bytes
    1, 2, 3, 4,                                        // meta crc
    1,                                                 // store
    1,                                                 // layout
    0, 0x58, 0x47, 0xf8, 0x0d, 0, 0, 0,                // tier
    4, 0, 0, 0, 0, 0, 0, 0,                            // tombstones left out
    5, 0, 0, 0, 0, 0, 0, 0,                            // tombstone: id
    3, 1, 0, 0, 0, 0, 0, 0,                            // rank
    0, 0x50, 0x71, 0x0f, 0xe4, 0xff, 0xff, 0xff,       // start
    0, 0xa8, 0xb8, 7, 0xf2, 0xff, 0xff, 0xff,          // end
    2, 0, 0, 0, 0, 0, 0, 0,                            // selector: length
    b'u', b'p',                                        // selector
    0, 0, 0, 0, 0, 0, 0, 0x80,                         // raw is whole from
];

#[test]
fn version_1_reads_and_is_written() {
    assert_eq!(decode(&VERSION_1).unwrap(), catalog());
    let fs = SimFs::new();
    save(&fs, Path::new("/"), &catalog()).unwrap();
    assert_eq!(fs.content(&Path::new("/").join(CATALOG_FILE)), VERSION_1);
}

/// What earlier builds wrote does not tell whether raw parts were ever dropped.
#[test]
fn without_its_last_field_it_reads() {
    let mut earlier = VERSION_1[..VERSION_1.len() - 8].to_vec();
    // The length and the checksum that it had then.
    earlier[5..13].copy_from_slice(&[0xc0, 0, 0, 0, 0x62, 0xbe, 0x46, 0x16]);
    let expected = Catalog { raw_whole_from: Timestamp::MAX, ..catalog() };
    assert_eq!(decode(&earlier).unwrap(), expected);
}

#[test]
fn removing_raw_parts_tells_up_to_where() {
    let raw = |id: u64, end: i64| PartEntry {
        id,
        window: TimeRange::new(Timestamp(end - 7_200_000_000_000), Timestamp(end)),
        first: Timestamp(end - 2),
        last: Timestamp(end - 1),
        tier: Tier::RAW,
        ..catalog().parts[0]
    };
    let parts = [raw(2, 0), raw(3, 7_200_000_000_000)];
    let held = catalog().with_added(&parts, 259).unwrap();
    assert_eq!(held.with_removed(&[1]).unwrap().raw_whole_from, Timestamp::MIN, "a tier's");
    assert_eq!(held.with_removed(&[2]).unwrap().raw_whole_from, Timestamp(0));
    let none = held.with_removed(&[2, 3]).unwrap();
    assert_eq!(none.raw_whole_from, Timestamp(7_200_000_000_000));
    let merged = held.with_replaced(&[2, 3], &[], 259).unwrap();
    assert_eq!(merged.raw_whole_from, Timestamp::MIN, "what replaces them holds what they held");
}
