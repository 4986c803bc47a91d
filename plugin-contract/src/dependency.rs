//! What a plugin needs of another: an entry of `[dependencies]`.

use std::fmt;

use semver::VersionReq;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, value::MapAccessDeserializer},
};

/// A plugin that another needs: `"^0.1"`, or `{ version = "^0.1", link = "composed" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// In which versions.
    pub version: VersionReq,
    /// How the two are put together. Default: isolated.
    pub link: Link,
}

/// How a plugin is put together with one that it needs. Both forms import the same interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// Each in stores of its own, with its own grant and limits: what breaks there, breaks there.
    #[default]
    Isolated,
    /// Both in one store, as one component: calls cost a fraction, and the inner has the grant and the
    /// limits of the outer. For pairs that trust each other, where the operator agrees.
    Composed,
}

impl Dependency {
    /// A dependency on an isolated plugin.
    pub fn isolated(version: VersionReq) -> Self {
        Self { version, link: Link::Isolated }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    version: VersionReq,
    #[serde(default)]
    link: Link,
}

impl Serialize for Dependency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.link {
            Link::Isolated => self.version.serialize(serializer),
            link => Table { version: self.version.clone(), link }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Dependency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Dependency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version requirement, or a table with `version` and `link`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Dependency, E> {
                text.parse().map(Dependency::isolated).map_err(E::custom)
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Dependency, M::Error> {
                let Table { version, link } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Dependency { version, link })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::{Dependency, Link};
    use std::collections::BTreeMap;

    type Dependencies = BTreeMap<String, Dependency>;

    #[test]
    fn both_forms_are_read_and_the_short_one_is_written() {
        let text = "a = \"^0.1\"\n\n[b]\nversion = \"^1.2\"\nlink = \"composed\"\n";
        let parsed: Dependencies = toml::from_str(text).unwrap();
        assert_eq!((parsed["a"].link, parsed["b"].link), (Link::Isolated, Link::Composed));
        assert_eq!(toml::to_string(&parsed).unwrap(), text);
        let isolated: Dependencies = toml::from_str("a = { version = \"^0.1\" }").unwrap();
        assert_eq!(toml::to_string(&isolated).unwrap(), "a = \"^0.1\"\n");
    }

    #[test]
    fn what_is_neither_is_refused_by_name() {
        for (text, says) in [
            ("a = 1", "expected a version requirement, or a table"),
            ("a = \"one\"", "unexpected character"),
            ("a = { version = \"1\", link = \"glued\" }", "unknown variant `glued`"),
            ("a = { version = \"1\", lnk = \"composed\" }", "unknown field `lnk`"),
            ("a = { link = \"composed\" }", "missing field `version`"),
        ] {
            let error = toml::from_str::<Dependencies>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
