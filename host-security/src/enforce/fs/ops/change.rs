//! Making, moving and removing names.

use plugin_contract::FsAccess;
use rustix::{
    fs::{AtFlags, FileType, Mode, Stat},
    io::Errno,
};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::changeable;
use crate::enforce::fs::{
    Inner,
    quota::Identity,
    sys::{self, Outcome},
    walk::{Asked, Dir, Named, Need, Target, shown},
};

const WRITE: Need = Need::All(FsAccess::Write);

/// Longest target of a link, in bytes.
const LINK_BYTES_MAX: usize = 1024;

fn asked(operation: &str) -> Asked<'_> {
    Asked { operation, access: WRITE, follow: false }
}

/// The file with its size, if this is its last name.
fn last_name(stat: &Stat) -> Option<(Identity, u64)> {
    let is_last = sys::file_type(stat) == FileType::RegularFile && stat.st_nlink <= 1;
    is_last.then(|| (sys::identity(stat), u64::try_from(stat.st_size).unwrap_or(0)))
}

impl Inner {
    pub(in super::super) fn create_directory(&self, start: &Dir, path: &str) -> Outcome<()> {
        let operation = "create-directory";
        let named = match self.walk(start, path, asked(operation))? {
            Target::Dir(_) => return Err(ErrorCode::Exist),
            Target::Name(named) => named,
        };
        self.add(operation, &named, || {
            rustix::fs::mkdirat(named.parent(), named.name.as_str(), Mode::from_raw_mode(0o777))
        })
    }

    pub(in super::super) fn symlink(&self, start: &Dir, target: &str, path: &str) -> Outcome<()> {
        let operation = "symlink";
        let named = changeable(self.walk(start, path, asked(operation))?)?;
        if target.starts_with('/') {
            let rule = "links may not have absolute targets";
            return Err(self.refuse_outright(operation, target, rule));
        }
        if named.must_be_dir || target.is_empty() {
            return Err(ErrorCode::NoEntry);
        }
        if target.contains('\0') {
            return Err(ErrorCode::IllegalByteSequence);
        }
        if target.len() > LINK_BYTES_MAX {
            return Err(ErrorCode::NameTooLong);
        }
        self.add(operation, &named, || {
            rustix::fs::symlinkat(target, named.parent(), named.name.as_str())
        })
    }

    pub(in super::super) fn link(
        &self,
        old_start: &Dir,
        old_path: &str,
        follow: bool,
        new_start: &Dir,
        new_path: &str,
    ) -> Outcome<()> {
        let operation = "link";
        let old = self.walk(old_start, old_path, Asked { operation, access: WRITE, follow })?;
        let old = changeable(old)?;
        let new = changeable(self.walk(new_start, new_path, asked(operation))?)?;
        self.must_not_gain(operation, &old, &new)?;
        let stat = sys::stat_at(old.parent(), &old.name).map_err(sys::code)?;
        if sys::file_type(&stat) != FileType::RegularFile {
            return Err(ErrorCode::NotPermitted);
        }
        if old.must_be_dir || new.must_be_dir {
            return Err(ErrorCode::NotDirectory);
        }
        self.add(operation, &new, || {
            // Once more, now that no other name of the tree is moved: the directories may have been.
            self.must_not_gain(operation, &old, &new).map_err(|_| Errno::PERM)?;
            let (from, to) = (old.parent(), new.parent());
            rustix::fs::linkat(from, old.name.as_str(), to, new.name.as_str(), AtFlags::empty())
        })
    }

    pub(in super::super) fn rename(
        &self,
        old_start: &Dir,
        old_path: &str,
        new_start: &Dir,
        new_path: &str,
    ) -> Outcome<()> {
        let operation = "rename";
        let old = changeable(self.walk(old_start, old_path, asked(operation))?)?;
        let new = changeable(self.walk(new_start, new_path, asked(operation))?)?;
        self.must_not_gain(operation, &old, &new)?;
        let mount = &new.parent.mount;
        let mut counting = mount.root()?.tree.count(mount.room);
        // Once more, now that no other name of the tree is moved: the directories may have been.
        self.must_not_gain(operation, &old, &new)?;
        let moved = sys::stat_at(old.parent(), &old.name).map_err(sys::code)?;
        let is_dir = sys::file_type(&moved) == FileType::Directory;
        if (old.must_be_dir || new.must_be_dir) && !is_dir {
            return Err(ErrorCode::NotDirectory);
        }
        self.check_moved_reach(operation, &old, &new, is_dir)?;
        let replaced = match sys::stat_at(new.parent(), &new.name) {
            Ok(stat) => Some(stat).filter(|stat| sys::identity(stat) != sys::identity(&moved)),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(sys::code(error)),
        };
        let (from, to) = (old.parent(), new.parent());
        rustix::fs::renameat(from, old.name.as_str(), to, new.name.as_str()).map_err(sys::code)?;
        if let Some(stat) = replaced {
            counting.removed(last_name(&stat));
        }
        Ok(())
    }

    pub(in super::super) fn unlink(&self, start: &Dir, path: &str) -> Outcome<()> {
        let named = match self.walk(start, path, asked("remove"))? {
            Target::Dir(_) => return Err(ErrorCode::IsDirectory),
            target => changeable(target)?,
        };
        if named.must_be_dir {
            return Err(ErrorCode::NotDirectory);
        }
        let mount = &named.parent.mount;
        let mut counting = mount.root()?.tree.count(mount.room);
        let stat = sys::stat_at(named.parent(), &named.name).map_err(sys::code)?;
        if sys::file_type(&stat) == FileType::Directory {
            return Err(ErrorCode::IsDirectory);
        }
        let removed = rustix::fs::unlinkat(named.parent(), named.name.as_str(), AtFlags::empty());
        removed.map_err(sys::code)?;
        counting.removed(last_name(&stat));
        Ok(())
    }

    pub(in super::super) fn remove_directory(&self, start: &Dir, path: &str) -> Outcome<()> {
        let named = changeable(self.walk(start, path, asked("remove"))?)?;
        let mount = &named.parent.mount;
        let mut counting = mount.root()?.tree.count(mount.room);
        let (parent, name) = (named.parent(), named.name.as_str());
        rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(sys::code)?;
        counting.removed(None);
        Ok(())
    }

    /// Makes one more name, within the quota.
    fn add(
        &self,
        operation: &str,
        named: &Named,
        make: impl FnOnce() -> Result<(), Errno>,
    ) -> Outcome<()> {
        if named.guest == named.parent.mount.guest {
            return Err(ErrorCode::Busy);
        }
        let mount = &named.parent.mount;
        let mut counting = mount.root()?.tree.count(mount.room);
        if sys::stat_at(named.parent(), &named.name).is_ok() {
            return Err(ErrorCode::Exist);
        }
        self.check_reach(operation, named)?;
        counting.check(0, 1).map_err(|_| self.full(operation, &named.guest, mount))?;
        make().map_err(sys::code)?;
        counting.added();
        Ok(())
    }

    /// What gets another name must not get other rights by it: neither itself, nor what is within.
    fn must_not_gain(&self, operation: &str, old: &Named, new: &Named) -> Outcome<()> {
        if !std::sync::Arc::ptr_eq(&old.parent.mount, &new.parent.mount) {
            return Err(ErrorCode::CrossDevice);
        }
        let now = |named: &Named| {
            let now = self.now_at(&named.parent, Some(&named.name));
            now.unwrap_or_else(|| named.guest.clone())
        };
        let (from, to) = (now(old), now(new));
        let resource = format!("{} to {}", shown(&from), shown(&to));
        let gains = !self.rules.rights(&from).contain(self.rules.rights(&to));
        if gains || self.view.would_shed_deny(old, new) {
            let rule = "under its new name, more could be done with it than under the old one";
            return Err(self.refuse_outright(operation, &resource, rule));
        }
        if [from, to].iter().any(|path| self.rules.has_rules_beneath(path)) {
            let rule = "there are rules about paths within it";
            return Err(self.refuse_outright(operation, &resource, rule));
        }
        Ok(())
    }
}
