//! A body of 4 KiB that the origin cuts at each of its bytes: never stored, and every reader
//! sees an error. (One that only the end of the connection delimits is whole by definition, RFC 9112
//! §8.)

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use larder::Disconnect;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower::{Layer, ServiceExt};

use crate::{
    clients::{self, hyper_client},
    net::{Version, serve},
    support::{Origin, OriginError, ok, read},
};

const LENGTH: usize = 4096;

fn text() -> String {
    (0..LENGTH).map(|n| char::from(b'a' + (n % 26) as u8)).collect()
}

/// An HTTP/1 origin that answers the nth connection with the first bytes of `whole`: as many as `head`
/// has, and n of the rest.
async fn origin(head: usize, whole: Bytes) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for cut in head.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(&whole[..cut.min(whole.len())]).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn by_the_end_of_the_connection() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\n";
    let text = text();
    let known = format!("{HEAD}content-length: {LENGTH}\r\n\r\n{text}");
    let (first, second) = text.split_at(1000);
    let chunked = format!(
        "{HEAD}transfer-encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    for whole in [known, chunked] {
        let head = whole.find("\r\n\r\n").unwrap() + 4;
        let address = origin(head, Bytes::from(whole.clone())).await;
        for cut in head..=whole.len() {
            let cache = clients::layer().on_disconnect(Disconnect::Abandon);
            let client = cache.layer(hyper_client(Version::Http1));
            let url = format!("http://{address}/");
            let leader = client.clone().oneshot(clients::get(&url)).await.unwrap();
            let follower = client.clone().oneshot(clients::get(&url)).await.unwrap();
            let is_whole = cut == whole.len();
            let follows = follower.body().status();
            // What is there in one piece with its head is in the store before anybody comes.
            assert!(follows.is_collapsed() || is_whole && follows.is_hit());
            assert!(leader.body().status().is_stored());
            assert_eq!(read(leader).await.is_ok(), is_whole, "{cut}");
            assert_eq!(read(follower).await.is_ok(), is_whole, "{cut}");
            assert_eq!(cache.handle().manager().len(), usize::from(is_whole), "{cut}");
        }
    }
}

/// HTTP/2, where the stream is reset.
#[tokio::test]
async fn by_a_reset() {
    let text = text();
    let origin = Origin::new();
    origin.on(move |request| {
        let cut: usize = request.uri().path()[1..].parse().unwrap();
        let frames = [
            Ok(http_body::Frame::data(Bytes::from(text[..cut].to_owned()))),
            Err(larder::BoxError::from(OriginError("reset"))),
        ];
        ok().cache_control("max-age=600")
            .header("content-length", LENGTH.to_string())
            .body(StreamBody::new(futures_util::stream::iter(frames)))
    });
    let address = serve(Version::Http2, origin).await;
    let cache = clients::layer().on_disconnect(Disconnect::Abandon);
    let client = cache.layer(hyper_client(Version::Http2));
    for cut in 0..LENGTH {
        let url = format!("http://{address}/{cut}");
        let answer = client.clone().oneshot(clients::get(&url)).await;
        // What is cut at once may be an error before there is a head.
        let Ok(answer) = answer else { continue };
        assert!(answer.into_body().collect().await.is_err(), "{cut}");
        assert!(cache.handle().manager().is_empty(), "{cut}");
    }
}
