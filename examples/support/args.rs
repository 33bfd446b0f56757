//! Command lines: what cannot be used is one line on stderr and exit status 2.

#![allow(dead_code)] // no example reads every kind of value

use std::{ffi::OsString, fmt, process, time::Duration};

use http::{HeaderName, HeaderValue};
use lexopt::{Error, Parser, ValueExt};
use tokio::net::TcpListener;

/// Where the examples serve if nobody says otherwise.
pub const LISTEN: &str = "127.0.0.1:3000";

/// What was parsed, or the end of the program.
pub fn or_exit<T, E: fmt::Display>(parsed: Result<T, E>) -> T {
    parsed.unwrap_or_else(|error| {
        let program = std::env::args_os().next().unwrap_or_default();
        let program = std::path::Path::new(&program).file_name().unwrap_or_default();
        eprintln!("{}: {error} (--help tells more)", program.display());
        process::exit(2)
    })
}

/// The command line of a program that has no option but `--help`.
pub fn none(help_text: &str) -> Result<(), Error> {
    match Parser::from_env().next()? {
        None => Ok(()),
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => help(help_text),
        Some(arg) => Err(arg.unexpected()),
    }
}

/// The command line of a program that has no option but `--listen` and `--help`.
pub fn listen_only(help_text: &str) -> Result<String, Error> {
    let mut address = LISTEN.to_owned();
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            lexopt::Arg::Long("listen") => address = parser.value()?.string()?,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => help(help_text),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(address)
}

pub fn help(text: &str) -> ! {
    print!("{text}");
    process::exit(0)
}

/// The value of the option that was just read. `wanted` says what it has to be.
pub fn value<T>(
    parser: &mut Parser,
    option: &str,
    wanted: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Error> {
    positional(parser.value()?, option, wanted, read)
}

/// A value that stands by itself and is called `name`.
pub fn positional<T>(
    value: OsString,
    name: &str,
    wanted: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Error> {
    let read = value.to_str().and_then(read);
    read.ok_or_else(|| format!("{name} takes {wanted}, not {value:?}").into())
}

/// A number of bytes: `65536`, `64K`, `64M` or `1G`.
pub fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A number of seconds.
pub fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs)
}

/// A field line: `NAME: VALUE`.
pub fn field(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    Some((name.parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
}

/// An error with what it came from, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let deeper = error.to_string();
        // Some errors repeat what they came from.
        if !text.ends_with(&deeper) {
            text = format!("{text}: {deeper}");
        }
        source = error.source();
    }
    text
}

/// Listens, or ends the program: an address that cannot be listened on is an unusable value.
pub async fn listen(address: &str) -> TcpListener {
    let listener = TcpListener::bind(address).await;
    or_exit(listener.map_err(|error| format!("--listen {address:?}: {error}")))
}
