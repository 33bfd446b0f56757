use std::{
    fmt,
    future::{Future, poll_fn},
    ops::Range,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::Error;

/// Reads a stored body piece by piece.
pub trait BodyReader: Send + 'static {
    /// The next frame: data in order, then trailers if there are any, then `None`.
    ///
    /// # Errors
    ///
    /// If the bytes cannot be read or are damaged. The reader is then dropped.
    fn next(&mut self) -> impl Future<Output = Result<Option<Frame<Bytes>>, Error>> + Send;
}

/// The body of a stored response, or a range of it.
pub struct StoredBody {
    source: Source,
    remaining: u64,
}

enum Source {
    // Few bodies have trailers, and every hit moves one of these.
    Bytes { bytes: Bytes, trailers: Option<Box<HeaderMap>> },
    // Only ever reached through `&mut`; the lock makes the body `Sync`, as servers may ask it to be.
    Reader(Mutex<Frames>),
    Done,
}

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Error>> + Send>>;

impl StoredBody {
    /// A body that is in memory.
    #[inline]
    pub fn from_bytes(bytes: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self {
            remaining: bytes.len() as u64,
            source: Source::Bytes { bytes, trailers: trailers.map(Box::new) },
        }
    }

    /// The part of a body in memory that [`read`](super::CacheManager::read) asks for: the bytes of
    /// `range`, as far as there are any, and the trailers if it reaches the end.
    #[inline]
    pub fn from_range(bytes: &Bytes, range: Range<u64>, trailers: Option<&HeaderMap>) -> Self {
        let length = bytes.len();
        let end = usize::try_from(range.end).unwrap_or(length).min(length);
        let start = usize::try_from(range.start).unwrap_or(end).min(end);
        let trailers = trailers.filter(|_| end == length);
        Self::from_bytes(bytes.slice(start..end), trailers.cloned())
    }

    /// The next bytes, where they are in memory; within that `None` at the end. Trailers are left for a
    /// [poll](Body::poll_frame).
    #[inline]
    pub(crate) fn take_data(&mut self) -> Option<Option<Bytes>> {
        let Source::Bytes { bytes, trailers } = &mut self.source else { return None };
        if bytes.is_empty() {
            return trailers.is_none().then_some(None);
        }
        self.remaining = 0;
        Some(Some(std::mem::take(bytes)))
    }

    /// The next frame, where it is known at once; within it `None` at the end.
    #[inline]
    fn take_now(&mut self) -> Option<Option<Frame<Bytes>>> {
        let Source::Bytes { bytes, trailers } = &mut self.source else {
            return matches!(self.source, Source::Done).then_some(None);
        };
        let data = std::mem::take(bytes);
        self.remaining = 0;
        if !data.is_empty() {
            return Some(Some(Frame::data(data)));
        }
        Some(trailers.take().map(|trailers| Frame::trailers(*trailers)))
    }

    /// All of it, if it is in memory, and its trailers.
    pub(super) fn as_bytes(&self) -> Option<(&Bytes, Option<&HeaderMap>)> {
        match &self.source {
            Source::Bytes { bytes, trailers } => Some((bytes, trailers.as_deref())),
            Source::Reader(_) | Source::Done => None,
        }
    }

    /// A body of `length` bytes that is read as it is asked for. A reader that gives more or less
    /// is an error to whoever reads.
    pub fn from_reader(length: u64, reader: impl BodyReader) -> Self {
        let frames = stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(frame) => Some((Ok(frame?), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Self { remaining: length, source: Source::Reader(Mutex::new(Box::pin(frames))) }
    }

    /// A body that cannot be read: the error is the first thing that its reader meets.
    pub fn failed(range: Range<u64>, error: Error) -> Self {
        let length = range.end.saturating_sub(range.start);
        let frames = stream::iter([Err(error)]);
        Self { remaining: length, source: Source::Reader(Mutex::new(Box::pin(frames))) }
    }

    /// Whether reading it cannot fail.
    #[inline]
    pub(crate) fn is_in_memory(&self) -> bool {
        !matches!(self.source, Source::Reader(_))
    }

    /// Has `tell` hear why it could not be read.
    pub(crate) fn on_error(self, tell: impl Fn(&Error) + Send + 'static) -> Self {
        let Self { source: Source::Reader(frames), remaining } = self else { return self };
        let body = Self { source: Source::Reader(frames), remaining };
        let frames = stream::unfold((Some(body), tell), |(body, tell)| async move {
            let mut body = body?;
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await?;
            match frame {
                Ok(frame) => Some((Ok(frame), (Some(body), tell))),
                Err(error) => {
                    tell(&error);
                    Some((Err(error), (None, tell)))
                }
            }
        });
        Self { remaining, source: Source::Reader(Mutex::new(Box::pin(frames))) }
    }

    fn poll_reader(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Source::Reader(frames) = &mut self.source else { return Poll::Ready(None) };
        let frames = frames.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        let frame = match ready!(frames.as_mut().poll_next(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return self.fail(error),
            None if self.remaining > 0 => {
                return self.fail(Error::corrupt("stored body ends early"));
            }
            None => {
                self.source = Source::Done;
                return Poll::Ready(None);
            }
        };
        if let Some(data) = frame.data_ref() {
            match self.remaining.checked_sub(data.len() as u64) {
                Some(remaining) => self.remaining = remaining,
                None => return self.fail(Error::corrupt("stored body is too long")),
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.source = Source::Done;
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for StoredBody {
    type Data = Bytes;
    type Error = Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        match this.take_now() {
            Some(frame) => Poll::Ready(frame.map(Ok)),
            None => this.poll_reader(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Done => true,
            Source::Bytes { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
            Source::Reader(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

impl fmt::Debug for StoredBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredBody").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
