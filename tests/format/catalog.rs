//! A catalog of version 1, byte by byte (`docs/format.md`, "Catalog").

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
        first: Timestamp(-3),
        last: Timestamp(-1),
        samples: 65_536,
        series: 3,
        segments: 2,
        bytes: 4_096,
        meta_crc: 0x0403_0201,
        store: 1,
        tier: Tier::RAW,
        layout: Layout::Samples,
        tombstones: 0,
    };
    Catalog::new(0x0807_0605_0403_0201, Timestamp(1_000_000_000), 7_200_000_000_000)
        .with_added(&[part], 259)
        .unwrap()
}

#[rustfmt::skip]
const VERSION_1: [u8; 13 + 44 + 77] = [
    b'I', b'C', b'C', b'T', 1,              // magic, version
    121, 0, 0, 0,                           // body bytes
    0x25, 0x84, 0x9c, 0xb4,                 // crc32
    1, 2, 3, 4, 5, 6, 7, 8,                 // store id
    0x00, 0xca, 0x9a, 0x3b, 0, 0, 0, 0,     // created
    0x00, 0x40, 0x71, 0x61, 0x8c, 0x06, 0x00, 0x00, // partition width
    3, 1, 0, 0, 0, 0, 0, 0,                 // watermark
    2, 0, 0, 0, 0, 0, 0, 0,                 // next part
    1, 0, 0, 0,                             // parts
    1, 0, 0, 0, 0, 0, 0, 0,                 // id
    2, 1, 0, 0, 0, 0, 0, 0,                 // rank
    0x00, 0xc0, 0x8e, 0x9e, 0x73, 0xf9, 0xff, 0xff, // window start
    0, 0, 0, 0, 0, 0, 0, 0,                 // window end
    0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // first
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // last
    0, 0, 1, 0, 0, 0, 0, 0,                 // samples
    3, 0, 0, 0,                             // series
    2, 0, 0, 0,                             // segments
    0, 0x10, 0, 0, 0, 0, 0, 0,              // bytes
    1, 2, 3, 4,                             // meta crc
    1,                                      // store
];

#[test]
fn version_1_reads_and_is_written() {
    assert_eq!(decode(&VERSION_1).unwrap(), catalog());
    let fs = SimFs::new();
    save(&fs, Path::new("/"), &catalog()).unwrap();
    assert_eq!(fs.content(&Path::new("/").join(CATALOG_FILE)), VERSION_1);
}
