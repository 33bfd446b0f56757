//! Serves HTTP/1 and HTTP/2 until it is to stop, then lets everything under way come to its end.

use std::{convert::Infallible, pin::pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use larder::BoxError;
use tokio::net::TcpListener;
use tower::Service;

use crate::stop;

pub async fn until_stopped<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    // With a timer, a client that never finishes its head is not waited for.
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop::asked());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Such as too many open files: others end meanwhile.
                    eprintln!("accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(service.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = connections.watch(connection);
        // How a connection ends is between hyper and the client.
        tokio::spawn(async move { drop(connection.await) });
    }
    drop(listener);
    eprintln!("draining {} connections; Ctrl-C again to stop at once", connections.count());
    tokio::select! {
        () = connections.shutdown() => {}
        () = stop::asked() => {}
    }
}
