//! Asks for a URL several times through a private cache, over hyper-util's client.

#[path = "support/args.rs"]
mod args;
#[path = "support/client.rs"]
mod client;

use std::{process::ExitCode, time::Instant};

use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use larder::{BoxError, CacheLayer, MemoryManager, Policy};
use tower::{Layer, Service};

use self::client::{Answer, Options};

const SUMMARY: &str = "Asks for a URL several times through a private cache, over hyper.
Redirects are shown, not followed.

Usage: hyper_client [OPTIONS] URL [COUNT]";

#[tokio::main]
async fn main() -> ExitCode {
    let options = args::or_exit(Options::parse(SUMMARY));
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hyper_client: {}", args::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(mut options: Options) -> Result<(), BoxError> {
    // The three lines that matter: a client, a cache, and the one inside of the other.
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let cache = CacheLayer::new(MemoryManager::new(options.capacity)).policy(Policy::private());
    let mut client = cache.layer(client);

    for number in 0..options.count {
        if number > 0 {
            tokio::time::sleep(options.pause).await;
        }
        let request = options.request().body(Empty::new())?;
        let began = Instant::now();
        let response = client.call(request).await?;
        let cache_status = response.body().status();
        let mut answer = Answer::new(began, response.status(), response.headers(), cache_status);
        if let Some(target) = response.headers().get(http::header::LOCATION) {
            println!("    Location: {target:?}");
        }

        options.begin_output()?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                answer.length += data.len() as u64;
                options.write(&data)?;
            }
        }
        answer.print();
    }
    Ok(())
}
