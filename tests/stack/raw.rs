//! HTTP/1 as it stands on the wire: authorities, pipelining, framing, upgrades, truncation.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use larder::{CacheLayer, MemoryManager};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt};

use crate::{
    clients::{self, hyper_client},
    net::{Raw, Version, serve, serve_bytes},
    support::{Origin, ok, read},
};

async fn start(origin: &Origin) -> SocketAddr {
    let cache = CacheLayer::new(MemoryManager::new(1 << 20)).cache_status_header("larder");
    serve(Version::Http1, cache.layer(origin.clone())).await
}

/// security.md, VSV00018; RFC 9112 §3.2: one authority, from the request target if that has one,
/// and `Host` must be the same; else the request passes by and leaves nothing.
#[tokio::test]
async fn forms_of_the_request_target() {
    let origin = Origin::new();
    origin.on(|request| {
        let host = request.headers().get("host").map_or("none", |host| host.to_str().unwrap());
        ok().cache_control("max-age=600").text(format!("{host} {}", request.uri()))
    });
    let address = start(&origin).await;
    let ask = async |head: &str| {
        let mut raw = Raw::connect(address).await;
        raw.send(format!("{head}\r\n\r\n")).await;
        let response = raw.response(false).await;
        (response.field("cache-status").unwrap_or_default().to_owned(), response.text().to_owned())
    };
    let (miss, kept) = ask("GET /x HTTP/1.1\r\nHost: a.example").await;
    assert!(miss.ends_with("stored"), "{miss}");
    let same = [
        "GET /x HTTP/1.1\r\nHost: a.example",
        "GET http://a.example/x HTTP/1.1\r\nHost: a.example",
        "GET HTTP://A.example:80/x HTTP/1.1\r\nHost: a.EXAMPLE",
    ];
    for head in same {
        let (status, text) = ask(head).await;
        assert!(status.starts_with("larder; hit"), "{head}: {status}");
        assert_eq!(text, kept);
    }
    let conflicts = [
        ("GET http://a.example/x HTTP/1.1\r\nHost: b.example", "conflicting-authority"),
        ("GET http://b.example/x HTTP/1.1\r\nHost: a.example", "conflicting-authority"),
        ("GET /x HTTP/1.1\r\nHost: a.example\r\nHost: b.example", "conflicting-authority"),
        ("GET /x HTTP/1.0", "no-authority"),
    ];
    for (head, reason) in conflicts {
        for _ in 0..2 {
            let (status, _) = ask(head).await;
            assert_eq!(status, format!("larder; fwd=bypass; detail={reason}"), "{head}");
        }
    }
    // Neither authority was poisoned.
    let (status, text) = ask("GET /x HTTP/1.1\r\nHost: a.example").await;
    assert!(status.starts_with("larder; hit"), "{status}");
    assert_eq!(text, kept);
    let (status, text) = ask("GET /x HTTP/1.1\r\nHost: b.example").await;
    assert!(status.starts_with("larder; fwd=uri-miss"), "{status}");
    assert_eq!(text, "b.example /x");
}

/// security.md, CVE-2025-4366: what is left of a request's body is no request.
#[tokio::test]
async fn a_get_with_a_body_does_not_inject_a_request() {
    let origin = Origin::new();
    origin.on(|request| ok().cache_control("max-age=600").text(request.uri().path().to_owned()));
    let address = start(&origin).await;
    // Once with nothing stored, once with hits to be had.
    for _ in 0..2 {
        for chunked in [false, true] {
            let smuggled = "GET /evil HTTP/1.1\r\nhost: a.example\r\n\r\n";
            let mut raw = Raw::connect(address).await;
            let first = match chunked {
                false => format!("content-length: {}\r\n\r\n{smuggled}", smuggled.len()),
                true => format!(
                    "transfer-encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
                    smuggled.len()
                ),
            };
            raw.send(format!(
                "GET /a HTTP/1.1\r\nhost: a.example\r\n{first}\
                 GET /b HTTP/1.1\r\nhost: a.example\r\n\r\n\
                 GET /c HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n"
            ))
            .await;
            for path in ["/a", "/b", "/c"] {
                assert_eq!(raw.response(false).await.text(), path);
            }
            assert_eq!(raw.rest().await, b"", "nothing else is answered");
        }
        Raw::get(address, "/a").await;
    }
    assert_eq!(origin.calls_to("/evil"), 0);
    assert_eq!(origin.calls_to("/b"), 1);
    assert!(!origin.seen().is_empty());
}

/// RFC 9110 §9.3.2, RFC 9112 §6.3: HEAD leaves the connection in order, on a miss and on a hit.
#[tokio::test]
async fn head_keeps_the_connection_in_order() {
    let origin = Origin::new();
    // As a handler does that does not look at the method.
    origin.on(|_| ok().cache_control("max-age=600").header("content-length", "5").text("hello"));
    let address = start(&origin).await;
    let mut raw = Raw::connect(address).await;
    for (method, is_hit) in
        [("HEAD", false), ("GET", false), ("HEAD", true), ("GET", true), ("HEAD", true)]
    {
        raw.send(format!("{method} /x HTTP/1.1\r\nhost: a.example\r\n\r\n")).await;
        let response = raw.response(method == "HEAD").await;
        assert_eq!((response.status(), response.is_hit()), ("200", is_hit), "{method}");
        assert_eq!(response.field("content-length"), Some("5"), "{method}");
        assert_eq!(response.text(), if method == "HEAD" { "" } else { "hello" });
    }
    raw.send("HEAD /x HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n").await;
    raw.response(true).await;
    assert_eq!(raw.rest().await, b"");
    assert_eq!(origin.calls(), 2);
}

/// security.md, CVE-2026-2833: `Upgrade` and CONNECT pass untouched, byte for byte, through a cache
/// in a server and through one round a client.
#[tokio::test]
async fn upgrades_pass_through_byte_by_byte() {
    let echo = tower::service_fn(async |mut request: Request<Incoming>| {
        let upgrading = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrading.await.unwrap());
            let mut buffer = [0; 64];
            while let Ok(count @ 1..) = io.read(&mut buffer).await {
                io.write_all(&buffer[..count]).await.unwrap();
            }
        });
        let is_connect = request.method() == http::Method::CONNECT;
        let response = Response::builder().header("cache-control", "max-age=600");
        let response = match is_connect {
            true => response.status(StatusCode::OK),
            false => response
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header("connection", "upgrade")
                .header("upgrade", "echo"),
        };
        Ok::<_, std::convert::Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    });
    let cache = CacheLayer::new(MemoryManager::new(1 << 20));
    let address = serve(Version::Http1, cache.layer(echo)).await;
    let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();

    let heads = [
        "GET /x HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
        "CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n",
    ];
    for (head, status) in heads.into_iter().zip(["101", "200"]) {
        for _ in 0..2 {
            let mut raw = Raw::connect(address).await;
            raw.send(head).await;
            assert_eq!(raw.response(true).await.status(), status);
            for chunk in bytes.chunks(999) {
                raw.send(chunk).await;
                assert_eq!(raw.exactly(chunk.len()).await, chunk);
            }
        }
    }

    let client = clients::layer().layer(hyper_client(Version::Http1));
    let request = Request::get(format!("http://{address}/x"))
        .header("connection", "upgrade")
        .header("upgrade", "echo");
    let mut response = client.oneshot(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let mut back = vec![0; 999];
    for chunk in bytes.chunks_exact(999) {
        io.write_all(chunk).await.unwrap();
        io.read_exact(&mut back).await.unwrap();
        assert_eq!(back, chunk);
    }
    assert!(cache.handle().manager().is_empty());
}

/// security.md, "Truncated body stored": an origin that closes in the middle of the body is an error
/// to the client, and nothing is stored.
#[tokio::test]
async fn a_truncated_response_is_an_error_and_is_not_stored() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\n";
    let known = format!("{HEAD}content-length: 10\r\n\r\n0123456789");
    let chunked =
        format!("{HEAD}transfer-encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n");
    for whole in [known, chunked] {
        let body_at = whole.find("\r\n\r\n").unwrap() + 4;
        for cut in body_at..=whole.len() {
            let origin = serve_bytes(&whole.as_bytes()[..cut]).await;
            let cache = clients::layer();
            let client = cache.layer(hyper_client(Version::Http1));
            let url = format!("http://{origin}/");
            let response = client.clone().oneshot(clients::get(&url)).await.unwrap();
            assert!(response.body().status().is_stored(), "not known yet");
            let body = read(response).await;
            let is_whole = cut == whole.len();
            assert_eq!(body.is_ok(), is_whole, "{cut}: {body:?}");
            assert_eq!(cache.handle().manager().len(), usize::from(is_whole), "{cut}");

            // The same behind a server: its client cannot take the rest for the whole.
            if !is_whole && cut % 3 == 0 {
                let proxy = cache.layer(hyper_client(Version::Http1));
                let to_origin = tower::service_fn(move |_: Request<Incoming>| {
                    proxy.clone().oneshot(clients::get(&url))
                });
                let front = serve(Version::Http1, to_origin).await;
                let mut raw = Raw::connect(front).await;
                raw.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
                let rest = String::from_utf8(raw.rest().await).unwrap();
                assert!(!rest.ends_with("0123456789") && !rest.ends_with("0\r\n\r\n"), "{rest}");
                assert!(cache.handle().manager().is_empty());
            }
        }
    }
}
