//! Arguments for functions that are known by the text of their types alone.
//!
//! Types are read as [`host_core::FunctionInfo`] writes them. What cannot be read, since it was cut, gets an
//! argument that does not fit: that is a case, too.

use serde_json::{Value, json};

use super::mutate::Rng;

/// Most values in one argument.
const VALUES_MAX: usize = 200;

/// A value for a parameter of this type. Not always one that fits.
pub(crate) fn argument(rng: &mut Rng, ty: &str) -> Value {
    let ty = Reader(ty).ty(0).unwrap_or(Type::Word(""));
    Maker { rng, left: VALUES_MAX }.value(&ty)
}

/// Text with characters of all lengths, and now and then a long one.
pub(crate) fn text(rng: &mut Rng) -> String {
    const CHARS: [char; 10] = ['a', '0', '"', '\n', '\0', 'é', '\u{202e}', '日', '\u{ffff}', '😀'];
    let length = if rng.once_in(30) { 20_000 } else { rng.below(20) };
    (0..length).map(|_| *rng.pick(&CHARS)).collect()
}

enum Type<'a> {
    Word(&'a str),
    List(Box<Type<'a>>),
    Option(Box<Type<'a>>),
    Result(Vec<Type<'a>>),
    Tuple(Vec<Type<'a>>),
    /// Records, variants, enums and flags: what they are, and their members.
    Members(&'a str, Vec<(&'a str, Option<Type<'a>>)>),
}

struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn ty(&mut self, depth: usize) -> Option<Type<'a>> {
        if depth > 100 {
            return None;
        }
        let word = self.word()?;
        Some(match word {
            "list" | "option" | "tuple" | "result" if self.takes('<') => {
                let mut parts = vec![self.ty(depth + 1)?];
                while self.takes(',') {
                    parts.push(self.ty(depth + 1)?);
                }
                self.takes('>').then_some(())?;
                match word {
                    "list" => Type::List(Box::new(parts.pop()?)),
                    "option" => Type::Option(Box::new(parts.pop()?)),
                    "tuple" => Type::Tuple(parts),
                    _ => Type::Result(parts),
                }
            }
            "result" => Type::Result(Vec::new()),
            "record" | "variant" | "enum" | "flags" => {
                self.takes('{').then_some(())?;
                let mut members = Vec::new();
                while !self.takes('}') {
                    let name = self.word()?;
                    let ty = if self.takes(':') {
                        Some(self.ty(depth + 1)?)
                    } else if self.takes('(') {
                        let ty = self.ty(depth + 1)?;
                        self.takes(')').then_some(())?;
                        Some(ty)
                    } else {
                        None
                    };
                    members.push((name, ty));
                    self.takes(',');
                }
                Type::Members(word, members)
            }
            word => Type::Word(word),
        })
    }

    fn word(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn takes(&mut self, c: char) -> bool {
        let rest = self.0.trim_start().strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

struct Maker<'a> {
    rng: &'a mut Rng,
    left: usize,
}

impl Maker<'_> {
    fn value(&mut self, ty: &Type<'_>) -> Value {
        if self.left == 0 || self.rng.once_in(60) {
            return Value::Null;
        }
        self.left -= 1;
        match ty {
            Type::Word(word) => self.plain(word),
            Type::List(item) => {
                let count = self.rng.below(5);
                (0..count).map(|_| self.value(item)).collect()
            }
            Type::Option(_) if self.rng.once_in(2) => Value::Null,
            Type::Option(some) => json!({"some": self.value(some)}),
            Type::Result(sides) => {
                let at = self.rng.below(2);
                // `result<_, e>` has a side that is not there.
                let value = match sides.get(at) {
                    None | Some(Type::Word("_")) => Value::Null,
                    Some(side) => self.value(side),
                };
                json!({ ["ok", "err"][at]: value })
            }
            Type::Tuple(items) => items.iter().map(|item| self.value(item)).collect(),
            Type::Members("record", members) => {
                let field = |(name, ty): &(&str, Option<Type<'_>>)| {
                    let value = ty.as_ref().map_or(Value::Null, |ty| self.value(ty));
                    ((*name).to_owned(), value)
                };
                members.iter().map(field).collect()
            }
            Type::Members("flags", names) => {
                let names = names.iter().map(|(name, _)| *name);
                names.filter(|_| self.rng.once_in(2)).map(Value::from).collect()
            }
            Type::Members(_, cases) if cases.is_empty() => Value::Null,
            Type::Members(_, cases) => match self.rng.pick(cases) {
                (name, None) => json!(name),
                (name, Some(ty)) => json!({ *name: self.value(ty) }),
            },
        }
    }

    fn plain(&mut self, word: &str) -> Value {
        let bits = match self.rng.below(4) {
            0 => *self.rng.pick(&[0, 1, 0x7f, 0x80, 0x7fff_ffff, 1 << 31, 1 << 63, u64::MAX]),
            _ => self.rng.next(),
        };
        match word {
            "bool" => json!(bits & 1 == 1),
            "u8" => json!(bits as u8),
            "s8" => json!(bits as i8),
            "u16" => json!(bits as u16),
            "s16" => json!(bits as i16),
            "u32" => json!(bits as u32),
            "s32" => json!(bits as i32),
            "u64" => json!(bits),
            "s64" => json!(bits.cast_signed()),
            "f32" if bits & 7 == 0 => json!("nan"),
            "f64" if bits & 7 == 0 => json!("-inf"),
            "f32" => json!(bits as u32 as f32),
            "f64" => json!(bits as f64),
            "char" => json!(char::from_u32(bits as u32 % 0x11_0000).unwrap_or('x').to_string()),
            "string" => json!(text(self.rng)),
            _ => Value::Null,
        }
    }
}
