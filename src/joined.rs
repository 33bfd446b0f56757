use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{BoxError, storage::StoredBody};

pin_project! {
    /// A body that is stored in part: what is there before, what comes, what is there behind it.
    ///
    /// What comes has exactly as many bytes as are missing, or nothing behind it is given.
    pub(crate) struct Joined<B> {
        first: StoredBody,
        #[pin]
        fetched: B,
        // So many are to come yet.
        missing: u64,
        is_fetched: bool,
        last: StoredBody,
    }
}

impl<B> Joined<B> {
    pub(crate) fn new(first: StoredBody, fetched: B, missing: u64, last: StoredBody) -> Self {
        Self { first, fetched, missing, is_fetched: false, last }
    }

    /// How many bytes it has yet to give.
    pub(crate) fn length(&self) -> u64 {
        let stored = |body: &StoredBody| body.size_hint().exact().unwrap_or_default();
        stored(&self.first) + self.missing + stored(&self.last)
    }
}

type Frames = Result<Frame<Bytes>, BoxError>;

impl<B> Body for Joined<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
        let mut this = self.project();
        if let Some(frame) = ready!(poll_data(this.first, cx)) {
            return Poll::Ready(Some(frame));
        }
        while !*this.is_fetched {
            // Who has told a length and has given it all is not waited for.
            if *this.missing == 0 && this.fetched.size_hint().exact() == Some(0) {
                *this.is_fetched = true;
                break;
            }
            match ready!(this.fetched.as_mut().poll_frame(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => {
                    // Trailers are of what came, and not of the whole.
                    let Ok(data) = frame.into_data() else { continue };
                    let Some(missing) = this.missing.checked_sub(data.len() as u64) else {
                        return Poll::Ready(Some(Err(Box::new(Misfit))));
                    };
                    *this.missing = missing;
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                None if *this.missing > 0 => return Poll::Ready(Some(Err(Box::new(Misfit)))),
                None => *this.is_fetched = true,
            }
        }
        poll_data(this.last, cx)
    }

    fn is_end_stream(&self) -> bool {
        let is_fetched = self.is_fetched || self.missing == 0 && self.fetched.is_end_stream();
        self.first.is_end_stream() && is_fetched && self.last.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

/// The bytes of a stored body, without its trailers.
fn poll_data(body: &mut StoredBody, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) if frame.data_ref().is_none_or(Bytes::is_empty) => {}
            frame => return Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
        }
    }
}

/// What came has not the length that it was to have.
#[derive(Debug)]
struct Misfit;

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what came does not fit what is stored")
    }
}

impl std::error::Error for Misfit {}

pin_project! {
    /// A body on its way: the origin's, or one of which a part is stored.
    #[project = SourceProjection]
    pub(crate) enum Source<B> {
        Origin { #[pin] body: B },
        Joined { body: Pin<Box<Joined<B>>> },
    }
}

impl<B> Body for Source<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
        match self.project() {
            SourceProjection::Origin { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            SourceProjection::Joined { body } => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Origin { body } => body.is_end_stream(),
            Self::Joined { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Origin { body } => body.size_hint(),
            Self::Joined { body } => body.size_hint(),
        }
    }
}
