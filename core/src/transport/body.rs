//! Answers that are held in memory, within a limit.

use bytes::{Bytes, BytesMut};
use reqwest::Response;

use super::broken;
use crate::error::{Error, ErrorKind, Result};

/// A server's word on the length is not taken for more than this before the data is there.
const MOST_AT_ONCE: u64 = 64 << 20;

/// All of an answer's body; an error as soon as it is known to be longer than the limit.
pub(crate) async fn whole(mut response: Response, limit: u64) -> Result<Bytes> {
    let said = response.content_length();
    let refused = || Err(too_large("the server's answer", limit).with_hint(WAYS_OUT));
    if said.is_some_and(|length| length > limit) {
        return refused();
    }
    // Most answers are one piece, which is not copied.
    let Some(first) = response.chunk().await.map_err(broken)? else { return Ok(Bytes::new()) };
    if first.len() as u64 > limit {
        return refused();
    }
    let Some(second) = response.chunk().await.map_err(broken)? else { return Ok(first) };
    let expected = said.unwrap_or_default().min(MOST_AT_ONCE);
    let mut body = BytesMut::with_capacity(usize::try_from(expected).unwrap_or_default());
    body.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(piece) = next {
        if (body.len() + piece.len()) as u64 > limit {
            return refused();
        }
        body.extend_from_slice(&piece);
        next = response.chunk().await.map_err(broken)?;
    }
    Ok(body.freeze())
}

const WAYS_OUT: &str = "Stream the output of a command or write it to a file, download to a file or as a stream, ask for \
                        less at once, or raise max_response_bytes (DAYTONA_MAX_RESPONSE_BYTES)";

/// The error of something that would take too much memory.
pub(crate) fn too_large(what: &str, limit: u64) -> Error {
    let text = match limit {
        limit if limit >= 1 << 20 && limit % (1 << 20) == 0 => format!("{} MiB", limit >> 20),
        limit => format!("{limit} bytes"),
    };
    Error::new(ErrorKind::ResponseTooLarge, format!("{what} is longer than {text}, the most that is held in memory"))
}
