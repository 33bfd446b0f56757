//! What the two clients have in common: their command line, and a line for each answer.

use std::{
    fs::File,
    io::Write,
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode, Uri, header, request};
use larder::CacheStatus;
use lexopt::prelude::*;

use crate::args;

pub struct Options {
    pub url: Uri,
    pub count: u32,
    pub pause: Duration,
    pub capacity: u64,
    headers: HeaderMap,
    output: Option<File>,
}

impl Options {
    /// `summary` opens the help text.
    pub fn parse(summary: &str) -> Result<Self, lexopt::Error> {
        let (mut url, mut count) = (None, None);
        let (mut headers, mut output) = (HeaderMap::new(), None);
        let (mut pause, mut capacity) = (Duration::ZERO, 64 << 20);
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("header") => {
                    let (name, value) =
                        args::value(&mut parser, "--header", "'NAME: VALUE'", args::field)?;
                    headers.append(name, value);
                }
                Long("pause") => {
                    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
                    pause = args::value(&mut parser, "--pause", "a number of seconds", seconds)?;
                }
                Long("capacity") => {
                    let wanted = "a number of bytes such as 64M";
                    capacity = args::value(&mut parser, "--capacity", wanted, args::bytes)?;
                }
                Long("output") => {
                    let create = |path: &str| File::create(path).ok();
                    let file = "a file that can be written";
                    output = Some(args::value(&mut parser, "--output", file, create)?);
                }
                Long("help") | Short('h') => args::help(&format!("{summary}\n{HELP}")),
                Value(value) if url.is_none() => {
                    let absolute = |text: &str| {
                        text.parse().ok().filter(|u: &Uri| u.scheme_str() == Some("http"))
                    };
                    url = Some(args::positional(
                        value,
                        "URL",
                        "http://HOST/PATH (these clients have no TLS)",
                        absolute,
                    )?);
                }
                Value(value) if count.is_none() => {
                    let read = |text: &str| text.parse().ok();
                    count = Some(args::positional(value, "COUNT", "a number", read)?);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        let url = url.ok_or("which URL?")?;
        Ok(Self { url, count: count.unwrap_or(2), pause, capacity, headers, output })
    }

    /// The request, but for its body.
    pub fn request(&self) -> request::Builder {
        let mut request = http::Request::get(self.url.clone());
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
        }
        request
    }

    /// Begins a new answer: only the last one is kept.
    pub fn begin_output(&mut self) -> std::io::Result<()> {
        use std::io::Seek;
        let Some(file) = &mut self.output else { return Ok(()) };
        file.rewind()?;
        file.set_len(0)
    }

    pub fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        self.output.as_mut().map_or(Ok(()), |file| file.write_all(chunk))
    }
}

const HELP: &str = "
Arguments:
  URL                    what to ask for
  COUNT                  how often, one after the other [default: 2]
Options:
  --header 'NAME: VALUE' a field of each request, may be repeated
  --pause SECONDS        between two requests [default: 0]
  --capacity BYTES       of the cache, also 64K, 64M, 1G [default: 64M]
  --output FILE          where to write the body of the last answer
  --help
";

/// One answer: what came, and how it came about.
pub struct Answer {
    began: Instant,
    first_byte: Duration,
    status: StatusCode,
    age: String,
    cache: CacheStatus,
    pub length: u64,
}

impl Answer {
    pub fn new(began: Instant, status: StatusCode, fields: &HeaderMap, cache: CacheStatus) -> Self {
        let age = fields.get(header::AGE).and_then(|age| age.to_str().ok()).unwrap_or("-");
        let age = age.to_owned();
        Self { began, first_byte: began.elapsed(), status, age, cache, length: 0 }
    }

    pub fn print(&self) {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "{} {:>10} bytes  age {:>3}  head {:>8.2} ms  all {:>8.2} ms  {}",
            self.status.as_u16(),
            self.length,
            self.age,
            milliseconds(self.first_byte),
            milliseconds(self.began.elapsed()),
            self.cache,
        );
    }
}
