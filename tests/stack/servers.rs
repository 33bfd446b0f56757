//! Stored through real servers: servers drop a body of known length without asking for
//! its end, so a cache that waited for that would store nothing in production.

use std::net::SocketAddr;

use axum::Router;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder::{CacheLayer, MemoryManager};
use tokio::net::{TcpListener, TcpStream};
use tower::Layer;

use crate::{
    net::{Raw, Version, chunked, curl, serve},
    support::{Origin, ok},
};

const TEXT: &str = "one two three";

fn origin() -> Origin {
    let origin = Origin::new();
    origin.on(|request| {
        let reply = ok().cache_control("max-age=600");
        match request.uri().path() {
            "/known" => reply.text(TEXT),
            "/empty" => reply.text(""),
            _ => reply.body(chunked(["one ", "two ", "three"])),
        }
    });
    origin
}

fn expected(path: &str) -> &'static str {
    if path == "/empty" { "" } else { TEXT }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Server {
    Axum,
    Hyper(Version),
}

async fn start(server: Server) -> (SocketAddr, Origin) {
    let origin = origin();
    let cache = CacheLayer::new(MemoryManager::new(1 << 20));
    let address = match server {
        Server::Hyper(version) => serve(version, cache.layer(origin.clone())).await,
        Server::Axum => {
            let (inner, listener) = (origin.clone(), TcpListener::bind("127.0.0.1:0").await);
            let handler = async move |request: axum::extract::Request| {
                let mut inner = inner.clone();
                let response = tower::Service::call(&mut inner, request).await.unwrap();
                response.map(axum::body::Body::new)
            };
            let app: Router = Router::new().fallback(handler).layer(cache);
            let listener = listener.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, app).await });
            address
        }
    };
    (address, origin)
}

const SERVERS: [Server; 3] =
    [Server::Axum, Server::Hyper(Version::Http1), Server::Hyper(Version::Http2)];
const PATHS: [&str; 3] = ["/known", "/chunked", "/empty"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_gets_a_hit_the_second_time() {
    for server in SERVERS {
        for path in PATHS {
            let (address, origin) = start(server).await;
            let version = match server {
                Server::Hyper(Version::Http2) => "--http2-prior-knowledge",
                _ => "--http1.1",
            };
            let url = format!("http://{address}{path}");
            let ask = || curl(["-sSi", "--max-time", "10", version, &url]);
            let (Some(first), Some(second)) = (ask().await, ask().await) else { return };
            assert!(first.ends_with(&format!("\r\n\r\n{}", expected(path))), "{first}");
            assert!(!first.contains("\r\nage:"), "{server:?} {path}: {first}");
            assert!(second.ends_with(&format!("\r\n\r\n{}", expected(path))), "{second}");
            assert!(second.contains("\r\nage: "), "{server:?} {path}: {second}");
            let length = format!("\r\ncontent-length: {}\r\n", expected(path).len());
            assert!(second.contains(&length), "{server:?} {path}: {second}");
            assert_eq!(origin.calls(), 1, "{server:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_client_that_closes_after_the_last_byte_leaves_a_whole_response() {
    for server in SERVERS.into_iter().filter(|server| *server != Server::Hyper(Version::Http2)) {
        for path in PATHS {
            let (address, origin) = start(server).await;
            let first = Raw::get(address, path).await;
            assert_eq!((first.text(), first.is_hit()), (expected(path), false));
            let second = Raw::get(address, path).await;
            assert_eq!(
                (second.text(), second.is_hit()),
                (expected(path), true),
                "{server:?} {path}"
            );
            assert_eq!(second.field("content-length"), Some(&*expected(path).len().to_string()));
            assert_eq!(origin.calls(), 1, "{server:?} {path}");
        }
    }
}

/// As above over HTTP/2: the connection goes as soon as the last byte is there.
#[tokio::test]
async fn an_http2_client_that_closes_after_the_last_byte_leaves_a_whole_response() {
    for path in PATHS {
        let (address, origin) = start(Server::Hyper(Version::Http2)).await;
        for round in 0..2 {
            let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = Request::get(format!("http://a.example{path}"));
            let request = request.body(Full::<Bytes>::default()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.headers().contains_key("age"), round == 1, "{path}");
            let mut body = response.into_body();
            let mut text = Vec::new();
            // An unknown length has its end in a frame of its own.
            while text.len() < expected(path).len() || (path == "/chunked" && round == 0) {
                let Some(frame) = body.frame().await else { break };
                text.extend_from_slice(frame.unwrap().data_ref().unwrap());
            }
            connection.abort();
            assert_eq!(text, expected(path).as_bytes());
        }
        assert_eq!(origin.calls(), 1, "{path}");
    }
}
