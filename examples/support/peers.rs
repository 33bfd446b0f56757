//! A bus between proxies over HTTP: each hands out what it has published, and follows the others. So
//! each of them knows when it has missed something, also if the other was killed in between.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, header, request};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use larder::{
    Error,
    bus::{BusEvent, LocalBus, PurgeBus, PurgeFollower, PurgeMessage},
};

/// How often something is said, and after how much silence a connection is dead.
const BEAT: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(3);

/// One proxy's end of the bus.
#[derive(Clone)]
pub struct Peers {
    own: LocalBus,
    urls: Vec<String>,
    token: String,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Peers {
    /// `urls` are the admin services of the others, which know `token`.
    pub fn new(urls: Vec<String>, token: String) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(SILENCE));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { own: LocalBus::new(), urls, token, client }
    }

    /// Answers `GET /bus?after=POSITION`: what this proxy publishes, as server-sent events.
    pub async fn hand_out(
        &self,
        head: &request::Parts,
    ) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let after = head.uri.query().and_then(|query| query.strip_prefix("after="));
        let Ok(follower) = self.own.follow(after).await else {
            let mut response = Response::new(Empty::new().boxed_unsync());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return response;
        };
        let frames = stream::unfold(follower, async |mut follower| {
            let event = tokio::select! {
                event = tokio::time::timeout(BEAT, follower.next()) => event,
                // Else the server would wait for its end.
                () = crate::stop::asked() => return None,
            };
            let text = match event {
                Err(_elapsed) => ":\n\n".to_owned(),
                Ok(event) => show(event.ok()?)?,
            };
            Some((Ok(Frame::data(Bytes::from(text))), follower))
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        let media_type = http::HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response
    }

    async fn connect(&self, url: &str, after: Option<&str>) -> Result<Lines, Error> {
        let base = url.trim_end_matches('/');
        let url = match after {
            Some(after) => format!("{base}/bus?after={after}"),
            None => format!("{base}/bus"),
        };
        let request = Request::get(url)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Empty::new())
            .map_err(Error::other)?;
        let answered = tokio::time::timeout(SILENCE, self.client.request(request)).await;
        let response = answered.map_err(Error::other)?.map_err(Error::other)?;
        if response.status() != StatusCode::OK {
            return Err(Error::other(format!("{base}: {}", response.status())));
        }
        let silence = Box::pin(tokio::time::sleep(SILENCE));
        Ok(Lines { body: response.into_body(), read: Vec::new(), silence })
    }
}

fn show(event: BusEvent) -> Option<String> {
    Some(match event {
        BusEvent::Purge { message, position } => {
            // What cannot be written is missing.
            match message.to_json() {
                Ok(line) => format!("event: purge\nid: {position}\ndata: {line}\n\n"),
                Err(_) => "event: lost\n\n".to_owned(),
            }
        }
        BusEvent::Current { position } => format!("event: current\nid: {position}\n\n"),
        BusEvent::Lost => "event: lost\n\n".to_owned(),
        _ => return None,
    })
}

impl PurgeBus for Peers {
    type Follower = Following;

    async fn publish(&self, message: &PurgeMessage) -> Result<(), Error> {
        self.own.publish(message).await
    }

    async fn follow(&self, after: Option<&str>) -> Result<Following, Error> {
        let places: Vec<&str> = after.map(|after| after.split(' ').collect()).unwrap_or_default();
        let mut peers = Vec::new();
        for (number, url) in self.urls.iter().enumerate() {
            let place = places.get(number).copied();
            let lines = self.connect(url, place).await?;
            let position = place.unwrap_or_default().to_owned();
            peers.push(Peer { lines, position, is_current: false });
        }
        Ok(Following { peers, is_new: true })
    }
}

/// All other proxies.
pub struct Following {
    peers: Vec<Peer>,
    is_new: bool,
}

struct Peer {
    lines: Lines,
    position: String,
    is_current: bool,
}

impl Following {
    fn position(&self) -> String {
        let places: Vec<&str> = self.peers.iter().map(|peer| &*peer.position).collect();
        places.join(" ")
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<BusEvent, Error>> {
        for number in 0..self.peers.len() {
            let peer = &mut self.peers[number];
            while let Poll::Ready(event) = peer.lines.poll_event(cx)? {
                if let Some(position) = event.id {
                    peer.position = position;
                }
                match (&*event.name, event.data) {
                    ("current", _) => peer.is_current = true,
                    ("purge", Some(line)) => {
                        let message = PurgeMessage::from_json(&line)?;
                        let position = self.position();
                        return Poll::Ready(Ok(BusEvent::Purge { message, position }));
                    }
                    ("lost", _) => return Poll::Ready(Ok(BusEvent::Lost)),
                    _ => {}
                }
            }
        }
        if self.is_new && self.peers.iter().all(|peer| peer.is_current) {
            self.is_new = false;
            return Poll::Ready(Ok(BusEvent::Current { position: self.position() }));
        }
        Poll::Pending
    }
}

impl PurgeFollower for Following {
    async fn next(&mut self) -> Result<BusEvent, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

/// Server-sent events as they come.
struct Lines {
    body: Incoming,
    read: Vec<u8>,
    silence: Pin<Box<tokio::time::Sleep>>,
}

#[derive(Default)]
struct Event {
    name: String,
    id: Option<String>,
    data: Option<String>,
}

const MAX_EVENT: usize = 1 << 20;

impl Lines {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                let event = read_event(&String::from_utf8_lossy(&block));
                if !event.name.is_empty() {
                    return Poll::Ready(Ok(event));
                }
                continue;
            }
            if self.read.len() > MAX_EVENT {
                return Poll::Ready(Err(Error::other("an event without an end")));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.silence.as_mut().reset(tokio::time::Instant::now() + SILENCE);
                    self.read.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Error::other(error))),
                Poll::Ready(None) => return Poll::Ready(Err(Error::other("the other has gone"))),
                Poll::Pending => {
                    std::task::ready!(self.silence.as_mut().poll(cx));
                    return Poll::Ready(Err(Error::other("the other is silent")));
                }
            }
        }
    }
}

fn read_event(block: &str) -> Event {
    let mut event = Event::default();
    let mut lines: VecDeque<&str> = block.lines().collect();
    while let Some(line) = lines.pop_front() {
        match line.split_once(": ") {
            Some(("event", name)) => event.name = name.to_owned(),
            Some(("id", id)) => event.id = Some(id.to_owned()),
            Some(("data", data)) => event.data = Some(data.to_owned()),
            _ => {}
        }
    }
    event
}
