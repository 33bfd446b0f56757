use std::{future::poll_fn, ops::Range, pin::pin};

use http::HeaderMap;
use http_body::Body;

use crate::{
    Error,
    policy::Joint,
    storage::{CacheManager, Entry, EntryWriter},
};

/// A stored part that goes into the store once more, on both sides of what comes.
pub(crate) struct Splice<H> {
    pub(crate) entry: Entry<H>,
    pub(crate) joint: Joint,
}

/// Appends `range` of a stored body, piece by piece. How many bytes that were, and the trailers.
pub(crate) async fn append<M: CacheManager>(
    manager: &M,
    entry: &Entry<M::Handle>,
    range: Range<u64>,
    writer: &mut M::Writer,
) -> Result<(u64, Option<HeaderMap>), Error> {
    let (mut appended, mut trailers) = (0, None);
    if range.is_empty() {
        return Ok((appended, trailers));
    }
    let mut body = pin!(manager.read(entry, range));
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(chunk) => {
                appended += chunk.len() as u64;
                writer.write(chunk).await?;
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((appended, trailers))
}
