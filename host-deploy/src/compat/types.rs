//! Equality of types by structure, and words for what differs.

use std::collections::HashSet;

use wit_parser::{
    Function, FunctionKind, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner,
    WorldKey,
};

use super::interface_name;

/// How deep types are followed. A decoded component may nest them deeper than a stack is long.
const DEPTH_MAX: usize = 100;

/// Compares types of two trees. Remembers what it found equal, so a type that is used in a thousand
/// places, or a tower of tuples of tuples, costs its size once and not its expansion.
pub(super) struct Types<'a> {
    old: &'a Resolve,
    new: &'a Resolve,
    equal: HashSet<(TypeId, TypeId)>,
    /// The package whose version makes no difference, because it is what is compared.
    any_version_of: Option<String>,
    /// Words before the old and the new shape: "was" and "now".
    words: (&'static str, &'static str),
}

/// The first difference found: the way to it, and the shapes there.
type Difference = Option<String>;

impl<'a> Types<'a> {
    pub(super) fn new(
        old: &'a Resolve,
        new: &'a Resolve,
        any_version_of: Option<String>,
        words: (&'static str, &'static str),
    ) -> Self {
        Self { old, new, equal: HashSet::new(), any_version_of, words }
    }

    /// What differs between two functions of the same name.
    pub(super) fn functions(&mut self, old: &Function, new: &Function) -> Difference {
        let (was, now) = (shape_of(&old.kind), shape_of(&new.kind));
        if was != now {
            return Some(self.differ(was, now));
        }
        let names = |function: &Function| {
            function.params.iter().map(|param| param.name.clone()).collect::<Vec<_>>()
        };
        if names(old) != names(new) {
            let list = |names: Vec<String>| format!("({})", names.join(", "));
            return Some(format!("parameters {}", self.differ(list(names(old)), list(names(new)))));
        }
        for (old, new) in old.params.iter().zip(&new.params) {
            if let Some(inner) = self.types(old.ty, new.ty, DEPTH_MAX) {
                return Some(format!("parameter `{}`{inner}", old.name));
            }
        }
        self.optional(old.result, new.result, DEPTH_MAX).map(|inner| format!("result{inner}"))
    }

    /// What differs between two types of the same name.
    pub(super) fn named(&mut self, old: TypeId, new: TypeId) -> Difference {
        let inner = self.types(Type::Id(old), Type::Id(new), DEPTH_MAX)?;
        Some(inner.trim_start_matches([',', ' ']).to_owned())
    }

    /// Whether two names of interfaces mean the same one here.
    pub(super) fn same_interface(&self, old: InterfaceId, new: InterfaceId) -> bool {
        match (interface_name(self.old, old), interface_name(self.new, new)) {
            (Some(old), Some(new)) if self.any_version_of.as_ref() == Some(&old.package) => {
                old.package == new.package && old.interface == new.interface
            }
            (Some(old), Some(new)) => old.serves(&new),
            (old, new) => old == new,
        }
    }

    /// Whether two imports, or two exports, go by the same name.
    pub(super) fn same_key(&self, old: &WorldKey, new: &WorldKey) -> bool {
        match (old, new) {
            (WorldKey::Name(old), WorldKey::Name(new)) => old == new,
            (WorldKey::Interface(old), WorldKey::Interface(new)) => self.same_interface(*old, *new),
            _ => false,
        }
    }

    fn differ(&self, old: impl AsRef<str>, new: impl AsRef<str>) -> String {
        format!("{} {}, {} {}", self.words.0, old.as_ref(), self.words.1, new.as_ref())
    }

    /// The text starts with a space, or with a comma and the way to the place.
    fn types(&mut self, old: Type, new: Type, depth: usize) -> Difference {
        let (old, new) = (dealias(self.old, old), dealias(self.new, new));
        let (Type::Id(old_id), Type::Id(new_id)) = (old, new) else {
            let equal = old == new;
            return if equal { None } else { self.shapes(old, new) };
        };
        if self.equal.contains(&(old_id, new_id)) {
            return None;
        }
        if depth == 0 {
            return Some(format!(" is nested more than {DEPTH_MAX} types deep"));
        }
        let difference = self.definitions(old_id, new_id, depth - 1);
        if difference.is_none() {
            self.equal.insert((old_id, new_id));
        }
        difference
    }

    fn shapes(&self, old: Type, new: Type) -> Difference {
        let (old, new) = (render(self.old, old, 2), render(self.new, new, 2));
        Some(format!(" {}", self.differ(old, new)))
    }

    fn optional(&mut self, old: Option<Type>, new: Option<Type>, depth: usize) -> Difference {
        match (old, new) {
            (None, None) => None,
            (Some(old), Some(new)) => self.types(old, new, depth),
            (old, new) => {
                let text = |resolve, ty: Option<Type>| match ty {
                    Some(ty) => render(resolve, ty, 2),
                    None => "nothing".to_owned(),
                };
                Some(format!(" {}", self.differ(text(self.old, old), text(self.new, new))))
            }
        }
    }

    fn definitions(&mut self, old_id: TypeId, new_id: TypeId, depth: usize) -> Difference {
        use TypeDefKind as Kind;
        let (old, new) = (&self.old.types[old_id], &self.new.types[new_id]);
        let within = |place: &str, inner: Difference| inner.map(|text| format!(", {place}{text}"));
        match (&old.kind, &new.kind) {
            (Kind::Record(old), Kind::Record(new)) => {
                if !old.fields.iter().map(|f| &f.name).eq(new.fields.iter().map(|f| &f.name)) {
                    return self.shapes(Type::Id(old_id), Type::Id(new_id));
                }
                old.fields.iter().zip(&new.fields).find_map(|(old, new)| {
                    within(&format!("field `{}`", old.name), self.types(old.ty, new.ty, depth))
                })
            }
            (Kind::Variant(old), Kind::Variant(new)) => {
                if !old.cases.iter().map(|c| &c.name).eq(new.cases.iter().map(|c| &c.name)) {
                    return self.shapes(Type::Id(old_id), Type::Id(new_id));
                }
                old.cases.iter().zip(&new.cases).find_map(|(old, new)| {
                    within(&format!("case `{}`", old.name), self.optional(old.ty, new.ty, depth))
                })
            }
            (Kind::Enum(old), Kind::Enum(new)) => {
                let same = old.cases.iter().map(|c| &c.name).eq(new.cases.iter().map(|c| &c.name));
                if same { None } else { self.shapes(Type::Id(old_id), Type::Id(new_id)) }
            }
            (Kind::Flags(old), Kind::Flags(new)) => {
                let same = old.flags.iter().map(|f| &f.name).eq(new.flags.iter().map(|f| &f.name));
                if same { None } else { self.shapes(Type::Id(old_id), Type::Id(new_id)) }
            }
            (Kind::Tuple(old), Kind::Tuple(new)) if old.types.len() == new.types.len() => {
                old.types.iter().zip(&new.types).enumerate().find_map(|(i, (old, new))| {
                    within(&format!("tuple place {i}"), self.types(*old, *new, depth))
                })
            }
            (Kind::Option(old), Kind::Option(new)) => {
                within("value of the option", self.types(*old, *new, depth))
            }
            (Kind::List(old), Kind::List(new)) => {
                within("element of the list", self.types(*old, *new, depth))
            }
            (Kind::FixedLengthList(old, a), Kind::FixedLengthList(new, b)) if a == b => {
                within("element of the list", self.types(*old, *new, depth))
            }
            (Kind::Map(old_key, old), Kind::Map(new_key, new)) => {
                within("key of the map", self.types(*old_key, *new_key, depth))
                    .or_else(|| within("value of the map", self.types(*old, *new, depth)))
            }
            (Kind::Result(old), Kind::Result(new)) => {
                within("ok", self.optional(old.ok, new.ok, depth))
                    .or_else(|| within("error", self.optional(old.err, new.err, depth)))
            }
            (Kind::Future(old), Kind::Future(new)) => {
                within("value of the future", self.optional(*old, *new, depth))
            }
            (Kind::Stream(old), Kind::Stream(new)) => {
                within("element of the stream", self.optional(*old, *new, depth))
            }
            (Kind::Handle(Handle::Own(old)), Kind::Handle(Handle::Own(new)))
            | (Kind::Handle(Handle::Borrow(old)), Kind::Handle(Handle::Borrow(new))) => {
                self.types(Type::Id(*old), Type::Id(*new), depth)
            }
            (Kind::Resource, Kind::Resource) if self.same_resource(old_id, new_id) => None,
            _ => self.shapes(Type::Id(old_id), Type::Id(new_id)),
        }
    }

    /// Resources have no structure; they are who they are by interface and name.
    fn same_resource(&self, old: TypeId, new: TypeId) -> bool {
        let (old, new) = (&self.old.types[old], &self.new.types[new]);
        let same_owner = match (old.owner, new.owner) {
            (TypeOwner::Interface(old), TypeOwner::Interface(new)) => self.same_interface(old, new),
            (TypeOwner::World(_), TypeOwner::World(_)) => true,
            (old, new) => matches!((old, new), (TypeOwner::None, TypeOwner::None)),
        };
        same_owner && old.name == new.name
    }
}

fn shape_of(kind: &FunctionKind) -> &'static str {
    match kind {
        FunctionKind::Freestanding => "a function",
        FunctionKind::AsyncFreestanding => "an async function",
        FunctionKind::Method(_) => "a method",
        FunctionKind::AsyncMethod(_) => "an async method",
        FunctionKind::Static(_) => "a static function",
        FunctionKind::AsyncStatic(_) => "an async static function",
        FunctionKind::Constructor(_) => "a constructor",
    }
}

/// Follows `type a = b` and `use` to what they stand for.
fn dealias(resolve: &Resolve, mut ty: Type) -> Type {
    while let Type::Id(id) = ty {
        match resolve.types[id].kind {
            TypeDefKind::Type(target) => ty = target,
            _ => break,
        }
    }
    ty
}

/// A type in the words of WIT, `levels` deep, and never longer than a message can bear.
fn render(resolve: &Resolve, ty: Type, levels: usize) -> String {
    let id = match dealias(resolve, ty) {
        Type::Id(id) => id,
        primitive => return format!("{primitive:?}").to_lowercase().replace("errorc", "error-c"),
    };
    if levels == 0 {
        return "...".to_owned();
    }
    let def = &resolve.types[id];
    let one = |ty: &Type| render(resolve, *ty, levels - 1);
    let maybe = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), one);
    let name = def.name.as_deref().unwrap_or("?");
    match &def.kind {
        TypeDefKind::Record(record) => {
            format!("record {{{}}}", listed(record.fields.iter().map(|field| &field.name)))
        }
        TypeDefKind::Variant(variant) => {
            format!("variant {{{}}}", listed(variant.cases.iter().map(|case| &case.name)))
        }
        TypeDefKind::Enum(cases) => {
            format!("enum {{{}}}", listed(cases.cases.iter().map(|case| &case.name)))
        }
        TypeDefKind::Flags(flags) => {
            format!("flags {{{}}}", listed(flags.flags.iter().map(|flag| &flag.name)))
        }
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", listed(tuple.types.iter().map(one)))
        }
        TypeDefKind::Option(ty) => format!("option<{}>", one(ty)),
        TypeDefKind::List(ty) => format!("list<{}>", one(ty)),
        TypeDefKind::FixedLengthList(ty, length) => format!("list<{}, {length}>", one(ty)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", one(key), one(value)),
        TypeDefKind::Result(result) => {
            format!("result<{}, {}>", maybe(&result.ok), maybe(&result.err))
        }
        TypeDefKind::Future(ty) => format!("future<{}>", maybe(ty)),
        TypeDefKind::Stream(ty) => format!("stream<{}>", maybe(ty)),
        TypeDefKind::Resource => format!("resource {}", owned_name(resolve, def.owner, name)),
        TypeDefKind::Handle(Handle::Own(id)) => {
            format!("own<{}>", one(&Type::Id(*id)))
        }
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", one(&Type::Id(*id))),
        TypeDefKind::Type(_) | TypeDefKind::Unknown => name.to_owned(),
    }
}

fn owned_name(resolve: &Resolve, owner: TypeOwner, name: &str) -> String {
    match owner {
        TypeOwner::Interface(id) => match resolve.id_of(id) {
            Some(interface) => format!("{interface}.{name}"),
            None => name.to_owned(),
        },
        _ => name.to_owned(),
    }
}

/// Names with commas between, at most twelve of them.
fn listed(names: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut text = String::new();
    for (i, name) in names.enumerate() {
        if i == 12 {
            return text + ", ...";
        }
        if i > 0 {
            text.push_str(", ");
        }
        text.push_str(name.as_ref());
    }
    text
}
