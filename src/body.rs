use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    BoxError,
    fill::{Fill, Shared},
    policy::CacheStatus,
    storage::StoredBody,
};

pin_project! {
    /// The body of a response that has come through the cache: the inner service's own, one that is
    /// being stored as it is read, or a stored one.
    ///
    /// A body that is not stored is the inner service's, untouched. One that is being stored gives
    /// each frame as it comes; dropped before its end, it leaves nothing in the store. A body that
    /// ends before its announced length gives an error, never a clean end.
    ///
    /// Storing does not hold a body back, but for two things: one that runs more than 4 MiB ahead of its
    /// store waits for it, a quarter of a second in all, and its last frame waits for the
    /// [`store_timeout`](crate::CacheLayer::store_timeout) where no executor can finish the write.
    ///
    /// What is stored is whole when the last byte of a known length has come, since servers do not
    /// ask for more: trailers behind a `Content-Length` are passed on, and stored only if the head
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
        Filling { #[pin] body: B, fill: Shared },
        Stored { #[pin] body: StoredBody },
        // A body that was begun before its head went on.
        Begun { frames: VecDeque<Frames>, rest: Pin<Box<CacheBody<B>>> },
        Empty { hint: SizeHint },
    }
}

type Frames = Result<Frame<Bytes>, BoxError>;

impl<B> CacheBody<B> {
    pub(crate) fn inner(body: B, status: CacheStatus) -> Self {
        Self { kind: Kind::Inner { body }, status }
    }

    pub(crate) fn filling(body: B, fill: Fill, status: CacheStatus) -> Self {
        Self { kind: Kind::Filling { body, fill: Shared::new(fill) }, status }
    }

    pub(crate) fn stored(body: StoredBody, status: CacheStatus) -> Self {
        Self { kind: Kind::Stored { body }, status }
    }

    pub(crate) fn begun(
        frames: VecDeque<Result<Frame<Bytes>, BoxError>>,
        rest: Pin<Box<Self>>,
        status: CacheStatus,
    ) -> Self {
        Self { kind: Kind::Begun { frames, rest }, status }
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
}

impl<B> Body for CacheBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut kind = self.project().kind;
        let polled = match kind.as_mut().project() {
            KindProjection::Inner { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            KindProjection::Filling { mut body, fill } => {
                let fill = fill.get_mut();
                if let Some(held) = fill.poll_held(cx) {
                    return held;
                }
                ready!(fill.poll_room(cx));
                let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                    fill.drive(cx);
                    return Poll::Pending;
                };
                let frame = frame.map(|frame| frame.map_err(Into::into));
                fill.observe(frame, body.is_end_stream(), cx)
            }
            KindProjection::Stored { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            KindProjection::Begun { frames, rest } => match frames.pop_front() {
                Some(frame) => Poll::Ready(Some(frame)),
                None => rest.as_mut().poll_frame(cx),
            },
            KindProjection::Empty { .. } => Poll::Ready(None),
        };
        if let Poll::Ready(Some(Err(_))) = polled {
            // What has failed is not asked again: not every body can bear it.
            kind.set(Kind::Empty { hint: SizeHint::with_exact(0) });
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Filling { body, fill } => {
                let fill = fill.get();
                body.is_end_stream() && !fill.is_short() && fill.is_settled()
            }
            Kind::Stored { body } => body.is_end_stream(),
            Kind::Begun { frames, rest } => frames.is_empty() && rest.is_end_stream(),
            Kind::Empty { .. } => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Filling { body, fill } => plus(body.size_hint(), fill.get().held_bytes()),
            Kind::Stored { body } => body.size_hint(),
            Kind::Begun { frames, rest } => {
                let data = |frame: &Frames| Some(frame.as_ref().ok()?.data_ref()?.len() as u64);
                plus(rest.size_hint(), frames.iter().filter_map(data).sum())
            }
            Kind::Empty { hint } => *hint,
        }
    }
}

impl<B> fmt::Debug for CacheBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBody").field("status", &self.status).finish_non_exhaustive()
    }
}

fn plus(rest: SizeHint, bytes: u64) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_lower(rest.lower().saturating_add(bytes));
    if let Some(upper) = rest.upper() {
        hint.set_upper(upper.saturating_add(bytes));
    }
    hint
}

/// Some bodies know that they have ended, others that they have no bytes.
pub(crate) fn size_of_body(body: &impl Body) -> SizeHint {
    if body.is_end_stream() { SizeHint::with_exact(0) } else { body.size_hint() }
}
