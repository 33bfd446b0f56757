//! A server that misbehaves as it is told: a way to a real one that stands still, or ends, anywhere.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What becomes of connections, also of those that are there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// They lead to the server.
    Carry,
    /// They do, but look-ups are kept back until they behave in another manner.
    Keep,
    /// They are taken, nothing is answered, and nothing ever will be.
    Silent,
    /// When so many bytes have come back nothing more does: half a reply.
    Half(usize),
    /// When so many bytes have come back it ends.
    Short(usize),
    /// They are taken, and end.
    Closed,
}

/// What stands in the key of a piece.
const NAME: &[u8] = b"}:b:";
/// What a look-up asks for.
const LOOK_UP: &[u8] = b"HMGET";

/// Takes connections for a server.
pub(crate) struct Peer {
    pub(crate) url: String,
    manner: watch::Sender<Manner>,
    pieces: Arc<AtomicUsize>,
    carried: Arc<AtomicU64>,
}

impl Peer {
    /// For the server at `url`.
    pub(crate) async fn before(url: &str, manner: Manner) -> Self {
        let target = url.trim_start_matches("redis://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("redis://{}/", listener.local_addr().expect("its address"));
        let (manner, pieces) = (watch::Sender::new(manner), Arc::<AtomicUsize>::default());
        let carried = Arc::<AtomicU64>::default();
        let (told, counted, all) = (manner.subscribe(), pieces.clone(), carried.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (counted, all) = (counted.clone(), all.clone());
                tokio::spawn(connection(client, target.clone(), told.clone(), counted, all));
            }
        });
        Self { url, manner, pieces, carried }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How often a piece of a body was named to the server.
    pub(crate) fn pieces(&self) -> usize {
        self.pieces.load(Ordering::SeqCst)
    }

    /// How many bytes have come, from both sides.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }
}

async fn connection(
    client: TcpStream,
    target: String,
    mut told: watch::Receiver<Manner>,
    pieces: Arc<AtomicUsize>,
    all: Arc<AtomicU64>,
) {
    let manner = *told.borrow_and_update();
    match manner {
        Manner::Closed | Manner::Short(0) => return,
        Manner::Silent | Manner::Half(0) => return stand_still(&client).await,
        _ => {}
    }
    let Ok(server) = TcpStream::connect(&target).await else { return };
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = carry(from_client, to_server, told.clone(), all.clone(), Some(pieces)) => {}
        () = carry(from_server, to_client, told, all, None) => {}
    }
}

async fn stand_still<T>(_kept: &T) {
    std::future::pending::<()>().await;
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut told: watch::Receiver<Manner>,
    all: Arc<AtomicU64>,
    // Of what is asked, not of what is answered.
    pieces: Option<Arc<AtomicUsize>>,
) {
    let mut buffer = vec![0; 16 << 10];
    let mut manner = *told.borrow();
    let (mut carried, mut last) = (0, Vec::new());
    loop {
        let length = tokio::select! {
            biased;
            changed = told.changed() => {
                if changed.is_err() {
                    return;
                }
                manner = *told.borrow_and_update();
                carried = 0;
                match manner {
                    Manner::Silent => stand_still(&to).await,
                    Manner::Closed => return,
                    _ => continue,
                }
                return;
            }
            read = from.read(&mut buffer) => match read {
                Ok(length @ 1..) => length,
                _ => return,
            },
        };
        all.fetch_add(length as u64, Ordering::SeqCst);
        let most = match manner {
            Manner::Half(most) | Manner::Short(most) if pieces.is_none() => most,
            _ => usize::MAX,
        };
        if let Some(pieces) = &pieces {
            last.extend_from_slice(&buffer[..length]);
            let named = last.windows(NAME.len()).filter(|bytes| *bytes == NAME).count();
            pieces.fetch_add(named, Ordering::SeqCst);
            last.drain(..last.len().saturating_sub(NAME.len() - 1));
        }
        let is_look_up = || buffer[..length].windows(LOOK_UP.len()).any(|bytes| bytes == LOOK_UP);
        if pieces.is_some() && manner == Manner::Keep && is_look_up() {
            let _ = told.wait_for(|manner| *manner != Manner::Keep).await;
        }
        let now = length.min(most.saturating_sub(carried));
        if to.write_all(&buffer[..now]).await.is_err() {
            return;
        }
        carried += now;
        if now < length {
            if matches!(manner, Manner::Half(_)) {
                stand_still(&to).await;
            }
            return;
        }
    }
}

/// The URL of a place that takes no connection, and refuses none: its queue is full. It stays so for
/// as long as what this gives is there.
pub(crate) async fn black_hole() -> (String, impl Sized) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let listener = socket.listen(1).expect("it listens");
    let address = listener.local_addr().expect("its address");
    let mut waiting = Vec::new();
    loop {
        let connecting = TcpStream::connect(address);
        let limit = std::time::Duration::from_millis(100);
        match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => waiting.push(connected),
            Err(_) => break,
        }
    }
    (format!("redis://{address}/"), (listener, waiting))
}
