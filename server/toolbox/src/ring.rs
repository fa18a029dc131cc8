//! Bytes that come at one end and go at the other.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{BufMut, BytesMut};

/// Appends a range of `bytes`, which has to lie within them, to `to`.
pub(crate) fn copy(bytes: &VecDeque<u8>, range: Range<usize>, to: &mut BytesMut) {
    let (first, second) = bytes.as_slices();
    let split = first.len();
    to.put_slice(&first[range.start.min(split)..range.end.min(split)]);
    to.put_slice(&second[range.start.max(split) - split..range.end.max(split) - split]);
}
