//! Files, below the standard library. Paths are relative to the one directory there is.

use wasip2::{
    clocks::wall_clock::Datetime,
    filesystem::{
        preopens::get_directories,
        types::{Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags},
    },
};

use crate::Order;

type Told = Result<String, ErrorCode>;

pub(crate) fn obey(order: &Order<'_>) -> Option<String> {
    let (root, _) = get_directories().into_iter().next()?;
    let (path, other) = (order.word(0), order.word(1));
    let done = |answer: Result<(), ErrorCode>| answer.map(|()| "done".to_owned());
    let told = match order.command {
        "open" => open(&root, path, other).map(|_| "done".to_owned()),
        "mkdir" => done(root.create_directory_at(path)),
        "rmdir" => done(root.remove_directory_at(path)),
        "unlink" => done(root.unlink_file_at(path)),
        "rename" => done(root.rename_at(path, &root, other)),
        "symlink" => done(root.symlink_at(path, other)),
        "link" => done(root.link_at(PathFlags::empty(), path, &root, other)),
        "stat" => root.stat_at(PathFlags::SYMLINK_FOLLOW, path).map(|stat| stat.size.to_string()),
        "set-times-at" => {
            let time = NewTimestamp::Timestamp(Datetime {
                seconds: order.number(1),
                nanoseconds: order.number(2) as u32,
            });
            let set = root.set_times_at(PathFlags::SYMLINK_FOLLOW, path, time, time);
            set.and_then(|()| root.stat_at(PathFlags::empty(), path)).map(|_| "done".to_owned())
        }
        "set-size" => open(&root, path, "w").and_then(|file| done(file.set_size(order.number(1)))),
        "stream-read" => stream(&root, path, "r", |file| {
            let stream = file.read_via_stream(order.number(2))?;
            let _ = stream.skip(order.number(1));
            Ok(format!("{:?}", stream.blocking_read(order.number(1)).map(|bytes| bytes.len())))
        }),
        "stream-zeroes" => stream(&root, path, "w", |file| {
            Ok(format!("{:?}", file.write_via_stream(0)?.write_zeroes(order.number(1))))
        }),
        "stream-write" => stream(&root, path, "w", |file| {
            let bytes = vec![b'x'; order.number(1) as usize];
            Ok(format!("{:?}", file.append_via_stream()?.write(&bytes)))
        }),
        "stream-splice" => stream(&root, path, "rw", |file| {
            let (from, to) = (file.read_via_stream(0)?, file.append_via_stream()?);
            let mut bytes = 0;
            for _ in 0..order.number(2) {
                bytes += to.blocking_splice(&from, order.number(1)).unwrap_or_default();
            }
            Ok(bytes.to_string())
        }),
        "streams" => stream(&root, path, "r", |file| {
            let held: Vec<_> =
                (0..order.number(1)).map_while(|_| file.read_via_stream(0).ok()).collect();
            held.iter().for_each(|stream| stream.subscribe().block());
            Ok(held.len().to_string())
        }),
        "listings" => root
            .open_at(PathFlags::empty(), path, OpenFlags::DIRECTORY, DescriptorFlags::READ)
            .map(|dir| {
                let held: Vec<_> =
                    (0..order.number(1)).map_while(|_| dir.read_directory().ok()).collect();
                held.len().to_string()
            }),
        "list-count" => list_count(&root, path),
        "fill-dir" => fill_dir(&root, path, order.number(1), order.number(2)),
        "bury" => bury(&root, path, order.number(1)),
        "bury-long" => bury_long(&root, path, order.number(1), order.number(2)),
        _ => return None,
    };
    Some(told.unwrap_or_else(|code| code.name().to_owned()))
}

fn open(root: &Descriptor, path: &str, how: &str) -> Result<Descriptor, ErrorCode> {
    let (mut flags, mut open) = (DescriptorFlags::empty(), OpenFlags::empty());
    for letter in how.chars() {
        match letter {
            'r' => flags |= DescriptorFlags::READ,
            'w' => flags |= DescriptorFlags::WRITE,
            'm' => flags |= DescriptorFlags::MUTATE_DIRECTORY,
            'c' => open |= OpenFlags::CREATE,
            't' => open |= OpenFlags::TRUNCATE,
            'x' => open |= OpenFlags::EXCLUSIVE,
            _ => open |= OpenFlags::DIRECTORY,
        }
    }
    root.open_at(PathFlags::SYMLINK_FOLLOW, path, open, flags)
}

fn stream(
    root: &Descriptor,
    path: &str,
    how: &str,
    work: impl FnOnce(&Descriptor) -> Told,
) -> Told {
    open(root, path, how).and_then(|file| work(&file))
}

fn directory(of: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
    of.open_at(PathFlags::empty(), path, OpenFlags::DIRECTORY, DescriptorFlags::READ)
}

fn list_count(root: &Descriptor, path: &str) -> Told {
    let listing = directory(root, path)?.read_directory()?;
    let mut count = 0_u64;
    while listing.read_directory_entry()?.is_some() {
        count += 1;
    }
    Ok(count.to_string())
}

/// Makes files of so many bytes until it may not; how many there are then.
fn fill_dir(root: &Descriptor, path: &str, files: u64, bytes: u64) -> Told {
    let mut made = 0_u64;
    let mut last = String::new();
    for n in 0..files {
        let file = match open(root, &format!("{path}/f{n}"), "cw") {
            Ok(file) => file,
            Err(code) => {
                last = code.name().to_owned();
                break;
            }
        };
        if let Err(code) = file.write(&vec![b'x'; bytes as usize], 0) {
            last = code.name().to_owned();
            break;
        }
        made += 1;
    }
    Ok(format!("{made} {last}"))
}

/// A chain of directories, as deep as one may be; where its last one is.
fn chain(root: &Descriptor, at: &str) -> Result<String, ErrorCode> {
    let mut path = at.to_owned();
    root.create_directory_at(&path)?;
    loop {
        let next = format!("{path}/d");
        match root.create_directory_at(&next) {
            Ok(()) => path = next,
            Err(_) => return Ok(path),
        }
    }
}

/// Moves deep trees into each other, to make one that is deeper than paths may be; how often that went well.
fn bury(root: &Descriptor, path: &str, rounds: u64) -> Told {
    chain(root, &format!("{path}/inner"))?;
    let mut done = 0_u64;
    for _ in 0..rounds {
        let outer = chain(root, &format!("{path}/outer"))?;
        // The last one is as deep as a path may lead: what moves there takes its place.
        root.rename_at(&format!("{path}/inner"), root, &outer)?;
        root.rename_at(&format!("{path}/outer"), root, &format!("{path}/inner"))?;
        done += 1;
    }
    Ok(done.to_string())
}

/// Hides bytes beneath names so long that a path of the host's could not say them.
fn bury_long(root: &Descriptor, path: &str, depth: u64, bytes: u64) -> Told {
    let name = "n".repeat(250);
    let mut here = directory(root, path)?;
    let mut made = 0_u64;
    for _ in 0..depth {
        match here.create_directory_at(&name) {
            Ok(()) | Err(ErrorCode::Exist) => {}
            Err(code) => return Ok(format!("{made} deep, {}", code.name())),
        }
        here = directory(&here, &name)?;
        made += 1;
    }
    // Each round fills what there is room for.
    let filled = fill_dir(&here, ".", bytes / 60_000, 60_000)?;
    Ok(format!("{made} deep, {filled}"))
}
