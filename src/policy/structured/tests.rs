use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Option<Vec<(String, Value<'_>)>> {
    let mut found = Vec::new();
    dictionary(text.as_bytes(), |key, value| {
        found.push((String::from_utf8_lossy(key).into_owned(), value));
    })?;
    Some(found)
}

/// RFC 9651 §3.2, §3.3.
#[test]
fn members_have_values_of_every_type() {
    let string = |text: &'static str| Value::String(text.as_bytes().into());
    let cases = [
        ("a=1", Value::Integer(1)),
        ("a=-0", Value::Integer(0)),
        ("a=-17", Value::Integer(-17)),
        ("a=0042", Value::Integer(42)),
        ("a=999999999999999", Value::Integer(999_999_999_999_999)),
        ("a=1.5", Value::Decimal),
        ("a=123456789012.123", Value::Decimal),
        ("a", Value::Boolean(true)),
        ("a;x=1;y", Value::Boolean(true)),
        ("a=?1", Value::Boolean(true)),
        ("a=?0", Value::Boolean(false)),
        ("a=b:/c", Value::Token(b"b:/c")),
        ("a=*", Value::Token(b"*")),
        (r#"a="""#, string("")),
        (r#"a="x, y""#, string("x, y")),
        (r#"a="x\"y\\z""#, string("x\"y\\z")),
        (r#"a="x";p="q";r"#, string("x")),
        ("a=:aGk=:", Value::Other),
        ("a=:aGk:", Value::Other),
        ("a=::", Value::Other),
        ("a=@1659578233", Value::Other),
        (r#"a=%"f%c3%bc""#, Value::Other),
        ("a=()", Value::InnerList),
        (r#"a=( 1  "x";y  ?0 );z"#, Value::InnerList),
        ("  a=1  ", Value::Integer(1)),
    ];
    for (text, value) in cases {
        assert_eq!(parse(text), Some(vec![("a".to_owned(), value)]), "{text}");
    }
    let several = parse("a,\tb=2 \t, *c-._1*=3,a=4").unwrap();
    let keys: Vec<_> = several.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "*c-._1*", "a"]);
    assert_eq!(parse(""), Some(vec![]));
    assert_eq!(parse("  "), Some(vec![]));
}

/// RFC 9651 §4.2: a failure anywhere is the failure of all.
#[test]
fn what_is_not_to_the_letter_does_not_parse() {
    let refused = [
        ",",
        "a,",
        "a,,b",
        ",a",
        "a b",
        "a=1 b",
        "\ta",
        "a\t",
        "A",
        "A=1",
        "1",
        "-a=1",
        "a =1",
        "a= 1",
        "a=",
        "a=,b",
        "a=--1",
        "a=-",
        "a=+1",
        "a=1.",
        "a=.5",
        "a=1.2345",
        "a=1234567890123.1",
        "a=1000000000000000",
        "a=1e3",
        "a=?2",
        "a=?",
        "a=?true",
        "a=\"",
        "a=\"x",
        "a=\"\\n\"",
        "a=\"x\"y",
        "a='x'",
        "a=\"\u{e9}\"",
        "a=\u{e9}",
        "\u{e9}",
        "a=(1",
        "a=(1,2)",
        "a=(1\t2)",
        "a=(1(2))",
        "a=(\"x\"y)",
        "a=:a b:",
        "a=:a",
        "a=:====:",
        "a=@1.5",
        "a=@",
        "a=%x",
        "a=%\"%C3\"",
        "a=%\"%ff\"",
        "a=%\"%4\"",
        "a;",
        "a;X=1",
        "a;x=",
        "a;x=(1)",
        "a=1;=2",
        "a;\tx",
        "a[0]",
    ];
    for text in refused {
        assert_eq!(parse(text), None, "{text}");
    }
}

#[test]
fn a_long_field_takes_one_pass() {
    for part in ["a,", "a=1;b,", "a=\"\\\"\",", "a=(1 2),"] {
        let text = format!("{}z", part.repeat((1 << 20) / part.len()));
        let mut members = 0;
        dictionary(text.as_bytes(), |_, _| members += 1).unwrap();
        assert_eq!(members, 1 + (1 << 20) / part.len());
    }
}

fn parse_strings(value: &str) -> Option<Vec<String>> {
    let name = HeaderName::from_static("x");
    let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
    strings(&HeaderMap::from_iter([(name.clone(), value)]), &name)
}

/// RFC 9651 §4.2.
#[test]
fn a_list_of_strings_is_read_strictly() {
    let table: [(&str, Option<&[&str]>); 23] = [
        ("", Some(&[])),
        ("  ", Some(&[])),
        (r#""""#, Some(&[""])),
        (r#"  "a"  "#, Some(&["a"])),
        ("\"a\"\t,\t\"b\"", Some(&["a", "b"])),
        (r#""a,b" , "c""#, Some(&["a,b", "c"])),
        (r#""a";p;q=1;r=-2.5;s="x;y";t=?0;u=:aGk=:;v=tok/en;w=@5;x=%"f%c3%bc""#, Some(&["a"])),
        (r#""a"; p=1, "b""#, Some(&["a", "b"])),
        (r#""a";*k"#, Some(&["a"])),
        (r#""a" "b""#, None),
        (r#""a",, "b""#, None),
        (r#","a""#, None),
        (r#"("a")"#, None),
        (r#""a\n""#, None),
        (r#""a"\"#, None),
        (r#""a";"#, None),
        (r#""a";P"#, None),
        (r#""a";p="#, None),
        (r#""a";p=?2"#, None),
        (r#""a" ;p"#, None),
        ("1", None),
        ("?1", None),
        ("\"\u{e9}\"", None),
    ];
    for (value, expected) in table {
        let found = parse_strings(value);
        let expected = expected.map(|texts| texts.iter().map(|t| (*t).to_owned()).collect());
        assert_eq!(found, expected, "{value}");
    }
}

proptest! {
    /// What is quoted by the rules comes back, and anything else does no harm.
    #[test]
    fn parsing_is_total(texts: Vec<String>, noise in "[ -~]{0,40}") {
        let fits = |text: &&String| text.bytes().all(|b| (0x20..=0x7e).contains(&b));
        let texts: Vec<_> = texts.iter().filter(fits).collect();
        let quote = |text: &&String| {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        };
        let value = texts.iter().map(quote).collect::<Vec<_>>().join(", ");
        prop_assert_eq!(parse_strings(&value), Some(texts.into_iter().cloned().collect()));
        let _ = parse_strings(&noise);
    }
}
