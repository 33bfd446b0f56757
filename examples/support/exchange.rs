//! The command line of `policy_alone`: a request, a response, and the request again.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri, request, response};
use larder::Policy;
use lexopt::prelude::*;

use crate::args;

const HELP: &str =
    "Tells what a cache does with a response, and with the same request later, and by which rules.

Usage: policy_alone [OPTIONS]

Options:
  --private                      a cache for one user, not for many
  --target FIELD                 a targeted field to go by, may be repeated
  --request 'METHOD URL'         [default: 'GET http://a.example/']
  --request-header 'NAME: VALUE' a field of the request, may be repeated
  --status CODE                  of the response [default: 200]
  --header 'NAME: VALUE'         a field of the response, may be repeated
  --after SECONDS                when the request comes again [default: 0]
  --again-header 'NAME: VALUE'   a field of the request that comes again, in
                                 place of those of the first, may be repeated
  --help

Example:
  policy_alone --request-header 'Authorization: x' --header 'Cache-Control: max-age=60'
";

pub struct Options {
    pub policy: Policy,
    method: Method,
    url: Uri,
    fields: HeaderMap,
    again: Option<HeaderMap>,
    pub status: StatusCode,
    response: HeaderMap,
    pub after: Duration,
}

impl Options {
    pub fn parse() -> Result<Options, lexopt::Error> {
        let mut options = Options {
            policy: Policy::shared(),
            method: Method::GET,
            url: Uri::from_static("http://a.example/"),
            fields: HeaderMap::new(),
            again: None,
            status: StatusCode::OK,
            response: HeaderMap::new(),
            after: Duration::ZERO,
        };
        let mut targets = Vec::new();
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("private") => options.policy = Policy::private(),
                Long("target") => {
                    let name = |text: &str| text.parse::<HeaderName>().ok();
                    targets.push(args::value(&mut parser, "--target", "a field name", name)?);
                }
                Long("request") => {
                    (options.method, options.url) =
                        args::value(&mut parser, "--request", "'METHOD URL'", |text| {
                            let (method, url) = text.split_once(' ')?;
                            Some((method.parse().ok()?, url.parse().ok()?))
                        })?;
                }
                Long("request-header") => {
                    append(&mut parser, "--request-header", &mut options.fields)?
                }
                Long("header") => append(&mut parser, "--header", &mut options.response)?,
                Long("again-header") => {
                    let again = options.again.get_or_insert_default();
                    append(&mut parser, "--again-header", again)?;
                }
                Long("status") => {
                    options.status = args::value(&mut parser, "--status", "100 to 999", |code| {
                        code.parse().ok()
                    })?;
                }
                Long("after") => {
                    let seconds = |text: &str| text.parse().ok().map(Duration::from_secs);
                    options.after = args::value(&mut parser, "--after", "whole seconds", seconds)?;
                }
                Long("help") | Short('h') => args::help(HELP),
                _ => return Err(arg.unexpected()),
            }
        }
        options.policy = options.policy.targets(targets);
        Ok(options)
    }

    /// The request as it comes first.
    pub fn request(&self) -> request::Parts {
        self.request_with(&self.fields)
    }

    /// The request as it comes again.
    pub fn request_again(&self) -> request::Parts {
        self.request_with(self.again.as_ref().unwrap_or(&self.fields))
    }

    fn request_with(&self, fields: &HeaderMap) -> request::Parts {
        let (mut head, ()) = Request::new(()).into_parts();
        (head.method, head.uri) = (self.method.clone(), self.url.clone());
        head.headers = fields.clone();
        head
    }

    pub fn response(&self) -> response::Parts {
        let (mut head, ()) = Response::new(()).into_parts();
        (head.status, head.headers) = (self.status, self.response.clone());
        head
    }
}

fn append(
    parser: &mut lexopt::Parser,
    option: &str,
    headers: &mut HeaderMap,
) -> Result<(), lexopt::Error> {
    let (name, value) = args::value(parser, option, "'NAME: VALUE'", args::field)?;
    headers.append(name, value);
    Ok(())
}
