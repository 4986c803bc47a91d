//! What is wrong with an argument, and where.

use std::fmt;

use plugin_contract::escape;
use wasmtime::component::Val;

use super::shape::{Members, Shape};

/// Memory that the arguments of one call may take, in bytes.
const ARGUMENT_BYTES_MAX: usize = 64 << 20;

/// A sentence for whoever made the call: where, what was expected, what was there instead.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem(pub(super) String);

impl Problem {
    /// Something else was expected. `given` is a stranger's text.
    pub(super) fn expected(at: &Path<'_>, what: impl fmt::Display, given: &str) -> Self {
        Self(format!("`{at}`: expected {what}, not {}", escape(given, 60)))
    }

    pub(super) fn at(at: &Path<'_>, problem: impl fmt::Display) -> Self {
        Self(format!("`{at}`: {problem}"))
    }
}

/// Where a value is: `point.items[3]`.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// A parameter.
    pub(super) fn param(name: &'a str) -> Self {
        Self { parent: None, step: Step::Name(name) }
    }

    /// A member of a record, the payload of a case.
    pub(super) fn name(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Name(name) }
    }

    /// An item of a list or a tuple, from 0.
    pub(super) fn index(&'a self, i: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(i) }
    }
}

impl fmt::Display for Path<'_> {
    /// Names are the component's, which its author chose: those of a function's types, cut at 60 bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match self.step {
            Step::Name(name) => {
                let dot = if self.parent.is_some() { "." } else { "" };
                write!(f, "{dot}{}", escape(name, 60))
            }
            Step::Index(i) => write!(f, "[{i}]"),
        }
    }
}

/// What is left of the memory for arguments. A few bytes can ask for much: a list of records whose many
/// members are all left out.
pub(super) struct Room(usize);

impl Room {
    pub(super) fn new() -> Self {
        Self(ARGUMENT_BYTES_MAX)
    }

    /// Takes the room of one value, and of the names or text in it.
    pub(super) fn take(&mut self, at: &Path<'_>, text_bytes: usize) -> Result<(), Problem> {
        match self.0.checked_sub(size_of::<Val>().saturating_add(text_bytes)) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(Problem::at(at, "the arguments take more than 64 MiB up to here")),
        }
    }
}

/// The value of a member of a record that was left out: options may be.
pub(super) fn left_out(shape: &Shape) -> Option<Val> {
    matches!(shape, Shape::Option(_)).then_some(Val::Option(None))
}

pub(super) fn missing(at: &Path<'_>, shape: &Shape) -> Problem {
    Problem::at(at, format_args!("is missing; expected {}", shape.kind()))
}

pub(super) fn one_of(cases: &Members) -> String {
    format!("one of {}", names(cases))
}

/// The first few names.
pub(super) fn names(members: &Members) -> String {
    let mut names: Vec<_> = members.iter().take(8).map(|(name, _)| escape(name, 60)).collect();
    if members.len() > names.len() {
        names.push("..".to_owned());
    }
    names.join(", ")
}
