//! Types of the component model, in the form in which values are read and written.
//!
//! The engine's own types answer the same questions, but one at a time and by search: a list of variants
//! with many cases would take a guest's author a minute of the host. A [`Shape`] is made once for a call.

use std::fmt::{self, Write};

use wasmtime::component::{Type, Val};

/// Names and types in one function, together. More than any interface written by hand has; a component
/// made for it can have a million.
const PARTS_MAX: usize = 10_000;

/// How deep types may be nested. Admission allows 100; what is read and written recursively relies on it.
const DEPTH_MAX: usize = 128;

const TOO_LARGE: &str = "a type that is too large";

/// Longest text of one type, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Bool,
    Int(Int),
    F32,
    F64,
    Char,
    String,
    List(Box<Shape>),
    Tuple(Vec<Shape>),
    /// Each member has a shape.
    Record(Members),
    /// A case has a shape if it has a payload.
    Variant(Members),
    Enum(Members),
    Flags(Members),
    Option(Box<Shape>),
    Result {
        ok: Option<Box<Shape>>,
        err: Option<Box<Shape>>,
    },
    /// Values of this type cannot be written down.
    Foreign(&'static str),
}

/// The integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Int {
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
}

/// Members of a record, cases of a variant or an enum, flags: in their order, to be found by name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Members {
    list: Vec<(Box<str>, Option<Shape>)>,
    /// Indices into the list, by name.
    sorted: Vec<u32>,
}

/// Makes the shapes of one function.
#[derive(Default)]
pub(super) struct Shaper {
    parts: usize,
    /// Why the function cannot be called: the first thing that was found.
    foreign: Option<&'static str>,
}

impl Shaper {
    pub(super) fn shape(&mut self, ty: &Type) -> Shape {
        self.of(ty, 0)
    }

    /// What in the shapes so far cannot be written down.
    pub(super) fn foreign(&self) -> Option<&'static str> {
        self.foreign
    }

    fn of(&mut self, ty: &Type, depth: usize) -> Shape {
        if !self.has_room(depth) {
            return self.refuse(TOO_LARGE);
        }
        let depth = depth + 1;
        match ty {
            Type::Bool => Shape::Bool,
            Type::S8 => Shape::Int(Int::S8),
            Type::U8 => Shape::Int(Int::U8),
            Type::S16 => Shape::Int(Int::S16),
            Type::U16 => Shape::Int(Int::U16),
            Type::S32 => Shape::Int(Int::S32),
            Type::U32 => Shape::Int(Int::U32),
            Type::S64 => Shape::Int(Int::S64),
            Type::U64 => Shape::Int(Int::U64),
            Type::Float32 => Shape::F32,
            Type::Float64 => Shape::F64,
            Type::Char => Shape::Char,
            Type::String => Shape::String,
            Type::List(list) => Shape::List(Box::new(self.of(&list.ty(), depth))),
            Type::Tuple(tuple) => {
                Shape::Tuple(tuple.types().map_while(|ty| self.next(&ty, depth)).collect())
            }
            Type::Record(record) => Shape::Record(Members::new(
                record
                    .fields()
                    .map_while(|field| Some((field.name, Some(self.next(&field.ty, depth)?)))),
            )),
            Type::Variant(variant) => {
                Shape::Variant(Members::new(variant.cases().map_while(|case| match case.ty {
                    Some(ty) => Some((case.name, Some(self.next(&ty, depth)?))),
                    None => Some((self.name(case.name)?, None)),
                })))
            }
            Type::Enum(cases) => Shape::Enum(self.names(cases.names())),
            Type::Flags(flags) => Shape::Flags(self.names(flags.names())),
            Type::Option(option) => Shape::Option(Box::new(self.of(&option.ty(), depth))),
            Type::Result(result) => {
                let mut side = |ty: Option<Type>| ty.map(|ty| Box::new(self.of(&ty, depth)));
                Shape::Result { ok: side(result.ok()), err: side(result.err()) }
            }
            Type::Own(_) => self.refuse("own<resource>"),
            Type::Borrow(_) => self.refuse("borrow<resource>"),
            Type::Future(_) => self.refuse("future"),
            Type::Stream(_) => self.refuse("stream"),
            Type::ErrorContext => self.refuse("error-context"),
            // Not in the set of features that plugins may use, so far.
            Type::Map(_) => self.refuse("map"),
            Type::FixedLengthList(_) => self.refuse("list of a fixed length"),
        }
    }

    /// The next part of a type; `None` after the one that was too many.
    fn next(&mut self, ty: &Type, depth: usize) -> Option<Shape> {
        (self.parts <= PARTS_MAX).then(|| self.of(ty, depth))
    }

    fn names<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Members {
        Members::new(names.map_while(|name| Some((self.name(name)?, None))))
    }

    fn name<'a>(&mut self, name: &'a str) -> Option<&'a str> {
        if !self.has_room(0) {
            self.refuse(TOO_LARGE);
            return None;
        }
        Some(name)
    }

    fn has_room(&mut self, depth: usize) -> bool {
        self.parts += 1;
        self.parts <= PARTS_MAX && depth < DEPTH_MAX
    }

    fn refuse(&mut self, what: &'static str) -> Shape {
        self.foreign.get_or_insert(what);
        Shape::Foreign(what)
    }
}

impl Int {
    /// `None` if the type has no such value.
    pub(super) fn val(self, value: i128) -> Option<Val> {
        Some(match self {
            Self::S8 => Val::S8(value.try_into().ok()?),
            Self::U8 => Val::U8(value.try_into().ok()?),
            Self::S16 => Val::S16(value.try_into().ok()?),
            Self::U16 => Val::U16(value.try_into().ok()?),
            Self::S32 => Val::S32(value.try_into().ok()?),
            Self::U32 => Val::U32(value.try_into().ok()?),
            Self::S64 => Val::S64(value.try_into().ok()?),
            Self::U64 => Val::U64(value.try_into().ok()?),
        })
    }
}

impl Members {
    pub(super) fn new<'a>(list: impl Iterator<Item = (&'a str, Option<Shape>)>) -> Self {
        let list: Vec<_> = list.map(|(name, shape)| (name.into(), shape)).collect();
        let mut sorted: Vec<u32> = (0..).take(list.len()).collect();
        sorted.sort_by_key(|i| &list[*i as usize].0);
        Self { list, sorted }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Where the member of this name is, and its shape.
    pub(super) fn find(&self, name: &str) -> Option<(usize, &str, Option<&Shape>)> {
        let found = self.sorted.binary_search_by_key(&name, |i| &self.list[*i as usize].0).ok()?;
        let i = self.sorted[found] as usize;
        let (name, shape) = &self.list[i];
        Some((i, name, shape.as_ref()))
    }

    /// In their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<&Shape>)> {
        self.list.iter().map(|(name, shape)| (&**name, shape.as_ref()))
    }
}

impl Shape {
    /// The type as it is written in WIT, types without their names; cut at 1,000 bytes.
    pub(super) fn text(&self) -> String {
        let mut out = Bounded { text: String::new(), bytes_max: TEXT_BYTES_MAX };
        // It fails where it is full.
        let _ = write!(out, "{self}");
        out.text
    }

    /// The type in two words, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int(int) => int.name(),
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
            Self::String => "string",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Record(_) => "record",
            Self::Variant(_) => "variant",
            Self::Enum(_) => "enum",
            Self::Flags(_) => "flags",
            Self::Option(_) => "option",
            Self::Result { .. } => "result",
            Self::Foreign(what) => what,
        }
    }
}

impl Int {
    fn name(self) -> &'static str {
        match self {
            Self::S8 => "s8",
            Self::U8 => "u8",
            Self::S16 => "s16",
            Self::U16 => "u16",
            Self::S32 => "s32",
            Self::U32 => "u32",
            Self::S64 => "s64",
            Self::U64 => "u64",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Option(some) => write!(f, "option<{some}>"),
            Self::Result { ok: None, err: None } => f.write_str("result"),
            Self::Result { ok: Some(ok), err: None } => write!(f, "result<{ok}>"),
            Self::Result { ok: None, err: Some(err) } => write!(f, "result<_, {err}>"),
            Self::Result { ok: Some(ok), err: Some(err) } => write!(f, "result<{ok}, {err}>"),
            Self::Tuple(items) => {
                f.write_str("tuple<")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(">")
            }
            Self::Record(members)
            | Self::Variant(members)
            | Self::Enum(members)
            | Self::Flags(members) => {
                write!(f, "{} {{", self.kind())?;
                for (i, (name, shape)) in members.iter().enumerate() {
                    write!(f, "{}{name}", if i == 0 { " " } else { ", " })?;
                    match (self, shape) {
                        (Self::Record(_), Some(shape)) => write!(f, ": {shape}")?,
                        (_, Some(shape)) => write!(f, "({shape})")?,
                        (_, None) => {}
                    }
                }
                f.write_str(" }")
            }
            _ => f.write_str(self.kind()),
        }
    }
}

/// A text that is cut rather than longer than `bytes_max`.
pub(super) struct Bounded {
    pub(super) text: String,
    pub(super) bytes_max: usize,
}

impl Write for Bounded {
    /// Fails when it is full, so that whoever writes can stop.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes_max.saturating_sub(self.text.len());
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
        self.text.push_str("...");
        Err(fmt::Error)
    }
}
