//! Has the SDK call the plugin what it is, and not what the package had to be called.

fn main() {
    println!("cargo::rustc-env=CARGO_PKG_NAME=counter");
    println!("cargo::rerun-if-changed=build.rs");
}
