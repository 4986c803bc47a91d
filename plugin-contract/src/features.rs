//! The WebAssembly that plugins may be made of.

use wasmparser::WasmFeatures;

use crate::Lane;

/// The proposals that a component of this lane may use. Whoever builds plugins validates against
/// this set, and the engine is configured to it, so what was built is not refused later.
///
/// It is what Rust, C, Go, Python and JavaScript toolchains emit by default. Left out are proposals
/// whose behaviour depends on the machine (relaxed SIMD), that need more of the engine than plugins
/// are worth (garbage collection, exceptions, threads, 64-bit and several memories), or that are not
/// finished.
pub fn production_features(lane: Lane) -> WasmFeatures {
    let core = WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::FLOATS
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::COMPONENT_MODEL;
    match lane {
        Lane::Unary => core,
        Lane::Stream => core | WasmFeatures::CM_ASYNC,
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::Validator;

    use super::production_features;
    use crate::Lane;

    #[track_caller]
    fn check(text: &str, lane: Lane, valid: bool) {
        let bytes = wat::parse_str(text).unwrap();
        let result = Validator::new_with_features(production_features(lane)).validate_all(&bytes);
        assert_eq!(result.is_ok(), valid, "{text}: {:?}", result.err());
    }

    #[test]
    fn what_toolchains_emit_is_valid() {
        check("(component (core module (table 1 funcref) (memory 1)))", Lane::Unary, true);
        check(
            "(component (core module (func (result i32 i32) i32.const 1 i32.const 2)))",
            Lane::Unary,
            true,
        );
    }

    #[test]
    fn unfinished_and_unneeded_proposals_are_refused() {
        for module in [
            "(func (param externref))",
            "(memory i64 1)",
            "(memory 1) (memory 1)",
            "(memory 1 1 shared)",
            "(tag)",
            "(type (struct))",
            "(func return_call 0)",
        ] {
            check(&format!("(component (core module {module}))"), Lane::Unary, false);
        }
    }

    #[test]
    fn concurrency_is_for_the_stream_lane() {
        check("(component (type (stream u8)))", Lane::Unary, false);
        check("(component (type (stream u8)))", Lane::Stream, true);
    }
}
