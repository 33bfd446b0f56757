//! Which rules have a test. A test says in its doc comment what it holds: `Behaviour 26`,
//! `RFC 9111 §3.2, §4.3.4`, `Scenario 2.4`. What nobody holds is a failure here.

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
const OPEN: &[&str] = &["RFC 9875 §2"];

/// Every rule has a test that says so.
#[test]
fn every_rule_has_a_test() {
    let cited = cited();
    let holds = |wanted: &str| {
        let part = format!("{wanted}.");
        cited.iter().any(|id| id == wanted || id.starts_with(&part))
    };
    let behaviours =
        ["G1", "G2"].map(str::to_string).into_iter().chain(BEHAVIOURS.map(|n| n.to_string()));
    let behaviours = behaviours.map(|n| format!("Behaviour {n}"));
    let sections = SECTIONS.iter().flat_map(|(rfc, sections)| {
        sections.iter().map(move |section| format!("RFC {rfc} §{section}"))
    });
    let missing: Vec<String> =
        behaviours.chain(sections).filter(|id| !holds(id) && !OPEN.contains(&&**id)).collect();
    assert!(missing.is_empty(), "no test cites {missing:#?}");
}

/// The ids in the doc comments of all tests.
fn cited() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for path in ["src", "tests"].iter().flat_map(|dir| files(&root.join(dir))) {
        let text = fs::read_to_string(path).expect("a source file");
        let mut comment = String::new();
        for line in text.lines().map(str::trim) {
            match line.strip_prefix("///") {
                Some(more) => comment = comment + " " + more,
                None if line.starts_with("#[") && line.contains("test") => {
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

/// `RFC 9111 §3.2, §4.3.4` names two sections, `Behaviours 11, 14 to 16` four behaviours.
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
        } else if ["RFC", "Behaviour", "Behaviours", "Scenario", "scenario"].contains(&bare) {
            list = if bare.starts_with('B') { "Behaviour" } else { bare };
            last = None;
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
    let expected = [
        "Behaviour 11",
        "Behaviour 14",
        "Behaviour 15",
        "Behaviour 16",
        "Behaviour 7",
        "Behaviour G1",
        "RFC 9110 §5.1",
        "RFC 9111 §3.2",
        "RFC 9111 §4.3.4",
    ];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
