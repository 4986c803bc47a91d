//! What a component is, read from its bytes without compiling it.
//!
//! [`ComponentInfo::read`] is the first thing that happens to bytes from a stranger: it tells
//! components from other files, and counts before anyone spends memory on what was counted.
//! Not here: whether the types fit (linking tells) and whether the code is valid (the engine tells).

use wasmparser_bounded::{
    CanonicalFunction, CanonicalOption, ComponentDefinedType, ComponentExternalKind, ComponentType,
    ComponentTypeDeclaration, Encoding, InstanceTypeDeclaration, KnownCustom, Parser, Payload,
    PrimitiveValType, ProducersSectionReader,
};

use crate::{
    Digest, Explain, InterfaceName, World, escape,
    section::{self, Embedded, SectionError},
};

/// How much a component may hold before anyone compiles it.
///
/// The engine's cost grows faster than a component's size: nested components of 142 KB in all take
/// it 2.8 GiB, 60,000 functions of 720 KB take it seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadLimits {
    /// Size of the file, in bytes. Default 64 MiB.
    pub bytes_max: u64,
    /// Modules and components inside, together. Default 1,000.
    pub parts_max: u32,
    /// How deep they may be nested. Default 16.
    pub depth_max: u32,
    /// Core functions defined, together. Default 100,000.
    pub functions_max: u32,
    /// Imports and exports, together, at the top level. Default 1,000.
    pub externs_max: u32,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            parts_max: 1_000,
            depth_max: 16,
            functions_max: 100_000,
            externs_max: 1_000,
        }
    }
}

/// Which of the two engines a component needs, by its own types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// No async functions, streams or futures anywhere inside: calls are cheap.
    Unary,
    /// Needs the component model's concurrency.
    Stream,
}

impl Lane {
    /// `unary` or `stream`.
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Unary => "unary",
            Lane::Stream => "stream",
        }
    }
}

/// One import or export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extern {
    /// The name as it stands in the component; a stranger chose it.
    pub name: String,
    /// The name, where it is that of an interface.
    pub interface: Option<InterfaceName>,
    /// What kind of thing it is.
    pub kind: ExternKind,
}

/// Kinds of imports and exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExternKind {
    /// A core module.
    Module,
    /// A function.
    Func,
    /// A value.
    Value,
    /// A type.
    Type,
    /// A component.
    Component,
    /// An instance: what an interface looks like from outside.
    Instance,
}

/// What the bytes of a component tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentInfo {
    /// Of the whole file.
    pub digest: Digest,
    /// Of the whole file.
    pub bytes: u64,
    /// The engine it needs.
    pub lane: Lane,
    /// In the order of the file.
    pub imports: Vec<Extern>,
    /// In the order of the file.
    pub exports: Vec<Extern>,
    /// What it says of itself, if it does.
    pub embedded: Option<Embedded>,
    /// Core modules inside.
    pub modules: u32,
    /// Components inside.
    pub components: u32,
    /// Core functions inside.
    pub functions: u32,
    /// Which tools made it, as it says: `processed-by rustc 1.95.0`. At most 50, sorted.
    pub producers: Vec<String>,
}

impl ComponentInfo {
    /// Reads the bytes of a component.
    ///
    /// Takes time and memory in proportion to `bytes`, whatever they hold.
    ///
    /// # Errors
    /// [`ComponentError`]: not a component, broken, over a limit, or with a section that lies.
    pub fn read(bytes: &[u8], limits: &ReadLimits) -> Result<Self, ComponentError> {
        let size = bytes.len() as u64;
        if size > limits.bytes_max {
            return Err(ComponentError::TooLarge { bytes: size, bytes_max: limits.bytes_max });
        }
        check_preamble(bytes)?;
        let mut reader = Reader::new(bytes, limits);
        for payload in Parser::new(0).parse_all(bytes) {
            reader.take(payload.map_err(malformed)?)?;
        }
        Ok(reader.info)
    }

    /// The interfaces among the exports.
    pub fn exported_interfaces(&self) -> impl Iterator<Item = &InterfaceName> {
        self.exports.iter().filter_map(|export| export.interface.as_ref())
    }

    /// The interfaces among the imports.
    pub fn imported_interfaces(&self) -> impl Iterator<Item = &InterfaceName> {
        self.imports.iter().filter_map(|import| import.interface.as_ref())
    }

    /// The world by what is exported, if it is one of this contract's.
    pub fn world(&self) -> Option<World> {
        World::of_exports(self.exported_interfaces())
    }
}

/// Tells a component from all else by its first eight bytes.
fn check_preamble(bytes: &[u8]) -> Result<(), ComponentError> {
    let not = |found| Err(ComponentError::NotAComponent { found });
    match bytes {
        [] => not("an empty file"),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => not("a core module"),
        [0, b'a', b's', b'm', ..] => not("WebAssembly of a kind or version unknown here"),
        [0x7f, b'E', b'L', b'F', ..] => not("a native program or library"),
        [b'(', ..] => not("WebAssembly text"),
        _ => not("no WebAssembly at all"),
    }
}

fn malformed(error: wasmparser_bounded::BinaryReaderError) -> ComponentError {
    ComponentError::Malformed { offset: error.offset(), problem: escape(error.message(), 500) }
}

struct Reader<'a> {
    info: ComponentInfo,
    limits: &'a ReadLimits,
    /// How many modules and components are open around the current payload.
    depth: u32,
}

impl<'a> Reader<'a> {
    fn new(bytes: &[u8], limits: &'a ReadLimits) -> Self {
        let info = ComponentInfo {
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
            lane: Lane::Unary,
            imports: Vec::new(),
            exports: Vec::new(),
            embedded: None,
            modules: 0,
            components: 0,
            functions: 0,
            producers: Vec::new(),
        };
        Self { info, limits, depth: 0 }
    }

    fn take(&mut self, payload: Payload<'_>) -> Result<(), ComponentError> {
        match payload {
            Payload::Version { encoding, .. } if self.depth == 0 => {
                debug_assert_eq!(encoding, Encoding::Component, "the preamble was checked");
            }
            Payload::ModuleSection { .. } => {
                self.info.modules += 1;
                self.open()?;
            }
            Payload::ComponentSection { .. } => {
                self.info.components += 1;
                self.open()?;
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::FunctionSection(functions) => {
                self.info.functions = self.info.functions.saturating_add(functions.count());
                self.limit("core functions", self.info.functions, self.limits.functions_max)?;
            }
            Payload::ComponentImportSection(imports) if self.depth == 0 => {
                for import in imports {
                    let import = import.map_err(malformed)?;
                    self.info.imports.push(extern_of(import.name.name, import.ty.kind()));
                    self.count_externs()?;
                }
            }
            Payload::ComponentExportSection(exports) if self.depth == 0 => {
                for export in exports {
                    let export = export.map_err(malformed)?;
                    self.info.exports.push(extern_of(export.name.name, export.kind));
                    self.count_externs()?;
                }
            }
            Payload::ComponentTypeSection(types) => {
                for ty in types {
                    if needs_concurrency(&ty.map_err(malformed)?) {
                        self.info.lane = Lane::Stream;
                    }
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions {
                    if is_concurrent(&function.map_err(malformed)?) {
                        self.info.lane = Lane::Stream;
                    }
                }
            }
            Payload::CustomSection(custom) if self.depth == 0 && custom.name() == section::NAME => {
                let embedded = Embedded::decode(custom.data()).map_err(ComponentError::Section)?;
                if self.info.embedded.replace(embedded).is_some() {
                    return Err(ComponentError::Section(SectionError::Repeated));
                }
            }
            Payload::CustomSection(custom) => {
                if let KnownCustom::Producers(fields) = custom.as_known() {
                    self.producers(fields);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What cannot be read is left out: nothing hangs on it.
    fn producers(&mut self, fields: ProducersSectionReader<'_>) {
        for field in fields.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let line = format!("{} {} {}", field.name, value.name, value.version);
                let line = escape(line.trim_end(), 200);
                if let Err(at) = self.info.producers.binary_search(&line)
                    && self.info.producers.len() < 50
                {
                    self.info.producers.insert(at, line);
                }
            }
        }
    }

    fn open(&mut self) -> Result<(), ComponentError> {
        self.depth += 1;
        self.limit("levels of nesting", self.depth, self.limits.depth_max)?;
        let parts = self.info.modules + self.info.components;
        self.limit("modules and components", parts, self.limits.parts_max)
    }

    fn count_externs(&self) -> Result<(), ComponentError> {
        let externs = (self.info.imports.len() + self.info.exports.len()) as u32;
        self.limit("imports and exports", externs, self.limits.externs_max)
    }

    fn limit(&self, what: &'static str, found: u32, max: u32) -> Result<(), ComponentError> {
        if found > max { Err(ComponentError::TooComplex { what, max }) } else { Ok(()) }
    }
}

fn extern_of(name: &str, kind: ComponentExternalKind) -> Extern {
    let kind = match kind {
        ComponentExternalKind::Module => ExternKind::Module,
        ComponentExternalKind::Func => ExternKind::Func,
        ComponentExternalKind::Value => ExternKind::Value,
        ComponentExternalKind::Type => ExternKind::Type,
        ComponentExternalKind::Component => ExternKind::Component,
        ComponentExternalKind::Instance => ExternKind::Instance,
    };
    Extern { name: name.to_owned(), interface: name.parse().ok(), kind }
}

fn needs_concurrency(ty: &ComponentType<'_>) -> bool {
    match ty {
        ComponentType::Func(function) => function.async_,
        ComponentType::Defined(defined) => matches!(
            defined,
            ComponentDefinedType::Stream(_)
                | ComponentDefinedType::Future(_)
                | ComponentDefinedType::Primitive(PrimitiveValType::ErrorContext)
        ),
        ComponentType::Component(declarations) => declarations.iter().any(|declaration| {
            matches!(declaration, ComponentTypeDeclaration::Type(ty) if needs_concurrency(ty))
        }),
        ComponentType::Instance(declarations) => declarations.iter().any(|declaration| {
            matches!(declaration, InstanceTypeDeclaration::Type(ty) if needs_concurrency(ty))
        }),
        ComponentType::Resource { .. } => false,
    }
}

/// Everything but plain lifts, lowers and resource bookkeeping is the concurrency proposal.
fn is_concurrent(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.iter().any(|option| matches!(option, CanonicalOption::Async))
        }
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => false,
        _ => true,
    }
}

/// Why bytes were refused before anyone compiled them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentError {
    /// Larger than [`ReadLimits::bytes_max`].
    #[error("{bytes} bytes, where {bytes_max} are allowed")]
    TooLarge {
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        bytes_max: u64,
    },
    /// Something else than a component.
    #[error("expected a component, found {found}")]
    NotAComponent {
        /// What it is instead.
        found: &'static str,
    },
    /// A component that breaks off or contradicts itself.
    #[error("the component is broken at byte {offset}: {problem}")]
    Malformed {
        /// Where.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// Over one of the counts of [`ReadLimits`].
    #[error("the component has more than {max} {what}")]
    TooComplex {
        /// What was counted.
        what: &'static str,
        /// How many there may be.
        max: u32,
    },
    /// What the component says of itself cannot be read.
    #[error("the component carries a description that cannot be used")]
    Section(#[source] SectionError),
}

impl Explain for ComponentError {
    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "core/too-large",
            Self::NotAComponent { .. } => "core/not-a-component",
            Self::Malformed { .. } => "core/malformed-component",
            Self::TooComplex { .. } => "core/too-complex",
            Self::Section(SectionError::Manifest(error)) => error.code(),
            Self::Section(_) => "core/invalid-section",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => {
                "build with `opt-level = \"s\"` and strip, or raise the host's size limit"
            }
            Self::NotAComponent { .. } => {
                "build with `cargo xtask build-plugins`, or for the target wasm32-wasip2, whose output is a component"
            }
            Self::Malformed { .. } => "copy or build the file again; it is cut short or damaged",
            Self::TooComplex { .. } => "flatten the composition, or split the plugin",
            Self::Section(SectionError::Manifest(error)) => error.remedy(),
            Self::Section(_) => "package the plugin again with `cargo xtask build-plugins`",
        }
    }
}

#[cfg(test)]
mod tests;
