use host_core::{Admission, CoreError, Imports, Runtime, admit};
use plugin_contract::{Embedded, Explain, World};

use crate::{Data, budget, guests, prepare};

#[track_caller]
fn refused(result: Result<impl Sized, CoreError>, code: &str, says: &str) {
    let Err(error) = result else { panic!("expected {code}") };
    assert_eq!(error.code(), code, "{error}");
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    assert!(message.contains(says), "{message}");
}

#[test]
fn another_major_version_of_the_contract_is_refused_before_compiling() {
    let newer = guests::echo().replace("plugin-api-v1@1.0.0", "plugin-api-v1@2.0.0");
    refused(
        guests::admit_wat("a", &newer),
        "core/contract-mismatch",
        "exports `toolsku:plugin-system/plugin-api-v1@2.0.0`, this host speaks 1.1.0",
    );
    let minor = guests::echo().replace("plugin-api-v1@1.0.0", "plugin-api-v1@1.7.0");
    assert!(guests::admit_wat("a", &minor).is_ok());
}

#[test]
fn exports_that_make_up_no_world_are_refused_before_compiling() {
    let half = guests::echo().replace("plugin-api-v1", "data-processor");
    refused(guests::admit_wat("a", &half), "core/contract-mismatch", "no world");
    refused(guests::admit_wat("a", "(component)"), "core/contract-mismatch", "exports nothing");
}

#[test]
fn a_manifest_that_claims_another_world_is_refused() {
    let bytes = wat::parse_str(guests::echo()).unwrap();
    let claim = guests::manifest("a", "world = \"event-plugin\"\n");
    refused(
        admit(bytes, Some(claim), &Admission::default()),
        "core/contract-mismatch",
        "the manifest says `event-plugin`, but it does not export `base-plugin`",
    );
}

#[test]
fn the_manifest_inside_must_be_the_one_beside() {
    let with = |inside: Option<&str>, beside: Option<&str>| {
        let mut bytes = wat::parse_str(guests::echo()).unwrap();
        if let Some(rest) = inside {
            Embedded::new(World::PluginV1, guests::manifest("a", rest)).append_to(&mut bytes);
        }
        admit(bytes, beside.map(|rest| guests::manifest("a", rest)), &Admission::default())
    };
    assert!(with(Some(""), Some("")).is_ok());
    assert!(with(Some(""), None).is_ok());
    assert!(with(None, Some("")).is_ok());
    refused(with(None, None), "core/manifest-missing", "nothing says");
    let wider = "[permissions]\nmemory = \"1GB\"\n";
    refused(with(Some(""), Some(wider)), "core/manifest-differs", "differ");
}

#[test]
fn a_plugin_for_another_host_is_refused() {
    let admission = Admission { host_version: "1.2.0".parse().unwrap(), ..Admission::default() };
    let check = |wanted: &str| {
        let bytes = wat::parse_str(guests::echo()).unwrap();
        let manifest = guests::manifest("a", &format!("host = \"{wanted}\"\n"));
        admit(bytes, Some(manifest), &admission)
    };
    assert!(check("^1.1").is_ok());
    refused(check("^2"), "core/host-version", "wants a host ^2, this is 1.2.0");
}

/// The echo, importing a function of an interface.
fn importing(interface: &str, function: &str) -> String {
    guests::echo().replacen(
        "(component",
        &format!("(component (import \"{interface}\" (instance (export \"f\" (func {function}))))"),
        1,
    )
}

#[tokio::test]
async fn a_module_has_one_memory() {
    let two = |memories: &str| {
        format!(
            "(component (core module $m {memories} (func (export \"f\")))
                (core instance $i (instantiate $m))
                (func (export \"f\") (canon lift (core func $i \"f\"))))"
        )
    };
    let start = async |wat: String| {
        let prepared = crate::prepare(&wat).await?;
        prepared.instantiate(crate::Data::new(), &crate::budget()).await.map(drop)
    };
    assert!(start(two("(memory 1)")).await.is_ok());
    let refused = start(two("(memory 1) (memory 1)")).await.unwrap_err();
    assert!(
        ["core/compile-failed", "core/cannot-instantiate"].contains(&refused.code()),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_import_the_host_does_not_offer_is_named() {
    let guest = importing("evil:net/sockets@1.0.0", "");
    refused(prepare(&guest).await, "core/unknown-import", "`evil:net/sockets@1.0.0`");
    let plain = guests::echo().replacen("(component", "(component (import \"f\" (func))", 1);
    refused(prepare(&plain).await, "core/unknown-import", "`f`");
}

#[tokio::test]
async fn an_import_of_another_shape_is_a_mismatch() {
    let runtime = Runtime::<Data>::builder(crate::small())
        .link(&["host:test/api"], |linker| {
            linker.instance("host:test/api@1.0.0")?.func_wrap("f", |_, _: (u32,)| Ok(()))
        })
        .build()
        .unwrap();
    let check = async |version: &str, function: &str| {
        let guest = importing(&format!("host:test/api@{version}"), function);
        runtime.prepare(&guests::admit_wat("a", &guest).unwrap(), &Imports::none()).await
    };
    assert!(check("1.0.0", "(param \"x\" u32)").await.is_ok());
    assert!(check("1.9.0", "(param \"x\" u32)").await.is_ok(), "the link decides, not the number");
    refused(check("1.0.0", "(param \"x\" string)").await, "core/contract-mismatch", "`f`");
    refused(
        check("2.0.0", "(param \"x\" u32)").await,
        "core/contract-mismatch",
        "host:test/api@2.0.0",
    );
}

#[tokio::test]
async fn an_export_of_another_shape_is_a_mismatch() {
    let guest = guests::echo().replace("(param \"input\" string)", "(param \"input\" (list u8))");
    let prepared = prepare(&guest).await.unwrap();
    let started = prepared.start(Data::new(), &[], &budget()).await;
    refused(started, "core/contract-mismatch", "another shape");
}

#[tokio::test]
async fn code_that_is_not_valid_does_not_compile() {
    for module in ["(func (result i32))", "(memory 1) (memory 1)", "(func return_call 0)"] {
        let guest =
            guests::echo().replacen("(component", &format!("(component (core module {module})"), 1);
        refused(prepare(&guest).await, "core/compile-failed", "does not compile");
    }
}
