use super::{ComponentInfo, ExternKind, Lane, ReadLimits};
use crate::Explain;

fn read(bytes: &[u8]) -> Result<ComponentInfo, (&'static str, String)> {
    ComponentInfo::read(bytes, &ReadLimits::default()).map_err(|e| (e.code(), e.to_string()))
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[track_caller]
fn refused(bytes: &[u8], code: &str, says: &str) {
    let (found, message) = read(bytes).unwrap_err();
    assert_eq!(found, code, "{message}");
    assert!(message.contains(says), "{message}");
}

#[test]
fn imports_and_exports_are_listed_without_compiling() {
    let info = read(&wat(r#"(component
        (import "wasi:io/poll@0.2.6" (instance))
        (import "plain" (func))
        (component (import "inner" (func)))
        (export "a:b/c@1.0.0" (instance 0)))"#))
    .unwrap();
    let names =
        |list: &[super::Extern]| list.iter().map(|e| (e.name.clone(), e.kind)).collect::<Vec<_>>();
    assert_eq!(
        names(&info.imports),
        [("wasi:io/poll@0.2.6".into(), ExternKind::Instance), ("plain".into(), ExternKind::Func)]
    );
    assert_eq!(names(&info.exports), [("a:b/c@1.0.0".into(), ExternKind::Instance)]);
    assert_eq!(info.imported_interfaces().count(), 1);
}

#[test]
fn other_files_are_told_apart() {
    refused(b"", "core/not-a-component", "an empty file");
    refused(&wat("(module)"), "core/not-a-component", "a core module");
    refused(b"\x7fELF\x02\x01", "core/not-a-component", "native");
    refused(b"(component)", "core/not-a-component", "text");
    refused(b"\0asm\x0d\0\x02\0", "core/not-a-component", "unknown here");
    refused(b"\0as", "core/not-a-component", "no WebAssembly");
}

#[test]
fn a_cut_or_damaged_component_says_where() {
    let whole = wat(r#"(component (import "f" (func)) (core module (func)))"#);
    assert!(read(&whole).is_ok());
    for length in 9..whole.len() {
        let (code, message) = match read(&whole[..length]) {
            Err(refusal) => refusal,
            Ok(_) => continue, // cut between two sections: still a component
        };
        assert_eq!(code, "core/malformed-component", "{length}: {message}");
    }
    let mut huge_section = b"\0asm\x0d\0\x01\0".to_vec();
    huge_section.extend([0x0b, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    refused(&huge_section, "core/malformed-component", "byte");
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        wat(&format!("{}{}", "(component ".repeat(depth + 1), ")".repeat(depth + 1)))
    };
    assert!(read(&nested(16)).is_ok());
    refused(&nested(17), "core/too-complex", "16 levels of nesting");
}

#[test]
fn the_number_of_parts_functions_and_externs_is_bounded() {
    let limits =
        ReadLimits { parts_max: 3, functions_max: 4, externs_max: 2, ..ReadLimits::default() };
    let check = |text: &str, fits: bool| {
        let result = ComponentInfo::read(&wat(text), &limits);
        assert_eq!(result.is_ok(), fits, "{text}: {result:?}");
    };
    check(&format!("(component {})", "(core module)".repeat(3)), true);
    check(&format!("(component {})", "(core module)".repeat(4)), false);
    check(&format!("(component (core module {}))", "(func)".repeat(4)), true);
    check(&format!("(component (core module {}))", "(func)".repeat(5)), false);
    check(r#"(component (import "a" (func)) (import "b" (func)))"#, true);
    check(r#"(component (import "a" (func)) (import "b" (func)) (import "c" (func)))"#, false);
}

#[test]
fn size_is_bounded_before_anything_is_read() {
    let limits = ReadLimits { bytes_max: 100, ..ReadLimits::default() };
    let error = ComponentInfo::read(&[0; 101], &limits).unwrap_err();
    assert_eq!(error.code(), "core/too-large");
}

#[test]
fn the_lane_follows_from_the_types() {
    let lane = |text: &str| read(&wat(text)).unwrap().lane;
    assert_eq!(lane(r#"(component (import "f" (func (param "x" u8))))"#), Lane::Unary);
    assert_eq!(lane(r#"(component (import "f" (func async (param "x" u8))))"#), Lane::Stream);
    assert_eq!(lane(r#"(component (type (stream u8)))"#), Lane::Stream);
    assert_eq!(
        lane(r#"(component (import "a:b/c" (instance (export "f" (func async)))))"#),
        Lane::Stream
    );
    assert_eq!(lane("(component (component (type (future))))"), Lane::Stream);
}

/// A component whose type section nests `depth` types of a kind: 0x41 components, 0x42 instances.
fn nested_types(kind: u8, depth: usize) -> Vec<u8> {
    let mut section = vec![1]; // one type
    for _ in 0..depth {
        section.extend([kind, 1, 1]); // with one declaration: a type
    }
    section.extend([0x7f]); // bool
    let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
    let mut length = section.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(section);
    bytes
}

#[test]
fn nested_types_do_not_exhaust_the_stack() {
    for kind in [0x41, 0x42] {
        assert!(read(&nested_types(kind, 20)).is_ok(), "{kind:#x}");
        for depth in [2_000, 300_000, 1_000_000] {
            refused(&nested_types(kind, depth), "core/malformed-component", "nesting");
        }
    }
}
