//! Purges a cache over HTTP, and says how many entries went.

#[path = "support/args.rs"]
mod args;

use std::{process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use larder::{BoxError, Purge};
use lexopt::prelude::*;
use serde_json::Value as Json;

const HELP: &str = r#"Takes responses out of a cache, waits until they are gone, and says how many.

Usage: purge --admin URL [OPTIONS] SELECTOR

Selectors:
  url URL        one URL with all of its variants
  prefix URL     all URLs below one
  host HOST      everything of one host
  tag TAG        all that carries a tag
  group GROUP    a cache group, of the origin that --origin names
  all            everything
  -              one purge a line on stdin, as JSON: {"tag": "reports", "soft": true}

Options:
  --admin URL    where the cache's admin service is, such as http://127.0.0.1:3001
  --token TOKEN  what it knows you by [default: $LARDER_ADMIN_TOKEN]
  --origin URL   of a tag or a group: of this origin only
  --in-namespace NAME
                 of a tag or a group: of this namespace, not of the cache's own
  --everywhere   of a tag or a group: of every namespace
  --soft         what is selected stays, and is stale from now on
  --dry-run      say how many would go
  --by LABEL     who purges, or why, for those who follow the purges
  --help

Ends with 0 when it is done, also if nothing was selected; with 1 if the cache could not be asked, or
refused, or could not tell others; with 2 if the command line makes no sense.
"#;

struct Options {
    admin: Uri,
    token: String,
    purges: Vec<Purge>,
    what: What,
}

/// What the cache has done, by its own account.
struct Done {
    text: String,
    what: What,
    count: Option<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Hard,
    Soft,
    DryRun,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = args::or_exit(parse());
    let mut code = ExitCode::SUCCESS;
    for purge in &options.purges {
        match run(&options, purge).await {
            Ok(done) => {
                let entries = match done.count {
                    Some(1) => "1 entry".to_owned(),
                    Some(count) => format!("{count} entries"),
                    None => "entries that cannot be counted".to_owned(),
                };
                let what = match done.what {
                    What::Hard => "purged",
                    What::Soft => "made stale",
                    What::DryRun => "would be purged",
                };
                println!("{}: {entries} {what}", done.text);
            }
            Err(error) => {
                eprintln!("purge: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn parse() -> Result<Options, lexopt::Error> {
    let (mut admin, mut token, mut origin, mut scope, mut by) = (None, None, None, None, None);
    let (mut what, mut words) = (What::Hard, Vec::new());
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("admin") => {
                let url = "http://HOST[:PORT][/PATH]";
                admin = Some(args::value(&mut parser, "--admin", url, read_admin)?);
            }
            Long("token") => token = Some(parser.value()?.string()?),
            Long("origin") => origin = Some(parser.value()?.string()?),
            Long("in-namespace") => scope = Some(Some(parser.value()?.string()?)),
            Long("everywhere") => scope = Some(None),
            Long("soft") => what = What::Soft,
            Long("dry-run") => what = What::DryRun,
            Long("by") => by = Some(parser.value()?.string()?),
            Long("help") | Short('h') => args::help(HELP),
            Value(word) => words.push(word.string()?),
            _ => return Err(arg.unexpected()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let purge = match (&words[..], &origin) {
        (["url", url], None) => Purge::url(url),
        (["prefix", url], None) => Purge::prefix(url),
        (["host", host], None) if !host.is_empty() => Ok(Purge::host(host)),
        (["tag", tag], None) if !tag.is_empty() => Ok(Purge::tag(*tag)),
        (["tag", tag], Some(origin)) if !tag.is_empty() => Purge::tag(*tag).of_origin(origin),
        (["group", group], Some(origin)) => Purge::group(origin, *group),
        (["group", _], None) => return Err("a group needs --origin URL".into()),
        (["all"], None) => Ok(Purge::everything()),
        (["-"], None) if scope.is_none() && by.is_none() && what != What::Soft => {
            let purges = read_lines()?;
            return options(admin, token, purges, what);
        }
        ([], _) => return Err("what is to be purged?".into()),
        _ => return Err(format!("`{}` is no selector", words.join(" ")).into()),
    };
    let mut purge = purge.map_err(|error| error.to_string())?;
    if let Some(scope) = scope {
        if !matches!(words[0], "tag" | "group") {
            return Err(format!("`{}` is in every namespace", words[0]).into());
        }
        purge = match scope {
            Some(namespace) => purge.in_namespace(&namespace),
            None => purge.everywhere(),
        };
    }
    if let Some(by) = by {
        purge = purge.by(by);
    }
    options(admin, token, vec![purge], what)
}

fn options(
    admin: Option<Uri>,
    token: Option<String>,
    purges: Vec<Purge>,
    what: What,
) -> Result<Options, lexopt::Error> {
    let soft = |purge: Purge| if what == What::Soft { purge.soft() } else { purge };
    let purges = purges.into_iter().map(soft).collect();
    let token = token.or_else(|| std::env::var("LARDER_ADMIN_TOKEN").ok());
    let token = token.filter(|token| !token.is_empty()).ok_or("which --token?")?;
    Ok(Options { admin: admin.ok_or("which --admin?")?, token, purges, what })
}

/// All of them, so that a wrong line stops everything before it begins.
fn read_lines() -> Result<Vec<Purge>, lexopt::Error> {
    let mut purges = Vec::new();
    for (number, line) in std::io::stdin().lines().enumerate() {
        let line = line.map_err(|error| format!("stdin: {error}"))?;
        if !line.trim().is_empty() {
            let purge = Purge::from_json(&line);
            purges.push(purge.map_err(|error| format!("line {}: {error}", number + 1))?);
        }
    }
    Ok(purges)
}

fn read_admin(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    (uri.scheme_str() == Some("http") && uri.authority().is_some() && uri.query().is_none())
        .then_some(uri)
}

async fn run(options: &Options, purge: &Purge) -> Result<Done, String> {
    let route = if options.what == What::DryRun { "dry-run" } else { "purge" };
    let url = format!("{}/{route}", options.admin.to_string().trim_end_matches('/'));
    let body = purge.to_json().map_err(|error| error.to_string())?;
    let request = Request::post(url)
        .header(header::AUTHORIZATION, format!("Bearer {}", options.token))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;

    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_secs(10)));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let response = client.request(request).await.map_err(|error| args::chain(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), 1 << 20).collect().await;
    let body = body.map_err(|error: BoxError| error.to_string())?.to_bytes();
    let answer: Json = serde_json::from_slice(&body)
        .map_err(|_| format!("{} is no admin service: {status}", options.admin))?;
    if status != StatusCode::OK {
        let sentence = answer["error"].as_str().unwrap_or("without a reason");
        return Err(format!("{}: {sentence}", status.as_u16()));
    }
    let is_set = |name: &str| answer["purge"][name] == true;
    let what = match (is_set("dry_run"), is_set("soft")) {
        (true, _) => What::DryRun,
        (false, true) => What::Soft,
        (false, false) => What::Hard,
    };
    let text = answer["text"].as_str().unwrap_or_default().to_owned();
    Ok(Done { text, what, count: answer["count"].as_u64() })
}
