//! A picture of what a hit costs over the size of its body, the variants and the entries beside it.

use std::{
    fmt::Write,
    fs,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Uri, header};
use http_body_util::Empty;
use larder::Policy;
use tower::Layer;

use super::{
    KIB, Random, layer,
    subjects::{Floor, Handler, URI, call, call_with, request},
    uris,
};

const ROUNDS: usize = 201;
const CALLS: u32 = 1_000;
/// What a hit may cost.
const BOUND: f64 = 1.5;

/// Measures, and writes the picture to `path`.
pub(crate) fn write(path: &Path, entries: usize) {
    let panels = [bodies(), variants(), among(entries)];
    fs::write(path, svg(&panels)).expect("it is written");
    println!("{}", path.display());
}

struct Panel {
    title: &'static str,
    /// What is measured, from the left to the right, and how that is called.
    points: Vec<(usize, String)>,
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    /// For each point, how many times the floor.
    ratios: Vec<f64>,
}

/// How many times the floor, in the fastest round of each, which nothing else has disturbed.
fn ratio(title: &str, point: &str, mut floor: impl FnMut(), mut larder: impl FnMut()) -> f64 {
    let mut fastest = [Duration::MAX; 2];
    let round = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call());
        start.elapsed() / CALLS
    };
    // The first hits make shared what was not yet.
    (0..4).for_each(|_| larder());
    for _ in 0..ROUNDS {
        fastest[0] = fastest[0].min(round(&mut floor));
        fastest[1] = fastest[1].min(round(&mut larder));
    }
    let ratio = fastest[1].div_duration_f64(fastest[0]);
    println!(
        "{title:<12} {point:>9} {:>6} {:>6} ns {ratio:>6.2}",
        fastest[0].as_nanos(),
        fastest[1].as_nanos()
    );
    ratio
}

fn bodies() -> Panel {
    let title = "bytes in the body";
    let sizes = (0..=7).map(|n| KIB << (2 * n));
    let name = |size: usize| match size / KIB {
        kib @ ..KIB => format!("{kib}K"),
        kib => format!("{}M", kib / KIB),
    };
    let points: Vec<_> = sizes.map(|size| (size, name(size))).collect();
    let measured = points.iter().map(|(size, name)| {
        let (handler, uri) = (Handler::new(*size), Uri::from_static(URI));
        let mut floor = Floor::new(handler.clone(), &uri);
        let mut service = layer().layer(handler);
        let one = || {
            black_box(call(&mut floor, &uri));
        };
        ratio(title, name, one, || {
            black_box(call(&mut service, &uri));
        })
    });
    let lines = vec![Line { name: "", ratios: measured.collect() }];
    Panel { title, points, lines }
}

fn variants() -> Panel {
    let title = "variants of the URL";
    let ask = |n: usize| -> Request<Empty<_>> {
        let mut request = request(&Uri::from_static(URI));
        let value = HeaderValue::from_str(&format!("x-{n:05}")).expect("it is a value");
        request.headers_mut().insert(header::ACCEPT_LANGUAGE, value);
        request
    };
    let points = powers(10_000);
    let measured = points.iter().map(|(count, name)| {
        let mut handler = Handler::new(KIB);
        let headers = Arc::make_mut(&mut handler.headers);
        headers.insert(header::VARY, HeaderValue::from_static("accept-language"));
        let mut floor = Floor::new(handler.clone(), &Uri::from_static(URI));
        let mut service = layer().policy(Policy::shared().max_variants(*count)).layer(handler);
        for n in 0..*count {
            call_with(&mut service, ask(n));
        }
        let n = count / 2;
        let one = || {
            black_box(call_with(&mut floor, ask(n)));
        };
        ratio(title, name, one, || {
            black_box(call_with(&mut service, ask(n)));
        })
    });
    let lines = vec![Line { name: "", ratios: measured.collect() }];
    Panel { title, points, lines }
}

fn among(most: usize) -> Panel {
    let title = "entries in the cache";
    let points = powers(most);
    let uris = uris(most);
    let mut lines =
        ["one, again and again", "any of them"].map(|name| Line { name, ratios: Vec::new() });
    for (count, name) in &points {
        let uris = &uris[..*count];
        let mut floor = Floor::of(&Handler::new(KIB), uris);
        let mut service = layer().layer(Handler::owning(KIB));
        for uri in uris {
            call(&mut service, uri);
        }
        // So that each has been hit before.
        for uri in uris {
            call(&mut service, uri);
        }
        let one = || {
            black_box(call(&mut floor, &uris[0]));
        };
        lines[0].ratios.push(ratio(title, name, one, || {
            black_box(call(&mut service, &uris[0]));
        }));
        let (mut here, mut there) = (Random(1), Random(1));
        let one = || {
            black_box(call(&mut floor, &uris[here.below(*count)]));
        };
        let other = || {
            black_box(call(&mut service, &uris[there.below(*count)]));
        };
        lines[1].ratios.push(ratio(title, name, one, other));
    }
    Panel { title, points, lines: lines.into() }
}

/// 1, 10, 100, … and `most`.
fn powers(most: usize) -> Vec<(usize, String)> {
    let name = |n: usize| match n {
        ..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    };
    (0..).map(|n| 10_usize.pow(n)).take_while(|n| *n <= most).map(|n| (n, name(n))).collect()
}

/// Of a panel, and what is left and right of it.
const WIDTH: f64 = 244.0;
const GAP: f64 = 36.0;
/// From the highest ratio down to none.
const TOP: f64 = 84.0;
const BOTTOM: f64 = 274.0;

/// Colours that can be read on white and on black: a page does not tell a picture which it is.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#7d8590}
.head{font-size:14px}.head,.title{font-weight:600;fill:#6e7781}
.mid{text-anchor:middle}.end{text-anchor:end}
path{fill:none;stroke-width:1.5}.grid{stroke:#7d8590;stroke-width:1;opacity:.35}
path.floor{stroke:#7d8590}path.bound{stroke:#e5534b;stroke-dasharray:5 4}text.bound{fill:#e5534b}
path.line0{stroke:#2f81f7;stroke-width:2}text.line0,circle.line0{fill:#2f81f7}
path.line1{stroke:#a371f7;stroke-width:2}text.line1,circle.line1{fill:#a371f7}";

fn svg(panels: &[Panel; 3]) -> String {
    let ratios = panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.ratios);
    let most = ratios.fold(2.0, |most: f64, ratio| most.max((ratio * 2.0).ceil() / 2.0));
    let mut svg = Svg { text: String::new(), most };
    let (width, height) = (GAP + 3.0 * (WIDTH + GAP), BOTTOM + 42.0);
    svg.put(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>A fresh hit beside the floor: a look-up, and clones of head and body</title>\n\
         <style>{STYLE}</style>"
    ));
    svg.write("head", GAP, 20.0, "A fresh hit, as a multiple of the floor");
    for (number, panel) in (0_u8..).zip(panels) {
        svg.panel(panel, GAP + f64::from(number) * (WIDTH + GAP), number == 0);
    }
    svg.put(format_args!("</svg>"));
    svg.text
}

struct Svg {
    text: String,
    /// The highest ratio.
    most: f64,
}

impl Svg {
    fn put(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("memory does not fail");
    }

    fn write(&mut self, class: &str, x: f64, y: f64, text: impl std::fmt::Display) {
        self.put(format_args!("<text class=\"{class}\" x=\"{x:.0}\" y=\"{y:.0}\">{text}</text>"));
    }

    fn height(&self, ratio: f64) -> f64 {
        BOTTOM - ratio / self.most * (BOTTOM - TOP)
    }

    fn panel(&mut self, panel: &Panel, left: f64, is_first: bool) {
        let right = left + WIDTH;
        self.write("title", left, 50.0, panel.title);
        for half in 0..=(2.0 * self.most) as u8 {
            let ratio = f64::from(half) / 2.0;
            let (y, class) = match ratio {
                1.0 => (self.height(ratio), "floor"),
                BOUND => (self.height(ratio), "bound"),
                _ => (self.height(ratio), "grid"),
            };
            self.put(format_args!("<path class=\"{class}\" d=\"M{left:.0} {y:.1}H{right:.0}\"/>"));
            if is_first {
                self.write("end", left - 6.0, y + 4.0, ratio);
                match ratio {
                    1.0 => {
                        self.write("", left + 4.0, y + 15.0, "the floor: a look-up and two clones")
                    }
                    BOUND => self.write("bound", left + 4.0, y - 6.0, "the bound"),
                    _ => {}
                }
            }
        }
        let least = panel.points.first().map_or(1.0, |(n, _)| *n as f64);
        let span = panel.points.last().map_or(1.0, |(n, _)| (*n as f64 / least).ln());
        let place = |n: usize| left + 14.0 + (n as f64 / least).ln() / span * (WIDTH - 28.0);
        for (n, name) in &panel.points {
            self.write("mid", place(*n), BOTTOM + 18.0, name);
        }
        for (number, line) in panel.lines.iter().enumerate() {
            let mut points = String::new();
            for ((n, _), ratio) in panel.points.iter().zip(&line.ratios) {
                let separator = if points.is_empty() { 'M' } else { 'L' };
                let (x, y) = (place(*n), self.height(*ratio));
                write!(points, "{separator}{x:.1} {y:.1}").expect("memory does not fail");
                self.put(format_args!(
                    "<circle class=\"line{number}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
                ));
            }
            self.put(format_args!("<path class=\"line{number}\" d=\"{points}\"/>"));
            let last = panel.points.len() - 1;
            for at in [0, last] {
                let (ratio, x) = (line.ratios[at], place(panel.points[at].0));
                // Beside another line, the lower figure stands below.
                let mut lines = panel.lines.iter().enumerate();
                let is_below = lines.any(|(n, other)| (other.ratios[at], n) > (ratio, number));
                let y = self.height(ratio) + if is_below { 18.0 } else { -9.0 };
                self.write(&format!("mid line{number}"), x, y, format_args!("{ratio:.2}"));
            }
            let (x, y) = (left + 152.0 * number as f64, 70.0);
            if !line.name.is_empty() {
                self.write(&format!("line{number}"), x, y, format_args!("● {}", line.name));
            }
        }
    }
}
