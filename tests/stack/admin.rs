//! Purges over real connections: by an operator, and from proxy to proxy.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use larder::{
    BoxError, CacheHandle, CacheLayer, MemoryManager,
    admin::{AdminService, BearerToken},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    net::{Raw, RawResponse, Version, serve},
    peers::Peers,
    support::{Origin, ok, status},
};

const TOKEN: &str = "a-long-secret";

/// A proxy with its two ports.
struct Node {
    site: SocketAddr,
    admin: SocketAddr,
    origin: Origin,
    handle: CacheHandle<MemoryManager>,
}

impl Node {
    /// One that follows the others at these addresses.
    async fn start(others: &[SocketAddr], max_lag: Duration) -> Self {
        let origin = Origin::new();
        origin.on(|request| match request.headers().contains_key("if-none-match") {
            true => status(304).text(""),
            false => ok()
                .cache_control("max-age=600")
                .header("etag", "\"1\"")
                .header("cache-tag", request.uri().path())
                .text("hello"),
        });
        let urls = others.iter().map(|other| format!("http://{other}")).collect();
        let peers = Peers::new(urls, TOKEN.to_owned());
        let layer = CacheLayer::new(MemoryManager::new(1 << 20)).cache_status_header("larder");
        let layer = layer.max_purge_lag(max_lag).bus(peers.clone());
        let handle = layer.handle();
        let site = serve(Version::Http1, layer.layer(origin.clone())).await;
        let service = AdminService::new(handle.clone(), BearerToken::new(TOKEN).unwrap());
        let admin = serve(
            Version::Http1,
            service_fn(move |request: Request<Incoming>| {
                let (service, peers) = (service.clone(), peers.clone());
                async move {
                    let (head, body) = request.into_parts();
                    if head.uri.path() == "/bus" {
                        return Ok::<_, BoxError>(peers.hand_out(&head).await.map(never_fails));
                    }
                    let request = Request::from_parts(head, body);
                    let response = service.oneshot(request).await?;
                    Ok(response.map(never_fails))
                }
            }),
        )
        .await;
        Self { site, admin, origin, handle }
    }

    async fn post(&self, path: &str, body: &str) -> RawResponse {
        let mut raw = Raw::connect(self.admin).await;
        let (length, head) = (body.len(), format!("POST {path} HTTP/1.1\r\nhost: admin\r\n"));
        let fields = "content-type: application/json\r\nauthorization: Bearer";
        raw.send(format!("{head}{fields} {TOKEN}\r\ncontent-length: {length}\r\n\r\n{body}")).await;
        raw.response(false).await
    }

    /// Follows the events, from where this returns on.
    async fn events(&self) -> Raw {
        let mut raw = Raw::connect(self.admin).await;
        let head = "GET /events HTTP/1.1\r\nhost: admin\r\nauthorization: Bearer";
        raw.send(format!("{head} {TOKEN}\r\n\r\n")).await;
        let head = raw.through("retry: 2000\n\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        raw
    }

    async fn is_hit(&self, path: &str) -> bool {
        Raw::get(self.site, path).await.is_hit()
    }

    /// Waits until it has noticed that it is, and trusts nothing any more.
    async fn is_cut_off(&self) {
        loop {
            let answer = Raw::get(self.site, "/e").await;
            if answer.field("cache-status").unwrap().contains("detail=cut-off") {
                break;
            }
        }
    }

    /// Waits until the bus has been heard once.
    async fn is_current(&self) {
        while self.handle.bus_position().is_none() {
            tokio::task::yield_now().await;
        }
    }
}

fn never_fails<B>(body: B) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A line between two nodes that can be cut, and led elsewhere.
struct Line {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    is_cut: watch::Sender<bool>,
}

impl Line {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, is_cut) = (Arc::new(Mutex::new(target)), watch::Sender::new(false));
        let (towards, cut) = (target.clone(), is_cut.subscribe());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (towards, mut cut) = (*towards.lock().unwrap(), cut.clone());
                tokio::spawn(async move {
                    if *cut.borrow() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(towards).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.wait_for(|is_cut| *is_cut) => {}
                    }
                });
            }
        });
        Self { address, target, is_cut }
    }
}

/// What is purged on one proxy goes from the other; what is purged while the line is cut goes when it
/// is mended; and what was purged by one that has forgotten it, with everything else.
#[tokio::test]
async fn two_proxies_purge_together() {
    let one = Node::start(&[], Duration::from_secs(5)).await;
    let line = Line::to(one.admin).await;
    let two = Node::start(&[line.address], Duration::ZERO).await;
    two.is_current().await;
    for path in ["/a", "/b", "/c", "/d"] {
        assert!(!two.is_hit(path).await);
        assert!(two.is_hit(path).await);
    }
    let mut events = two.events().await;

    let answer = one.post("/purge", r#"{"tag":"/a","by":"ada"}"#).await;
    assert_eq!(answer.status(), "200");
    assert!(answer.text().contains(r#""count":0"#), "of those here: {}", answer.text());
    let seen = events.through("event: swept\n").await + &events.through("\n\n").await;
    assert!(seen.contains(r#""by":"ada""#) && seen.contains(r#""count":1"#), "{seen}");
    assert!(!two.is_hit("/a").await && two.is_hit("/b").await);

    line.is_cut.send_replace(true);
    two.is_cut_off().await;
    for path in ["/a", "/b", "/c"] {
        let tag = format!(r#"{{"tag":"{path}"}}"#);
        assert_eq!(one.post("/purge", &tag).await.status(), "200");
        assert!(!two.is_hit(path).await || two.origin.last().field("if-none-match").is_some());
    }
    line.is_cut.send_replace(false);
    for path in ["/a", "/b", "/c"] {
        events.through(&format!("\"tag\":\"{path}\"")).await;
        assert!(!two.is_hit(path).await, "{path}");
    }
    assert!(two.is_hit("/d").await, "nobody has purged it");

    line.is_cut.send_replace(true);
    two.is_cut_off().await;
    let another = Node::start(&[], Duration::from_secs(5)).await;
    *line.target.lock().unwrap() = another.admin;
    line.is_cut.send_replace(false);
    events.through("messages of the bus are missing").await;
    assert!(!two.is_hit("/d").await);
    two.handle.shutdown().await;
    let end = events.through("0\r\n\r\n").await;
    assert!(end.ends_with("0\r\n\r\n"), "the stream is whole");
}

/// A client that is no client of ours: whole lines, and nothing for who does not know the token.
#[tokio::test]
async fn a_stranger_is_turned_away() {
    let node = Node::start(&[], Duration::from_secs(5)).await;
    node.is_hit("/a").await;
    for head in [
        "POST /purge HTTP/1.1\r\nhost: admin\r\ncontent-type: application/json\r\ncontent-length: 19",
        "PURGE /a HTTP/1.1\r\nhost: a.example\r\nauthorization: Bearer nothing\r\ncontent-length: 19",
        "GET /events HTTP/1.1\r\nhost: admin\r\ncookie: token=a-long-secret\r\ncontent-length: 19",
    ] {
        let mut raw = Raw::connect(node.admin).await;
        raw.send(format!("{head}\r\n\r\n{{\"everything\":true}}")).await;
        let response = raw.response(false).await;
        assert_eq!(
            (response.status(), response.field("www-authenticate")),
            ("401", Some("Bearer"))
        );
        assert!(response.text().ends_with("\"}\n"), "{}", response.text());
    }
    assert!(node.is_hit("/a").await);
}
