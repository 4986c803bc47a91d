//! The smallest manifest for what a plugin was seen to use.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use host_core::Description;
use host_security::audit::Usage;
use plugin_contract::{ByteSize, FsAccess, FsPermission, escape};
use serde::Serialize;

/// Files of one directory that are asked for one by one. With more, the directory is asked for.
const FILES_MAX: usize = 8;

/// What a plugin used, was refused, and did not use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Learned {
    /// Paths, as permissions.
    pub fs: Vec<String>,
    /// Addresses, as permissions.
    pub net: Vec<String>,
    /// Whom messages went to, as permissions.
    pub messages: Vec<String>,
    /// Environment variables that it was given: whether it looked at them cannot be seen.
    pub env: Vec<String>,
    /// The most memory that an instance had.
    pub memory: Option<String>,
    /// What it tried and was refused, with the line that would allow it.
    pub refused: Vec<Refusal>,
    /// What its manifest asks for and it did not use.
    pub unused: Vec<String>,
    /// Interfaces that carry authority, which it imports and did not use.
    pub unused_imports: Vec<String>,
}

/// One thing that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What it tried.
    pub operation: String,
    /// On what.
    pub resource: String,
    /// What would allow it.
    pub allow: String,
}

impl Learned {
    /// What was seen of `plugin`.
    pub fn of(plugin: &Description, usage: &Usage) -> Self {
        let (read, written) = (usage.read(), usage.written());
        let mut paths = collapse(access_by_path(&read, &written, &usage.looked_at()));
        // The private directory needs no permission.
        paths.retain(|path, _| path.first().is_none_or(|first| first != "plugin-data"));
        let asked = &plugin.manifest.permissions;
        let imports = |package: &'static str| {
            let names = plugin.info.imports.iter().map(|import| &import.name);
            names.filter(move |name| name.starts_with(package)).map(|name| escape(name, 200))
        };
        let used_files = !read.is_empty() || !written.is_empty() || !usage.looked_at().is_empty();
        let addresses = usage.addresses();
        let mut unused_imports = Vec::new();
        if !used_files {
            unused_imports.extend(imports("wasi:filesystem/"));
        }
        if addresses.is_empty() {
            unused_imports.extend(imports("wasi:sockets/"));
            unused_imports.extend(imports("wasi:http/"));
        }
        let covers = |asked: &FsPermission, path: &[String]| path.starts_with(&asked.path);
        let is_used = |asked: &FsPermission| {
            (asked.access.reads() && read.iter().any(|path| covers(asked, path)))
                || (asked.access.writes() && written.iter().any(|path| covers(asked, path)))
        };
        let unused_fs =
            asked.fs.iter().filter(|asked| !is_used(asked)).map(|asked| format!("fs {asked}"));
        let used_net = |asked: &str| addresses.contains(asked);
        let unused_net = asked.net.iter().map(ToString::to_string);
        let unused_net =
            unused_net.filter(|asked| !used_net(asked)).map(|asked| format!("net {asked}"));
        let messages = usage.messages();
        let unused_messages = asked.messages.iter().map(ToString::to_string);
        let unused_messages = unused_messages
            .filter(|asked| !messages.contains(asked))
            .map(|asked| format!("messages {asked}"));
        let refusals = usage.refusals().into_iter();
        Self {
            fs: permissions(paths),
            env: asked.env.iter().map(ToString::to_string).collect(),
            memory: usage
                .memory_bytes()
                .map(|bytes| ByteSize::new(bytes.div_ceil(1_000_000) * 1_000_000).to_string()),
            refused: refusals
                .map(|(operation, resource, allow)| Refusal {
                    operation,
                    resource: escape(&resource, 300),
                    allow: escape(&allow, 600),
                })
                .collect(),
            unused: unused_fs.chain(unused_net).chain(unused_messages).collect(),
            unused_imports,
            net: addresses.into_iter().collect(),
            messages: messages.into_iter().collect(),
        }
    }

    /// As a part of `plugin.toml`, with what else there is to say as comments.
    pub fn to_toml(&self) -> String {
        let mut out = String::from("[permissions]\n");
        let quoted = |name: &String| toml::Value::String(name.clone()).to_string();
        let list = |names: &[String]| names.iter().map(quoted).collect::<Vec<_>>().join(", ");
        let lists = [
            ("fs", &self.fs),
            ("net", &self.net),
            ("messages", &self.messages),
            ("env", &self.env),
        ];
        for (key, names) in lists {
            if !names.is_empty() {
                let _ = writeln!(out, "{key} = [{}]", list(names));
            }
        }
        if let Some(memory) = &self.memory {
            let _ = writeln!(out, "memory = {memory:?}");
        }
        for Refusal { operation, resource, allow } in &self.refused {
            let _ = writeln!(out, "# refused: {operation} {resource}; {allow} would allow it");
        }
        for asked in &self.unused {
            let _ = writeln!(out, "# asked for, and not used: {asked}");
        }
        for import in &self.unused_imports {
            let _ = writeln!(out, "# imported, and not used: {import}");
        }
        out
    }
}

/// Each path as a permission. A guest may use names that no permission can: then the directory is asked for.
fn permissions(paths: Paths) -> Vec<String> {
    let mut all = Vec::new();
    for (mut path, access) in paths {
        let permission = loop {
            let text = FsPermission { access, path: path.clone() }.to_string();
            if text.parse::<FsPermission>().is_ok() || path.pop().is_none() {
                break text;
            }
        };
        if !all.contains(&permission) {
            all.push(permission);
        }
    }
    all
}

type Paths = BTreeMap<Vec<String>, FsAccess>;

fn access_by_path(
    read: &BTreeSet<Vec<String>>,
    written: &BTreeSet<Vec<String>>,
    looked_at: &BTreeSet<Vec<String>>,
) -> Paths {
    let mut paths = Paths::new();
    for path in read.union(written) {
        let access = match (read.contains(path), written.contains(path)) {
            (true, true) => FsAccess::ReadWrite,
            (true, false) => FsAccess::Read,
            (false, _) => FsAccess::Write,
        };
        paths.insert(path.clone(), access);
    }
    // Who may write may look.
    for path in looked_at {
        paths.entry(path.clone()).or_insert(FsAccess::Read);
    }
    paths
}

/// Asks for a directory where there are many files of it, and for nothing twice.
fn collapse(mut paths: Paths) -> Paths {
    loop {
        let mut by_parent: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        for path in paths.keys().filter(|path| path.len() > 1) {
            *by_parent.entry(path[..path.len() - 1].to_vec()).or_default() += 1;
        }
        let Some((parent, _)) = by_parent.into_iter().find(|(_, files)| *files > FILES_MAX) else {
            break;
        };
        let within: Paths = paths.extract_if(.., |path, _| path.starts_with(&parent)).collect();
        let reads = within.values().any(|access| access.reads());
        let writes = within.values().any(|access| access.writes());
        let access = match (reads, writes) {
            (true, true) => FsAccess::ReadWrite,
            (_, true) => FsAccess::Write,
            _ => FsAccess::Read,
        };
        paths.insert(parent, access);
    }
    let covered = |path: &Vec<String>, access: FsAccess| {
        paths.iter().any(|(other, theirs)| {
            other.len() < path.len()
                && path.starts_with(other)
                && (theirs.reads() || !access.reads())
                && (theirs.writes() || !access.writes())
        })
    };
    let all = paths.iter().filter(|(path, access)| !covered(path, **access));
    all.map(|(path, access)| (path.clone(), *access)).collect()
}

#[cfg(test)]
mod tests {
    use super::{FsAccess, Paths, collapse};

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(used: &[(&str, FsAccess)], expected: &[(&str, FsAccess)]) {
        let paths = |list: &[(&str, FsAccess)]| {
            list.iter().map(|(text, access)| (path(text), *access)).collect::<Paths>()
        };
        assert_eq!(collapse(paths(used)), paths(expected));
    }

    #[test]
    fn few_files_are_asked_for_by_name_and_many_by_their_directory() {
        use FsAccess::{Read, ReadWrite, Write};
        check(&[("a/b", Read), ("a/c", Write)], &[("a/b", Read), ("a/c", Write)]);
        check(&[("a", Read), ("a/b", Read), ("a/c", Write)], &[("a", Read), ("a/c", Write)]);
        let names: Vec<String> = (0..9).map(|n| format!("a/{n}")).collect();
        let mut many: Vec<_> = names.iter().map(|name| (name.as_str(), Read)).collect();
        check(&many, &[("a", Read)]);
        many.push(("a/x/y", Write));
        check(&many, &[("a", ReadWrite)]);
    }
}
