//! Values of the component model as JSON.
//!
//! | type | JSON |
//! |---|---|
//! | integers | a number; `s64` and `u64` may be a string of digits, and are if they exceed 2^53 - 1 |
//! | floats | a number, or `"nan"`, `"inf"`, `"-inf"` |
//! | `bool`, `string`, `list`, `tuple` | what one expects |
//! | `char` | a string of one character |
//! | `list<u8>` | `{"base64": ".."}`; taken as an array, too |
//! | `record` | an object; options may be left out |
//! | `variant`, `enum` | `"case"`, or `{"case": payload}` |
//! | `flags` | an array of names |
//! | `option` | `null`, or the value; an option in an option is `{"some": ..}` |
//! | `result` | `{"ok": ..}` or `{"err": ..}`, with `null` where there is no payload |
//!
//! Both directions follow the type, so they go no deeper than the type does.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Number, Value};
use wasmtime::component::Val;

use super::{
    problem::{Path, Problem, Room, left_out, missing, names, one_of},
    shape::{Int, Members, Shape},
};

/// Up to here, every reader of JSON keeps integers apart.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

const BYTES: Shape = Shape::Int(Int::U8);

pub(super) fn read(
    shape: &Shape,
    value: &Value,
    at: &Path<'_>,
    room: &mut Room,
) -> Result<Val, Problem> {
    room.take(at, 0)?;
    let wrong = || Problem::expected(at, expected(shape), &given(value));
    match (shape, value) {
        (Shape::Bool, Value::Bool(value)) => Ok(Val::Bool(*value)),
        (Shape::Int(int), value) => {
            integer(*int, value).and_then(|value| int.val(value)).ok_or_else(wrong)
        }
        (Shape::F32, value) => {
            let float = float(value).ok_or_else(wrong)?;
            let narrow = float as f32;
            let too_large = float.is_finite() && !narrow.is_finite();
            if too_large { Err(wrong()) } else { Ok(Val::Float32(narrow)) }
        }
        (Shape::F64, value) => float(value).map(Val::Float64).ok_or_else(wrong),
        (Shape::Char, Value::String(text)) => {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(char), None) => Ok(Val::Char(char)),
                _ => Err(wrong()),
            }
        }
        (Shape::String, Value::String(text)) => {
            room.take(at, text.len())?;
            Ok(Val::String(text.clone()))
        }
        (Shape::List(item), Value::Object(object)) if **item == BYTES => {
            let Some(text) = only(object).filter(|(name, _)| *name == "base64") else {
                return Err(wrong());
            };
            let bytes = text.1.as_str().and_then(|text| BASE64.decode(text).ok());
            let bytes = bytes
                .ok_or_else(|| Problem::expected(at, "base64 with padding", &given(text.1)))?;
            room.take(at, bytes.len().saturating_mul(size_of::<Val>()))?;
            Ok(Val::List(bytes.into_iter().map(Val::U8).collect()))
        }
        (Shape::List(item), Value::Array(values)) => {
            let items = values.iter().enumerate();
            let items = items.map(|(i, value)| read(item, value, &at.index(i), room));
            Ok(Val::List(items.collect::<Result<_, _>>()?))
        }
        (Shape::Tuple(items), Value::Array(values)) if items.len() == values.len() => {
            let items = items.iter().zip(values).enumerate();
            let items = items.map(|(i, (item, value))| read(item, value, &at.index(i), room));
            Ok(Val::Tuple(items.collect::<Result<_, _>>()?))
        }
        (Shape::Record(members), Value::Object(object)) => record(members, object, at, room),
        (Shape::Variant(cases), Value::String(case)) => match cases.find(case) {
            Some((_, name, None)) => {
                room.take(at, name.len())?;
                Ok(Val::Variant(name.to_owned(), None))
            }
            Some((_, name, Some(payload))) => {
                let what = format!("{{\"{name}\": {}}}", payload.kind());
                Err(Problem::expected(at, what, "the case alone"))
            }
            None => Err(Problem::expected(at, one_of(cases), &given(value))),
        },
        (Shape::Variant(cases), Value::Object(object)) => {
            let Some((case, value)) = only(object) else { return Err(wrong()) };
            match cases.find(case) {
                Some((_, name, Some(payload))) => {
                    room.take(at, name.len())?;
                    let payload = read(payload, value, &at.name(name), room)?;
                    Ok(Val::Variant(name.to_owned(), Some(Box::new(payload))))
                }
                Some((_, name, None)) => {
                    Err(Problem::expected(at, format!("\"{name}\""), "a payload, which it has not"))
                }
                None => Err(Problem::expected(at, one_of(cases), &format!("\"{case}\""))),
            }
        }
        (Shape::Enum(cases), Value::String(case)) => {
            let Some((_, name, _)) = cases.find(case) else {
                return Err(Problem::expected(at, one_of(cases), &given(value)));
            };
            room.take(at, name.len())?;
            Ok(Val::Enum(name.to_owned()))
        }
        (Shape::Flags(flags), Value::Array(values)) => {
            let mut set = vec![false; flags.len()];
            for (i, value) in values.iter().enumerate() {
                let found = value.as_str().and_then(|name| flags.find(name));
                let Some((flag, name, _)) = found else {
                    return Err(Problem::expected(&at.index(i), one_of(flags), &given(value)));
                };
                if std::mem::replace(&mut set[flag], true) {
                    return Err(Problem::at(&at.index(i), format_args!("`{name}` is there twice")));
                }
                room.take(at, name.len())?;
            }
            let names = flags.iter().zip(set).filter(|(_, set)| *set);
            Ok(Val::Flags(names.map(|((name, _), _)| name.to_owned()).collect()))
        }
        (Shape::Option(_), Value::Null) => Ok(Val::Option(None)),
        (Shape::Option(some), value) => {
            let value = match (&**some, value) {
                (Shape::Option(_), Value::Object(object)) => {
                    let some = only(object).filter(|(name, _)| *name == "some");
                    some.ok_or_else(wrong)?.1
                }
                (Shape::Option(_), _) => return Err(wrong()),
                (_, value) => value,
            };
            Ok(Val::Option(Some(Box::new(read(some, value, at, room)?))))
        }
        (Shape::Result { ok, err }, Value::Object(object)) => {
            let mut side = |name: &str, shape: &Option<Box<Shape>>, value: &Value| match shape {
                Some(shape) => Ok(Some(Box::new(read(shape, value, &at.name(name), room)?))),
                None if value.is_null() => Ok(None),
                None => Err(Problem::expected(&at.name(name), "null", &given(value))),
            };
            match only(object) {
                Some(("ok", value)) => Ok(Val::Result(Ok(side("ok", ok, value)?))),
                Some(("err", value)) => Ok(Val::Result(Err(side("err", err, value)?))),
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

fn record(
    members: &Members,
    object: &Map<String, Value>,
    at: &Path<'_>,
    room: &mut Room,
) -> Result<Val, Problem> {
    let mut fields = Vec::new();
    let mut known = 0;
    for (name, shape) in members.iter() {
        let Some(shape) = shape else { continue };
        room.take(at, size_of::<String>() + name.len())?;
        let at = at.name(name);
        let value = match object.get(name) {
            Some(value) => {
                known += 1;
                read(shape, value, &at, room)?
            }
            None => left_out(shape).ok_or_else(|| missing(&at, shape))?,
        };
        fields.push((name.to_owned(), value));
    }
    if known < object.len()
        && let Some(name) = object.keys().find(|name| members.find(name).is_none())
    {
        return Err(Problem::at(&at.name(name), "there is no such member"));
    }
    Ok(Val::Record(fields))
}

/// The one member of an object that has no other.
fn only(object: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, value) = object.iter().next()?;
    (object.len() == 1).then_some((name.as_str(), value))
}

fn integer(int: Int, value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => {
            number.as_i64().map(i128::from).or(number.as_u64().map(i128::from))
        }
        Value::String(digits) if matches!(int, Int::S64 | Int::U64) => {
            let bare = digits.strip_prefix('-').unwrap_or(digits);
            let plain = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        }
        _ => None,
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(name) => match name.as_str() {
            "nan" => Some(f64::NAN),
            "inf" => Some(f64::INFINITY),
            "-inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// What JSON for a type looks like.
fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Char => "char: a string of one character".to_owned(),
        Shape::List(item) if **item == BYTES => {
            "list<u8>: {\"base64\": \"..\"} or an array".to_owned()
        }
        Shape::List(_) => "list: an array".to_owned(),
        Shape::Tuple(items) => format!("tuple: an array of {}", items.len()),
        Shape::Record(_) => "record: an object".to_owned(),
        Shape::Variant(cases) | Shape::Enum(cases) => one_of(cases),
        Shape::Flags(flags) => format!("flags: an array with any of {}", names(flags)),
        Shape::Option(some) if matches!(**some, Shape::Option(_)) => {
            "option of an option: null or {\"some\": ..}".to_owned()
        }
        Shape::Option(some) => format!("null or {}", expected(some)),
        Shape::Result { .. } => "result: {\"ok\": ..} or {\"err\": ..}".to_owned(),
        _ => shape.kind().to_owned(),
    }
}

fn given(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("\"{}\"", &text[..text.floor_char_boundary(60)]),
        Value::Array(values) => format!("an array of {}", values.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The value as JSON. `val` is of the type `shape`: the engine makes values of no other.
pub(super) fn write(shape: &Shape, val: Val) -> Value {
    match (shape, val) {
        (_, Val::Bool(value)) => value.into(),
        (_, Val::S8(value)) => value.into(),
        (_, Val::U8(value)) => value.into(),
        (_, Val::S16(value)) => value.into(),
        (_, Val::U16(value)) => value.into(),
        (_, Val::S32(value)) => value.into(),
        (_, Val::U32(value)) => value.into(),
        (_, Val::S64(value)) if value.unsigned_abs() > SAFE_INTEGER_MAX => value.to_string().into(),
        (_, Val::S64(value)) => value.into(),
        (_, Val::U64(value)) if value > SAFE_INTEGER_MAX => value.to_string().into(),
        (_, Val::U64(value)) => value.into(),
        (_, Val::Float32(value)) => float_value(widen(value)),
        (_, Val::Float64(value)) => float_value(value),
        (_, Val::Char(value)) => value.to_string().into(),
        (_, Val::String(value)) => value.into(),
        (Shape::List(item), Val::List(items)) if **item == BYTES => {
            let byte = |item: &Val| if let Val::U8(byte) = item { *byte } else { 0 };
            let bytes: Vec<u8> = items.iter().map(byte).collect();
            object("base64", BASE64.encode(bytes).into())
        }
        (Shape::List(item), Val::List(items)) => {
            items.into_iter().map(|val| write(item, val)).collect()
        }
        (Shape::Tuple(shapes), Val::Tuple(items)) => {
            shapes.iter().zip(items).map(|(shape, val)| write(shape, val)).collect()
        }
        (Shape::Record(members), Val::Record(fields)) => {
            let fields = members.iter().zip(fields);
            let field = |((_, shape), (name, val)): ((_, Option<&Shape>), (String, Val))| {
                Some((name, write(shape?, val)))
            };
            Value::Object(fields.filter_map(field).collect())
        }
        (Shape::Variant(cases), Val::Variant(case, Some(payload))) => {
            match cases.find(&case).and_then(|(_, _, shape)| shape) {
                Some(shape) => object(&case, write(shape, *payload)),
                None => case.into(),
            }
        }
        (_, Val::Variant(case, None) | Val::Enum(case)) => case.into(),
        (_, Val::Flags(names)) => names.into(),
        (Shape::Option(some), Val::Option(Some(val))) => match &**some {
            Shape::Option(_) => object("some", write(some, *val)),
            _ => write(some, *val),
        },
        (Shape::Result { ok, .. }, Val::Result(Ok(val))) => object("ok", side(ok, val)),
        (Shape::Result { err, .. }, Val::Result(Err(val))) => object("err", side(err, val)),
        _ => Value::Null,
    }
}

fn side(shape: &Option<Box<Shape>>, val: Option<Box<Val>>) -> Value {
    match (shape, val) {
        (Some(shape), Some(val)) => write(shape, *val),
        _ => Value::Null,
    }
}

fn object(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

fn float_value(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "nan".into(),
        None if value > 0.0 => "inf".into(),
        None => "-inf".into(),
    }
}

/// 0.1, not 0.10000000149011612, wherever that reads back as the same value.
fn widen(value: f32) -> f64 {
    let short = value.to_string().parse().ok();
    short.filter(|short: &f64| *short as f32 == value).unwrap_or(value.into())
}
