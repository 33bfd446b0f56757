use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use larder::BoxError;

use super::OriginError;

/// A body that gives its frames one by one as the test sends them.
pub fn channel() -> (BodySender, impl http_body::Body<Data = Bytes, Error = BoxError> + Send) {
    let shared = Arc::new(Mutex::new(Channel::default()));
    (BodySender(shared.clone()), ChannelBody(shared))
}

pub type Frame = Result<http_body::Frame<Bytes>, BoxError>;

// Not tokio's, whose budget would make a test that polls by hand see nothing where there is something.
#[derive(Default)]
struct Channel {
    frames: VecDeque<Frame>,
    waker: Option<Waker>,
    is_ended: bool,
    is_closed: bool,
}

pub struct BodySender(Arc<Mutex<Channel>>);
struct ChannelBody(Arc<Mutex<Channel>>);

impl BodySender {
    pub fn data(&self, data: impl Into<Bytes>) {
        self.send(Ok(http_body::Frame::data(data.into())));
    }

    pub fn trailers(&self, trailers: HeaderMap) {
        self.send(Ok(http_body::Frame::trailers(trailers)));
    }

    pub fn error(&self, text: &'static str) {
        self.send(Err(Box::new(OriginError(text))));
    }

    /// Whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.0.lock().unwrap().is_closed
    }

    fn send(&self, frame: Frame) {
        self.change(|channel| channel.frames.push_back(frame));
    }

    fn change(&self, change: impl FnOnce(&mut Channel)) {
        let mut channel = self.0.lock().unwrap();
        change(&mut channel);
        let waker = channel.waker.take();
        drop(channel);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        self.change(|channel| channel.is_ended = true);
    }
}

impl Drop for ChannelBody {
    fn drop(&mut self) {
        let mut channel = self.0.lock().unwrap();
        channel.is_closed = true;
        channel.frames.clear();
    }
}

impl http_body::Body for ChannelBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        let mut channel = self.0.lock().unwrap();
        match channel.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if channel.is_ended => Poll::Ready(None),
            None => {
                channel.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
