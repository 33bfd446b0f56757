//! Asks for a URL several times through a private cache, over reqwest; redirects are followed
//! outside of the cache, so that each hop is kept on its own.

#[path = "support/args.rs"]
mod args;
#[path = "support/client.rs"]
mod client;

use std::{process::ExitCode, time::Instant};

use larder::{BoxError, CacheLayer, MemoryManager, Policy, ReqwestService, reqwest::into_response};
use tower::{Service, ServiceBuilder};
use tower_http::follow_redirect::{FollowRedirectLayer, RequestUri};

use self::client::{Answer, Options};

const SUMMARY: &str = "Asks for a URL several times through a private cache, over reqwest.
Redirects are followed; each hop is kept on its own.

Usage: reqwest_client [OPTIONS] URL [COUNT]";

#[tokio::main]
async fn main() -> ExitCode {
    let options = args::or_exit(Options::parse(SUMMARY));
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reqwest_client: {}", args::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(mut options: Options) -> Result<(), BoxError> {
    let cache = CacheLayer::new(MemoryManager::new(options.capacity)).policy(Policy::private());
    // Gzip and the like are left to reqwest's features; TLS too.
    let mut client = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(cache)
        .service(ReqwestService::new(reqwest::Client::builder())?);

    for number in 0..options.count {
        if number > 0 {
            tokio::time::sleep(options.pause).await;
        }
        let request = options.request().body(reqwest::Body::default())?;
        let began = Instant::now();
        let response = client.call(request).await?;
        let cache_status = response.body().status();
        let mut answer = Answer::new(began, response.status(), response.headers(), cache_status);

        // From here on it is a response as reqwest's users know it.
        let asked = response.extensions().get::<RequestUri>().map(|asked| asked.0.clone());
        let asked = asked.unwrap_or_else(|| options.url.clone());
        let mut response = into_response(asked, response);
        if options.url != response.url().as_str() {
            println!("    {}", response.url());
        }
        options.begin_output()?;
        while let Some(data) = response.chunk().await? {
            answer.length += data.len() as u64;
            options.write(&data)?;
        }
        answer.print();
    }
    Ok(())
}
