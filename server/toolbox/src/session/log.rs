//! What commands wrote, kept in one unlinked file a session.
//!
//! The file is a sequence of records: one byte for the stream, four for the length, then the bytes
//! as they were read. A command's log is a list of ranges of that file, so memory does not grow
//! with the output, and a session needs one descriptor however many commands it runs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// Which stream a byte came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stream {
    Stdout = 1,
    Stderr = 2,
}

/// Bytes before the data of a record; [`Log::append`] fills them in.
pub(super) const HEAD: usize = 5;

/// Read from the file at once.
const BLOCK: usize = 64 << 10;

/// The file of a session; made with the first output.
#[derive(Default)]
pub(super) struct Spool {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    file: Option<Arc<File>>,
    length: u64,
    closed: bool,
}

impl Spool {
    /// Keeps nothing from now on: nobody can ask for it any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    /// Stores a record and gives its place; `None` once closed.
    fn append(&self, record: &[u8]) -> io::Result<Option<u64>> {
        let mut inner = self.lock();
        if inner.closed {
            return Ok(None);
        }
        let start = inner.length;
        let file = if let Some(file) = &inner.file { file } else { inner.file.insert(Arc::new(tempfile::tempfile()?)) };
        file.write_all_at(record, start)?;
        inner.length += record.len() as u64;
        Ok(Some(start))
    }

    fn file(&self) -> Option<Arc<File>> {
        self.lock().file.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The output of one command.
pub(super) struct Log {
    spool: Arc<Spool>,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    /// Start and length; each holds whole records.
    ranges: Vec<(u64, u64)>,
    /// Records in memory that follow all others: why nothing more could be stored.
    tail: Vec<u8>,
}

impl Log {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        Self { spool, places: Mutex::default() }
    }

    /// Adds what `record` holds after its first [`HEAD`] bytes; gives how much longer the log is.
    ///
    /// Where the disk is full the log says so and takes nothing more.
    pub(super) fn append(&self, stream: Stream, record: &mut [u8]) -> u64 {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if !places.tail.is_empty() {
            return 0;
        }
        fill_head(stream, record);
        let length = record.len() as u64;
        match self.spool.append(record) {
            Ok(None) => 0,
            Ok(Some(start)) => {
                match places.ranges.last_mut() {
                    Some((last, size)) if *last + *size == start => *size += length,
                    _ => places.ranges.push((start, length)),
                }
                length
            }
            Err(error) => {
                let text = format!(
                    "\n[the log ends here, the command goes on: its output cannot be stored in {}: {error}]\n",
                    std::env::temp_dir().display()
                );
                let mut record = vec![0; HEAD];
                record.extend(text.bytes());
                fill_head(Stream::Stderr, &mut record);
                places.tail = record;
                places.tail.len() as u64
            }
        }
    }

    /// Adds `bytes`.
    pub(super) fn append_bytes(&self, stream: Stream, bytes: &[u8]) -> u64 {
        let mut record = Vec::with_capacity(HEAD + bytes.len());
        record.resize(HEAD, 0);
        record.extend_from_slice(bytes);
        self.append(stream, &mut record)
    }

    /// Adds up to `limit` bytes to the cursor's block; false at the end.
    fn read(&self, cursor: &mut Cursor, limit: u64) -> io::Result<bool> {
        let want = BLOCK.min(usize::try_from(limit).unwrap_or(BLOCK));
        let start = cursor.block.len();
        let (place, size) = {
            let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(&(place, size)) = places.ranges.get(cursor.range) {
                    if cursor.inside < size {
                        let left = usize::try_from(size - cursor.inside).unwrap_or(want);
                        break (place + cursor.inside, left.min(want));
                    }
                    // The last range may still grow.
                    if cursor.range + 1 < places.ranges.len() || !places.tail.is_empty() {
                        cursor.range += 1;
                        cursor.inside = 0;
                        continue;
                    }
                    return Ok(false);
                }
                let left = places.tail.get(usize::try_from(cursor.inside).unwrap_or(usize::MAX)..).unwrap_or_default();
                let size = left.len().min(want);
                cursor.block.extend_from_slice(&left[..size]);
                cursor.inside += size as u64;
                return Ok(size > 0);
            }
        };
        let Some(file) = self.spool.file() else { return Ok(false) };
        cursor.block.resize(start + size, 0);
        if let Err(error) = file.read_exact_at(&mut cursor.block[start..], place) {
            cursor.block.truncate(start);
            return Err(error);
        }
        cursor.inside += size as u64;
        Ok(true)
    }
}

fn fill_head(stream: Stream, record: &mut [u8]) {
    let length = u32::try_from(record.len() - HEAD).expect("a record is short");
    record[0] = stream as u8;
    record[1..HEAD].copy_from_slice(&length.to_le_bytes());
}

/// Reads a log from its start.
pub(super) struct Cursor {
    log: Arc<Log>,
    range: usize,
    /// Offset in that range.
    inside: u64,
    /// Bytes of the log read so far.
    seen: u64,
    /// Read and not parsed yet from `parsed` on.
    block: Vec<u8>,
    parsed: usize,
    stream: Stream,
    /// Bytes of the current record that are not given yet.
    left: usize,
}

impl Cursor {
    pub(super) fn new(log: Arc<Log>) -> Self {
        Self { log, range: 0, inside: 0, seen: 0, block: Vec::new(), parsed: 0, stream: Stream::Stdout, left: 0 }
    }

    /// Appends the next bytes of one stream to `out`, at most `max`, from the log's first `end`
    /// bytes. `None` if there are none by now.
    pub(super) fn next(&mut self, end: u64, max: usize, out: &mut Vec<u8>) -> io::Result<Option<Stream>> {
        let start = out.len();
        let mut found = None;
        loop {
            if self.left == 0 {
                let Some((stream, length)) = self.head() else {
                    if found.is_some() || !self.fill(end)? {
                        break;
                    }
                    continue;
                };
                if found.is_some_and(|found| found != stream) {
                    break;
                }
                self.stream = stream;
                self.left = length;
                self.parsed += HEAD;
            }
            let room = max - (out.len() - start);
            let size = room.min(self.left).min(self.block.len() - self.parsed);
            if size > 0 {
                out.extend_from_slice(&self.block[self.parsed..self.parsed + size]);
                self.parsed += size;
                self.left -= size;
                found = Some(self.stream);
            } else if self.left > 0 && (room == 0 || found.is_some() || !self.fill(end)?) {
                break;
            }
        }
        if self.parsed == self.block.len() {
            // An idle follower holds no buffer.
            self.block = Vec::new();
            self.parsed = 0;
        }
        Ok(found)
    }

    /// The next record's stream and length, if its head is read.
    fn head(&self) -> Option<(Stream, usize)> {
        let head = self.block.get(self.parsed..self.parsed + HEAD)?;
        let stream = if head[0] == Stream::Stderr as u8 { Stream::Stderr } else { Stream::Stdout };
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        Some((stream, length as usize))
    }

    /// Reads on; false at the end.
    fn fill(&mut self, end: u64) -> io::Result<bool> {
        let limit = end.saturating_sub(self.seen);
        if limit == 0 {
            return Ok(false);
        }
        self.block.drain(..self.parsed);
        self.parsed = 0;
        let before = self.block.len();
        let log = Arc::clone(&self.log);
        let more = log.read(self, limit)?;
        self.seen += (self.block.len() - before) as u64;
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything after what was read before, stream by stream.
    fn read(cursor: &mut Cursor, end: u64, max: usize) -> [Vec<u8>; 2] {
        let mut streams = [Vec::new(), Vec::new()];
        let mut piece = Vec::new();
        while let Some(stream) = cursor.next(end, max, &mut piece).unwrap() {
            assert!((1..=max).contains(&piece.len()));
            streams[stream as usize - 1].append(&mut piece);
        }
        streams
    }

    #[test]
    fn logs_in_one_file_are_read_as_they_were_written() {
        let spool = Arc::new(Spool::default());
        let logs = [(); 2].map(|()| Arc::new(Log::new(Arc::clone(&spool))));
        let mut written = [(); 2].map(|()| [Vec::new(), Vec::new()]);
        let mut lengths = [0; 2];
        // One cursor keeps up, in pieces of varying size; others start later.
        let mut keeping = logs.clone().map(Cursor::new);
        let mut kept = written.clone();
        let mut random = 1_u32;
        let mut next = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        for round in 0..3000_u32 {
            let log = next(2) as usize;
            let stream = if next(3) == 0 { Stream::Stderr } else { Stream::Stdout };
            let size = if next(50) == 0 { 200_000 } else { next(40) + 1 };
            let bytes: Vec<u8> = (0..size).map(|i| (i + round).to_le_bytes()[0]).collect();
            lengths[log] += logs[log].append_bytes(stream, &bytes);
            written[log][stream as usize - 1].extend(bytes);
            if next(4) == 0 {
                let max = 1 + next(70_000) as usize;
                for (kept, new) in kept[log].iter_mut().zip(read(&mut keeping[log], lengths[log], max)) {
                    kept.extend(new);
                }
                assert_eq!(kept[log], written[log]);
            }
        }
        for log in 0..2 {
            assert_eq!(read(&mut Cursor::new(Arc::clone(&logs[log])), lengths[log], 1000), written[log]);
        }
    }

    #[test]
    fn pieces_of_one_stream_are_given_together() {
        let log = Arc::new(Log::new(Arc::default()));
        let end = (0..100).map(|_| log.append_bytes(Stream::Stdout, b"line\n")).sum();
        let mut piece = Vec::new();
        assert_eq!(Cursor::new(log).next(end, 1000, &mut piece).unwrap(), Some(Stream::Stdout));
        assert_eq!(piece.len(), 500);
    }

    #[test]
    fn a_log_on_a_full_disk_says_so_once() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let spool = Spool { inner: Mutex::new(Inner { file: Some(Arc::new(full)), ..Inner::default() }) };
        let log = Arc::new(Log::new(Arc::new(spool)));
        let end = log.append_bytes(Stream::Stdout, b"lost");
        assert_eq!(log.append_bytes(Stream::Stdout, b"lost too"), 0);
        let [stdout, stderr] = read(&mut Cursor::new(log), end, 1000);
        assert!(stdout.is_empty());
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(stderr.contains("the log ends here") && stderr.contains("No space left"), "{stderr}");
    }
}
