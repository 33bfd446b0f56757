//! Inner services whose readiness and answers the test decides.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Service;

use crate::support::OriginError;

pub type Outgoing = Request<Full<Bytes>>;
pub type Incoming = Response<Full<Bytes>>;
pub type Answering = Pin<Box<dyn Future<Output = Result<Incoming, OriginError>> + Send>>;

/// A door that many may wait at.
#[derive(Clone, Default)]
pub struct Door(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Door {
    pub fn open(&self) {
        let mut door = self.0.lock().unwrap();
        door.0 = true;
        door.1.drain(..).for_each(Waker::wake);
    }

    pub fn close(&self) {
        self.0.lock().unwrap().0 = false;
    }

    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut door = self.0.lock().unwrap();
        if door.0 {
            return Poll::Ready(());
        }
        door.1.push(cx.waker().clone());
        Poll::Pending
    }
}

/// An origin that is ready while one door is open, and answers while another is.
///
/// It panics if it is called without having been ready, as a tower service may; a clone has not
/// been ready.
#[derive(Default)]
pub struct Doors {
    pub ready: Door,
    pub answer: Door,
    pub count: Arc<Count>,
    is_ready: bool,
}

#[derive(Default)]
pub struct Count {
    calls: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Count {
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// The most that ran at once.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn enter(self: &Arc<Self>) -> Running {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        Running(self.clone())
    }
}

struct Running(Arc<Count>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Doors {
    /// Both doors stand open.
    pub fn open() -> Self {
        let doors = Self::default();
        doors.ready.open();
        doors.answer.open();
        doors
    }
}

impl Clone for Doors {
    fn clone(&self) -> Self {
        Self {
            ready: self.ready.clone(),
            answer: self.answer.clone(),
            count: self.count.clone(),
            is_ready: false,
        }
    }
}

impl Service<Outgoing> for Doors {
    type Response = Incoming;
    type Error = OriginError;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        self.ready.poll(cx).map(|()| {
            self.is_ready = true;
            Ok(())
        })
    }

    fn call(&mut self, request: Outgoing) -> Answering {
        assert!(std::mem::take(&mut self.is_ready), "called without having been ready");
        let (answer, running) = (self.answer.clone(), self.count.enter());
        Box::pin(async move {
            let _running = running;
            poll_fn(|cx| answer.poll(cx)).await;
            let path = request.uri().path().to_owned();
            Ok(Response::builder()
                .header("cache-control", "max-age=60")
                .body(Full::from(path))
                .unwrap())
        })
    }
}

/// A service whose readiness fails.
#[derive(Clone)]
pub struct Broken;

impl Service<Outgoing> for Broken {
    type Response = Incoming;
    type Error = OriginError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        Poll::Ready(Err(OriginError("broken")))
    }

    fn call(&mut self, _: Outgoing) -> Answering {
        unreachable!("never ready")
    }
}
