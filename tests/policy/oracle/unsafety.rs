//! RFC 9111 §4.4; RFC 9110 §9.2.1.

use super::{
    message::{Request, Response},
    store::Id,
    store::Oracle,
    tri::Tri,
    uri,
};

pub enum Method {
    /// The store may answer.
    Get,
    /// Neither answered from the store, nor a reason to invalidate.
    Safe,
    Unsafe,
    /// Registered as safe, but a cache need not know it.
    Unknown,
}

pub fn method(name: &str) -> Method {
    match name {
        "GET" | "HEAD" => Method::Get,
        "OPTIONS" | "TRACE" => Method::Safe,
        "PROPFIND" | "REPORT" | "SEARCH" | "QUERY" => Method::Unknown,
        _ => Method::Unsafe,
    }
}

impl Oracle {
    /// Stored responses, and whether they are to be invalidated. All others must stay.
    pub fn invalidated(&self, request: &Request, response: &Response) -> Vec<(Id, Tri)> {
        let by_method = match method(&request.method) {
            Method::Unsafe => Tri::Yes,
            Method::Unknown => Tri::May,
            _ => Tri::No,
        };
        if !(200..400).contains(&response.status) {
            return Vec::new();
        }
        let target = uri::target(&request.uri);
        let mut all = vec![(target.clone(), Tri::Yes)];
        for name in ["location", "content-location"] {
            let lines = response.fields.lines(name);
            for line in &lines {
                let other = uri::resolve(&request.uri, line);
                // "MUST NOT … if the origin differs"; of several lines none is the one.
                let same_origin = match (&other, &target) {
                    (Some(a), Some(b)) => a.0 == b.0 && a.1 == b.1,
                    _ => false,
                };
                if same_origin {
                    all.push((other, if lines.len() == 1 { Tri::Yes } else { Tri::May }));
                }
            }
        }
        let mut found = Vec::new();
        for (uri, sure) in all {
            for stored in &self.stored {
                if uri::target(&stored.request.uri) == uri {
                    found.push((stored.id, sure & by_method));
                }
            }
        }
        found
    }
}
