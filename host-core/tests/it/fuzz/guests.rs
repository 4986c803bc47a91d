//! Guests that nobody wrote: random types around random code, and whole random components.
//!
//! A random component exports nothing, for wasm-smith makes no exports; so it is hidden in one that does.
//! Random code that is to be called is made to fit: the core module of a component in text is exchanged for
//! one with the same exports.

use std::fmt::Write;

use arbitrary::{Arbitrary, Unstructured};
use wasm_smith::{Component, Config, Module};

use super::mutate::Rng;

/// Sections of a component.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// A component that exports a few functions of random types, whose code does nothing.
pub(crate) fn typed(rng: &mut Rng) -> String {
    let mut types = Types { rng, defined: String::new(), count: 0 };
    let (mut core, mut lifted, mut exports) = (String::new(), String::new(), String::new());
    for at in 0..=types.rng.below(4) {
        let (mut flat, mut params) = (Vec::new(), String::new());
        let most = if types.rng.once_in(4) { 20 } else { 4 };
        for param in 0..types.rng.below(most) {
            let (ty, parts) = types.ty(0);
            write!(params, "(param \"p{param}\" {ty})").unwrap();
            flat.extend(parts);
        }
        // More than 16 values are handed over in memory; more than one is handed back there.
        if flat.len() > 16 {
            flat = vec!["i32"];
        }
        let mut result = Vec::new();
        if !types.rng.once_in(4) {
            let (ty, parts) = types.ty(0);
            write!(params, "(result {ty})").unwrap();
            result = if parts.len() > 1 { vec!["i32"] } else { parts };
        }
        let (flat, result) = (flat.join(" "), result.join(" "));
        writeln!(
            core,
            "(func (export \"f{at}\") (param {flat}) (result {result}) unreachable)
            (func (export \"done{at}\") (param {result}) unreachable)"
        )
        .unwrap();
        let encoding = types.rng.pick(&["utf8", "utf8", "utf16", "latin1+utf16"]);
        let done = if types.rng.once_in(2) {
            format!("(post-return (func $i \"done{at}\"))")
        } else {
            String::new()
        };
        writeln!(
            lifted,
            "(func $f{at} {params} (canon lift (core func $i \"f{at}\") (memory $i \"memory\")
                (realloc (func $i \"realloc\")) string-encoding={encoding} {done}))"
        )
        .unwrap();
        writeln!(exports, "(export \"f{at}\" (func $f{at}))").unwrap();
    }
    let defined = types.defined;
    format!(
        "(component
            (core module $m (memory (export \"memory\") 1)
                (func (export \"realloc\") (param i32 i32 i32 i32) (result i32) unreachable)
                {core})
            (core instance $i (instantiate $m))
            {defined}{lifted}{exports})"
    )
}

/// Random types, and what they are made of in core WebAssembly.
struct Types<'a> {
    rng: &'a mut Rng,
    /// Those that must have a name.
    defined: String,
    count: usize,
}

type Flat = Vec<&'static str>;

impl Types<'_> {
    fn ty(&mut self, depth: usize) -> (String, Flat) {
        const PLAIN: [(&str, &[&str]); 13] = [
            ("bool", &["i32"]),
            ("u8", &["i32"]),
            ("s8", &["i32"]),
            ("u16", &["i32"]),
            ("s16", &["i32"]),
            ("u32", &["i32"]),
            ("s32", &["i32"]),
            ("char", &["i32"]),
            ("u64", &["i64"]),
            ("s64", &["i64"]),
            ("f32", &["f32"]),
            ("f64", &["f64"]),
            ("string", &["i32", "i32"]),
        ];
        let kind = if depth > 4 { 0 } else { self.rng.below(14) };
        match kind {
            5 | 6 => (format!("(list {})", self.ty(depth + 1).0), vec!["i32", "i32"]),
            7 => {
                let (some, flat) = self.ty(depth + 1);
                (format!("(option {some})"), either(&[flat]))
            }
            8 => {
                let ((ok, left), (err, right)) = (self.ty(depth + 1), self.ty(depth + 1));
                match self.rng.below(4) {
                    0 => ("(result)".to_owned(), vec!["i32"]),
                    1 => (format!("(result {ok})"), either(&[left])),
                    2 => (format!("(result (error {err}))"), either(&[right])),
                    _ => (format!("(result {ok} (error {err}))"), either(&[left, right])),
                }
            }
            9 => {
                let items: Vec<_> = (0..=self.rng.below(3)).map(|_| self.ty(depth + 1)).collect();
                let (items, flat): (Vec<_>, Vec<_>) = items.into_iter().unzip();
                (format!("(tuple {})", items.join(" ")), flat.concat())
            }
            10 => {
                let (mut text, mut flat) = (String::new(), Vec::new());
                for at in 0..=self.rng.below(4) {
                    let (ty, parts) = self.ty(depth + 1);
                    write!(text, "(field \"m{at}\" {ty})").unwrap();
                    flat.extend(parts);
                }
                (self.define(&format!("(record {text})")), flat)
            }
            11 => {
                let (mut text, mut cases) = (String::new(), Vec::new());
                for at in 0..=self.rng.below(4) {
                    if self.rng.once_in(3) {
                        write!(text, "(case \"c{at}\")").unwrap();
                    } else {
                        let (ty, flat) = self.ty(depth + 1);
                        write!(text, "(case \"c{at}\" {ty})").unwrap();
                        cases.push(flat);
                    }
                }
                (self.define(&format!("(variant {text})")), either(&cases))
            }
            12 => {
                // More than 256 need a tag of two bytes.
                let most = if self.rng.once_in(8) { 300 } else { 5 };
                let names = names(self.rng.below(most) + 1);
                (self.define(&format!("(enum {names})")), vec!["i32"])
            }
            13 => {
                let names = names(self.rng.below(32) + 1);
                (self.define(&format!("(flags {names})")), vec!["i32"])
            }
            _ => {
                let (name, flat) = self.rng.pick(&PLAIN);
                ((*name).to_owned(), flat.to_vec())
            }
        }
    }

    fn define(&mut self, ty: &str) -> String {
        let at = self.count;
        self.count += 1;
        let defined = format!("(type $t{at}' {ty}) (export $t{at} \"t{at}\" (type $t{at}'))\n");
        self.defined.push_str(&defined);
        format!("$t{at}")
    }
}

fn names(count: usize) -> String {
    (0..count).map(|at| format!("\"n{at}\" ")).collect()
}

/// Which case it is, and then values wide enough for each.
fn either(cases: &[Flat]) -> Flat {
    let mut flat: Flat = Vec::new();
    for case in cases {
        for (at, part) in case.iter().enumerate() {
            match flat.get_mut(at) {
                None => flat.push(part),
                Some(known) if known == part => {}
                Some(known) => {
                    let is_narrow = |ty: &str| ty == "i32" || ty == "f32";
                    *known = if is_narrow(known) && is_narrow(part) { "i32" } else { "i64" };
                }
            }
        }
    }
    flat.insert(0, "i32");
    flat
}

/// The component with random code in the place of its own: the first section, a core module, with the same
/// exports. `None` if the random bytes do not go far enough for it.
pub(crate) fn with_random_code(rng: &mut Rng, component: &[u8]) -> Option<Vec<u8>> {
    assert_eq!(component[8], CORE_MODULE, "a component begins with its core module");
    let (length, at) = read_length(&component[9..]);
    let (module, rest) = component[9 + at..].split_at(length);
    // Its memory is among the exports, and comes on top of those that may be.
    let config = Config { exports: Some(module.to_vec()), max_memories: 0, ..config(rng)? };
    let random = random(rng);
    let code = Module::new(config, &mut Unstructured::new(&random)).ok()?.to_bytes();
    let mut out = component[..8].to_vec();
    section(&mut out, CORE_MODULE, &code);
    out.extend(rest);
    Some(out)
}

/// The component with a random one inside that nobody uses; or with a random core module.
pub(crate) fn with_random_parts(rng: &mut Rng, component: &[u8]) -> Option<Vec<u8>> {
    let (config, random) = (config(rng)?, random(rng));
    let mut unstructured = Unstructured::new(&random);
    let mut out = component.to_vec();
    if rng.once_in(3) {
        section(&mut out, CORE_MODULE, &Module::new(config, &mut unstructured).ok()?.to_bytes());
    } else {
        section(&mut out, COMPONENT, &Component::new(config, &mut unstructured).ok()?.to_bytes());
    }
    Some(out)
}

/// A random component as it is. It exports nothing.
pub(crate) fn random_component(rng: &mut Rng) -> Option<Vec<u8>> {
    let (config, random) = (config(rng)?, random(rng));
    Some(Component::new(config, &mut Unstructured::new(&random)).ok()?.to_bytes())
}

fn random(rng: &mut Rng) -> Vec<u8> {
    let count = 200 + rng.below(6_000);
    rng.bytes(count)
}

/// Mostly of what plugins may use, so that it is not all refused; at times of anything.
fn config(rng: &mut Rng) -> Option<Config> {
    let random = rng.bytes(500);
    let swarm = Config::arbitrary(&mut Unstructured::new(&random)).ok()?;
    let bounded = Config {
        max_funcs: 20,
        max_types: 30,
        max_imports: 0,
        max_data_segments: 10,
        max_element_segments: 10,
        max_type_size: 200,
        max_instructions: if rng.once_in(10) { 3_000 } else { 100 },
        ..swarm
    };
    if rng.once_in(8) {
        return Some(Config { max_imports: 5, ..bounded });
    }
    Some(Config {
        min_imports: 0,
        min_memories: 0,
        min_tables: 0,
        // With them comes `externref`, which plugins may not use.
        reference_types_enabled: rng.once_in(6),
        max_memories: 1,
        max_memory32_bytes: 32 << 16,
        max_tables: 3,
        max_table_elements: 1_000,
        min_tags: 0,
        max_tags: 0,
        custom_descriptors_enabled: false,
        custom_page_sizes_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..bounded
    })
}

fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    let mut length = content.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(content);
}

/// A length, and how many bytes it takes.
fn read_length(bytes: &[u8]) -> (usize, usize) {
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (length, at + 1);
        }
    }
    panic!("a length that does not end");
}
