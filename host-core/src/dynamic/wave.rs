//! Values of the component model as text: WAVE, such as `{name: "a", sizes: [1, 2]}`.
//!
//! Values are written by the engine. Reading is done here, and follows the type: the engine's reader
//! runs on a lexer that recurses once for each character unless the compiler optimises it away, so a
//! megabyte of comment can overflow the stack of whoever reads it.

use std::fmt::Display;

use wasmtime::component::{Val, wasm_wave::writer::Writer};

use super::{
    json::one_of,
    problem::{Path, Problem, Room, left_out, missing},
    shape::{Bounded, Members, Shape},
};

/// Reads values from a text, one after the other.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    room: Room,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, room: Room::new() }
    }

    /// Arguments in parentheses, and nothing after them. Options at the end may be left out.
    pub(super) fn arguments(mut self, params: &[(String, Shape)]) -> Result<Vec<Val>, Problem> {
        let mut vals = Vec::with_capacity(params.len());
        self.expect('(', "arguments in parentheses")?;
        while !self.take(')') {
            let Some((name, shape)) = params.get(vals.len()) else {
                let what = format!("`)`, for there are {} parameters", params.len());
                return Err(self.syntax(what));
            };
            vals.push(self.value(shape, &Path::param(name))?);
            if !self.take(',') {
                self.expect(')', "`,` or `)` after an argument")?;
                break;
            }
        }
        if !self.rest().is_empty() {
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
            Shape::Bool => match self.label() {
                Some("true") => Ok(Val::Bool(true)),
                Some("false") => Ok(Val::Bool(false)),
                other => Err(self.wrong(at, shape.kind(), other)),
            },
            Shape::Int(_) | Shape::F32 | Shape::F64 => {
                let number = self.number();
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
                let what = "char: one character in single quotes";
                if !self.take('\'') {
                    return Err(self.wrong(at, what, None));
                }
                let char = self.character('\'', at)?;
                match char.filter(|_| self.text[self.at..].starts_with('\'')) {
                    Some(char) => {
                        self.at += 1;
                        Ok(Val::Char(char))
                    }
                    None => Err(self.wrong(at, what, None)),
                }
            }
            Shape::String => Ok(Val::String(self.string(at)?)),
            Shape::List(item) => {
                self.open('[', at, shape)?;
                let mut items = Vec::new();
                while !self.take(']') {
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
                    if self.rest().starts_with(')') {
                        return Err(missing(&at, item));
                    }
                    items.push(self.value(item, &at)?);
                    self.separator(')', &at)?;
                }
                if !self.take(')') {
                    let what = format!("no more than {} items in the tuple", shapes.len());
                    return Err(self.wrong(at, what, None));
                }
                Ok(Val::Tuple(items))
            }
            Shape::Record(members) => self.record(shape, members, at),
            Shape::Variant(cases) => {
                let label = self.name();
                let Some((_, name, payload)) = label.and_then(|label| cases.find(label)) else {
                    return Err(self.wrong(at, one_of(cases), label));
                };
                self.room.take(at, name.len())?;
                let payload = self.payload(payload, &at.name(name))?;
                Ok(Val::Variant(name.to_owned(), payload))
            }
            Shape::Enum(cases) => {
                let label = self.name();
                let Some((_, name, _)) = label.and_then(|label| cases.find(label)) else {
                    return Err(self.wrong(at, one_of(cases), label));
                };
                self.room.take(at, name.len())?;
                Ok(Val::Enum(name.to_owned()))
            }
            Shape::Flags(flags) => self.flags(shape, flags, at),
            Shape::Option(some) => match self.peek() {
                Some("none") => {
                    self.label();
                    Ok(Val::Option(None))
                }
                Some("some") => {
                    self.label();
                    Ok(Val::Option(self.payload(Some(some), at)?))
                }
                // An option of an option has to be written out.
                _ if matches!(**some, Shape::Option(_) | Shape::Result { .. }) => {
                    Err(self.wrong(at, "none or some(..)", None))
                }
                _ => Ok(Val::Option(Some(Box::new(self.value(some, at)?)))),
            },
            Shape::Result { ok, err } => match self.peek() {
                Some("ok") => {
                    self.label();
                    Ok(Val::Result(Ok(self.payload(ok.as_deref(), &at.name("ok"))?)))
                }
                Some("err") => {
                    self.label();
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
        if self.take(':') {
            self.expect('}', "`}` after `{:`")?;
        } else {
            while !self.take('}') {
                let label = self.name();
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
        while !self.take('}') {
            let label = self.name();
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
        match (shape, self.take('(')) {
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

    fn string(&mut self, at: &Path<'_>) -> Result<String, Problem> {
        if self.rest().starts_with("\"\"\"") {
            return self.lines(at);
        }
        if !self.take('"') {
            return Err(self.wrong(at, "string", None));
        }
        let from = self.at;
        let mut text = String::new();
        while let Some(char) = self.character('"', at)? {
            text.push(char);
        }
        if !self.text[self.at..].starts_with('"') {
            return Err(Problem::at(at, "the string does not end on its line"));
        }
        self.at += 1;
        self.room.take(at, self.at - from)?;
        Ok(text)
    }

    /// A string of several lines, between lines of three quotes. They may be indented as far as the last
    /// of these is, and so much of each is no part of the string.
    fn lines(&mut self, at: &Path<'_>) -> Result<String, Problem> {
        const QUOTES: &str = "\"\"\"";
        let body = &self.text[self.at + QUOTES.len()..];
        let wrong = |problem| Err(Problem::at(at, problem));
        let Some(end) = body.find(QUOTES) else { return wrong("the string does not end") };
        self.at += 2 * QUOTES.len() + end;
        self.room.take(at, end)?;
        let body = &body[..end];
        let Some(body) = body.strip_prefix("\r\n").or(body.strip_prefix('\n')) else {
            return wrong("a line begins after the three quotes");
        };
        let (lines, indent) = match body.rsplit_once('\n') {
            Some((lines, indent)) => (Some(lines), indent),
            None => (None, body),
        };
        if indent.contains(|char| char != ' ') {
            return wrong("nothing but spaces goes before the last three quotes");
        }
        let mut text = String::new();
        for (i, line) in lines.into_iter().flat_map(|lines| lines.split('\n')).enumerate() {
            let Some(line) = line.strip_prefix(indent) else {
                return wrong("a line is indented less than the last three quotes");
            };
            if i > 0 {
                text.push('\n');
            }
            let mut line = Reader::new(line.strip_suffix('\r').unwrap_or(line));
            while let Some(char) = line.character('\n', at)? {
                text.push(char);
            }
        }
        Ok(text)
    }

    /// The next character of a text in quotes; `None` at the end of the text, or of the line.
    fn character(&mut self, quote: char, at: &Path<'_>) -> Result<Option<char>, Problem> {
        let rest = &self.text[self.at..];
        let mut chars = rest.chars();
        let char = match chars.next() {
            None | Some('\n') => return Ok(None),
            Some(char) if char == quote => return Ok(None),
            Some('\\') => {
                let bad = || Problem::at(at, "`\\` goes before one of ' \" t n r \\ u{..}");
                match chars.next().ok_or_else(bad)? {
                    char @ ('\'' | '"' | '\\') => char,
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    'u' => {
                        let code = chars.as_str().strip_prefix('{').and_then(|code| {
                            let (code, rest) = code.split_once('}')?;
                            chars = rest.chars();
                            Some(code)
                        });
                        let digits = |code: &&str| {
                            code.len() <= 6 && code.bytes().all(|byte| byte.is_ascii_hexdigit())
                        };
                        let code = code.filter(digits).ok_or_else(bad)?;
                        let code = u32::from_str_radix(code, 16).map_err(|_| bad())?;
                        char::from_u32(code).ok_or_else(bad)?
                    }
                    _ => return Err(bad()),
                }
            }
            Some(char) => char,
        };
        self.at += rest.len() - chars.as_str().len();
        Ok(Some(char))
    }

    /// What may be a number.
    fn number(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
        let text = &rest[..end.unwrap_or(rest.len())];
        self.at += text.len();
        text
    }

    /// A name, with or without the `%` that tells names from words of the language.
    fn name(&mut self) -> Option<&'a str> {
        if self.rest().starts_with('%') {
            self.at += 1;
            return self.word();
        }
        self.label()
    }

    fn label(&mut self) -> Option<&'a str> {
        self.rest();
        self.word()
    }

    /// The word that comes next, left where it is.
    fn peek(&mut self) -> Option<&'a str> {
        self.rest();
        let at = self.at;
        let word = self.word();
        self.at = at;
        word
    }

    fn word(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let word = &rest[..end.unwrap_or(rest.len())];
        if !word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        self.at += word.len();
        Some(word)
    }

    /// Takes the sign that opens a value of this shape.
    fn open(&mut self, sign: char, at: &Path<'_>, shape: &Shape) -> Result<(), Problem> {
        if self.take(sign) {
            return Ok(());
        }
        Err(self.wrong(at, format!("{}: `{sign}`", shape.kind()), None))
    }

    /// Between two things there is a comma; after the last one there may be.
    fn separator(&mut self, end: char, at: &Path<'_>) -> Result<(), Problem> {
        if self.take(',') || self.rest().starts_with(end) {
            return Ok(());
        }
        Err(self.wrong(at, format!("`,` or `{end}` after it"), None))
    }

    fn expect(&mut self, sign: char, what: &str) -> Result<(), Problem> {
        if self.take(sign) { Ok(()) } else { Err(self.syntax(what)) }
    }

    fn take(&mut self, sign: char) -> bool {
        let taken = self.rest().starts_with(sign);
        if taken {
            self.at += sign.len_utf8();
        }
        taken
    }

    /// The text from here on, after space and comments, which run from `//` to the end of the line.
    fn rest(&mut self) -> &'a str {
        loop {
            let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\n', '\r']);
            self.at = self.text.len() - rest.len();
            if !rest.starts_with("//") {
                return rest;
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
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
        let at = self.at;
        let few = plugin_contract::escape(self.next_few(), 60);
        Problem(format!("expected {what}, not {few} (at byte {at} of the arguments)"))
    }

    fn next_few(&mut self) -> &'a str {
        match self.rest() {
            "" => "the end",
            rest => &rest[..rest.floor_char_boundary(20)],
        }
    }
}

/// Rust's own readers take more: `+1`, `.5`, `Infinity`.
fn is_number(text: &str) -> bool {
    if matches!(text, "nan" | "inf" | "-inf") {
        return true;
    }
    let text = text.strip_prefix('-').unwrap_or(text);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let plain = |exponent: &str| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(plain)
}

/// The value as text, cut at `bytes_max` bytes. Nothing in it acts on a terminal: the text of strings is
/// escaped, and names are plain by their nature.
pub(super) fn write(val: &Val, bytes_max: usize) -> String {
    let mut out = Bounded { text: String::new(), bytes_max };
    // It fails where it is full.
    let _ = Writer::new(&mut out).write_value(val);
    out.text
}
