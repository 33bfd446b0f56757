//! Redis servers for the tests.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use larder::{RedisManager, policy::Secret, storage::RedisOptions};
use tokio::net::TcpSocket;

/// A port that is given to nobody else, also while no server listens at it: this process connects to it all
/// the time, and asks the system for free ones.
pub(crate) struct Port {
    pub(crate) number: u16,
    /// Bound, and listens to nothing. A server can be bound to the same.
    _kept: TcpSocket,
}

impl Port {
    pub(crate) fn free() -> Self {
        let kept = TcpSocket::new_v4().expect("a socket");
        kept.set_reuseaddr(true).expect("others can be bound there");
        kept.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        Self { number: kept.local_addr().expect("its address").port(), _kept: kept }
    }
}

/// A server that ends with the process that started it.
pub(crate) struct Server {
    child: Child,
    port: Port,
    directory: PathBuf,
    settings: Vec<String>,
}

impl Server {
    /// With these settings, each a name and a value. `None`: there is no `redis-server` here.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("larder-redis-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory for the server");
        let port = Port::free();
        let settings =
            settings.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]);
        let settings: Vec<_> = settings.collect();
        let child = spawn(port.number, &directory, &settings)?;
        Some(Self { child, port, directory, settings })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port.number)
    }

    /// Stops it where it is: connections stay, nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    /// Ends it at once. What it had is lost.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        let _ = self.child.wait();
    }

    /// Starts it again at the same port, empty.
    pub(crate) fn restart(&mut self) {
        self.child =
            spawn(self.port.number, &self.directory, &self.settings).expect("it ran before");
    }

    fn signal(&self, signal: &str) {
        let pid = fs::read_to_string(self.directory.join("pid")).expect("it has written its id");
        let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.trim()).status();
        assert!(status.expect("kill").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(port: u16, directory: &PathBuf, settings: &[String]) -> Option<Child> {
    // It ends when this process does, however that ends, and the shell not before it.
    const RUN: &str = r#"redis-server "$@" >log 2>&1 & echo $! >pid; cat >/dev/null; kill -CONT $! 2>/dev/null; kill -KILL $! 2>/dev/null; wait"#;
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return None;
    }
    let _ = fs::remove_file(directory.join("pid"));
    let mut command = Command::new("sh");
    command.args(["-c", RUN, "sh"]).current_dir(directory).stdin(Stdio::piped());
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no"]).args(settings);
    let child = command.spawn().expect("a shell");
    let (began, address) = (Instant::now(), (Ipv4Addr::LOCALHOST, port).into());
    let has_id = || fs::read_to_string(directory.join("pid")).is_ok_and(|id| id.ends_with('\n'));
    let is_up = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
    while !(has_id() && is_up()) {
        assert!(began.elapsed() < Duration::from_secs(20), "the server starts");
        thread::sleep(Duration::from_millis(10));
    }
    Some(child)
}

/// Says that a test was not run, if it need not be.
pub(crate) fn skip<T>() -> Option<T> {
    let must_run = std::env::var("LARDER_REQUIRE").is_ok_and(|names| names.contains("redis"));
    assert!(!must_run, "there is no redis-server, and LARDER_REQUIRE asks for one");
    println!("SKIPPED, no redis-server");
    None
}

/// The URL of a server that all tests share: `LARDER_REDIS_URL`, or one that is started.
pub(crate) fn shared() -> Option<&'static str> {
    static SERVER: OnceLock<Option<(Option<Server>, String)>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        if let Ok(url) = std::env::var("LARDER_REDIS_URL") {
            return Some((None, url));
        }
        let server = Server::start(&[])?;
        let url = server.url();
        Some((Some(server), url))
    });
    match server {
        Some((_, url)) => Some(url),
        None => skip(),
    }
}

/// A server of the test's own.
pub(crate) fn own(settings: &[(&str, &str)]) -> Option<Server> {
    Server::start(settings).or_else(skip)
}

/// A namespace that no other test has.
pub(crate) fn namespace() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}", std::process::id())
}

/// With a namespace, and a secret that all have.
pub(crate) fn options(namespace: &str) -> RedisOptions {
    let patient = Duration::from_secs(10);
    RedisOptions::new()
        .namespace(namespace)
        .secret(Secret::from_bytes([7; 32]))
        .max_entry_bytes(4 << 20)
        // Other jobs hold the machine.
        .lookup_timeout(patient)
        .connect_timeout(patient)
}

/// An empty store on the shared server.
pub(crate) fn store() -> Option<RedisManager> {
    Some(options(&namespace()).open(shared()?).expect("the URL is fine"))
}

/// Says one thing to the server, as an operator would. Gives the answer, one item a line.
pub(crate) fn say(url: &str, words: &[&[u8]]) -> String {
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    let value = redis::ConnectionLike::req_command(&mut connection, &command);
    text(&value.expect("an answer"))
}

fn text(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::SimpleString(text) => text.clone(),
        redis::Value::Int(number) => number.to_string(),
        redis::Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join("\n"),
        redis::Value::VerbatimString { text, .. } => text.clone(),
        other => format!("{other:?}"),
    }
}

/// The URL for a user of its own, who has the rights that the docs name for it.
pub(crate) fn user(url: &str) -> String {
    let docs = include_str!("../../src/storage/two_nodes.md");
    let rights = docs.split('`').find(|code| code.starts_with("+@read"));
    let rights = rights.expect("the docs name them").split_whitespace();
    let words = ["ACL", "SETUSER", "node", "on", ">word"].into_iter().chain(rights);
    assert_eq!(say(url, &words.map(str::as_bytes).collect::<Vec<_>>()), "ok");
    url.replace("//", "//node:word@")
}

/// The keys of a namespace that match `pattern`.
pub(crate) fn keys(url: &str, namespace: &str, pattern: &str) -> Vec<String> {
    let pattern = format!("{namespace}:{pattern}");
    let found = say(url, &[b"KEYS", pattern.as_bytes()]);
    found.lines().map(str::to_owned).collect()
}

/// Nobody gets the port of a server that is away, so that it can be there again.
#[test]
fn the_port_of_a_server_is_kept() {
    let Some(mut server) = own(&[]) else { return };
    for _ in 0..2 {
        server.kill();
        let address = (Ipv4Addr::LOCALHOST, server.port.number).into();
        let other = TcpSocket::new_v4().unwrap().bind(address).unwrap_err();
        assert_eq!(other.kind(), std::io::ErrorKind::AddrInUse);
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        server.restart();
        assert_eq!(say(&server.url(), &[b"PING"]), "PONG");
    }
}
