//! The custom section by which a component carries its manifest and contract.
//!
//! The section stands at the top level of the component, once, under the name [`NAME`]. It is
//! written by whoever builds the plugin and so is no more to be trusted than the plugin itself.

use std::{borrow::Cow, str::FromStr};

use semver::Version;
use serde::{Deserialize, Serialize};
use wasm_encoder::{CustomSection, Encode};

use crate::{CONTRACT_VERSION, Manifest, ManifestError, SYSTEM_PACKAGE, World, escape};

/// The name of the section.
pub const NAME: &str = "toolsku:plugin";

/// Longest section, in bytes: a manifest and a little more.
pub const BYTES_MAX: usize = Manifest::BYTES_MAX + 1024;

/// What a component says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// The version of [`SYSTEM_PACKAGE`] it was built against.
    pub contract: Version,
    /// The world it was built for.
    pub world: World,
    /// Its manifest.
    pub manifest: Manifest,
}

/// The text in the section. `manifest` is a text of its own so that its errors name its own lines.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    package: String,
    contract: Version,
    world: World,
    manifest: String,
}

impl Embedded {
    /// A component built now, against the contract of this release.
    pub fn new(world: World, manifest: Manifest) -> Self {
        Self { contract: CONTRACT_VERSION, world, manifest }
    }

    /// Appends the section to the bytes of a component, which stays valid.
    pub fn append_to(&self, component: &mut Vec<u8>) {
        let payload = Payload {
            package: SYSTEM_PACKAGE.to_owned(),
            contract: self.contract.clone(),
            world: self.world,
            manifest: self.manifest.to_toml(),
        };
        let text = toml::to_string(&payload).expect("four strings always have a TOML form");
        component.push(0); // the id of custom sections
        CustomSection { name: Cow::Borrowed(NAME), data: Cow::Borrowed(text.as_bytes()) }
            .encode(component);
    }

    /// Reads the content of a section.
    ///
    /// # Errors
    /// [`SectionError`] if the content is not what [`Embedded::append_to`] writes.
    pub fn decode(content: &[u8]) -> Result<Self, SectionError> {
        let refuse = |problem: String| SectionError::Content { problem };
        if content.len() > BYTES_MAX {
            return Err(refuse(format!("{} bytes, where {BYTES_MAX} are allowed", content.len())));
        }
        let text = std::str::from_utf8(content).map_err(|error| refuse(error.to_string()))?;
        let payload: Payload =
            toml::from_str(text).map_err(|error| refuse(escape(error.message(), 500)))?;
        if payload.package != SYSTEM_PACKAGE {
            return Err(refuse(format!("written for {:?}", payload.package)));
        }
        let manifest = Manifest::from_str(&payload.manifest).map_err(SectionError::Manifest)?;
        Ok(Self { contract: payload.contract, world: payload.world, manifest })
    }
}

/// Why the section of a component cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SectionError {
    /// Not in the form of this release.
    #[error("the section `{NAME}` is not well-formed: {problem}")]
    Content {
        /// What is wrong.
        problem: String,
    },
    /// More than one such section.
    #[error("the section `{NAME}` is there more than once")]
    Repeated,
    /// The manifest inside is refused.
    #[error("the manifest in the section `{NAME}` is refused")]
    Manifest(#[source] ManifestError),
}

#[cfg(test)]
mod tests {
    use super::{Embedded, NAME, SectionError};
    use crate::{ComponentInfo, ReadLimits, World};

    fn embedded() -> Embedded {
        let manifest = "[plugin]\nname = \"a\"\nversion = \"1.2.3\"\nentrypoint = \"a.wasm\"\n";
        Embedded::new(World::MinimalPlugin, manifest.parse().unwrap())
    }

    #[test]
    fn a_component_carries_its_manifest() {
        let mut component = wat::parse_str("(component)").unwrap();
        embedded().append_to(&mut component);
        let info = ComponentInfo::read(&component, &ReadLimits::default()).unwrap();
        assert_eq!(info.embedded, Some(embedded()));
    }

    #[test]
    fn a_section_inside_a_nested_component_says_nothing() {
        let component =
            wat::parse_str(format!("(component (component (@custom \"{NAME}\" \"junk\")))"));
        let info = ComponentInfo::read(&component.unwrap(), &ReadLimits::default()).unwrap();
        assert_eq!(info.embedded, None);
    }

    #[test]
    fn content_of_another_form_is_refused() {
        for content in ["", "junk", "package = \"x\"", "\u{0}"] {
            let error = Embedded::decode(content.as_bytes()).unwrap_err();
            assert!(matches!(error, SectionError::Content { .. }), "{content:?}: {error}");
        }
        assert!(Embedded::decode(&[0xff; 10]).is_err());
        assert!(Embedded::decode(&vec![b'#'; super::BYTES_MAX + 1]).is_err());
    }
}
