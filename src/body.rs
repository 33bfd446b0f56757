use std::{
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
    /// What is stored is whole when the last byte of a known length has come, since servers do not
    /// ask for more: trailers behind a `Content-Length` are passed on, and stored only if the head
    /// announced them by `Trailer`.
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
        Empty,
    }
}

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

    pub(crate) fn empty(status: CacheStatus) -> Self {
        Self { kind: Kind::Empty, status }
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
        match self.project().kind.project() {
            KindProjection::Inner { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            KindProjection::Filling { mut body, fill } => {
                let fill = fill.get_mut();
                if let Some(held) = fill.poll_held(cx) {
                    return held;
                }
                let frame = ready!(body.as_mut().poll_frame(cx));
                let frame = frame.map(|frame| frame.map_err(Into::into));
                fill.observe(frame, body.is_end_stream(), cx)
            }
            KindProjection::Stored { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            KindProjection::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Filling { body, fill } => {
                let fill = fill.get();
                body.is_end_stream() && !fill.is_short() && !fill.is_holding()
            }
            Kind::Stored { body } => body.is_end_stream(),
            Kind::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } | Kind::Filling { body, .. } => body.size_hint(),
            Kind::Stored { body } => body.size_hint(),
            Kind::Empty => SizeHint::with_exact(0),
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
