//! The helper's side of a compile.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
    thread,
};

use wasmtime::Engine;

use super::{
    key::EngineId,
    limits,
    load::NativeCode,
    wire::{self, Order},
};

/// Compiles one component, as the last argument `order` of a [`HelperProgram`](crate::HelperProgram) says:
/// reads it from standard input, and writes the code to standard output. Bounds its own memory and time
/// first, so call it before anything else; and end the program with what it returns.
///
/// What is wrong with the component is part of the answer. It fails if there is no host to answer, or the
/// system does not let it bound itself; then standard error has a line about it.
pub fn compile_helper(order: &str) -> ExitCode {
    match run(order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(order: &str) -> io::Result<()> {
    let order: Order = serde_json::from_str(order)?;
    limits::apply(&order)?;
    let engine =
        Engine::new(&order.engine.compile_config(order.lane())).map_err(io::Error::other)?;
    wire::greet(&mut io::stdout(), EngineId::of(&engine))?;
    let component = wire::hear_component(&mut io::stdin())?;
    end_with_host()?;
    let mut stdout = io::stdout();
    match NativeCode::compile(&engine, &component) {
        Ok(code) => wire::answer(&mut stdout, Ok(code.bytes())),
        Err(error) => wire::answer(&mut stdout, Err(&format!("{error:#}"))),
    }
}

/// Ends this process when the host does, or wants no answer any more: it says no more than the component,
/// so what comes next is the end of its pipe.
fn end_with_host() -> io::Result<()> {
    let wait = || {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(1);
    };
    thread::Builder::new().name("host-watch".to_owned()).spawn(wait).map(drop)
}
