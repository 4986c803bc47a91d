//! The custom section of each world, by the world's name; see `build.rs`.

include!(concat!(env!("OUT_DIR"), "/sections.rs"));
