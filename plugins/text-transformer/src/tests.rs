//! Each step, their chain, and what is refused.

use guest_sdk::testing::Harness;

use super::{Error, Output, TEXT_BYTES_MAX, TextTransformer};

const ARTICLE: &str = include_str!("../../../samples/article.md");

fn run(input: &[u8], content_type: &str, options: &[(&str, &str)]) -> Result<Output, Error> {
    let mut plugin = Harness::<TextTransformer>::new().unwrap();
    for (name, value) in options {
        plugin.option(name, value);
    }
    plugin.process(input, content_type)
}

#[track_caller]
fn check(ops: &str, input: &str, expected: &str) {
    let output = run(input.as_bytes(), "text/plain", &[("ops", ops)]).unwrap();
    assert_eq!(String::from_utf8(output.bytes).unwrap(), expected);
}

#[track_caller]
fn refused(input: &[u8], options: &[(&str, &str)], expected: &str) {
    let error = run(input, "text/plain", options).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[track_caller]
fn replaced(pattern: &str, with: &str, input: &str, expected: &str) {
    let options = [("ops", "replace"), ("pattern", pattern), ("with", with)];
    let output = run(input.as_bytes(), "", &options).unwrap();
    assert_eq!(String::from_utf8(output.bytes).unwrap(), expected);
}

#[test]
fn each_step_does_what_it_is_called() {
    check("lower", "ÀB", "àb");
    check("upper", "straße", "STRASSE");
    check("title", "it's a WORLD of élan", "It's A World Of Élan");
    check("trim", "\u{a0} a b \n", "a b");
    check("collapse", "a \t\n b\u{2003}c", "a b c");
    check("nfc", "e\u{301}", "é");
    check("nfd", "é", "e\u{301}");
    check("nfkc", "ﬁ①", "fi1");
    check("slugify", " Crème brûlée: l'été à 50 %! 北京 ", "creme-brulee-lete-a-50-bei-jing");
    check("slugify", "e\u{301}te\u{301}", "ete");
    check("slugify", "---", "");
}

#[test]
fn steps_are_taken_in_the_order_given() {
    check("trim, collapse, title", "  two   words ", "Two Words");
    check("upper,lower", "Ab", "ab");
    check("lower,upper", "Ab", "AB");
}

#[test]
fn markdown_becomes_html_and_says_so() {
    let output = run(ARTICLE.as_bytes(), "text/markdown", &[("ops", "markdown")]).unwrap();
    assert_eq!(output.content_type, "text/html");
    let html = String::from_utf8(output.bytes).unwrap();
    assert!(html.contains("<h1>") && html.contains("<table>"), "{html}");
    let kept = run(b"# a", "text/markdown", &[("ops", "trim")]).unwrap();
    assert_eq!(kept.content_type, "text/markdown");
}

#[test]
fn raw_html_and_dangerous_links_do_not_get_through() {
    check("markdown", "a <b onclick=x>b</b>", "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>\n");
    check("markdown", "<script>x</script>", "&lt;script&gt;x&lt;/script&gt;");
    check("markdown", "[a](javascript:x)", "<p><a href=\"#\">a</a></p>\n");
    check("markdown", "[a](JAVA&#9;SCRIPT:x)", "<p><a href=\"#\">a</a></p>\n");
    check("markdown", "![a](data:text/html,x)", "<p><img src=\"#\" alt=\"a\" /></p>\n");
    check("markdown", "[a](https://b/?c:d)", "<p><a href=\"https://b/?c:d\">a</a></p>\n");
    check("markdown", "[a](/b:c)", "<p><a href=\"/b:c\">a</a></p>\n");
}

#[test]
fn matches_are_replaced_with_their_groups() {
    replaced(r"(\w+)@(\w+)", "$2 at ${1}", "a@b c@d", "b at a d at c");
    replaced("x*", "-", "axb", "-a-b-");
    replaced("gone", "", "gone girl", " girl");
}

#[test]
fn a_pattern_that_would_cost_too_much_is_refused() {
    refused(b"a", &[("ops", "replace"), ("pattern", r"(\w{100}){100}")], "option `pattern`");
    refused(b"a", &[("ops", "replace"), ("pattern", "(")], "option `pattern`");
    refused(b"a", &[("ops", "replace"), ("pattern", &"a".repeat(1025))], "the most is 1024 bytes");
    refused(b"a", &[("ops", "replace")], "option `pattern` is missing");
    refused(b"a", &[("ops", "trim"), ("pattern", "a")], "`ops` has no `replace`");
    // Exponential for an engine that backtracks.
    replaced("(a*)*b", "", &"a".repeat(50_000), &"a".repeat(50_000));
}

#[test]
fn a_text_that_grows_too_long_is_refused() {
    let text = vec![b'a'; 1 << 20];
    let with = "x".repeat(64);
    refused(&text, &[("ops", "replace"), ("pattern", "a"), ("with", &with)], "grows beyond");
    let text = vec![b'&'; 4 << 20];
    refused(&text, &[("ops", "markdown")], &format!("grows beyond {TEXT_BYTES_MAX} bytes"));
    refused(&vec![b'a'; (4 << 20) + 1], &[("ops", "trim")], "the most is 4194304");
}

#[test]
fn input_and_options_that_cannot_be_read_are_named() {
    refused(b"ok \xFF", &[("ops", "trim")], "invalid byte at offset 3");
    refused(b"a", &[("ops", "shout")], "option `ops`: expected `lower`, `upper`, ");
    refused(b"a", &[("ops", "")], "option `ops`: no step given");
    refused(b"a", &[], "option `ops` is missing");
    let error = run(b"a", "image/png", &[("ops", "trim")]).unwrap_err();
    assert!(error.to_string().starts_with("content type `image/png`"));
}
