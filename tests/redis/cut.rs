//! A way to Redis that can be cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// Hands connections on to a server, as long as it is not cut.
pub(crate) struct Way {
    pub(crate) url: String,
    is_cut: Arc<AtomicBool>,
    cuts: watch::Sender<u32>,
}

impl Way {
    pub(crate) async fn to(url: &str) -> Self {
        let target = url.trim_start_matches("redis://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("redis://{}/", listener.local_addr().expect("its address"));
        let (is_cut, cuts) = (Arc::<AtomicBool>::default(), watch::Sender::new(0));
        let way = Self { url, is_cut: is_cut.clone(), cuts: cuts.clone() };
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let (target, mut cut) = (target.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(&target).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        way
    }

    /// Ends all connections, and takes no new ones.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

/// The URL of a way to a server on which a connection stands still, and stays, when it has carried so
/// many bytes in one direction.
pub(crate) async fn narrow(url: &str, most: usize) -> String {
    let target = url.trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("redis://{}/", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&target).await else { return };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(carry(from_client, to_server, most));
            tokio::spawn(carry(from_server, to_client, most));
        }
    });
    url
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, most: usize) {
    let (mut carried, mut buffer) = (0, vec![0; 16 << 10]);
    while carried < most {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        carried += length;
    }
    std::future::pending::<()>().await;
}
