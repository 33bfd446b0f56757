//! Which rules have a test. A test says in its doc comment what it holds: `Behaviour 26`,
//! `RFC 9111 §3.2, §4.3.4`, `Scenario 2.4`, `Feature head-miss`. What nobody holds is a failure here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The numbered behaviours of the requirements.
const BEHAVIOURS: std::ops::RangeInclusive<u32> = 1..=41;

/// What must be shown of the RFCs. A test of §5.2.2.4 is one of §5.2.2 as well.
const SECTIONS: [(u32, &[&str]); 7] = [
    (
        9111,
        &[
            "1.2.2", "3", "3.1", "3.2", "3.3", "3.4", "3.5", "4", "4.1", "4.2", "4.2.1", "4.2.2",
            "4.2.3", "4.2.4", "4.3", "4.3.1", "4.3.2", "4.3.3", "4.3.4", "4.3.5", "4.4", "5.1",
            "5.2", "5.2.1.1", "5.2.1.2", "5.2.1.3", "5.2.1.4", "5.2.1.5", "5.2.1.7", "5.2.2.1",
            "5.2.2.2", "5.2.2.3", "5.2.2.4", "5.2.2.5", "5.2.2.7", "5.2.2.8", "5.2.2.9",
            "5.2.2.10", "5.2.3", "5.3", "5.4", "7.3",
        ],
    ),
    (
        9110,
        &[
            "5.6.1", "5.6.4", "5.6.7", "6.6.1", "7.6.1", "8.8.3.2", "9.2.1", "9.3.3", "12.5.5",
            "13.1.2", "13.1.3", "13.2", "14", "15.1", "15.4.5",
        ],
    ),
    (5861, &["3", "4"]),
    (8246, &["2"]),
    (9211, &["2"]),
    (9213, &["2.1", "2.2"]),
    (9875, &["2"]),
];

/// What has no test yet. It only gets shorter.
const OPEN: &[&str] = &[];

/// The scenarios that are shown by the rules alone.
const SCENARIOS: [&str; 13] = [
    "1.4", "2.4", "2.8", "2.13", "2.14", "2.17", "3.1", "3.11", "3.13", "3.14", "4.9", "4.13",
    "4.14",
];

/// Every rule has a test that says so.
#[test]
fn every_rule_has_a_test() {
    let cited = cited();
    let holds = |wanted: &str| holds(&cited, wanted);
    let behaviours =
        ["G1", "G2"].map(str::to_string).into_iter().chain(BEHAVIOURS.map(|n| n.to_string()));
    let behaviours = behaviours.map(|n| format!("Behaviour {n}"));
    let sections = SECTIONS.iter().flat_map(|(rfc, sections)| {
        sections.iter().map(move |section| format!("RFC {rfc} §{section}"))
    });
    let scenarios = SCENARIOS.iter().map(|number| format!("Scenario {number}"));
    let missing: Vec<String> = behaviours
        .chain(sections)
        .chain(scenarios)
        .filter(|id| !holds(id) && !OPEN.contains(&&**id))
        .collect();
    assert!(missing.is_empty(), "no test cites {missing:#?}");
}

/// Scenario 0.11: the table of the docs has a row for each section of RFC 9111 that must be shown, and no
/// other; every other RFC stands in it with its sections.
#[test]
fn the_docs_have_a_row_for_every_section() {
    let table = include_str!("../../src/policy/coverage.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| §"));
    let rows: Vec<_> = rows.filter_map(|row| row.split(' ').next()).collect();
    let [(_, of_caching), others @ ..] = &SECTIONS;
    assert_eq!(&rows, of_caching);
    for (rfc, sections) in others {
        let start = format!("| RFC {rfc} |");
        let row = table.lines().find(|line| line.starts_with(&start)).expect(&start);
        // Of RFC 9110 the chapters are named where several sections are shown.
        let names =
            |section: &str| [')', ','].iter().any(|end| row.contains(&format!("§{section}{end}")));
        let is_named = |section: &&str| {
            names(section) || section.match_indices('.').any(|(dot, _)| names(&section[..dot]))
        };
        let missing: Vec<_> = sections.iter().filter(|section| !is_named(section)).collect();
        assert!(missing.is_empty(), "RFC {rfc}: {missing:?}");
    }
}

/// Whether a test cites this, or a part of it.
pub fn holds(cited: &BTreeSet<String>, wanted: &str) -> bool {
    let part = format!("{wanted}.");
    cited.iter().any(|id| id == wanted || id.starts_with(&part))
}

/// The ids in the doc comments of all tests, those of the public suite among them.
pub fn cited() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for path in ["src", "tests"].iter().flat_map(|dir| files(&root.join(dir))) {
        let text = fs::read_to_string(&path).expect("a source file");
        let is_suite = path.parent().is_some_and(|directory| directory.ends_with("storage/suite"));
        let mut comment = String::new();
        for line in text.lines().map(str::trim) {
            match line.strip_prefix("///") {
                Some(more) => comment = comment + " " + more,
                None if (line.starts_with("#[") && line.contains("test"))
                    || (is_suite && line.starts_with("pub async fn ")) =>
                {
                    cite(&comment, &mut found);
                    comment.clear();
                }
                None if line.starts_with("#[") => {}
                None => comment.clear(),
            }
        }
    }
    found
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

const KINDS: [&str; 4] = ["RFC", "Behaviour", "Scenario", "Feature"];

/// `RFC 9111 §3.2, §4.3.4` names two sections, `Behaviours 11, 14 to 16` four behaviours, and
/// `Features trailers, put` two features.
fn cite(comment: &str, found: &mut BTreeSet<String>) {
    let mut rfc = String::new();
    let mut last: Option<u32> = None;
    let mut list = "";
    let mut ranges = false;
    for word in comment.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '§');
        let bare = bare.strip_suffix("'s").unwrap_or(bare);
        if let Some(section) = bare.strip_prefix('§') {
            for part in section.split('–') {
                found.insert(format!("RFC {rfc} §{}", part.trim_start_matches('§')));
            }
            list = "";
        } else if list == "RFC" {
            rfc = bare.to_string();
            list = "";
        } else if let Some(kind) = KINDS
            .iter()
            .find(|kind| bare.strip_suffix('s').unwrap_or(bare).eq_ignore_ascii_case(kind))
        {
            list = kind;
            last = None;
        } else if ["Feature", "Scenario"].contains(&list) {
            let is_number = bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            if is_number == (list == "Scenario") {
                found.insert(format!("{list} {bare}"));
            }
            list = if word.ends_with(',') { list } else { "" };
        } else if list == "Behaviour" && (bare == "and" || bare == "to") {
            ranges = bare == "to";
        } else if list == "Behaviour" && bare.starts_with(|c: char| c.is_ascii_digit() || c == 'G')
        {
            let number = bare.parse::<u32>().ok();
            if let (true, Some(from), Some(to)) = (ranges, last, number) {
                found.extend((from..to).map(|n| format!("Behaviour {n}")));
            }
            found.insert(format!("Behaviour {bare}"));
            (last, ranges) = (number, false);
            // The list goes on after a comma, or with an "and".
        } else if !bare.is_empty() {
            list = "";
        }
    }
}

/// How citations are read.
#[test]
fn a_comment_may_cite_several() {
    let mut found = BTreeSet::new();
    cite("Behaviours 11, 14 to 16 and G1; RFC 9111 §3.2, §4.3.4: RFC 9110 §5.1.", &mut found);
    cite("Behaviour 7 holds 9 times.", &mut found);
    cite("Features trailers, put: of scenarios 0.1, 2.14.", &mut found);
    let expected = [
        "Behaviour 11",
        "Behaviour 14",
        "Behaviour 15",
        "Behaviour 16",
        "Behaviour 7",
        "Behaviour G1",
        "Feature put",
        "Feature trailers",
        "RFC 9110 §5.1",
        "RFC 9111 §3.2",
        "RFC 9111 §4.3.4",
        "Scenario 0.1",
        "Scenario 2.14",
    ];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
