use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, StatusCode, Uri, header, request};
use http_body::Body;
use serde_json::{Map, Value};
use tower_service::Service;

use super::{
    AdminBody,
    authorise::{Access, Action, Authorise},
    body::read,
    events::{Events, MAX_FOLLOWERS, Places},
    refusal::Refusal,
    render, respond,
    routes::{self, Route},
    with_fields,
};
use crate::{
    BoxFuture, CacheHandle, CacheManager, Purge, handle,
    purge::json::{from_fields, parse_object},
};

/// Answers the requests that [the module](self::super) lists.
///
/// It never fails, and is always ready. It takes any request's body, so that a router takes it as it is.
pub struct AdminService<M> {
    admin: Arc<Admin<M>>,
}

struct Admin<M> {
    handle: CacheHandle<M>,
    authoriser: Box<dyn Authorise>,
    followers: Places,
}

impl<M: CacheManager> AdminService<M> {
    /// A service for the cache of `handle`. `authoriser` is asked for each request, before anything
    /// else.
    pub fn new(handle: CacheHandle<M>, authoriser: impl Authorise) -> Self {
        let (authoriser, followers) = (Box::new(authoriser), Places::default());
        Self { admin: Arc::new(Admin { handle, authoriser, followers }) }
    }
}

impl<M, B> Service<Request<B>> for AdminService<M>
where
    M: CacheManager,
    B: Body<Data: Send> + Send + 'static,
{
    type Response = Response<AdminBody>;
    type Error = Infallible;
    type Future = AdminFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> AdminFuture {
        let admin = self.admin.clone();
        AdminFuture(Box::pin(async move {
            let (head, body) = request.into_parts();
            admin.answer(head, body).await.unwrap_or_else(Refusal::into_response)
        }))
    }
}

impl<M: CacheManager> Admin<M> {
    async fn answer<B: Body>(
        &self,
        head: request::Parts,
        body: B,
    ) -> Result<Response<AdminBody>, Refusal> {
        let route = Route::of(&head);
        let action = route.as_ref().map_or(Action::Read, |route| route.action());
        let by = match self.authoriser.authorise(&head, action) {
            Access::Granted => None,
            Access::GrantedTo(name) => Some(name),
            Access::Unauthenticated => return Err(Refusal::unauthenticated(&*self.authoriser)),
            Access::Forbidden => return Err(Refusal::forbidden()),
        };
        let route = route?;
        route.check_query(&head)?;
        let shown = match route {
            Route::Events => return self.follow(),
            Route::Url => {
                if !read(body).await?.is_empty() {
                    return Err(Refusal::invalid("PURGE takes no body; POST /purge does."));
                }
                self.purge(self.url(&head)?, by).await?
            }
            Route::Purge => self.purge(Purge::from_object(object(&head, body).await?)?, by).await?,
            Route::DryRun => {
                let purge = Purge::from_object(object(&head, body).await?)?;
                self.purge(purge.dry_run(), by).await?
            }
            Route::Entries => {
                let list = routes::list(head.uri.query().unwrap_or_default())?;
                render::page(&self.handle.list(&list).await?, self.handle.core.clock.now())
            }
            Route::Inspect => self.inspect(object(&head, body).await?).await?,
            Route::Stats => render::stats(&self.handle.stats(), self.handle.bus_position()),
        };
        Ok(respond(StatusCode::OK, &shown))
    }

    /// What a GET with this target, or with this `Host` if the target says nothing of that (RFC 9112
    /// §3.2.2), is looked up by.
    fn url(&self, head: &request::Parts) -> Result<Purge, Refusal> {
        let mut fields = HeaderMap::new();
        let host = head.headers.get_all(header::HOST);
        for host in host.iter().filter(|_| head.uri.authority().is_none()) {
            fields.append(header::HOST, host.clone());
        }
        let key = self.handle.key(&handle::get(&head.uri, &fields))?;
        Ok(Purge::resource(&key))
    }

    async fn purge(&self, purge: Purge, by: Option<String>) -> Result<Value, Refusal> {
        let purge = match (by, purge.label()) {
            (None, _) => purge,
            (Some(name), None) => purge.by(name),
            (Some(name), Some(label)) => {
                let label = format!("{name}: {label}");
                purge.by(label)
            }
        };
        let mut shown = render::purge(&purge);
        let purged = self.handle.purge(purge).await?;
        let count = match purged.swept().await {
            Ok(count) => Some(count),
            Err(error) if error.is_unsupported() => None,
            Err(error) => return Err(error.into()),
        };
        shown["seq"] = purged.seq().into();
        shown["count"] = count.into();
        Ok(shown)
    }

    async fn inspect(&self, mut object: Map<String, Value>) -> Result<Value, Refusal> {
        let url = object.remove("url");
        let url = url.as_ref().and_then(Value::as_str).and_then(|url| url.parse::<Uri>().ok());
        let Some(url) = url.filter(|url| url.scheme().is_some() && url.authority().is_some())
        else {
            return Err(Refusal::invalid("`url` takes an absolute URL."));
        };
        let fields = object.remove("fields").map(from_fields).transpose()?.unwrap_or_default();
        if let Some(name) = object.keys().next() {
            return Err(Refusal::invalid(format!(
                "`{name}` is not known; `url` and `fields` are."
            )));
        }
        let inspection = self.handle.inspect(&handle::get(&url, &fields)).await?;
        Ok(render::inspection(&inspection))
    }

    fn follow(&self) -> Result<Response<AdminBody>, Refusal> {
        let place = self.followers.take().ok_or_else(|| Refusal::too_many(MAX_FOLLOWERS))?;
        let body = AdminBody::events(Events::new(&self.handle, place));
        Ok(with_fields(StatusCode::OK, "text/event-stream", body))
    }
}

/// The object that a request brings.
async fn object<B: Body>(head: &request::Parts, body: B) -> Result<Map<String, Value>, Refusal> {
    let media_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        return Err(Refusal::media_type());
    }
    Ok(parse_object(&read(body).await?)?)
}

impl<M> Clone for AdminService<M> {
    fn clone(&self) -> Self {
        Self { admin: self.admin.clone() }
    }
}

impl<M> fmt::Debug for AdminService<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminService").finish_non_exhaustive()
    }
}

/// Response future of [`AdminService`].
pub struct AdminFuture(BoxFuture<Response<AdminBody>>);

impl Future for AdminFuture {
    type Output = Result<Response<AdminBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for AdminFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminFuture").finish_non_exhaustive()
    }
}
