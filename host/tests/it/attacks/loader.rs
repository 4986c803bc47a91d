//! Files that are no plugins, or pretend to be others.

use plugin_contract::Explain;

use super::Arena;

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A component in a component in a component.
fn nested(levels: usize) -> Vec<u8> {
    const HEAD: &[u8] = b"\0asm\x0d\0\x01\0";
    let mut inner = HEAD.to_vec();
    for _ in 0..levels {
        let mut outer = HEAD.to_vec();
        outer.push(4);
        outer.extend(leb(inner.len()));
        outer.extend(inner);
        inner = outer;
    }
    inner
}

// D01, D02, D03
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_is_refused_for_what_it_is() {
    let Some(mut arena) = Arena::new("").await else { return };
    let component = b"\0asm\x0d\0\x01\0".to_vec();
    let with = |more: &[u8]| [component.as_slice(), more].concat();
    let custom: Vec<u8> = [vec![0], leb((63 << 20) + 2), vec![1, b'x'], vec![7; 63 << 20]].concat();
    let functions = format!("(component (core module {}))", "(func)".repeat(60_001));
    let types = format!("(component {})", "(type (func))".repeat(70_000));
    let branches = format!(
        "(component (core module (func (param i32) (block {}))))",
        format_args!("(br_table {} (local.get 0))", "0 ".repeat(600_000))
    );
    let locals = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x0c\x01\x0a\x01\xff\xff\xff\xff\x0f\x7f\x0b";
    let parse = |text: &str| wat::parse_str(text).unwrap();
    let files = [
        ("empty", Vec::new(), "core/not-a-component"),
        ("elf", b"\x7fELF\x02\x01\x01\0".repeat(100), "core/not-a-component"),
        ("script", b"#!/bin/sh\nid\n".to_vec(), "core/not-a-component"),
        ("written", b"(component)".to_vec(), "core/not-a-component"),
        ("core-module", parse("(module)"), "core/not-a-component"),
        ("huge-locals", locals.to_vec(), "core/not-a-component"),
        ("junk-behind", with(b"junk junk junk"), "core/malformed-component"),
        ("endless-section", with(b"\0\xff\xff\xff\xff\x0f"), "core/malformed-component"),
        ("nested", nested(6_000), "core/"),
        ("many-functions", parse(&functions), "core/"),
        ("many-types", parse(&types), "core/"),
        ("huge-branch", parse(&branches), "core/"),
        ("huge-custom", with(&custom), "core/"),
    ];
    let files = files.map(|(plugin, bytes, expected)| {
        arena.write(plugin, bytes);
        (plugin, expected)
    });
    // What it took to make them is no concern of the host.
    arena.measure();
    for (plugin, expected) in files {
        let found = arena.load(plugin).await;
        assert!(
            found.as_ref().is_err_and(|code| code.starts_with(expected)),
            "{plugin}: {found:?}"
        );
    }
    arena.ends(&[]).await;
}

// D05, D10: a file that says it is someone else is refused, or is someone else.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_the_name_of_another() {
    let Some(arena) = Arena::new("").await else { return };
    let long = "n".repeat(4_096);
    for plugin in ["Shout-v1", "shout\u{2010}v1", "sh\u{43e}ut-v1", "..", "a.b", long.as_str()] {
        let directory = arena.path("planted").join(&plugin[..plugin.len().min(20)]);
        std::fs::create_dir_all(&directory).unwrap();
        let manifest =
            format!("[plugin]\nname = {plugin:?}\nversion = \"0.1.0\"\nentrypoint = \"x.wasm\"\n");
        std::fs::write(directory.join("plugin.toml"), manifest).unwrap();
        std::fs::write(directory.join("x.wasm"), wat::parse_str("(component)").unwrap()).unwrap();
        arena.beside(arena.host.load(&directory)).await.unwrap();
    }
    let refused = arena.host.refused();
    assert!(
        refused.iter().all(|refused| refused.error.code() == "manifest/invalid-value"),
        "{refused:?}"
    );
    assert_eq!(refused.len(), 6, "{refused:?}");
    let twin =
        arena.plant("shout-v1", &super::abi::v1("(i32.const 16)", "(i32.const 0)", "", "")).await;
    assert_eq!(twin, Err("core/duplicate-plugin".to_owned()));
    arena.ends(&[]).await;
}
