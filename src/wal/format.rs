//! File names, file header, frame header: the fixed-width part of the log format.

use std::path::{Path, PathBuf};

use crate::codec::bytes::{FRAME_OVERHEAD_BYTES, Reader, read_frame, write_frame};
use crate::error::{DecodeError, Error, Result};
use crate::fs::Fs;

/// Most payload bytes of one frame, and so of one record: what replay allocates at most for it.
/// A batch of three million samples of one series fits; the ingest channel is bounded far below.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 64 << 20;

const MAGIC: [u8; 4] = *b"ICLG";
const VERSION: u8 = 1;
/// The header is a checksummed frame of two numbers.
pub(crate) const FILE_HEADER_BYTES: usize = FRAME_OVERHEAD_BYTES + 16;
/// Where the two numbers stand, and the checksum before them.
pub(crate) const NUMBER_AT: u64 = FRAME_OVERHEAD_BYTES as u64;
pub(crate) const FIRST_SEQUENCE_AT: u64 = NUMBER_AT + 8;
const SEED_AT: usize = FRAME_OVERHEAD_BYTES - 4;
pub(crate) const FRAME_HEADER_BYTES: usize = 36;

/// Opens every frame header, so that a search for later frames passes over other bytes quickly.
pub(crate) const FRAME_MARK: [u8; 4] = *b"\xa7LFR";

/// What opens a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// As in the file's name.
    pub(crate) number: u64,
    /// Sequence number that the file's first data record has, or would have.
    pub(crate) first_sequence: u64,
}

impl FileHeader {
    /// The header's bytes, and the checksum among them.
    ///
    /// That checksum seeds those of the file's frames: a frame of another file, left over in a
    /// reused disk block, never passes for one of this file.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let mut body = self.number.to_le_bytes().to_vec();
        body.extend_from_slice(&self.first_sequence.to_le_bytes());
        let mut bytes = Vec::with_capacity(FILE_HEADER_BYTES);
        write_frame(&mut bytes, MAGIC, VERSION, &body);
        let seed = seed(&bytes);
        (bytes, seed)
    }

    /// The header, and the seed.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), DecodeError> {
        let (_, body) = read_frame(&mut Reader::new(bytes), "log file", MAGIC, VERSION)?;
        let mut fields = Reader::new(body);
        let header = Self { number: fields.u64()?, first_sequence: fields.u64()? };
        fields.finish("log file header")?;
        Ok((header, seed(bytes)))
    }
}

/// The checksum in a whole file header.
fn seed(header: &[u8]) -> u32 {
    let stored = header.get(SEED_AT..).and_then(|rest| rest.first_chunk());
    stored.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// What opens a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of records that follow.
    pub(crate) payload_bytes: u32,
    /// Data records among them; declarations are not counted.
    pub(crate) data_records: u32,
    /// Sequence number of the first data record; the others count up from it.
    pub(crate) first_sequence: u64,
    /// Bytes of this file that were durable when the frame was sealed.
    pub(crate) synced_bytes: u64,
    /// Checksum of the payload, seeded by the file's.
    pub(crate) payload_crc: u32,
}

impl FrameHeader {
    pub(crate) fn encode(&self, seed: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES);
        bytes.extend_from_slice(&FRAME_MARK);
        bytes.extend_from_slice(&self.payload_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.data_records.to_le_bytes());
        bytes.extend_from_slice(&self.first_sequence.to_le_bytes());
        bytes.extend_from_slice(&self.synced_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.payload_crc.to_le_bytes());
        let crc = seeded_crc(seed, &bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mark: [u8; 4] = reader.array()?;
        if mark != FRAME_MARK {
            let found = u64::from(u32::from_le_bytes(mark));
            return Err(DecodeError::Invalid { what: "frame mark", found, expected: "a7 'LFR'" });
        }
        let header = Self {
            payload_bytes: reader.u32()?,
            data_records: reader.u32()?,
            first_sequence: reader.u64()?,
            synced_bytes: reader.u64()?,
            payload_crc: reader.u32()?,
        };
        let found = reader.u32()?;
        let expected = seeded_crc(seed, bytes.get(..FRAME_HEADER_BYTES - 4).unwrap_or_default());
        if found != expected {
            return Err(DecodeError::Checksum { expected, found });
        }
        if header.payload_bytes as usize > FRAME_PAYLOAD_BYTES_MAX {
            let found = u64::from(header.payload_bytes);
            let expected = "at most 64 MiB";
            return Err(DecodeError::Invalid { what: "frame payload bytes", found, expected });
        }
        Ok(header)
    }
}

pub(crate) fn seeded_crc(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

pub(crate) fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.log"))
}

/// Numbers of the log files in `dir`, ascending; none where `dir` is missing. Other names are not
/// ours and are left alone.
pub(crate) fn file_numbers(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>> {
    if fs.file_bytes(dir)?.is_none() {
        return Ok(Vec::new());
    }
    let mut numbers: Vec<u64> = fs
        .list(dir)?
        .iter()
        .filter_map(|entry| {
            let digits = entry.name.to_str()?.strip_suffix(".log")?;
            let wide = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
            if wide { digits.parse().ok() } else { None }
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The header of file `number`, `None` where the file was torn while being created: its header is
/// bad, and nothing can follow it because frames are written only after the header was synced.
pub(crate) fn read_file_header(
    fs: &dyn Fs,
    dir: &Path,
    number: u64,
) -> Result<Option<(FileHeader, u32)>> {
    let path = file_path(dir, number);
    let file = fs.open_read(&path)?;
    let mut bytes = [0; FILE_HEADER_BYTES];
    let read = file.read_at(0, &mut bytes)?;
    match FileHeader::decode(bytes.get(..read).unwrap_or_default()) {
        Ok((header, _)) if header.number != number => {
            let (what, expected) = ("log file number", "as in the file's name");
            let source = DecodeError::Invalid { what, found: header.number, expected };
            Err(Error::corrupt(path, NUMBER_AT, source))
        }
        Ok(decoded) => Ok(Some(decoded)),
        Err(source @ DecodeError::Version { .. }) => Err(Error::corrupt(path, 0, source)),
        Err(_) if file.len()? <= FILE_HEADER_BYTES as u64 => Ok(None),
        Err(source) => Err(Error::corrupt(path, 0, source)),
    }
}
