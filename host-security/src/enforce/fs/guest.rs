//! `wasi:filesystem`, as guests call it.

use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsError, FsResult,
    bindings::filesystem::{
        preopens,
        types::{
            self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
            ErrorCode, Filesize, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue,
            NewTimestamp, OpenFlags, PathFlags,
        },
    },
};

use super::{
    FsView, Inner,
    node::{DirNode, Held, Node, OpenFile},
    ops::{Listing, Opening, Times},
    streams::{CHUNK_BYTES_MAX, Reader, StreamFailed, Writer},
    sys,
    walk::Dir,
};

type Handle = Resource<types::Descriptor>;
type ListingHandle = Resource<types::DirectoryEntryStream>;

/// The bindings name the engine's own types for handles. Ours stand in the table in their place: a handle
/// is a number, and the table knows what is at it.
fn own<Named: 'static, Ours: 'static>(handle: &Resource<Named>) -> Resource<Ours> {
    Resource::new_own(handle.rep())
}

fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

impl FsView<'_> {
    fn node(&self, handle: &Handle) -> FsResult<&Node> {
        Ok(self.table.get(&own::<_, Node>(handle))?)
    }

    fn dir(&self, handle: &Handle) -> FsResult<Dir> {
        Ok(self.node(handle)?.dir()?.clone())
    }

    fn file(&self, handle: &Handle) -> FsResult<Arc<OpenFile>> {
        Ok(self.node(handle)?.file()?.clone())
    }

    fn held(&self, handle: &Handle) -> FsResult<Held> {
        Ok(self.node(handle)?.held())
    }

    async fn run<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Inner) -> Result<R, ErrorCode> + Send + 'static,
    ) -> FsResult<R> {
        Ok(self.ctx.fs.run(work).await?)
    }

    fn push(&mut self, node: Node) -> FsResult<Handle> {
        let pushed = self.table.push(node)?;
        Ok(Resource::new_own(pushed.rep()))
    }
}

impl preopens::Host for FsView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Handle, String)>> {
        let root = Node::Dir(DirNode { dir: self.ctx.fs.inner.root(), _slot: None });
        let pushed = self.table.push(root)?;
        Ok(vec![(Resource::new_own(pushed.rep()), "/".to_owned())])
    }
}

impl types::Host for FsView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref().map(|StreamFailed(code)| *code))
    }
}

impl HostDescriptor for FsView<'_> {
    fn read_via_stream(
        &mut self,
        fd: Handle,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let file = self.file(&fd)?;
        file.must_read()?;
        let reader: DynInputStream = Box::new(Reader::new(&self.ctx.fs, &file, offset));
        Ok(self.table.push(reader)?)
    }

    fn write_via_stream(
        &mut self,
        fd: Handle,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        let file = self.file(&fd)?;
        file.must_write()?;
        let writer: DynOutputStream = Box::new(Writer::new(&self.ctx.fs, &file, Some(offset)));
        Ok(self.table.push(writer)?)
    }

    fn append_via_stream(&mut self, fd: Handle) -> FsResult<Resource<DynOutputStream>> {
        let file = self.file(&fd)?;
        file.must_write()?;
        let writer: DynOutputStream = Box::new(Writer::new(&self.ctx.fs, &file, None));
        Ok(self.table.push(writer)?)
    }

    async fn advise(&mut self, fd: Handle, _: Filesize, _: Filesize, _: Advice) -> FsResult<()> {
        // Advice may be ignored.
        self.file(&fd)?;
        Ok(())
    }

    async fn sync_data(&mut self, fd: Handle) -> FsResult<()> {
        match self.held(&fd)? {
            Held::File(file) => self.run(move |_| file.file.sync_data().map_err(sys::code)).await,
            Held::Dir(_) => Ok(()),
        }
    }

    async fn sync(&mut self, fd: Handle) -> FsResult<()> {
        match self.held(&fd)? {
            Held::File(file) => self.run(move |_| file.file.sync_all().map_err(sys::code)).await,
            Held::Dir(_) => Ok(()),
        }
    }

    async fn get_flags(&mut self, fd: Handle) -> FsResult<DescriptorFlags> {
        Ok(match self.held(&fd)? {
            Held::File(file) => file.flags,
            Held::Dir(_) => DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY,
        })
    }

    async fn get_type(&mut self, fd: Handle) -> FsResult<DescriptorType> {
        Ok(match self.node(&fd)? {
            Node::File(_) => DescriptorType::RegularFile,
            Node::Dir(_) => DescriptorType::Directory,
        })
    }

    async fn set_size(&mut self, fd: Handle, size: Filesize) -> FsResult<()> {
        let file = self.file(&fd)?;
        self.run(move |inner| inner.set_len(&file, size)).await
    }

    async fn set_times(
        &mut self,
        fd: Handle,
        access: NewTimestamp,
        modification: NewTimestamp,
    ) -> FsResult<()> {
        let held = self.held(&fd)?;
        self.run(move |inner| inner.set_times(&held, Times { access, modification })).await
    }

    async fn read(
        &mut self,
        fd: Handle,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let file = self.file(&fd)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(CHUNK_BYTES_MAX);
        let bytes = self.run(move |inner| inner.read(&file, offset, length)).await?;
        let ended = bytes.is_empty() && length > 0;
        Ok((bytes.to_vec(), ended))
    }

    async fn write(&mut self, fd: Handle, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        let file = self.file(&fd)?;
        let written = bytes.len().min(CHUNK_BYTES_MAX);
        let work = move |inner: &Inner| inner.write(&file, Some(offset), &bytes[..written]);
        self.run(work).await?;
        Ok(written as Filesize)
    }

    async fn read_directory(&mut self, fd: Handle) -> FsResult<ListingHandle> {
        let (dir, open) = (self.dir(&fd)?, self.ctx.open.clone());
        let listing = self.run(move |inner| inner.list(dir, &open)).await?;
        let pushed = self.table.push(Some(listing))?;
        Ok(Resource::new_own(pushed.rep()))
    }

    async fn create_directory_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        let dir = self.dir(&fd)?;
        self.run(move |inner| inner.create_directory(&dir, &path)).await
    }

    async fn stat(&mut self, fd: Handle) -> FsResult<DescriptorStat> {
        let held = self.held(&fd)?;
        self.run(move |inner| inner.stat(&held)).await
    }

    async fn stat_at(
        &mut self,
        fd: Handle,
        flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        let dir = self.dir(&fd)?;
        self.run(move |inner| inner.stat_at(&dir, &path, follows(flags))).await
    }

    async fn set_times_at(
        &mut self,
        fd: Handle,
        flags: PathFlags,
        path: String,
        access: NewTimestamp,
        modification: NewTimestamp,
    ) -> FsResult<()> {
        let (dir, times) = (self.dir(&fd)?, Times { access, modification });
        self.run(move |inner| inner.set_times_at(&dir, &path, follows(flags), times)).await
    }

    async fn link_at(
        &mut self,
        fd: Handle,
        old_flags: PathFlags,
        old_path: String,
        new_fd: Handle,
        new_path: String,
    ) -> FsResult<()> {
        let (old, new) = (self.dir(&fd)?, self.dir(&new_fd)?);
        let follow = follows(old_flags);
        self.run(move |inner| inner.link(&old, &old_path, follow, &new, &new_path)).await
    }

    async fn open_at(
        &mut self,
        fd: Handle,
        path_flags: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Handle> {
        let (dir, open) = (self.dir(&fd)?, self.ctx.open.clone());
        let opening = Opening { how, flags, follow: follows(path_flags) };
        let node = self.run(move |inner| inner.open(&dir, &path, opening, &open)).await?;
        self.push(node)
    }

    async fn readlink_at(&mut self, fd: Handle, path: String) -> FsResult<String> {
        let dir = self.dir(&fd)?;
        self.run(move |inner| inner.read_link(&dir, &path)).await
    }

    async fn remove_directory_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        let dir = self.dir(&fd)?;
        self.run(move |inner| inner.remove_directory(&dir, &path)).await
    }

    async fn rename_at(
        &mut self,
        fd: Handle,
        old_path: String,
        new_fd: Handle,
        new_path: String,
    ) -> FsResult<()> {
        let (old, new) = (self.dir(&fd)?, self.dir(&new_fd)?);
        self.run(move |inner| inner.rename(&old, &old_path, &new, &new_path)).await
    }

    async fn symlink_at(&mut self, fd: Handle, target: String, path: String) -> FsResult<()> {
        let dir = self.dir(&fd)?;
        self.run(move |inner| inner.symlink(&dir, &target, &path)).await
    }

    async fn unlink_file_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        let dir = self.dir(&fd)?;
        self.run(move |inner| inner.unlink(&dir, &path)).await
    }

    async fn is_same_object(&mut self, a: Handle, b: Handle) -> wasmtime::Result<bool> {
        let a = self.table.get(&own::<_, Node>(&a))?.held();
        let b = self.table.get(&own::<_, Node>(&b))?.held();
        let hashed = self.run(move |inner| Ok((inner.hash(&a)?, inner.hash(&b)?))).await;
        Ok(hashed.is_ok_and(|(a, b)| (a.lower, a.upper) == (b.lower, b.upper)))
    }

    async fn metadata_hash(&mut self, fd: Handle) -> FsResult<MetadataHashValue> {
        let held = self.held(&fd)?;
        self.run(move |inner| inner.hash(&held)).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Handle,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let dir = self.dir(&fd)?;
        self.run(move |inner| inner.hash_at(&dir, &path, follows(flags))).await
    }

    fn drop(&mut self, fd: Handle) -> wasmtime::Result<()> {
        self.table.delete(own::<_, Node>(&fd))?;
        Ok(())
    }
}

impl HostDirectoryEntryStream for FsView<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: ListingHandle,
    ) -> FsResult<Option<DirectoryEntry>> {
        let listing = self.table.get_mut(&own::<_, Option<Listing>>(&stream))?;
        // None after an error: the listing is over.
        let Some(mut reading) = listing.take() else { return Ok(None) };
        if reading.ready.is_empty() {
            reading = self.run(move |inner| reading.fill(inner)).await?;
        }
        let entry = reading.ready.pop_front();
        *self.table.get_mut(&own::<_, Option<Listing>>(&stream))? = Some(reading);
        Ok(entry)
    }

    fn drop(&mut self, stream: ListingHandle) -> wasmtime::Result<()> {
        self.table.delete(own::<_, Option<Listing>>(&stream))?;
        Ok(())
    }
}
