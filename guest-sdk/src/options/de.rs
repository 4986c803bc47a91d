//! The serde deserializer behind [`super::from_pairs`].

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// Longest part of a value that an error message repeats, in characters.
const QUOTED_CHARS_MAX: usize = 64;

/// What is wrong with an option, for the caller of the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsError {
    option: Option<String>,
    problem: String,
}

impl OptionsError {
    fn new(problem: impl Into<String>) -> Self {
        Self { option: None, problem: problem.into() }
    }

    fn of(mut self, option: &str) -> Self {
        self.option.get_or_insert_with(|| shorten(option));
        self
    }
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.option {
            Some(option) => write!(f, "option `{option}`: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for OptionsError {}

impl de::Error for OptionsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("expected {}, got `{}`", one_of(expected), shorten(variant)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let known = match expected {
            [] => "there are no options".to_owned(),
            _ => format!("expected {}", one_of(expected)),
        };
        Self::new(format!("unknown option `{}`, {known}", shorten(field)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("option `{field}` is missing"))
    }
}

fn one_of(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The whole set of options.
pub(super) struct Pairs<'de>(pub(super) &'de [(String, String)]);

impl<'de> Deserializer<'de> for Pairs<'de> {
    type Error = OptionsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        visitor.visit_map(Grouped { pairs: self.0, next: 0, current: None })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, OptionsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        match self.0 {
            [] => visitor.visit_unit(),
            [(name, _), ..] => Err(de::Error::unknown_field(name, &[])),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, OptionsError> {
        self.deserialize_unit(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Walks over the options, each name once, at the place of its first value.
struct Grouped<'de> {
    pairs: &'de [(String, String)],
    next: usize,
    current: Option<&'de str>,
}

impl<'de> MapAccess<'de> for Grouped<'de> {
    type Error = OptionsError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, OptionsError> {
        while let Some((name, _)) = self.pairs.get(self.next) {
            let seen = self.pairs[..self.next].iter().any(|(earlier, _)| earlier == name);
            self.next += 1;
            if !seen {
                self.current = Some(name);
                return seed.deserialize(name.as_str().into_deserializer()).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, OptionsError> {
        let name = self.current.take().unwrap_or_default();
        let values =
            self.pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        seed.deserialize(Value(values.collect())).map_err(|error| error.of(name))
    }
}

/// The values of one option; never empty.
struct Value<'de>(Vec<&'de str>);

impl<'de> Value<'de> {
    fn single(&self) -> Result<&'de str, OptionsError> {
        match self.0.as_slice() {
            [value] => Ok(value),
            values => Err(OptionsError::new(format!(
                "given {} times, but it takes one value",
                values.len()
            ))),
        }
    }

    fn parse<T: std::str::FromStr>(&self, expected: &str) -> Result<T, OptionsError> {
        let value = self.single()?;
        value.trim().parse().map_err(|_| {
            OptionsError::new(format!("expected {expected}, got `{}`", shorten(value)))
        })
    }

    fn items(self) -> Items<'de> {
        let items: Vec<_> = match self.0.as_slice() {
            [value] if value.trim().is_empty() => Vec::new(),
            [value] => value.split(',').map(str::trim).collect(),
            _ => self.0,
        };
        Items(items.into_iter())
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ident,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
            let expected = format!("a whole number from {} to {}", $type::MIN, $type::MAX);
            visitor.$visit(self.parse::<$type>(&expected)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = OptionsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        visitor.visit_borrowed_str(self.single()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        let value = self.single()?;
        visitor.visit_bool(match value.trim() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                return Err(OptionsError::new(format!(
                    "expected `true` or `false`, got `{}`",
                    shorten(value)
                )));
            }
        })
    }

    numbers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        visitor.visit_f32(self.parse("a number")?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        visitor.visit_f64(self.parse("a number")?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        let value = self.single()?;
        let mut characters = value.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => visitor.visit_char(character),
            _ => {
                Err(OptionsError::new(format!("expected one character, got `{}`", shorten(value))))
            }
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        visitor.visit_borrowed_bytes(self.single()?.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, OptionsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionsError> {
        visitor.visit_seq(self.items())
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, OptionsError> {
        let items = self.items();
        if items.0.len() != len {
            return Err(OptionsError::new(format!("expected {len} values, got {}", items.0.len())));
        }
        visitor.visit_seq(items)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, OptionsError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, OptionsError> {
        visitor.visit_enum(Variant(self.single()?))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, OptionsError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { str string unit unit_struct map struct identifier }
}

struct Items<'de>(std::vec::IntoIter<&'de str>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = OptionsError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, OptionsError> {
        self.0.next().map(|item| seed.deserialize(Value(vec![item]))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Variant<'de>(&'de str);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = OptionsError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), OptionsError> {
        let name: StrDeserializer<'_, OptionsError> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = OptionsError;

    fn unit_variant(self) -> Result<(), OptionsError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        _seed: T,
    ) -> Result<T::Value, OptionsError> {
        Err(with_content(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, OptionsError> {
        Err(with_content(self.0))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, OptionsError> {
        Err(with_content(self.0))
    }
}

fn with_content(variant: &str) -> OptionsError {
    OptionsError::new(format!("`{variant}` needs more than a name, which an option cannot carry"))
}
