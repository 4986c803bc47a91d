//! Values of the component model as text: WAVE, such as `{name: "a", sizes: [1, 2]}`.
//!
//! Values are written by the engine. Reading is done here, and follows the type: the engine's reader
//! runs on a lexer that recurses once for each character unless the compiler optimises it away, so a
//! megabyte of comment can overflow the stack of whoever reads it.
//!
//! What both read, they read alike. The engine's also reads records with members that their type has not,
//! or without commas; ours also reads cases that are named like words of the language (`none` for `%none`)
//! where the type tells.

use std::fmt::Display;

use wasmtime::component::{Val, wasm_wave::writer::Writer};

use super::{
    cursor::{Cursor, is_number},
    problem::{Path, Problem, Room, left_out, missing, one_of},
    shape::{Bounded, Members, Shape},
};

/// Reads values from a text, one after the other.
pub(super) struct Reader<'a> {
    cursor: Cursor<'a>,
    room: Room,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { cursor: Cursor::new(text), room: Room::new() }
    }

    /// Arguments in parentheses, and nothing after them. Options at the end may be left out.
    pub(super) fn arguments(mut self, params: &[(String, Shape)]) -> Result<Vec<Val>, Problem> {
        let mut vals = Vec::with_capacity(params.len());
        self.expect('(', "arguments in parentheses")?;
        while !self.cursor.take(')') {
            let Some((name, shape)) = params.get(vals.len()) else {
                return Err(self.syntax("`)`, for there are no more parameters"));
            };
            vals.push(self.value(shape, &Path::param(name))?);
            if !self.cursor.take(',') {
                self.expect(')', "`,` or `)` after an argument")?;
                break;
            }
        }
        if !self.cursor.rest().is_empty() {
            return Err(self.syntax("nothing after the arguments"));
        }
        for (name, shape) in &params[vals.len()..] {
            let at = Path::param(name);
            vals.push(left_out(shape).ok_or_else(|| missing(&at, shape))?);
        }
        Ok(vals)
    }

    fn value(&mut self, shape: &Shape, at: &Path<'_>) -> Result<Val, Problem> {
        self.room.take(at, 0)?;
        match shape {
            Shape::Bool => match self.cursor.label() {
                Some("true") => Ok(Val::Bool(true)),
                Some("false") => Ok(Val::Bool(false)),
                other => Err(self.wrong(at, shape.kind(), other)),
            },
            Shape::Int(_) | Shape::F32 | Shape::F64 => {
                let number = self.cursor.number();
                let val = match shape {
                    _ if !is_number(number) => None,
                    Shape::Int(int) => number.parse().ok().and_then(|value| int.val(value)),
                    // Not by way of f64: that would round twice.
                    Shape::F32 => number.parse().ok().map(Val::Float32),
                    _ => number.parse().ok().map(Val::Float64),
                };
                val.ok_or_else(|| self.wrong(at, shape.kind(), Some(number)))
            }
            Shape::Char => {
                let char = self.cursor.char().map_err(|problem| Problem::at(at, problem))?;
                let what = "char: one character in single quotes";
                char.map(Val::Char).ok_or_else(|| self.wrong(at, what, None))
            }
            Shape::String => {
                let text = self.cursor.string().map_err(|problem| Problem::at(at, problem))?;
                let text = text.ok_or_else(|| self.wrong(at, shape.kind(), None))?;
                self.room.take(at, text.len())?;
                Ok(Val::String(text))
            }
            Shape::List(item) => {
                self.open('[', at, shape)?;
                let mut items = Vec::new();
                while !self.cursor.take(']') {
                    let at = at.index(items.len());
                    items.push(self.value(item, &at)?);
                    self.separator(']', &at)?;
                }
                Ok(Val::List(items))
            }
            Shape::Tuple(shapes) => {
                self.open('(', at, shape)?;
                let mut items = Vec::with_capacity(shapes.len());
                for item in shapes {
                    let at = at.index(items.len());
                    if self.cursor.rest().starts_with(')') {
                        return Err(missing(&at, item));
                    }
                    items.push(self.value(item, &at)?);
                    self.separator(')', &at)?;
                }
                if !self.cursor.take(')') {
                    let what = format!("no more than {} items in the tuple", shapes.len());
                    return Err(self.wrong(at, what, None));
                }
                Ok(Val::Tuple(items))
            }
            Shape::Record(members) => self.record(shape, members, at),
            Shape::Variant(cases) => {
                let label = self.cursor.name();
                let Some((_, name, payload)) = label.and_then(|label| cases.find(label)) else {
                    return Err(self.wrong(at, one_of(cases), label));
                };
                self.room.take(at, name.len())?;
                let payload = self.payload(payload, &at.name(name))?;
                Ok(Val::Variant(name.to_owned(), payload))
            }
            Shape::Enum(cases) => {
                let label = self.cursor.name();
                let Some((_, name, _)) = label.and_then(|label| cases.find(label)) else {
                    return Err(self.wrong(at, one_of(cases), label));
                };
                self.room.take(at, name.len())?;
                Ok(Val::Enum(name.to_owned()))
            }
            Shape::Flags(flags) => self.flags(shape, flags, at),
            Shape::Option(some) => match self.cursor.peek() {
                Some("none") => {
                    self.cursor.label();
                    Ok(Val::Option(None))
                }
                Some("some") => {
                    self.cursor.label();
                    Ok(Val::Option(self.payload(Some(some), at)?))
                }
                // An option of an option has to be written out.
                _ if matches!(**some, Shape::Option(_) | Shape::Result { .. }) => {
                    Err(self.wrong(at, "none or some(..)", None))
                }
                _ => Ok(Val::Option(Some(Box::new(self.value(some, at)?)))),
            },
            Shape::Result { ok, err } => match self.cursor.peek() {
                Some("ok") => {
                    self.cursor.label();
                    Ok(Val::Result(Ok(self.payload(ok.as_deref(), &at.name("ok"))?)))
                }
                Some("err") => {
                    self.cursor.label();
                    Ok(Val::Result(Err(self.payload(err.as_deref(), &at.name("err"))?)))
                }
                _ => match ok.as_deref() {
                    None | Some(Shape::Option(_) | Shape::Result { .. }) => {
                        Err(self.wrong(at, "ok or err", None))
                    }
                    Some(ok) => Ok(Val::Result(Ok(Some(Box::new(self.value(ok, at)?))))),
                },
            },
            Shape::Foreign(what) => Err(self.wrong(at, what, None)),
        }
    }

    fn record(&mut self, shape: &Shape, members: &Members, at: &Path<'_>) -> Result<Val, Problem> {
        self.open('{', at, shape)?;
        let mut vals: Vec<Option<Val>> = Vec::new();
        vals.resize_with(members.len(), || None);
        // `{:}` is a record whose members are all left out, for `{}` are flags.
        if self.cursor.take(':') {
            self.expect('}', "`}` after `{:`")?;
        } else {
            while !self.cursor.take('}') {
                let label = self.cursor.name();
                let found = label.and_then(|label| members.find(label));
                let Some((i, name, Some(shape))) = found else {
                    return Err(self.wrong(at, format!("{} as a member", one_of(members)), label));
                };
                let at = at.name(name);
                if vals[i].is_some() {
                    return Err(Problem::at(&at, "is there twice"));
                }
                self.expect(':', "`:` after the name of a member")?;
                vals[i] = Some(self.value(shape, &at)?);
                self.separator('}', &at)?;
            }
        }
        let mut fields = Vec::with_capacity(members.len());
        for ((name, shape), val) in members.iter().zip(vals) {
            self.room.take(at, size_of::<String>() + name.len())?;
            let Some(shape) = shape else { continue };
            let val = val.or_else(|| left_out(shape));
            fields.push((name.to_owned(), val.ok_or_else(|| missing(&at.name(name), shape))?));
        }
        Ok(Val::Record(fields))
    }

    fn flags(&mut self, shape: &Shape, flags: &Members, at: &Path<'_>) -> Result<Val, Problem> {
        self.open('{', at, shape)?;
        let mut set = vec![false; flags.len()];
        while !self.cursor.take('}') {
            let label = self.cursor.name();
            let Some((i, name, _)) = label.and_then(|label| flags.find(label)) else {
                return Err(self.wrong(at, one_of(flags), label));
            };
            if std::mem::replace(&mut set[i], true) {
                return Err(Problem::at(at, format_args!("`{name}` is there twice")));
            }
            self.room.take(at, name.len())?;
            self.separator('}', at)?;
        }
        let names = flags.iter().zip(set).filter(|(_, set)| *set);
        Ok(Val::Flags(names.map(|((name, _), _)| name.to_owned()).collect()))
    }

    /// What is in parentheses after a case: there if, and only if, the case has a payload.
    fn payload(
        &mut self,
        shape: Option<&Shape>,
        at: &Path<'_>,
    ) -> Result<Option<Box<Val>>, Problem> {
        match (shape, self.cursor.take('(')) {
            (None, false) => Ok(None),
            (None, true) => Err(Problem::at(at, "has no payload")),
            (Some(shape), false) => Err(missing(at, shape)),
            (Some(shape), true) => {
                let val = self.value(shape, at)?;
                self.expect(')', "`)` after the payload of a case")?;
                Ok(Some(Box::new(val)))
            }
        }
    }

    /// Takes the sign that opens a value of this shape.
    fn open(&mut self, sign: char, at: &Path<'_>, shape: &Shape) -> Result<(), Problem> {
        if self.cursor.take(sign) {
            return Ok(());
        }
        Err(self.wrong(at, format!("{}: `{sign}`", shape.kind()), None))
    }

    /// Between two things there is a comma; after the last one there may be.
    fn separator(&mut self, end: char, at: &Path<'_>) -> Result<(), Problem> {
        if self.cursor.take(',') || self.cursor.rest().starts_with(end) {
            return Ok(());
        }
        Err(self.wrong(at, format!("`,` or `{end}` after it"), None))
    }

    fn expect(&mut self, sign: char, what: &str) -> Result<(), Problem> {
        if self.cursor.take(sign) { Ok(()) } else { Err(self.syntax(what)) }
    }

    /// Something else was expected here; `given`, or else what comes next, is there instead.
    fn wrong(&mut self, at: &Path<'_>, what: impl Display, given: Option<&str>) -> Problem {
        match given.filter(|given| !given.is_empty()) {
            Some(given) => Problem::expected(at, what, given),
            None => Problem::expected(at, what, self.next_few()),
        }
    }

    /// The same where there is no value to name.
    fn syntax(&mut self, what: impl Display) -> Problem {
        let at = self.cursor.at();
        let few = plugin_contract::escape(self.next_few(), 60);
        Problem(format!("expected {what}, not {few} (at byte {at} of the arguments)"))
    }

    fn next_few(&mut self) -> &'a str {
        match self.cursor.rest() {
            "" => "the end",
            rest => &rest[..rest.floor_char_boundary(20)],
        }
    }
}

/// The value as text, cut at `bytes_max` bytes. Nothing in it acts on a terminal: the text of strings is
/// escaped, and names are plain by their nature.
pub(super) fn write(val: &Val, bytes_max: usize) -> String {
    let mut out = Bounded { text: String::new(), bytes_max };
    // It fails where it is full.
    let _ = Writer::new(&mut out).write_value(val);
    out.text
}
