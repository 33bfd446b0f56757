use tokio::signal::ctrl_c;

/// Is ready when the process is to end: at Ctrl-C, and on Unix at SIGTERM, which is what service
/// managers and containers send.
pub async fn asked() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = ctrl_c() => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = ctrl_c().await;
}
