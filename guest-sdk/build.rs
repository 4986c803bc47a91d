//! Writes, for each plugin world, the bytes of the custom section that tells the component linker
//! which world a core module belongs to. `worlds::__export!` puts one of them into a plugin.
//!
//! `wit_bindgen::generate!` would write them too, but only together with a copy of all types and
//! macros for each world, whose names then clash.

use std::path::Path;
use std::{env, fs};

use wit_component::StringEncoding;
use wit_parser::Resolve;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wit = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../wit");
    let mut resolve = Resolve::default();
    let mut plugin_system = None;
    // Each package after those that it refers to.
    for package in ["host-api", "plugin-system"] {
        let directory = wit.join(package);
        println!("cargo::rerun-if-changed={}", directory.display());
        plugin_system = Some(resolve.push_dir(directory)?.0);
    }
    let plugin_system = plugin_system.ok_or("no packages")?;

    let mut source = String::from("// Made by build.rs.\n");
    for (name, &world) in &resolve.packages[plugin_system].worlds {
        let section = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None)?;
        let constant = name.replace('-', "_").to_uppercase();
        source += &format!("pub const {constant}: [u8; {}] = {section:?};\n", section.len());
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("sections.rs"), source)?;
    Ok(())
}
