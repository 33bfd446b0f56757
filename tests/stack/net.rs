//! Loopback servers, and a client that speaks HTTP/1 byte by byte.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use larder::BoxError;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::Service;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Version {
    Http1,
    Http2,
}

/// Serves until the test's runtime ends.
pub async fn serve<S, B>(version: Version, service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            let io = TokioIo::new(stream);
            tokio::spawn(async move {
                match version {
                    Version::Http1 => {
                        let builder = hyper::server::conn::http1::Builder::new();
                        let _ = builder.serve_connection(io, service).with_upgrades().await;
                    }
                    Version::Http2 => {
                        let builder =
                            hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(io, service).await;
                    }
                }
            });
        }
    });
    address
}

/// Answers each connection with the same bytes and closes it: an origin that nobody's library made.
pub async fn serve_bytes(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes = bytes.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&bytes).await;
        }
    });
    address
}

/// What curl prints. `None`: it is not installed.
pub async fn curl<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut command = std::process::Command::new("curl");
    command.arg("-q").args(arguments).env_remove("http_proxy");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let Ok(output) = output else {
        eprintln!("SKIPPED: curl is not installed");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A body of unknown length, in these pieces.
pub fn chunked(
    pieces: impl IntoIterator<Item = &'static str, IntoIter: Send + 'static>,
) -> impl Body<Data = Bytes, Error = BoxError> + Send + 'static {
    let frames = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::from(piece))));
    StreamBody::new(futures_util::stream::iter(frames))
}

/// A connection on which the test writes and reads HTTP/1 itself.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response as it stood on the wire.
#[derive(Debug)]
pub struct RawResponse {
    pub head: String,
    pub body: Vec<u8>,
}

impl RawResponse {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn is_hit(&self) -> bool {
        self.field("age").is_some()
    }
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }

    /// One GET with `Connection: close` semantics left to whoever drops the connection.
    pub async fn get(address: SocketAddr, path: &str) -> RawResponse {
        let mut raw = Self::connect(address).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n")).await;
        raw.response(false).await
    }

    /// Reads exactly one response and not a byte more is waited for.
    pub async fn response(&mut self, to_head: bool) -> RawResponse {
        let end = self.until(b"\r\n\r\n").await;
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut response = RawResponse { head, body: Vec::new() };
        if to_head || matches!(response.status(), "304" | "204") {
        } else if let Some(length) = response.field("content-length") {
            let length = length.parse().unwrap();
            while self.read.len() < length {
                self.more().await.expect("the announced bytes");
            }
            response.body = self.read.drain(..length).collect();
        } else if response.field("transfer-encoding").is_some() {
            loop {
                let end = self.until(b"\r\n").await;
                let line: Vec<u8> = self.read.drain(..end).collect();
                let size = std::str::from_utf8(&line).unwrap().trim();
                let size = usize::from_str_radix(size, 16).unwrap();
                while self.read.len() < size + 2 {
                    self.more().await.expect("the announced bytes");
                }
                let chunk: Vec<u8> = self.read.drain(..size + 2).collect();
                if size == 0 {
                    break;
                }
                response.body.extend_from_slice(&chunk[..size]);
            }
        }
        response
    }

    /// Whatever comes until the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await.is_some() {}
        std::mem::take(&mut self.read)
    }

    /// Exactly `count` bytes.
    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            self.more().await.expect("enough bytes");
        }
        self.read.drain(..count).collect()
    }

    /// All up to the end of the next `mark`.
    pub async fn through(&mut self, mark: &str) -> String {
        let end = self.until(mark.as_bytes()).await;
        String::from_utf8(self.read.drain(..end).collect()).unwrap()
    }

    async fn until(&mut self, mark: &[u8]) -> usize {
        loop {
            let found = self.read.windows(mark.len()).position(|window| window == mark);
            if let Some(at) = found {
                return at + mark.len();
            }
            self.more().await.expect("a whole response");
        }
    }

    /// `None`: the server has closed.
    async fn more(&mut self) -> Option<()> {
        let count = self.stream.read_buf(&mut self.read).await.ok()?;
        (count > 0).then_some(())
    }
}
