//! Names of files that are not UTF-8, past a protocol library that knows text alone.
//!
//! On its way to the library each byte that is not UTF-8 becomes a character at the end of Unicode's private use, and a
//! byte again on its way back. Such characters of a name's own go the same way, byte by byte: nothing is ambiguous.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

/// The character of byte 0.
const FIRST: u32 = 0x10_ff00;
/// The largest packet that is passed on.
const LONGEST: usize = 1 << 20;
/// Bytes on their way, in each direction.
const BUFFER: usize = 1 << 19;

const NAME: u8 = 104;

/// A file's name as text.
pub(super) fn encode(name: &OsStr) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.as_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            if byte_of(letter).is_some() {
                text.extend(letter.encode_utf8(&mut [0; 4]).bytes().map(letter_of));
            } else {
                text.push(letter);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(letter_of));
    }
    text
}

/// The name that a text stands for.
pub(super) fn decode(text: &str) -> OsString {
    let mut name = Vec::with_capacity(text.len());
    for letter in text.chars() {
        match byte_of(letter) {
            Some(byte) => name.push(byte),
            None => name.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    OsString::from_vec(name)
}

fn letter_of(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn byte_of(letter: char) -> Option<u8> {
    u32::from(letter).checked_sub(FIRST).and_then(|byte| u8::try_from(byte).ok()).filter(|byte| *byte >= 0x80)
}

/// The stream for the library, between which and the client names are translated.
pub(super) fn translated(
    read: impl AsyncRead + Send + Unpin + 'static,
    write: impl AsyncWrite + Send + Unpin + 'static,
) -> DuplexStream {
    let (near, far) = tokio::io::duplex(BUFFER);
    let (answers, requests) = tokio::io::split(near);
    tokio::spawn(pass(read, requests, request));
    tokio::spawn(pass(answers, write, answer));
    far
}

/// Passes packets on until either side ends.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    translate: fn(&[u8]) -> Option<Vec<u8>>,
) -> io::Result<()> {
    let mut packet = Vec::new();
    while let Ok(length) = from.read_u32().await {
        let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST).ok_or(io::ErrorKind::InvalidData);
        let Ok(length) = length else { break };
        packet.resize(length, 0);
        if from.read_exact(&mut packet).await.is_err() {
            break;
        }
        // What cannot be read is for the library to refuse.
        let translated = translate(&packet);
        let packet = translated.as_deref().unwrap_or(&packet);
        let length = u32::try_from(packet.len()).map_err(io::Error::other)?;
        to.write_all(&length.to_be_bytes()).await?;
        to.write_all(packet).await?;
        to.flush().await?;
    }
    to.shutdown().await
}

/// A request with its names as text; `None` where it is so already.
fn request(packet: &[u8]) -> Option<Vec<u8>> {
    const RENAME: u8 = 18;
    const SYMLINK: u8 = 20;
    let names = match packet.first()? {
        // open, lstat, setstat, opendir, remove, mkdir, rmdir, realpath, stat, readlink
        3 | 7 | 9 | 11 | 13..=17 | 19 => 1,
        &RENAME | &SYMLINK => 2,
        _ => return None,
    };
    if std::str::from_utf8(packet.get(5..)?).is_ok_and(|text| !text.chars().any(|letter| byte_of(letter).is_some())) {
        return None;
    }
    let (head, mut rest) = packet.split_at_checked(5)?;
    let mut translated = head.to_vec();
    for _ in 0..names {
        let name = take_string(&mut rest)?;
        put_string(&mut translated, encode(OsStr::from_bytes(name)).as_bytes());
    }
    translated.extend_from_slice(rest);
    Some(translated)
}

/// An answer with its names as bytes.
fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    if *packet.first()? != NAME {
        return None;
    }
    let (head, mut rest) = packet.split_at_checked(9)?;
    let mut translated = head.to_vec();
    for _ in 0..u32::from_be_bytes(head[5..].try_into().ok()?) {
        for _ in ["its name", "its line in a list"] {
            let text = std::str::from_utf8(take_string(&mut rest)?).ok()?;
            put_string(&mut translated, decode(text).as_bytes());
        }
        let (attributes, after) = rest.split_at_checked(attributes(rest)?)?;
        translated.extend_from_slice(attributes);
        rest = after;
    }
    Some(translated)
}

/// How many bytes the attributes are that come first.
fn attributes(packet: &[u8]) -> Option<usize> {
    let flags = u32::from_be_bytes(*packet.first_chunk()?);
    // Size, ids, permissions, times; nothing else is sent here.
    let sizes = [(1, 8), (2, 8), (4, 4), (8, 8)];
    let known = sizes.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, size)| size);
    (flags < 16).then(|| 4 + known.sum::<usize>())
}

fn take_string<'a>(packet: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = packet.split_first_chunk::<4>()?;
    let (string, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *packet = rest;
    Some(string)
}

fn put_string(packet: &mut Vec<u8>, string: &[u8]) {
    // It is no longer than four times a packet.
    packet.extend_from_slice(&u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
    packet.extend_from_slice(string);
}

/// The strings of an extension's data, names as text.
pub(super) fn strings(mut data: &[u8]) -> Option<Vec<String>> {
    let mut all = Vec::new();
    while !data.is_empty() {
        all.push(encode(OsStr::from_bytes(take_string(&mut data)?)));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        let own = "a\u{10ff80}b\u{10ffff}".as_bytes();
        for name in [&b"plain"[..], "ünï".as_bytes(), b"caf\xe9.txt", b"\xff\x80", own, b"\xf4\x8f"] {
            let name = OsStr::from_bytes(name);
            assert_eq!(decode(&encode(name)), name);
        }
        assert_eq!(encode(OsStr::new("ünï")), "ünï");
    }

    #[test]
    fn requests_and_answers_are_translated() {
        let rename = b"\x12\0\0\0\x01\0\0\0\x02\xe9a\0\0\0\x01b";
        let translated = request(rename).unwrap();
        let mut rest = &translated[5..];
        assert_eq!(take_string(&mut rest).unwrap(), "\u{10ffe9}a".as_bytes());
        assert_eq!((take_string(&mut rest).unwrap(), rest), (&b"b"[..], &b""[..]));
        assert_eq!(request(b"\x12\0\0\0\x01\0\0\0\x01a\0\0\0\x01b"), None);
        // A write holds anything.
        assert_eq!(request(b"\x06\0\0\0\x01\0\0\0\x01\xff"), None);
        let mut names = b"\x68\0\0\0\x01\0\0\0\x02".to_vec();
        for flags in [15, 4] {
            put_string(&mut names, "x\u{10ffe9}".as_bytes());
            put_string(&mut names, "- x\u{10ffe9}".as_bytes());
            names.extend_from_slice(&u32::to_be_bytes(flags));
            names.extend_from_slice(&vec![7; if flags == 15 { 28 } else { 4 }]);
        }
        let translated = answer(&names).unwrap();
        assert_eq!(translated.len(), names.len() - 4 * 3);
        assert_eq!(&translated[9..15], b"\0\0\0\x02x\xe9");
    }

    #[test]
    fn data_of_extensions() {
        assert_eq!(strings(b"\0\0\0\x01a\0\0\0\x02bc").unwrap(), ["a", "bc"]);
        assert_eq!(strings(b"\0\0\0\x01\xe9").unwrap(), ["\u{10ffe9}"]);
        assert_eq!(strings(b"\0\0\0\x02a"), None);
        assert_eq!(strings(b"\0\0"), None);
    }
}
