//! From a path to the directory that holds what it names.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use plugin_contract::FsAccess;
use rustix::{fs::FileType, io::Errno};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::{
    Inner,
    sys::{self, Outcome},
    view::{Mount, Spot},
};
use crate::{Denial, Rights, audit::ViolationType};

/// Most links that one path may lead through.
const LINKS_MAX: usize = 32;

/// Longest path a guest may say, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// How often a name is looked at again because it changed between two looks.
pub(super) const TRIES: usize = 8;

/// Deepest path, in components: deeper trees cannot be made, so that what was made can be removed again.
pub(super) const DEPTH_MAX: usize = 100;

/// A directory of the plugin's view.
#[derive(Debug, Clone)]
pub(super) struct Dir {
    /// Its path in the view.
    pub(super) guest: Vec<String>,
    /// Where it is; `None` for what is nowhere on the host.
    pub(super) place: Option<Place>,
}

/// A directory on the host, held open.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) fd: Arc<OwnedFd>,
    /// The tree it is in.
    pub(super) mount: Arc<Mount>,
}

/// What a path names.
#[derive(Debug)]
pub(super) enum Target {
    /// A directory that was walked into: `.`, `..`, the beginning of a tree, or what lies between trees.
    Dir(Dir),
    /// A name in a directory on the host; whether there is such a thing is not known yet.
    Name(Named),
}

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Named {
    /// The path in the view, name included.
    pub(super) guest: Vec<String>,
    pub(super) parent: Place,
    pub(super) name: String,
    /// The path ended in a slash: only a directory will do.
    pub(super) must_be_dir: bool,
}

impl Named {
    pub(super) fn parent(&self) -> BorrowedFd<'_> {
        self.parent.fd.as_fd()
    }
}

/// What is asked, and how to tell of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// For the audit log: `open`, `rename`.
    pub(super) operation: &'a str,
    /// Of the path itself. What it leads through needs any right at all.
    pub(super) access: Need,
    /// Whether a link at the end is followed.
    pub(super) follow: bool,
}

/// Which rights an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// These.
    All(FsAccess),
    /// Reading or writing.
    Any,
}

impl Need {
    fn is_met(self, rights: Rights) -> bool {
        match self {
            Self::All(access) => rights.cover(access),
            Self::Any => rights.any(),
        }
    }

    pub(super) fn access(self) -> FsAccess {
        match self {
            Self::All(access) => access,
            Self::Any => FsAccess::Read,
        }
    }
}

/// How a path is shown.
pub(super) fn shown(path: &[String]) -> String {
    format!("/{}", path.join("/"))
}

impl Inner {
    /// The root of the view: on the host if all of `/` was granted, else a directory between trees.
    pub(super) fn root(&self) -> Dir {
        let place = match self.view.spot(&[]) {
            Spot::Mount(mount) => {
                let fd = mount.root().ok().map(|root| root.dir().clone());
                fd.map(|fd| Place { fd, mount })
            }
            Spot::Between | Spot::Outside => None,
        };
        Dir { guest: Vec::new(), place }
    }

    /// Resolves `path`, beginning at `start`, and asks the rules about it.
    ///
    /// What comes out was decided about: each directory on the way was opened beneath the one before it.
    pub(super) fn walk(&self, start: &Dir, path: &str, asked: Asked<'_>) -> Outcome<Target> {
        if path.len() > PATH_BYTES_MAX {
            return Err(ErrorCode::NameTooLong);
        }
        if path.is_empty() {
            return Err(ErrorCode::NoEntry);
        }
        if path.contains('\0') {
            return Err(ErrorCode::IllegalByteSequence);
        }
        let walk = Walk {
            inner: self,
            asked,
            stack: vec![start.clone()],
            rest: VecDeque::new(),
            must_be_dir: false,
            links: 0,
        };
        let mut target = walk.run(path)?;
        let (guest, place, name) = match &mut target {
            Target::Dir(Dir { place: None, .. }) => return Ok(target),
            Target::Dir(Dir { guest, place: Some(place) }) => (guest, &*place, None),
            Target::Name(named) => (&mut named.guest, &named.parent, Some(named.name.as_str())),
        };
        self.follow_move(asked.operation, guest, place, name, asked.access)?;
        let guest = &*guest;
        let access = asked.access.access();
        self.check_on_host(asked.operation, guest, place.fd.as_fd(), name, access)?;
        match asked.access {
            Need::All(access) => self.auditor.used_path(guest, access),
            Need::Any => self.auditor.looked_at(guest),
        }
        Ok(target)
    }

    /// Where a name in a directory that is held open is now, in the view: the directory may have been moved
    /// since it was opened. `None` if that tells nothing: the same holds in all of the tree, or the tree is
    /// not where it was found.
    pub(super) fn now_at(&self, place: &Place, name: Option<&str>) -> Option<Vec<String>> {
        let mount = &place.mount;
        let root = mount.root().ok().filter(|root| root.file.is_none())?;
        if !self.rules.has_rules_beneath(&mount.guest) {
            return None;
        }
        let real = sys::real_path(place.fd.as_fd())?;
        let mut guest = mount.guest.clone();
        for part in real.strip_prefix(&root.real).ok()?.components() {
            guest.push(part.as_os_str().to_str()?.to_owned());
        }
        guest.extend(name.map(str::to_owned));
        Some(guest)
    }

    /// Asks the rules of where something is now, if that is not where `guest` says, and corrects `guest`.
    pub(super) fn follow_move(
        &self,
        operation: &str,
        guest: &mut Vec<String>,
        place: &Place,
        name: Option<&str>,
        need: Need,
    ) -> Outcome<()> {
        if let Some(now) = self.now_at(place, name).filter(|now| now != guest) {
            self.check(operation, &now, need)?;
            *guest = now;
        }
        Ok(())
    }

    /// Asks whether a deny is about the place on the host, whatever path led to it.
    pub(super) fn check_on_host(
        &self,
        operation: &str,
        path: &[String],
        directory: BorrowedFd<'_>,
        name: Option<&str>,
        access: FsAccess,
    ) -> Outcome<()> {
        if !self.view.is_denied_on_host(directory, name, access) {
            return Ok(());
        }
        let rule = "it is, on the host, where a deny of another path holds";
        Err(self.refuse_outright(operation, &shown(path), rule))
    }

    /// Refuses, and says so in the audit log.
    pub(super) fn refuse(&self, operation: &str, path: &[String], denial: &Denial) -> ErrorCode {
        let kind = ViolationType::FsAccessDenied;
        self.auditor.denied(kind, operation, &shown(path), denial);
        ErrorCode::NotPermitted
    }

    /// Refuses what no rule could allow.
    pub(super) fn refuse_outright(&self, operation: &str, path: &str, rule: &str) -> ErrorCode {
        let denial = Denial { rule: rule.to_owned(), allow: None };
        self.auditor.denied(ViolationType::FsAccessDenied, operation, path, &denial);
        ErrorCode::NotPermitted
    }

    /// Asks the rules about a path.
    pub(super) fn check(&self, operation: &str, path: &[String], need: Need) -> Outcome<()> {
        if need.is_met(self.rules.rights(path)) {
            return Ok(());
        }
        match self.rules.check(path, need.access()) {
            Err(denial) => Err(self.refuse(operation, path, &denial)),
            Ok(()) => Ok(()),
        }
    }
}

struct Walk<'a> {
    inner: &'a Inner,
    asked: Asked<'a>,
    /// The directories walked into, the outermost first; never empty.
    stack: Vec<Dir>,
    rest: VecDeque<String>,
    must_be_dir: bool,
    links: usize,
}

impl Walk<'_> {
    fn run(mut self, path: &str) -> Outcome<Target> {
        if path.starts_with('/') {
            // Paths are relative to a directory a guest holds; its root is one.
            let rule = "absolute paths lead nowhere";
            return Err(self.inner.refuse_outright(self.asked.operation, path, rule));
        }
        self.push(path);
        while let Some(part) = self.rest.pop_front() {
            match part.as_str() {
                ".." => self.up()?,
                _ => {
                    if let Some(named) = self.down(part)? {
                        return Ok(Target::Name(named));
                    }
                }
            }
        }
        let dir = self.stack.pop().expect("the directory that was begun with is never popped");
        if dir.place.is_some() {
            self.inner.check(self.asked.operation, &dir.guest, self.asked.access)?;
        }
        Ok(Target::Dir(dir))
    }

    /// Puts a path before what is left to walk.
    fn push(&mut self, path: &str) {
        if self.rest.is_empty() {
            self.must_be_dir |= path.ends_with('/') || path.ends_with("/.");
        }
        for part in path.split('/').rev().filter(|part| !matches!(*part, "" | ".")) {
            self.rest.push_front(part.to_owned());
        }
    }

    fn here(&self) -> &Dir {
        self.stack.last().expect("the directory that was begun with is never popped")
    }

    fn up(&mut self) -> Outcome<()> {
        if self.stack.len() > 1 {
            self.stack.pop();
            return Ok(());
        }
        let shown = format!("{}/..", shown(&self.here().guest).trim_end_matches('/'));
        let rule = "`..` leads out of the directory that was begun with";
        Err(self.inner.refuse_outright(self.asked.operation, &shown, rule))
    }

    /// One component further. The last one is not walked into, but given back.
    fn down(&mut self, part: String) -> Outcome<Option<Named>> {
        let mut guest = self.here().guest.clone();
        guest.push(part.clone());
        if guest.len() > DEPTH_MAX {
            return Err(self.too_deep(&guest));
        }
        match self.inner.view.spot(&guest) {
            Spot::Mount(mount) => return self.enter(mount, guest),
            Spot::Between if self.here().place.is_none() => {
                self.stack.push(Dir { guest, place: None });
                return Ok(None);
            }
            Spot::Between | Spot::Outside => {}
        }
        let is_last = self.rest.is_empty();
        let need = if is_last { self.asked.access } else { Need::Any };
        if !need.is_met(self.inner.rules.rights(&guest)) {
            return Err(self.refuse(guest));
        }
        let Some(parent) = self.here().place.clone() else { return Err(self.refuse(guest)) };
        if self.inner.view.is_missing(&guest) {
            return Err(ErrorCode::NoEntry);
        }
        self.step(parent, part, guest, is_last)
    }

    /// Goes from a directory on the host to what is in it.
    fn step(
        &mut self,
        parent: Place,
        part: String,
        guest: Vec<String>,
        is_last: bool,
    ) -> Outcome<Option<Named>> {
        let must_be_dir = self.must_be_dir;
        if is_last && !self.asked.follow {
            return Ok(Some(Named { guest, parent, name: part, must_be_dir }));
        }
        for _ in 0..TRIES {
            if !is_last {
                match sys::open_dir(parent.fd.as_fd(), &part) {
                    Ok(fd) => {
                        let place = Place { fd: Arc::new(fd), mount: parent.mount };
                        self.stack.push(Dir { guest, place: Some(place) });
                        return Ok(None);
                    }
                    // Perhaps a link: looked at below.
                    Err(Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => return Err(sys::code(error)),
                }
            }
            let found = match sys::stat_at(parent.fd.as_fd(), &part) {
                Ok(stat) => Some(sys::file_type(&stat)),
                Err(Errno::NOENT) if is_last => None,
                Err(error) => return Err(sys::code(error)),
            };
            match found {
                Some(FileType::Symlink) => {
                    self.follow(&parent, &part, &guest)?;
                    return Ok(None);
                }
                _ if is_last => return Ok(Some(Named { guest, parent, name: part, must_be_dir })),
                // It was something else a moment ago.
                Some(FileType::Directory) => {}
                _ => return Err(ErrorCode::NotDirectory),
            }
        }
        // Someone keeps changing it.
        Err(ErrorCode::Busy)
    }

    /// Goes on where a link leads, from the directory that it is in.
    fn follow(&mut self, parent: &Place, name: &str, guest: &[String]) -> Outcome<()> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(ErrorCode::Loop);
        }
        let target = sys::read_link(parent.fd.as_fd(), name)?;
        if target.starts_with('/') {
            let rule = format!("{} is a link to an absolute path", shown(guest));
            return Err(self.inner.refuse_outright(self.asked.operation, &target, &rule));
        }
        if self.rest.len() + target.split('/').count() > PATH_BYTES_MAX {
            return Err(ErrorCode::NameTooLong);
        }
        self.push(&target);
        Ok(())
    }

    fn enter(&mut self, mount: Arc<Mount>, guest: Vec<String>) -> Outcome<Option<Named>> {
        let root = mount.root()?;
        if let Some(name) = root.file.clone() {
            if !self.rest.is_empty() {
                return Err(ErrorCode::NotDirectory);
            }
            self.inner.check(self.asked.operation, &guest, self.asked.access)?;
            let parent = Place { fd: root.dir().clone(), mount: mount.clone() };
            let must_be_dir = self.must_be_dir;
            return Ok(Some(Named { guest, parent, name, must_be_dir }));
        }
        let fd = root.dir().clone();
        self.stack.push(Dir { guest, place: Some(Place { fd, mount }) });
        Ok(None)
    }

    /// Refuses the path as a whole, as far as it can be told without walking on.
    fn refuse(&self, mut guest: Vec<String>) -> ErrorCode {
        for part in &self.rest {
            match part.as_str() {
                ".." => drop(guest.pop()),
                part => guest.push(part.to_owned()),
            }
        }
        let need = self.asked.access;
        match self.inner.rules.check(&guest, need.access()) {
            Err(denial) => self.inner.refuse(self.asked.operation, &guest, &denial),
            Ok(()) => {
                let rule = "a directory on the way to it was not granted";
                self.inner.refuse_outright(self.asked.operation, &shown(&guest), rule)
            }
        }
    }

    fn too_deep(&self, guest: &[String]) -> ErrorCode {
        let rule = format!("paths have at most {DEPTH_MAX} components");
        self.inner.exceeded_quota(self.asked.operation, &shown(guest), &rule);
        ErrorCode::NameTooLong
    }
}
