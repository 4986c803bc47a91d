//! What was built, for people and for programs.

use plugin_contract::{Digest, World};
use serde::Serialize;

/// One guest's line.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) world: Option<World>,
    /// Size of the core module as the compiler left it, in bytes.
    pub(crate) bytes_before: u64,
    /// Size of the component that is shipped, in bytes.
    pub(crate) bytes_after: u64,
    pub(crate) digest: Digest,
    /// The component, relative to the root of the repository where it is inside.
    pub(crate) path: String,
    /// `built`, `signed` (the signature alone is new) or `unchanged`.
    pub(crate) status: &'static str,
}

/// The whole table, one line for each guest.
pub(crate) fn table(rows: &[Row]) -> String {
    let width = |cell: fn(&Row) -> usize, head: &str| {
        rows.iter().map(cell).chain([head.len()]).max().unwrap_or(0)
    };
    let name = width(|row| row.name.len(), "plugin");
    let world = width(|row| world(row).len(), "world");
    let mut text = format!(
        "{:<name$}  {:<world$}  {:>10}     {:>10}  {:<12}  status\n",
        "plugin", "world", "compiled", "packaged", "sha256"
    );
    for row in rows {
        let hex = row.digest.to_string();
        text += &format!(
            "{:<name$}  {:<world$}  {:>10}  -> {:>10}  {:<12}  {}\n",
            row.name,
            self::world(row),
            row.bytes_before,
            row.bytes_after,
            &hex["sha256:".len()..][..12],
            row.status
        );
    }
    text
}

fn world(row: &Row) -> &'static str {
    row.world.map_or("none", World::name)
}

#[cfg(test)]
mod tests {
    use plugin_contract::{Digest, World};

    use super::{Row, table};

    #[test]
    fn sizes_and_digests_stand_in_columns() {
        let row = |name: &str, world, bytes_after| Row {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            world,
            bytes_before: 500_000,
            bytes_after,
            digest: Digest::from_bytes([0xab; 32]),
            path: String::new(),
            status: "built",
        };
        let rows =
            [row("image-processor", Some(World::ProcessorPlugin), 400_000), row("odd", None, 9)];
        assert_eq!(
            table(&rows),
            "plugin           world               compiled       packaged  sha256        status\n\
             image-processor  processor-plugin      500000  ->     400000  abababababab  built\n\
             odd              none                  500000  ->          9  abababababab  built\n"
        );
    }
}
