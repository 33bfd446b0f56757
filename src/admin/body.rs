use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::{events::Events, refusal::Refusal};

/// The body of an answer of an [`AdminService`](super::AdminService).
pub struct AdminBody(Kind);

enum Kind {
    Text(Bytes),
    Events(Box<Events>),
}

impl AdminBody {
    pub(super) fn text(text: String) -> Self {
        Self(Kind::Text(text.into()))
    }

    pub(super) fn events(events: Events) -> Self {
        Self(Kind::Events(Box::new(events)))
    }
}

impl Body for AdminBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = match &mut self.0 {
            Kind::Text(text) if text.is_empty() => None,
            Kind::Text(text) => Some(std::mem::take(text)),
            Kind::Events(events) => std::task::ready!(events.poll_next(cx)),
        };
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Text(text) if text.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Text(text) => SizeHint::with_exact(text.len() as u64),
            Kind::Events(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for AdminBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminBody").finish_non_exhaustive()
    }
}

/// More than this is nothing that anybody has to say.
const MAX_BYTES: usize = 64 << 10;

/// Reads the body of a request.
pub(super) async fn read<B: Body>(body: B) -> Result<String, Refusal> {
    let mut body = pin!(body);
    if body.size_hint().lower() > MAX_BYTES as u64 {
        return Err(Refusal::too_large(MAX_BYTES));
    }
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| Refusal::invalid("the body did not arrive whole"))?;
        let Ok(mut data) = frame.into_data() else { continue };
        if text.len() + data.remaining() > MAX_BYTES {
            return Err(Refusal::too_large(MAX_BYTES));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            text.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    String::from_utf8(text).map_err(|_| Refusal::invalid("the body is not UTF-8"))
}
