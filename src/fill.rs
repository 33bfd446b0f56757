use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::{
    BoxError,
    clock::{BoxFuture, Clock},
    executor::Executor,
    log::{Demand, Writer},
    observe::Event,
    pending::Pending,
    policy::{Reason, Timestamp, owned_fields},
    recorder::Recorder,
    witness::Witness,
};

/// Carries one origin body to its end: into the log that its readers read, and into the store.
///
/// The end is stated, never inferred from a drop: by the number of bytes, by the end of the stream,
/// by trailers. Dropped before it, nothing is stored, and every reader gets an error.
pub(crate) struct Fill {
    log: Writer,
    recorder: Option<Recorder>,
    /// Whether the store holds in memory what it is given before the end.
    is_buffered: bool,
    /// The bytes that must come, if that is known.
    length: Option<u64>,
    seen: u64,
    announces_trailers: bool,
    /// What has been read of the body already.
    first: Option<First>,
    means: Means,
}

/// What a body gave when it was asked for the first time; `None`: its end.
pub(crate) type First = Option<Result<Frame<Bytes>, BoxError>>;

/// What a fill needs of its surroundings.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Arc<dyn Executor>,
    /// How long the last frame waits for the store where nobody else can finish it.
    pub(crate) store_timeout: Duration,
    /// How long the others wait for a reader that takes nothing.
    pub(crate) slow_reader_timeout: Duration,
    /// What the executor still writes.
    pub(crate) pending: Pending,
    pub(crate) witness: Witness,
}

/// What a body has come to.
enum End {
    /// Its last bytes, and its trailers. Boxed: they are seldom there.
    Whole(Option<Bytes>, Option<Box<HeaderMap>>),
    Failed(BoxError, Reason),
    /// Nobody reads it, and nothing stores it.
    Unwanted,
}

/// So many frames in a row are read without letting others run.
const BURST: u32 = 32;

impl Fill {
    pub(crate) fn new(
        log: Writer,
        recorder: Recorder,
        is_buffered: bool,
        length: Option<u64>,
        announces_trailers: bool,
        means: Means,
    ) -> Self {
        let recorder = Some(recorder);
        let (seen, first) = (0, None);
        Self { log, recorder, is_buffered, length, seen, announces_trailers, first, means }
    }

    /// With what has been read of the body.
    pub(crate) fn from(self, first: Option<First>) -> Self {
        Self { first, ..self }
    }

    /// Whether `body` has ended before anybody has read it: nobody would ask for more.
    pub(crate) fn is_over(&self, body: &impl Body) -> bool {
        self.first.is_none()
            && ((body.is_end_stream() && !self.is_short())
                || (self.length == Some(0) && !self.announces_trailers))
    }

    /// Finishes what is over already.
    pub(crate) async fn finish_empty(&mut self) {
        self.finish(None, None).await;
    }

    /// Reads `body` as fast as somebody wants it.
    pub(crate) async fn run<B>(&mut self, body: Pin<&mut B>)
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        match self.read(body).await {
            End::Whole(last, trailers) => self.finish(last, trailers).await,
            End::Failed(error, reason) => self.fail(error, reason),
            End::Unwanted => {}
        }
    }

    async fn read<B>(&mut self, mut body: Pin<&mut B>) -> End
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let mut burst = 0;
        loop {
            let has_waited = self.demand().await;
            if self.recorder.is_none() && !self.log.is_read() {
                return End::Unwanted;
            }
            burst = if has_waited { 0 } else { burst + 1 };
            if burst >= BURST {
                burst = 0;
                pause().await;
            }
            let next = match self.first.take() {
                Some(first) => first,
                None => self.next(body.as_mut()).await,
            };
            let frame = match next {
                Some(Ok(frame)) => Some(frame),
                Some(Err(error)) => return End::Failed(error, Reason::Incomplete),
                None => None,
            };
            let Some(frame) = frame else {
                return match self.is_short() {
                    true => End::Failed(Box::new(WrongLength), Reason::Incomplete),
                    false => End::Whole(None, None),
                };
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(_) if self.is_short() => {
                    return End::Failed(Box::new(WrongLength), Reason::Incomplete);
                }
                Err(frame) => return End::Whole(None, frame.into_trailers().ok().map(Box::new)),
            };
            self.seen = self.seen.saturating_add(data.len() as u64);
            if self.length.is_some_and(|length| self.seen > length) {
                return End::Failed(Box::new(WrongLength), Reason::ContentLength);
            }
            if let Some(recorder) = &mut self.recorder
                && !recorder.write(data.clone())
            {
                self.give_up_storing(Reason::TooLarge);
            }
            let is_last = body.is_end_stream();
            let is_whole = match self.length {
                Some(length) => self.seen == length && (is_last || !self.announces_trailers),
                None => is_last,
            };
            if is_whole {
                return End::Whole(Some(data), None);
            }
            let is_kept_whole = self.log.write(data);
            if !is_kept_whole && self.is_buffered {
                self.give_up_storing(Reason::Overload);
            }
        }
    }

    /// Whether the body has not brought all of its bytes.
    fn is_short(&self) -> bool {
        self.length.is_some_and(|length| self.seen < length)
    }

    /// Waits until somebody wants more and all can take it. Whether that took any waiting.
    async fn demand(&mut self) -> bool {
        let mut has_waited = false;
        let mut held_up: Option<(Timestamp, Option<BoxFuture>)> = None;
        poll_fn(|cx| {
            self.record(cx);
            loop {
                match self.log.demand() {
                    Demand::More => break,
                    Demand::Nothing => {
                        has_waited = true;
                        return Poll::Pending;
                    }
                    Demand::HeldUp => {}
                }
                let (clock, limit) = (&self.means.clock, self.means.slow_reader_timeout);
                let (since, timer) =
                    held_up.get_or_insert_with(|| (clock.now(), clock.sleep(limit)));
                let rings = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
                if !rings && clock.now().since(*since) < limit {
                    return Poll::Pending;
                }
                held_up = None;
                self.log.cut_off_the_stalled();
            }
            if let Some(recorder) = &mut self.recorder {
                match recorder.poll_room(&*self.means.clock, cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => self.give_up_storing(Reason::StoreTimeout),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(())
        })
        .await;
        has_waited
    }

    /// The next frame. The store goes on while the origin has nothing to give: whoever waits for
    /// the one may be woken by the other.
    async fn next<B>(&mut self, mut body: Pin<&mut B>) -> Option<Result<Frame<Bytes>, BoxError>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        poll_fn(|cx| match body.as_mut().poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => {
                self.record(cx);
                Poll::Pending
            }
        })
        .await
    }

    fn record(&mut self, cx: &mut Context<'_>) {
        if let Some(recorder) = &mut self.recorder
            && !recorder.go_on(cx)
        {
            self.give_up_storing(Reason::StoreError);
        }
    }

    /// The readers do not notice.
    pub(crate) fn give_up_storing(&mut self, reason: Reason) {
        self.recorder.take().into_iter().for_each(|recorder| recorder.give_up(reason));
        self.log.is_not_recorded();
    }

    /// The readers get an error.
    fn fail(&mut self, error: BoxError, reason: Reason) {
        self.give_up_storing(reason);
        self.means.witness.tell(&Event::BodyFailed);
        self.log.fail(error);
    }

    /// The last bytes reach the readers when the store has them all, or is given up.
    async fn finish(&mut self, last: Option<Bytes>, trailers: Option<Box<HeaderMap>>) {
        if let Some(mut recorder) = self.recorder.take() {
            let owned = trailers.as_ref().map(|trailers| Box::new(owned_fields(trailers)));
            recorder.end(owned);
            if poll_fn(|cx| Poll::Ready(recorder.go_on(cx))).await {
                let Means { clock, executor, store_timeout, pending, .. } = &self.means;
                Box::pin(recorder.hand_over(clock, &**executor, *store_timeout, pending)).await;
            }
        }
        if let Some(last) = last {
            self.log.write(last);
        }
        self.log.finish(trailers.map(|trailers| *trailers));
    }
}

async fn pause() {
    let mut is_resumed = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_resumed, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The body had another length than the head said.
#[derive(Debug)]
struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body's length is not the one that was announced")
    }
}

impl std::error::Error for WrongLength {}
