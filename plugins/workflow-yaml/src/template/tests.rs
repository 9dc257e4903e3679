use serde_json::{Value, json};

use super::*;

fn compile(source: &str) -> Template {
    let mut problems = Problems::default();
    let template = Template::compile(source, Place::default(), &mut problems);
    assert!(problems.0.is_empty(), "{source}: {problems:?}");
    template.unwrap()
}

fn data() -> Value {
    json!({
        "name": "Ann", "empty": "", "zero": 0, "n": 42, "big": 1_000_000, "whole": 3.0, "half": 2.5, "yes": true, "no": false,
        "null": null, "list": ["a", "b", "c"], "none": [], "numbers": [1, 2, 3, 4], "map": {"b": 2, "a": 1},
        "users": [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 20}], "dash-key": {"x": "y"}, "text": "{\"k\": [1, 2]}",
        "html": "<a href=\"x\">'&'</a>", "unicode": "grüße",
    })
}

fn check(source: &str, expected: &str) {
    assert_eq!(compile(source).expand(&from_json(&data())).as_deref(), Ok(expected), "{source}");
}

fn check_error(source: &str, expected: &str) {
    let error = compile(source).expand(&from_json(&data())).unwrap_err();
    assert!(error.contains(expected), "{source}: {error}");
}

#[test]
fn values_print_as_go_prints_them() {
    check("no action, }} and { stay", "no action, }} and { stay");
    check("{{.name}} and {{.n}}", "Ann and 42");
    check("{{.missing}}", "<no value>");
    check("{{.missing.deeper}}", "<no value>");
    check("{{.map.missing}}", "<no value>");
    check("{{.null}}", "<no value>");
    check("{{.yes}} {{.no}}", "true false");
    check("{{.list}} {{.map}} {{.none}}", "[a b c] map[a:1 b:2] []");
    check("{{.half}}", "2.5");
    check("{{.big}} {{.whole}}", "1000000 3");
    check("{{1.0}} {{1.5}} {{0x10}} {{'a'}} {{true}}", "1 1.5 16 97 true");
    check("{{\"a\\tb\"}} {{`raw \\t`}}", "a\tb raw \\t");
    check("{{(index .users 0).name}}", "Ann");
    check("{{$.name}}", "Ann");
}

#[test]
fn comments_and_trim_markers_leave_nothing() {
    check("a{{/* nothing */}}b", "ab");
    check("a {{- /* nothing */ -}} b", "ab");
    check("a  {{- .n}}  b", "a42  b");
    check("a  {{.n -}}  b", "a  42b");
    check("a \n {{- .n -}} \n b", "a42b");
    check("{{23 -}} < {{- 45}}", "23<45");
}

#[test]
fn branches_follow_what_go_takes_for_true() {
    check("{{if .name}}y{{end}}{{if .empty}}n{{end}}{{if .zero}}n{{end}}{{if .none}}n{{end}}{{if .null}}n{{end}}", "y");
    check("{{if .no}}1{{else if .yes}}2{{else}}3{{end}}", "2");
    check("{{if .missing}}1{{else}}2{{end}}", "2");
    check("{{with .map}}{{.a}} {{$.name}}{{end}}", "1 Ann");
    check("{{with .missing}}1{{else}}{{.name}}{{end}}", "Ann");
    check("{{with .missing}}1{{else with .map}}{{.b}}{{end}}", "2");
    check("{{with $x := .n}}{{$x}}{{end}}", "42");
}

#[test]
fn ranges_go_through_lists_maps_and_numbers() {
    check("{{range .list}}<{{.}}>{{end}}", "<a><b><c>");
    check("{{range $i, $v := .list}}{{$i}}{{$v}} {{end}}", "0a 1b 2c ");
    check("{{range $k, $v := .map}}{{$k}}={{$v}},{{end}}", "a=1,b=2,");
    check("{{range .none}}x{{else}}nothing{{end}}", "nothing");
    check("{{range .missing}}x{{else}}nothing{{end}}", "nothing");
    check("{{range 3}}{{.}}{{end}}", "012");
    check("{{range .numbers}}{{if eq . 2}}{{continue}}{{end}}{{if eq . 4}}{{break}}{{end}}{{.}}{{end}}", "13");
    check("{{range .users}}{{.name}}:{{.age}} of {{len $.users}};{{end}}", "Ann:30 of 2;Bob:20 of 2;");
    check_error("{{range .name}}{{end}}", "");
}

#[test]
fn variables_live_to_the_end_of_their_block() {
    check("{{$x := .n}}{{$x}}", "42");
    check("{{$x := 1}}{{if .yes}}{{$x = 2}}{{end}}{{$x}}", "2");
    check("{{$x := 1}}{{if .yes}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21");
    check("{{$last := \"\"}}{{range .list}}{{$last = .}}{{end}}{{$last}}", "c");
    check("{{$m := .map}}{{$m.a}}", "1");
}

#[test]
fn templates_can_be_defined_and_called() {
    check("{{define \"t\"}}[{{.}}]{{end}}{{template \"t\" .name}}{{template \"t\" .n}}", "[Ann][42]");
    check("{{block \"t\" .list}}{{range .}}{{.}}{{end}}{{end}}", "abc");
}

#[test]
fn pipelines_pass_on_the_last_argument() {
    check("{{.name | printf \"%s-%s\" \"x\"}}", "x-Ann");
    check("{{.list | len}}", "3");
    check("{{.name | len | printf \"%03d\"}}", "003");
    check("{{\"output\" | printf \"%s\" | printf \"%q\"}}", "\"output\"");
    check("{{printf \"%d %s\" (len .list) (index .list 1)}}", "3 b");
}

#[test]
fn logic_stops_at_the_first_answer() {
    check("{{and .yes .name}} {{and .empty .missing.x}} {{or .empty .name}} {{or .no .zero}}", "Ann  Ann 0");
    check("{{not .yes}} {{not .missing}}", "false true");
    check("{{and .no (index .list 99)}}", "false");
    check("{{or .yes (index .list 99)}}", "true");
}

#[test]
fn comparisons_take_integers_for_floats() {
    check("{{eq .n 42}} {{eq .n 42.0}} {{eq .n 1 2 42}} {{ne .n 41}} {{eq .whole 3}}", "true true true true true");
    check(
        "{{lt .n 43}} {{le .n 42}} {{gt .n 41.5}} {{ge .half 2.5}} {{gt .half 2}} {{lt .half 3}}",
        "true true true true true true",
    );
    check("{{eq .name \"Ann\"}} {{lt \"a\" \"b\"}} {{eq .yes true}}", "true true true");
    check("{{eq .missing nil}} {{eq .missing \"x\"}} {{ne .null .name}}", "true false true");
    check("{{.n | eq 42}}", "true");
    check_error("{{eq .n \"42\"}}", "incompatible types for comparison: int and string");
    check_error("{{lt .yes .no}}", "incompatible types for comparison");
    check_error("{{eq .list .list}}", "non-comparable type list");
    check_error("{{eq .n}}", "missing argument");
    check_error("{{lt .n}}", "wrong number of args for lt");
}

#[test]
fn data_is_reached_by_index_slice_and_len() {
    check("{{index .list 0}}{{index .map \"b\"}}{{index .users 1 \"name\"}}", "a2Bob");
    check("{{(index . \"dash-key\").x}}", "y");
    check("{{index .map \"missing\"}}", "<no value>");
    check("{{slice .list 1}} {{slice .list 1 2}} {{slice .name 0 2}}", "[b c] [b] An");
    check("{{len .list}} {{len .name}} {{len .map}} {{len .unicode}}", "3 3 2 7");
    check("{{$i := 1}}{{index .list $i}}", "b");
    check_error("{{index .list 9}}", "index out of range");
    check_error("{{len .n}}", "len");
}

#[test]
fn text_is_formatted_as_go_formats_it() {
    check("{{print \"a\" 1 2 \"b\"}} {{println \"x\"}}", "a1 2b x\n");
    check("{{printf \"%5d|%-5d|%05d|%x|%t|%v\" .n .n .n .n .yes .list}}", "   42|42   |00042|2a|true|[a b c]");
    check("{{printf \"%.0f %.2f %6.1f %e\" .n .n .half .n}}", "42 42.00    2.5 4.200000e+01");
    check("{{printf \"%d%% %s\" .n .name}}", "42% Ann");
    check("{{printf \"%[2]s %[1]d %*d\" .n .name 5 7}}", "Ann 42 %!(BADWIDTH)5");
    check("{{printf \"%s %q\" .name .name}}", "Ann \"Ann\"");
    check("{{printf \"%d\" .name}}", "%!d(string=Ann)");
    check("{{html .html}}", "&lt;a href=&#34;x&#34;&gt;&#39;&amp;&#39;&lt;/a&gt;");
    check("{{js \"it's <b>\"}}", "it\\'s \\u003Cb\\u003E");
    check("{{urlquery \"a b&c\"}}", "a+b%26c");
}

#[test]
fn json_goes_both_ways() {
    check("{{json .map}} {{json .list}} {{json .missing}}", "{\"a\":1,\"b\":2} [\"a\",\"b\",\"c\"] null");
    check(
        "{{json .name}} {{json .whole}} {{json .half}} {{json .html}}",
        "\"Ann\" 3 2.5 \"<a href=\\\"x\\\">'&'</a>\"",
    );
    check("{{(fromJson .text).k}} {{index (fromJson .text).k 1}}", "[1 2] 2");
    check("{{range fromJson \"[1,2]\"}}{{.}};{{end}}", "1;2;");
    check("{{fromJson .text | json}}", "{\"k\":[1,2]}");
    check("{{quote .name}} {{quote .n}} {{quote \"a\\\"b\\n\"}}", "\"Ann\" \"42\" \"a\\\"b\\n\"");
    check_error("{{fromJson .name}}", "fromJson: ");
    check_error("{{fromJson .list}}", "fromJson: wants text, not list");
}

#[test]
fn what_does_not_parse_is_a_problem() {
    for source in [
        "{{",
        "{{.x",
        "{{if .x}}",
        "{{end}}",
        "{{else}}",
        "{{.x | }}",
        "{{\"a}}",
        "{{range}}{{end}}",
        "{{if}}{{end}}",
        "{{break}}",
    ] {
        let mut problems = Problems::default();
        assert!(Template::compile(source, Place::default(), &mut problems).is_none(), "{source}");
        assert!(problems.0[0].message.starts_with("the template does not parse: "), "{:?}", problems.0);
    }
}

#[test]
fn loops_and_output_have_limits() {
    check_error("{{range 2000000}}{{end}}", "range");
    check_error("{{define \"t\"}}{{template \"t\" .}}{{end}}{{template \"t\" .}}", "recursion");
    check_error("{{range 1100}}{{printf \"%10000d\" 1}}{{end}}", "more than 10 MB");
    check_error("{{range 100}}{{range 1000}}{{range 1000}}{{end}}{{end}}{{end}}", "range");
}

#[test]
fn paths_are_found_without_running() {
    let check = |source: &str, expected: &[&str]| {
        let reads: Vec<String> =
            compile(source).reads.paths.iter().map(|path| path.join("/")).filter(|path| !path.is_empty()).collect();
        assert_eq!(reads, expected, "{source}");
    };
    check("{{.a.b}} {{$.c}}", &["a/b", "c"]);
    check("{{index .a \"b\" \"c\"}}", &["a", "a/b/c"]);
    check("{{index .a 1 \"c\"}}", &["a"]);
    check("{{(index .a \"b\").c}}", &["a", "a/b", "a/b/c"]);
    check("{{with .a}}{{.b}}{{else}}{{.c}}{{end}}", &["a", "a/b", "c"]);
    check("{{range .a}}{{.b}}{{$.c}}{{end}}", &["a", "c"]);
    check("{{$x := .a}}{{$x.b}}", &["a", "a/b"]);
    check("{{$x := .a}}{{if .b}}{{$x = .c}}{{end}}{{$x.d}}", &["a", "b", "c"]);
    check("{{.a | json | printf \"%s\"}}", &["a"]);
    check("{{define \"t\"}}{{.a}}{{end}}{{template \"t\" .b}}", &["b"]);
}
