use std::{
    fmt,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    BoxError,
    flight::Passenger,
    joined::Joined,
    log::{Cursor, Next},
    policy::{CacheStatus, Piece},
    storage::StoredBody,
};

pin_project! {
    /// The body of a response that has come through the cache: the inner service's own, one that is
    /// being stored as it is read, a stored one, or one of which a part was stored.
    ///
    /// A body that is not stored is the inner service's, untouched. One that is being stored gives
    /// each frame as it comes, to all who have asked for it. A body that ends before its announced length gives an
    /// error to each of them, never a clean end. When the last of them drops it before its end,
    /// [`Disconnect`](crate::Disconnect) says whether the rest is fetched and stored.
    ///
    /// Storing does not hold a body back, but for two things: one that runs more than 4 MiB ahead of its
    /// store waits for it, a quarter of a second in all, and its last frame waits for the
    /// [`store_timeout`](crate::CacheLayer::store_timeout) where no executor can finish the write (of a
    /// short one that comes in one piece with its head, the head does).
    /// After its first frame one of which more than 64 KiB are to come is once pending, and wakes at
    /// once: a server writes what it has then, instead of gathering more.
    ///
    /// Readers of one body wait for each other only where it is larger than what is
    /// [kept](crate::CacheLayer::kept_bytes) for those who come later; there one that takes nothing for
    /// [`slow_reader_timeout`](crate::CacheLayer::slow_reader_timeout) while another waits for it gets an error.
    ///
    /// What is stored is whole when the last byte of a known length has come, since servers do not
    /// ask for more: trailers behind a `Content-Length` are passed on and stored only if the head
    /// announced them by `Trailer`. An inner body that gives more than its `Content-Length` is an
    /// error to the reader; where it does so in a further frame, the announced part was whole and is
    /// stored.
    pub struct CacheBody<B> {
        #[pin]
        kind: Kind<B>,
        status: CacheStatus,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Filling { reader: Box<Reader> },
        Stored { #[pin] body: StoredBody },
        Joined { body: Pin<Box<Joined<B>>> },
        Parts { parts: Box<Parts> },
        Empty { hint: SizeHint },
    }
}

/// Reads a body as it comes from the origin, and keeps it coming.
pub(crate) struct Reader {
    cursor: Cursor,
    /// `None` where all of it is there.
    passenger: Option<Passenger>,
    start: Start,
}

/// How a body starts. A server gathers frames before it writes, and the head waits with them: where
/// much is to come, it is given the first frame and then nothing, once.
#[derive(Clone, Copy)]
enum Start {
    First,
    Rest,
    Over,
}

/// So much is worth a write of its own for what comes before it.
const MUCH: u64 = 64 << 10;

impl Reader {
    pub(crate) fn new(cursor: Cursor, passenger: Option<Passenger>) -> Self {
        Self { cursor, passenger, start: Start::First }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
        let Self { cursor, passenger, start } = self;
        if let Start::Rest = start {
            *start = Start::Over;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = match passenger {
            Some(passenger) => ready!(passenger.poll(cx, || cursor.next())),
            None => cursor.next().unwrap_or(Next::End),
        };
        if let Start::First = start {
            let is_much = cursor.left().1.is_some_and(|left| left > MUCH);
            *start = if is_much { Start::Rest } else { Start::Over };
        }
        Poll::Ready(match next {
            Next::Data(data) => Some(Ok(Frame::data(data))),
            Next::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
            Next::Error(error) => Some(Err(error)),
            Next::End => None,
        })
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let (least, exact) = self.cursor.left();
        let mut hint = SizeHint::new();
        hint.set_lower(exact.unwrap_or(least));
        exact.into_iter().for_each(|exact| hint.set_upper(exact));
        hint
    }
}

/// Several ranges of a stored body with what stands between them, read one after the other.
pub(crate) struct Parts {
    /// The last comes first.
    left: Vec<StoredBody>,
}

impl Parts {
    pub(crate) fn new(pieces: Box<[Piece]>, read: impl Fn(Range<u64>) -> StoredBody) -> Self {
        let body = |piece| match piece {
            Piece::Text(text) => StoredBody::from_bytes(text, None),
            // Of which nothing is read before its turn has come.
            Piece::Body(range) => read(range),
        };
        Self { left: pieces.into_iter().rev().map(body).collect() }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
        while let Some(body) = self.left.last_mut() {
            match ready!(Pin::new(body).poll_frame(cx)) {
                // Trailers are of the whole.
                Some(Ok(frame)) if frame.is_trailers() => {}
                Some(frame) => return Poll::Ready(Some(frame.map_err(Into::into))),
                None => drop(self.left.pop()),
            }
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.iter().filter_map(|body| body.size_hint().exact()).sum())
    }

    fn is_over(&self) -> bool {
        self.left.iter().all(Body::is_end_stream)
    }
}

type Frames = Result<Frame<Bytes>, BoxError>;

impl<B> CacheBody<B> {
    pub(crate) fn inner(body: B, status: CacheStatus) -> Self {
        Self { kind: Kind::Inner { body }, status }
    }

    pub(crate) fn filling(reader: Reader, status: CacheStatus) -> Self {
        Self { kind: Kind::Filling { reader: Box::new(reader) }, status }
    }

    pub(crate) fn stored(body: StoredBody, status: CacheStatus) -> Self {
        Self { kind: Kind::Stored { body }, status }
    }

    pub(crate) fn parts(parts: Parts, status: CacheStatus) -> Self {
        Self { kind: Kind::Parts { parts: Box::new(parts) }, status }
    }

    pub(crate) fn joined(body: Pin<Box<Joined<B>>>, status: CacheStatus) -> Self {
        Self { kind: Kind::Joined { body }, status }
    }

    /// A body without bytes. `hint` is what the head may say of the length: that of the body that a
    /// HEAD request does not get, or nothing in a 304 (RFC 9110 §8.6).
    pub(crate) fn empty(hint: SizeHint, status: CacheStatus) -> Self {
        Self { kind: Kind::Empty { hint }, status }
    }

    /// What the cache did with the request.
    pub fn status(&self) -> CacheStatus {
        self.status
    }

    #[inline]
    pub(crate) fn status_ref(&self) -> &CacheStatus {
        &self.status
    }
}

impl<B: Body> CacheBody<B> {
    /// How many bytes it will give, if that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Inner { body } => body.size_hint().exact(),
            Kind::Filling { reader } => reader.size_hint().exact(),
            Kind::Stored { body } => body.size_hint().exact(),
            Kind::Joined { body } => Some(body.length()),
            Kind::Parts { parts } => parts.size_hint().exact(),
            Kind::Empty { .. } => Some(0),
        }
    }
}

impl<B> CacheBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    #[inline(never)]
    fn poll_any(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
        let mut kind = self.project().kind;
        let polled = match kind.as_mut().project() {
            KindProjection::Inner { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            KindProjection::Filling { reader } => reader.poll_frame(cx),
            KindProjection::Stored { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            KindProjection::Joined { body } => body.as_mut().poll_frame(cx),
            KindProjection::Parts { parts } => parts.poll_frame(cx),
            KindProjection::Empty { .. } => Poll::Ready(None),
        };
        if let Poll::Ready(Some(Err(_))) = polled {
            // What has failed is not asked again: not every body can bear it.
            kind.set(Kind::Empty { hint: SizeHint::with_exact(0) });
        }
        polled
    }
}

impl<B> Body for CacheBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    #[inline]
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
        // What is in memory cannot fail, and nearly all of it is one frame.
        if let KindProjection::Stored { mut body } = self.as_mut().project().kind.project()
            && let Some(data) = body.take_data()
        {
            return Poll::Ready(data.map(|data| Ok(Frame::data(data))));
        }
        self.poll_any(cx)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Filling { reader } => reader.cursor.is_over(),
            Kind::Stored { body } => body.is_end_stream(),
            Kind::Joined { body } => body.is_end_stream(),
            Kind::Parts { parts } => parts.is_over(),
            Kind::Empty { .. } => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Filling { reader } => reader.size_hint(),
            Kind::Stored { body } => body.size_hint(),
            Kind::Joined { body } => body.size_hint(),
            Kind::Parts { parts } => parts.size_hint(),
            Kind::Empty { hint } => *hint,
        }
    }
}

impl<B> fmt::Debug for CacheBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBody").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Some bodies know that they have ended, others that they have no bytes.
pub(crate) fn size_of_body(body: &impl Body) -> SizeHint {
    if body.is_end_stream() { SizeHint::with_exact(0) } else { body.size_hint() }
}
