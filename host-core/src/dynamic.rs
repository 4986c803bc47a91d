//! Calls to functions that this host knows nothing of.
//!
//! Any function that a component exports can be called by name, with arguments as text
//! (`math#add(1, 2)`, in [WAVE]) or as JSON. `shape` holds the types, `wave` and `json` turn values into
//! text and back, each by the type it is of.
//! Not here: the call itself, with its deadline and its limits (`instance`), and the functions of the
//! contracts that the host speaks, which have types of their own (`contract`).
//!
//! [WAVE]: https://github.com/bytecodealliance/wasm-tools/tree/main/crates/wasm-wave

mod cursor;
mod json;
mod problem;
mod shape;
#[cfg(test)]
mod tests;
mod wave;

use std::{fmt, sync::Arc};

use plugin_contract::{InterfaceName, PluginId, SYSTEM_PACKAGE, escape};
use serde::Deserialize;
use serde_json::Value;
use wasmtime::{
    Store,
    component::{
        Component, ComponentExportIndex, Instance, Val,
        types::{ComponentFunc, ComponentItem},
    },
};

use crate::{CoreError, contract::GuestCall};
use problem::{Path, Problem, Room};
use shape::{Shape, Shaper};

/// Longest text of a call, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Functions of one component that are looked at. One with more was made to be looked at.
const FUNCTIONS_MAX: usize = 1_000;

/// Names that are shown to those who asked for another.
const OFFERED_MAX: usize = 8;

/// One call of a function by its name.
///
/// The name is `interface#function`, or `function` alone for one that is exported outside of any
/// interface. The interface may be written as the component has it (`acme:demo/math@1.0.0`), in another
/// version that it serves, without its version, or without its package (`math`), if only one is meant.
///
/// Arguments may take 64 MiB of memory together, in the engine's form of them: a `list<u8>` of 1.6
/// million. Options at the end of the arguments, and those in records, may be left out.
#[derive(Debug, Clone, PartialEq)]
pub enum FunctionCall {
    /// `math#add(1, 2)`: arguments in WAVE. At most 1 MiB.
    Text(String),
    /// Name and arguments apart, arguments in JSON.
    Json(JsonCall),
}

/// A call of a function by its name, as a JSON document: `{"function": "math#add", "args": [1, 2]}`.
///
/// Records are objects; variants `"case"` or `{"case": payload}`; options `null` or the value, or
/// `{"some": ..}` for an option of an option; results `{"ok": ..}` or `{"err": ..}`; flags an array of
/// names; bytes `{"base64": ".."}`. Integers of 64 bits may be strings of digits; floats may be `"nan"`,
/// `"inf"` and `"-inf"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonCall {
    /// As in [`FunctionCall`], without arguments.
    pub function: String,
    /// In the order of the parameters.
    #[serde(default)]
    pub args: Vec<Value>,
}

/// What a function answered.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionReply(Option<(Val, Shape)>);

impl FunctionReply {
    /// The result in the form that [`JsonCall`] describes; `None` if the function has none. Integers
    /// beyond 2^53 - 1 are strings.
    pub fn into_json(self) -> Option<Value> {
        self.0.map(|(val, shape)| json::write(&shape, val))
    }

    /// The result in WAVE, cut at `bytes_max` bytes; `None` if the function has none. Fit to be shown:
    /// what strings hold is escaped.
    pub fn wave(&self, bytes_max: usize) -> Option<String> {
        self.0.as_ref().map(|(val, _)| wave::write(val, bytes_max))
    }
}

/// A function that a component exports. Names are the component's, which a stranger made; the engine
/// takes no other than plain ones.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionInfo {
    /// The interface it is in, as the component names it.
    pub interface: Option<String>,
    /// Its name.
    pub name: String,
    /// Names and types of its parameters. Types as in WIT, with what their names stand for in their
    /// place, cut at 1,000 bytes each.
    pub params: Vec<(String, String)>,
    /// The type of its result, if it has one.
    pub result: Option<String>,
    /// Whether it can be called by name. Not if it takes or returns resources, streams or futures, for
    /// these cannot be written down; nor if it is for the host to begin or end an instance with.
    pub callable: bool,
}

impl fmt::Display for FunctionInfo {
    /// As in WIT, after the interface: `acme:demo/math@1.0.0#add(a: u32, b: u32) -> u32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "{interface}#")?;
        }
        write!(f, "{}(", self.name)?;
        for (i, (name, ty)) in self.params.iter().enumerate() {
            write!(f, "{}{name}: {ty}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(")")?;
        match &self.result {
            Some(ty) => write!(f, " -> {ty}"),
            None => Ok(()),
        }
    }
}

/// Why what begins or ends an instance cannot be called.
const HOST_ONLY: &str = "the host calls it, at the beginning or the end of an instance";

/// The functions that a component exports, by itself or in an interface. The first 1,000 of them.
pub(crate) struct Functions(Vec<Function>);

struct Function {
    interface: Option<Arc<str>>,
    name: String,
    ty: ComponentFunc,
    index: ComponentExportIndex,
}

impl Functions {
    /// Takes time in proportion to the number of exports, whatever their types.
    pub(crate) fn find(component: &Component) -> Self {
        let mut functions = Vec::new();
        let engine = component.engine();
        for (name, export) in component.component_type().exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(ty) => {
                    let index = component.get_export_index(None, name);
                    functions.extend(index.map(|index| Function {
                        interface: None,
                        name: name.to_owned(),
                        ty,
                        index,
                    }));
                }
                ComponentItem::ComponentInstance(instance) => {
                    let Some(parent) = component.get_export_index(None, name) else { continue };
                    let interface: Arc<str> = name.into();
                    for (name, export) in instance.exports(engine) {
                        if functions.len() == FUNCTIONS_MAX {
                            break;
                        }
                        let ComponentItem::ComponentFunc(ty) = export.ty else { continue };
                        let index = component.get_export_index(Some(&parent), name);
                        functions.extend(index.map(|index| Function {
                            interface: Some(interface.clone()),
                            name: name.to_owned(),
                            ty,
                            index,
                        }));
                    }
                }
                _ => {}
            }
            if functions.len() == FUNCTIONS_MAX {
                break;
            }
        }
        Self(functions)
    }

    /// All of them, in the order of the component.
    pub(crate) fn list(&self) -> Vec<FunctionInfo> {
        self.0.iter().map(Function::info).collect()
    }

    /// Finds the function that `call` names, and reads its arguments.
    ///
    /// # Errors
    /// `core/no-such-function`, `core/not-callable`, `core/invalid-arguments`.
    pub(crate) fn ask(&self, plugin: &PluginId, call: &FunctionCall) -> Result<Asked, CoreError> {
        let invalid = |function: &str, problem: &str| CoreError::InvalidArguments {
            plugin: plugin.clone(),
            function: escape(function, 200),
            problem: escape(problem, 1_000),
        };
        let (name, text) = match call {
            FunctionCall::Json(call) => (call.function.as_str(), None),
            FunctionCall::Text(text) if text.len() > TEXT_BYTES_MAX => {
                return Err(invalid(text, "the text is longer than 1 MiB"));
            }
            FunctionCall::Text(text) => {
                let text = text.trim();
                let Some(open) = text.find('(') else {
                    return Err(invalid(text, "write arguments in parentheses: `function(1, 2)`"));
                };
                (text[..open].trim_end(), Some(&text[open..]))
            }
        };
        let function = self.named(plugin, name)?;
        let (params, result) = function.shapes().map_err(|why| CoreError::NotCallable {
            plugin: plugin.clone(),
            function: function.to_string(),
            why,
        })?;
        let args = match (call, text) {
            (FunctionCall::Json(call), _) => json_arguments(&params, &call.args),
            (_, text) => wave::Reader::new(text.unwrap_or_default()).arguments(&params),
        };
        let args = args.map_err(|Problem(problem)| invalid(&function.to_string(), &problem))?;
        Ok(Asked { index: function.index, args, returns: result.is_some(), result })
    }

    /// The function of this interface and name, as the component has them, and values for it.
    ///
    /// # Errors
    /// `core/no-such-function`, `core/not-callable`.
    pub(crate) fn exactly(
        &self,
        plugin: &PluginId,
        interface: &str,
        name: &str,
        args: Vec<Val>,
    ) -> Result<Asked, CoreError> {
        let mut found = self.0.iter();
        let found = found.find(|f| f.name == name && f.interface.as_deref() == Some(interface));
        let function =
            found.ok_or_else(|| no_such(plugin, &format!("{interface}#{name}"), self.0.iter()))?;
        if function.is_lifecycle() {
            return Err(CoreError::NotCallable {
                plugin: plugin.clone(),
                function: function.to_string(),
                why: HOST_ONLY.to_owned(),
            });
        }
        let returns = function.ty.results().len() > 0;
        Ok(Asked { index: function.index, args, returns, result: None })
    }

    fn named(&self, plugin: &PluginId, asked: &str) -> Result<&Function, CoreError> {
        let (interface, name) = match asked.split_once('#') {
            Some((interface, name)) => (Some(interface), name),
            None => (None, asked),
        };
        let exact = |function: &&Function| {
            function.name == name && function.interface.as_deref() == interface
        };
        if let Some(function) = self.0.iter().find(exact) {
            return Ok(function);
        }
        let meant = |function: &&Function| {
            let interface = interface.zip(function.interface.as_deref());
            function.name == name && interface.is_some_and(|(asked, has)| means(asked, has))
        };
        let mut meant = self.0.iter().filter(meant);
        let first = meant.next();
        let Some(second) = meant.next() else {
            return first.ok_or_else(|| no_such(plugin, asked, self.0.iter()));
        };
        Err(no_such(plugin, asked, first.into_iter().chain([second]).chain(meant)))
    }
}

/// What a function takes or returns that belongs to one store, if anything.
pub(crate) fn foreign(ty: &ComponentFunc) -> Option<&'static str> {
    let mut shaper = Shaper::default();
    ty.params().for_each(|(_, ty)| drop(shaper.shape(&ty)));
    ty.results().for_each(|ty| drop(shaper.shape(&ty)));
    shaper.foreign()
}

/// Whether who writes `asked` may mean the interface `has`.
fn means(asked: &str, has: &str) -> bool {
    let Ok(has) = has.parse::<InterfaceName>() else { return false };
    if let Ok(asked) = asked.parse::<InterfaceName>() {
        return has.serves(&asked)
            || (asked.version.is_none()
                && asked.package == has.package
                && asked.interface == has.interface);
    }
    asked == has.interface
}

fn no_such<'a>(
    plugin: &PluginId,
    asked: &str,
    offered: impl Iterator<Item = &'a Function>,
) -> CoreError {
    CoreError::NoSuchFunction {
        plugin: plugin.clone(),
        function: escape(asked, 200),
        offered: offered.take(OFFERED_MAX).map(Function::to_string).collect(),
    }
}

fn json_arguments(params: &[(String, Shape)], args: &[Value]) -> Result<Vec<Val>, Problem> {
    if args.len() > params.len() {
        let (is, given) = (params.len(), args.len());
        return Err(Problem(format!("{given} arguments are more than the {is} it takes")));
    }
    let mut room = Room::new();
    let mut args = args.iter();
    let arg = |(name, shape): &(String, Shape)| {
        let at = Path::param(name);
        match args.next() {
            Some(value) => json::read(shape, value, &at, &mut room),
            None => problem::left_out(shape).ok_or_else(|| problem::missing(&at, shape)),
        }
    };
    params.iter().map(arg).collect()
}

type Signature = (Vec<(String, Shape)>, Option<Shape>);

impl Function {
    /// Parameters and result.
    ///
    /// # Errors
    /// Why it cannot be called.
    fn shapes(&self) -> Result<Signature, String> {
        if self.is_lifecycle() {
            return Err(HOST_ONLY.to_owned());
        }
        let mut shaper = Shaper::default();
        let signature = self.signature(&mut shaper);
        match shaper.foreign() {
            None => Ok(signature),
            Some(what) => Err(format!("it takes or returns {what}")),
        }
    }

    fn signature(&self, shaper: &mut Shaper) -> Signature {
        let params = self.ty.params().map(|(name, ty)| (name.to_owned(), shaper.shape(&ty)));
        let params = params.collect();
        (params, self.ty.results().next().map(|ty| shaper.shape(&ty)))
    }

    /// Instances are shared: one that a caller has shut down would be the next one's. And a state is for
    /// the next revision alone to read.
    fn is_lifecycle(&self) -> bool {
        let interface = self.interface.as_deref().and_then(|name| name.parse().ok());
        interface.is_some_and(|name: InterfaceName| name.package == SYSTEM_PACKAGE)
            && matches!(self.name.as_str(), "initialize" | "shutdown" | "snapshot" | "restore")
    }

    fn info(&self) -> FunctionInfo {
        let mut shaper = Shaper::default();
        let (params, result) = self.signature(&mut shaper);
        FunctionInfo {
            interface: self.interface.as_deref().map(str::to_owned),
            name: self.name.clone(),
            params: params.into_iter().map(|(name, shape)| (name, shape.text())).collect(),
            result: result.map(|shape| shape.text()),
            callable: shaper.foreign().is_none() && !self.is_lifecycle(),
        }
    }
}

impl fmt::Display for Function {
    /// The name by which it can be called, cut at 200 bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => {
                write!(f, "{}#{}", escape(interface, 200), escape(&self.name, 200))
            }
            None => f.write_str(&escape(&self.name, 200)),
        }
    }
}

/// A function, and the arguments it is to be called with.
pub(crate) struct Asked {
    index: ComponentExportIndex,
    args: Vec<Val>,
    /// Whether it has a result.
    returns: bool,
    /// As what the result is to be written down, if it is.
    result: Option<Shape>,
}

impl Asked {
    /// Calls the function on an instance of the component in which it was found.
    pub(crate) fn call<'a, T: Send>(
        &'a self,
        store: &'a mut Store<T>,
        instance: &'a Instance,
    ) -> GuestCall<'a, Option<Val>> {
        Box::pin(async move {
            let function = instance.get_func(&mut *store, self.index);
            let function = function.ok_or_else(|| {
                wasmtime::Error::msg("the function is not one of this instance's component")
            })?;
            // Overwritten with the result.
            let mut results = vec![Val::Bool(false); usize::from(self.returns)];
            function.call_async(store, &self.args, &mut results).await?;
            Ok(results.pop())
        })
    }

    /// What the function answered.
    pub(crate) fn reply(self, result: Option<Val>) -> FunctionReply {
        FunctionReply(result.zip(self.result))
    }
}
