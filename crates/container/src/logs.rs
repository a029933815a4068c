//! What a container in the background says: Docker's `json-file`, bounded, since it is kept in memory.

use crate::error::ContainerError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

/// A file is put aside at this many bytes; one older file is kept.
const MOST: u64 = 8 << 20;
/// A line is cut at this many bytes.
const LONGEST: usize = 16 * 1024;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The text, with its end of line if it had one.
    pub log: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// When, in RFC 3339.
    pub time: String,
}

/// Where lines are written.
#[derive(Debug)]
pub struct Log {
    path: String,
    file: File,
    size: u64,
    begun: BTreeMap<&'static str, Vec<u8>>,
}

impl Log {
    /// Opens a new one.
    pub fn create(path: &str) -> Result<Self, ContainerError> {
        let file = open(path).map_err(ContainerError::io(format!("create {path}")))?;
        Ok(Log { path: path.to_owned(), file, size: 0, begun: BTreeMap::new() })
    }

    /// Takes what was said; whole lines are written.
    pub fn take(&mut self, stream: &'static str, bytes: &[u8]) {
        let mut rest = self.begun.remove(stream).unwrap_or_default();
        rest.extend_from_slice(bytes);
        while let Some(end) = line_end(&rest) {
            let line: Vec<u8> = rest.drain(..end).collect();
            self.write(stream, &line);
        }
        self.begun.insert(stream, rest);
    }

    fn write(&mut self, stream: &'static str, text: &[u8]) {
        let line = Line {
            log: String::from_utf8_lossy(text).into_owned(),
            stream: stream.into(),
            time: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
        };
        let mut line = serde_json::to_vec(&line).unwrap_or_default();
        line.push(b'\n');
        if self.size + line.len() as u64 > MOST {
            self.turn();
        }
        // A full disk must not stop the container.
        if self.file.write_all(&line).is_ok() {
            self.size += line.len() as u64;
        }
    }

    /// The file becomes the older one.
    fn turn(&mut self) {
        let _ = std::fs::rename(&self.path, older(&self.path));
        if let Ok(file) = open(&self.path) {
            (self.file, self.size) = (file, 0);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        for (stream, rest) in std::mem::take(&mut self.begun) {
            if !rest.is_empty() {
                self.write(stream, &rest);
            }
        }
    }
}

fn open(path: &str) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn older(path: &str) -> String {
    format!("{path}.1")
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().take(LONGEST).position(|byte| *byte == b'\n').map(|at| at + 1);
    end.or((bytes.len() >= LONGEST).then_some(LONGEST))
}

/// Reads lines, the oldest first, and those that come later.
#[derive(Debug)]
pub struct Reader {
    path: String,
    file: Option<BufReader<File>>,
    half: String,
}

impl Reader {
    /// Opens a log and gives what is in it.
    pub fn open(path: &str) -> std::io::Result<(Self, Vec<Line>)> {
        let mut lines = Vec::new();
        if let Ok(file) = File::open(older(path)) {
            lines.extend(BufReader::new(file).lines().map_while(Result::ok).filter_map(|line| parse(&line)));
        }
        let file = match File::open(path) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut reader = Reader { path: path.to_owned(), file, half: String::new() };
        lines.extend(reader.more()?);
        Ok((reader, lines))
    }

    /// What has come since.
    pub fn more(&mut self) -> std::io::Result<Vec<Line>> {
        // Looked at first: nothing is written any more to a file that was put aside, so what is then read of
        // it is all there is.
        let turned = self.turned()?;
        let mut lines = Vec::new();
        self.rest(&mut lines)?;
        if let Some(new) = turned {
            (self.file, self.half) = (Some(BufReader::new(new)), String::new());
            self.rest(&mut lines)?;
        }
        Ok(lines)
    }

    fn rest(&mut self, lines: &mut Vec<Line>) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        while file.read_line(&mut self.half)? > 0 {
            if self.half.ends_with('\n') {
                lines.extend(parse(&std::mem::take(&mut self.half)));
            }
        }
        Ok(())
    }

    /// The file that has come in this one's place, if this one was put aside.
    fn turned(&self) -> std::io::Result<Option<File>> {
        let Some(file) = &self.file else { return Ok(None) };
        let old = file.get_ref().metadata()?;
        // Where there is none just now, the next look finds it.
        let Ok(new) = File::open(&self.path) else { return Ok(None) };
        let now = new.metadata()?;
        Ok(((now.dev(), now.ino()) != (old.dev(), old.ino())).then_some(new))
    }
}

fn parse(line: &str) -> Option<Line> {
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_long_ones_cut() {
        let dir = std::env::temp_dir().join(format!("qiao-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("log").to_str().unwrap().to_owned();
        let mut log = Log::create(&path).unwrap();
        log.take("stdout", b"one\ntw");
        log.take("stderr", b"bad\n");
        log.take("stdout", b"o\n");
        log.take("stdout", &vec![b'x'; LONGEST + 3]);
        drop(log);
        let (_, lines) = Reader::open(&path).unwrap();
        let said: Vec<(&str, usize)> = lines.iter().map(|l| (l.stream.as_str(), l.log.len())).collect();
        assert_eq!(said, [("stdout", 4), ("stderr", 4), ("stdout", 4), ("stdout", LONGEST), ("stdout", 3)]);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_log_is_bounded_and_can_be_followed_across_its_turn() {
        let dir = std::env::temp_dir().join(format!("qiao-log2-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("log").to_str().unwrap().to_owned();
        let mut log = Log::create(&path).unwrap();
        log.take("stdout", b"first\n");
        let (mut reader, lines) = Reader::open(&path).unwrap();
        assert_eq!(lines.len(), 1);
        let line = [vec![b'y'; 1000], vec![b'\n']].concat();
        for _ in 0..20_000 {
            log.take("stdout", &line);
        }
        let all: u64 = std::fs::read_dir(&dir).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(all <= 2 * MOST, "{all}");
        let more = reader.more().unwrap();
        assert!(more.iter().all(|line| line.log.len() == 1001), "whole lines");
        log.take("stdout", b"last\n");
        assert_eq!(reader.more().unwrap().last().unwrap().log, "last\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
