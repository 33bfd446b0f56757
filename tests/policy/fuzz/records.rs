//! What is kept of heads, damaged, with sums that are right again.

use http::HeaderMap;
use larder::{
    Policy,
    policy::StoredHead,
    storage::codec::{decode_head, decode_index, decode_trailers, encode_head, encode_trailers},
};

use super::{
    super::{alone::kept, counting::allocated},
    mutate::{Numbers, mutate},
    seal,
    text::value,
};

fn stored(numbers: &mut Numbers) -> StoredHead {
    let mut fields = HeaderMap::new();
    fields.append("cache-control", value("max-age=60, stale-if-error=9, no-cache=\"x-1\""));
    fields.append("etag", value("\"1\""));
    fields.append("surrogate-key", value("one two three"));
    fields.append("cache-groups", value("\"g\""));
    for _ in 0..[0, 2, 30, 200][numbers.below(4)] {
        let name = ["x-1", "link", "set-cookie2", "x-long-name"][numbers.below(4)];
        fields.append(name, value(&"v".repeat(numbers.below(50))));
    }
    let kept = kept(&Policy::shared(), &HeaderMap::new(), &fields).expect("it may be stored");
    kept.head().clone()
}

/// Decoding is total, takes little memory, and what it accepts is itself when it is written again.
pub fn heads(numbers: &mut Numbers) -> Result<(), String> {
    let (one, other) = (stored(numbers), stored(numbers));
    let (Ok(mut bytes), Ok(other)) = (encode_head(&one), encode_trailers(other.headers())) else {
        return Err("it cannot be written".to_owned());
    };
    mutate(numbers, &mut bytes, &other);
    if numbers.below(4) > 0 {
        seal::record(&mut bytes);
    }
    let most = 4 * bytes.len() + 4096;
    let bounded = |taken: usize| match taken <= most {
        true => Ok(()),
        false => Err(format!("{} bytes made it allocate {taken}: {bytes:?}", bytes.len())),
    };
    let (taken, head) = allocated(|| decode_head(&bytes));
    bounded(taken)?;
    let (taken, trailers) = allocated(|| decode_trailers(&bytes));
    bounded(taken)?;
    let (taken, _) = allocated(|| decode_index(&bytes));
    bounded(taken)?;
    if let Some(head) = head {
        let again = encode_head(&head).map_err(|error| error.to_string())?;
        let again = decode_head(&again).ok_or("what was read cannot be read again")?;
        if (again.status(), again.headers(), again.lifetime())
            != (head.status(), head.headers(), head.lifetime())
        {
            return Err(format!("another head: {bytes:?}"));
        }
    }
    match trailers {
        Some(trailers) if encode_trailers(&trailers).is_err() => Err("no trailers".to_owned()),
        _ => Ok(()),
    }
}
