//! Reads the log back: every record above the watermark, once, in order.

use std::path::{Path, PathBuf};

use super::format::{
    FILE_HEADER_BYTES, FIRST_SEQUENCE_AT, FRAME_HEADER_BYTES, FRAME_MARK, FileHeader, FrameHeader,
    NUMBER_AT, file_numbers, file_path, read_file_header, seeded_crc,
};
use super::record::{Decoder, Record};
use crate::codec::bytes::Reader;
use crate::error::{DecodeError, Error, Result};
use crate::fs::{Fs, FsFile};

/// Bytes read at once; a larger frame is read whole.
const WINDOW_BYTES: usize = 1 << 20;

/// What a replay found, and where writing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Sequence number of the next data record: above the watermark and all that was read.
    pub next_sequence: u64,
    /// Number of the next log file.
    pub next_file: u64,
    /// Files read.
    pub files: u64,
    /// Bytes of them that are whole.
    pub bytes: u64,
    /// Data records handed to the visitor.
    pub data_records: u64,
    /// The newest file that was read.
    pub last_file: Option<PathBuf>,
    /// What a power cut left at the end of the last file.
    pub tail: Option<TornTail>,
}

impl Replay {
    /// Cuts the torn tail off and makes what was read durable: a process that died may have left
    /// it unsynced, and the next file must never outlive it. [`Writer::open`](super::Writer::open)
    /// calls it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn settle(&self, fs: &dyn Fs) -> Result<()> {
        if let Some(path) = &self.last_file {
            let mut file = fs.open_append(path)?;
            if let Some(tail) = self.tail.as_ref().filter(|tail| tail.path == *path) {
                file.set_len(tail.valid_bytes)?;
            }
            file.sync()?;
        }
        if let Some(tail) = self.tail.as_ref().filter(|tail| tail.valid_bytes == 0) {
            fs.remove_file(&tail.path)?;
        }
        Ok(())
    }
}

/// The end of the last log file, where a write was under way when the power went. Nothing in it
/// was ever synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// Bytes of it that are whole; 0 where not even its header is, and the file goes altogether.
    pub valid_bytes: u64,
    /// Bytes after them.
    pub dropped_bytes: u64,
}

/// Replays the log in `dir`: calls `visit` with every declaration of the files that may hold
/// records above `watermark`, and with the data records above it, in the order of writes. Changes
/// nothing on disk. A missing directory is an empty log.
///
/// Holds at most one frame in memory. Records are shown only once their whole frame has proved
/// intact.
///
/// # Errors
/// [`Error::Corrupt`] where bytes that had been synced are damaged or missing: a bad frame before
/// the end of the log, a bad header, a gap in file or sequence numbers. [`Error::Io`]. Whatever
/// `visit` returns.
pub fn replay(
    fs: &dyn Fs,
    dir: &Path,
    watermark: u64,
    visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
) -> Result<Replay> {
    let live = live_files(fs, dir, watermark)?;
    let mut replay = Replay {
        next_sequence: watermark.saturating_add(1),
        next_file: 1,
        files: 0,
        bytes: 0,
        data_records: 0,
        last_file: None,
        tail: live.torn,
    };
    let mut expected: Option<FileHeader> = None;
    let last = live.numbers.last().copied();
    for number in live.numbers {
        let path = file_path(dir, number);
        let Some((header, seed)) = read_file_header(fs, dir, number)? else {
            let source = DecodeError::Truncated { needed: FILE_HEADER_BYTES, available: 0 };
            return Err(Error::corrupt(path, 0, source));
        };
        if let Some(expected) = expected {
            check_follows(&path, header, expected)?;
        }
        visit(Record::File { number })?;
        let mut file = FileReader::open(fs, path, header, seed)?;
        let stop = file.read(watermark, visit, &mut replay.data_records)?;
        if let Some(source) = stop {
            let damaged = last != Some(number) || replay.tail.is_some() || file.synced_later()?;
            if damaged {
                return Err(Error::corrupt(file.path, file.offset, source));
            }
            let dropped_bytes = file.window.file_bytes - file.offset;
            let (path, valid_bytes) = (file.path.clone(), file.offset);
            replay.tail = Some(TornTail { path, valid_bytes, dropped_bytes });
        }
        replay.files += 1;
        replay.last_file = Some(file.path);
        replay.bytes += file.offset;
        replay.next_file = number.saturating_add(1);
        replay.next_sequence = replay.next_sequence.max(file.next_sequence);
        expected =
            Some(FileHeader { number: replay.next_file, first_sequence: file.next_sequence });
    }
    if let Some(torn) = live.torn_number {
        replay.next_file = torn;
    }
    Ok(replay)
}

/// The files that may hold records above a watermark.
#[derive(Debug)]
pub(crate) struct LiveFiles {
    /// Ascending, with whole headers; empty only where the log is.
    pub(crate) numbers: Vec<u64>,
    /// Numbers of older files, ascending.
    pub(crate) covered: Vec<u64>,
    torn: Option<TornTail>,
    torn_number: Option<u64>,
}

/// Splits the log at the newest file that begins at or below the watermark's successor: older
/// ones hold nothing above the watermark. They may be there in part, where a crash interrupted
/// their removal.
pub(crate) fn live_files(fs: &dyn Fs, dir: &Path, watermark: u64) -> Result<LiveFiles> {
    let mut covered = file_numbers(fs, dir)?;
    let mut live =
        LiveFiles { numbers: Vec::new(), covered: Vec::new(), torn: None, torn_number: None };
    let newest = covered.last().copied();
    let mut oldest = None;
    while let Some(number) = covered.pop() {
        let path = file_path(dir, number);
        let Some((header, _)) = read_file_header(fs, dir, number)? else {
            if Some(number) != newest {
                let source = DecodeError::Truncated { needed: FILE_HEADER_BYTES, available: 0 };
                return Err(Error::corrupt(path, 0, source));
            }
            let dropped_bytes = fs.file_bytes(&path)?.unwrap_or(0);
            live.torn = Some(TornTail { path, valid_bytes: 0, dropped_bytes });
            live.torn_number = Some(number);
            continue;
        };
        live.numbers.push(number);
        oldest = Some((path, header.first_sequence));
        if header.first_sequence <= watermark.saturating_add(1) {
            break;
        }
    }
    if let Some((path, found)) = oldest.filter(|(_, first)| *first > watermark.saturating_add(1)) {
        let (what, expected) = ("first sequence number", "the watermark's successor or less");
        return Err(Error::corrupt(
            path,
            FIRST_SEQUENCE_AT,
            DecodeError::Invalid { what, found, expected },
        ));
    }
    live.numbers.reverse();
    live.covered = covered;
    Ok(live)
}

fn check_follows(path: &Path, found: FileHeader, expected: FileHeader) -> Result<()> {
    let (offset, what, found, expected) = if found.number != expected.number {
        (NUMBER_AT, "log file number", found.number, "the number after the file before")
    } else if found.first_sequence != expected.first_sequence {
        (
            FIRST_SEQUENCE_AT,
            "first sequence number",
            found.first_sequence,
            "where the file before ends",
        )
    } else {
        return Ok(());
    };
    Err(Error::corrupt(path, offset, DecodeError::Invalid { what, found, expected }))
}

/// One log file being read.
#[derive(Debug)]
struct FileReader {
    path: PathBuf,
    seed: u32,
    window: Window,
    /// Where the next frame starts; after `read`, where the whole frames end.
    offset: u64,
    next_sequence: u64,
    decoder: Decoder,
}

impl FileReader {
    fn open(fs: &dyn Fs, path: PathBuf, header: FileHeader, seed: u32) -> Result<Self> {
        let window = Window::new(fs.open_read(&path)?)?;
        let (offset, next_sequence) = (FILE_HEADER_BYTES as u64, header.first_sequence);
        Ok(Self { path, seed, window, offset, next_sequence, decoder: Decoder::default() })
    }

    /// Shows the records of whole frames; returns what ended them before the file's end.
    fn read(
        &mut self,
        watermark: u64,
        visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
        data_records: &mut u64,
    ) -> Result<Option<DecodeError>> {
        while self.offset < self.window.file_bytes {
            let header = match self.frame()? {
                Ok(header) => header,
                Err(stop) => return Ok(Some(stop)),
            };
            let payload_bytes = header.payload_bytes as usize;
            let payload =
                self.window.get(self.offset + FRAME_HEADER_BYTES as u64, payload_bytes)?;
            let corrupt = |source| Error::corrupt(&self.path, self.offset, source);
            let mut reader = Reader::new(payload);
            let mut sequence = header.first_sequence;
            while reader.remaining() > 0 {
                let mut is_data = false;
                let shown = self.decoder.decode(&mut reader, sequence, &mut |record| {
                    is_data = record.is_data();
                    if is_data && sequence <= watermark {
                        return Ok(());
                    }
                    *data_records += u64::from(is_data);
                    visit(record)
                });
                shown.map_err(corrupt)??;
                sequence = sequence.saturating_add(u64::from(is_data));
            }
            let found = sequence - header.first_sequence;
            if found != u64::from(header.data_records) {
                let (what, expected) = ("data records", "as many as the frame's header says");
                return Err(corrupt(DecodeError::Invalid { what, found, expected }));
            }
            self.next_sequence = sequence;
            self.offset += (FRAME_HEADER_BYTES + payload_bytes) as u64;
        }
        Ok(None)
    }

    /// The header of the frame at the offset, once the whole frame has proved intact.
    fn frame(&mut self) -> Result<Result<FrameHeader, DecodeError>> {
        let bytes = self.window.get(self.offset, FRAME_HEADER_BYTES)?;
        let header = match FrameHeader::decode(bytes, self.seed) {
            Ok(header) => header,
            Err(stop) => return Ok(Err(stop)),
        };
        if header.first_sequence != self.next_sequence {
            let (what, found) = ("first sequence number", header.first_sequence);
            let expected = "where the frame before ends";
            return Ok(Err(DecodeError::Invalid { what, found, expected }));
        }
        let needed = header.payload_bytes as usize;
        let payload = self.window.get(self.offset + FRAME_HEADER_BYTES as u64, needed)?;
        if payload.len() < needed {
            return Ok(Err(DecodeError::Truncated { needed, available: payload.len() }));
        }
        let expected = seeded_crc(self.seed, payload);
        if expected != header.payload_crc {
            return Ok(Err(DecodeError::Checksum { expected, found: header.payload_crc }));
        }
        Ok(Ok(header))
    }

    /// Whether a later frame proves that the bytes at the offset had been synced: then they are
    /// not a torn tail but damaged.
    fn synced_later(&mut self) -> Result<bool> {
        let mut at = self.offset + 1;
        loop {
            let bytes = self.window.get(at, WINDOW_BYTES)?;
            if bytes.len() < FRAME_HEADER_BYTES {
                return Ok(false);
            }
            let mut windows = bytes.windows(FRAME_HEADER_BYTES);
            let proof = |candidate: &[u8]| {
                candidate.starts_with(&FRAME_MARK)
                    && FrameHeader::decode(candidate, self.seed)
                        .is_ok_and(|header| header.synced_bytes > self.offset)
            };
            if windows.any(proof) {
                return Ok(true);
            }
            at += (bytes.len() - FRAME_HEADER_BYTES + 1) as u64;
        }
    }
}

/// A piece of a file in memory.
#[derive(Debug)]
struct Window {
    file: Box<dyn FsFile>,
    file_bytes: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn new(file: Box<dyn FsFile>) -> Result<Self> {
        let file_bytes = file.len()?;
        Ok(Self { file, file_bytes, start: 0, bytes: Vec::new() })
    }

    /// The `needed` bytes at `offset`, fewer only where the file ends.
    fn get(&mut self, offset: u64, needed: usize) -> Result<&[u8]> {
        let left = self.file_bytes.saturating_sub(offset);
        let needed = needed.min(usize::try_from(left).unwrap_or(usize::MAX));
        let end = offset + needed as u64;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let wanted = needed.max(WINDOW_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX)));
            self.bytes.resize(wanted, 0);
            let read = self.file.read_at(offset, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(from..).unwrap_or_default();
        Ok(bytes.get(..needed).unwrap_or(bytes))
    }
}
