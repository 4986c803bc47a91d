use plugin_contract::{ComponentInfo, Explain, ReadLimits, World};

use super::{package, strip};
use crate::{
    build_plugins::{
        BuildError,
        guests::{Guest, Packaging},
    },
    wit::Wit,
};

fn guest(fits_world: bool) -> Guest {
    let manifest_text =
        "[plugin]\nname = \"g\"\nversion = \"0.1.0\"\nentrypoint = \"g.wasm\"\n".to_owned();
    Guest {
        name: "g".to_owned(),
        dir: "g".into(),
        manifest: manifest_text.parse().unwrap(),
        manifest_text,
        is_test: true,
        packaging: Packaging { fits_world, ..Packaging::default() },
    }
}

/// A core module that says it is for the world `world` of `text`, with `fields` inside.
fn core(text: &str, world: &str, fields: &str) -> Vec<u8> {
    let mut module = wat::parse_str(format!("(module {fields})")).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_source("test.wit", text).unwrap();
    let world = resolve.packages[package].worlds[world];
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    module
}

const RUN: &str = "package a:b; world w { export run: func(); }";

#[track_caller]
fn refused(fits_world: bool, core: &[u8], code: &str, says: &str) {
    let wit = Wit::load(&crate::root()).unwrap();
    let error = package(&guest(fits_world), core, &wit).err().expect("this is refused");
    let error = error.downcast_ref::<BuildError>().expect("with a code");
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn a_symbol_that_nobody_defines_is_an_import_that_no_component_has() {
    let core = core(RUN, "w", r#"(import "env" "png_init" (func)) (func (export "run"))"#);
    refused(true, &core, "build/link-failed", "nobody defines `png_init`");
}

#[test]
fn a_library_without_bindings_exports_no_world() {
    let core = wat::parse_str(r#"(module (func (export "run")))"#).unwrap();
    refused(true, &core, "build/no-world", "it exports nothing");
}

#[test]
fn what_the_bindings_promise_has_to_be_there() {
    refused(true, &core(RUN, "w", ""), "build/not-componentisable", "run");
}

#[test]
fn a_component_of_another_world_is_told_by_its_exports() {
    let core = core(RUN, "w", r#"(func (export "run"))"#);
    refused(true, &core, "build/no-world", "it exports `run`");
}

#[test]
fn a_test_guest_may_fit_no_world_and_then_carries_no_description() {
    let wit = Wit::load(&crate::root()).unwrap();
    let core = core(RUN, "w", r#"(func (export "run"))"#);
    let package = package(&guest(false), &core, &wit).unwrap();
    assert_eq!(package.world, None);
    let info = ComponentInfo::read(&package.bytes, &ReadLimits::default()).unwrap();
    assert_eq!(info.embedded, None);
}

#[test]
fn what_the_production_engine_refuses_is_refused_here() {
    let core = core(RUN, "w", r#"(memory 1) (memory 1) (func (export "run"))"#);
    refused(false, &core, "build/feature-refused", "memor");
}

#[test]
fn a_guest_of_a_world_carries_its_manifest_and_world() {
    let text = "package toolsku:plugin-system@1.0.0;
        interface plugin-api-v1 { process: func(input: string) -> string; }
        world w { export plugin-api-v1; }";
    let fields = r#"(memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 64)
        (func (export "toolsku:plugin-system/plugin-api-v1@1.0.0#process")
            (param i32 i32) (result i32) i32.const 0)"#;
    let wit = Wit::load(&crate::root()).unwrap();
    let package = package(&guest(true), &core(text, "w", fields), &wit).unwrap();
    assert_eq!(package.world, Some(World::PluginV1));
    let info = ComponentInfo::read(&package.bytes, &ReadLimits::default()).unwrap();
    let embedded = info.embedded.unwrap();
    assert_eq!(embedded.world, World::PluginV1);
    assert_eq!(embedded.manifest, guest(true).manifest);

    let other = text.replace("input: string", "text: string");
    refused(
        true,
        &core(&other, "w", fields),
        "build/world-mismatch",
        "`toolsku:plugin-system/plugin-api-v1@1.1.0.process` parameters should be (input), is (text)",
    );
}

#[test]
fn stripping_keeps_code_and_names_and_drops_debug_sections() {
    let text = r#"(module (func $named)
        (@custom ".debug_info" "long") (@custom "target_features" "x") (@custom "producers" "\00"))"#;
    let stripped = strip(&wat::parse_str(text).unwrap()).unwrap();
    let names: Vec<String> = wasmparser::Parser::new(0)
        .parse_all(&stripped)
        .filter_map(|payload| match payload.unwrap() {
            wasmparser::Payload::CustomSection(custom) => Some(custom.name().to_owned()),
            _ => None,
        })
        .collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, ["name", "producers"]);
    wasmparser::Validator::new().validate_all(&stripped).unwrap();
}
