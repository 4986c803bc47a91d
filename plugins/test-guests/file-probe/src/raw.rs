//! `wasi:filesystem` itself.

use std::io;

use wasip2::filesystem::{
    preopens::get_directories,
    types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags},
};

/// The code itself is what is told.
fn told<R>(answer: Result<R, ErrorCode>, say: impl FnOnce(R) -> String) -> io::Result<String> {
    Ok(match answer {
        Ok(value) => say(value),
        Err(code) => code.name().to_owned(),
    })
}

fn nothing<R>(_: R) -> String {
    "done".to_owned()
}

pub(super) fn obey(command: &str, arguments: &[&str]) -> io::Result<String> {
    let directories = get_directories();
    let word = |at: usize| arguments.get(at).copied().unwrap_or_default();
    let number = |at: usize| word(at).parse::<u64>().unwrap_or_default();
    let Some((root, _)) = directories.first() else { return Ok("no root".to_owned()) };
    let open = |path: &str, flags| {
        root.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), flags)
    };
    let read = |file: Descriptor| match file.read(100, 0) {
        Ok((bytes, _)) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(code) => code.name().to_owned(),
    };
    match command {
        "raw-roots" => {
            Ok(directories.iter().map(|(_, path)| path.as_str()).collect::<Vec<_>>().join(" "))
        }
        "raw-open" => told(open(word(0), DescriptorFlags::READ), read),
        // From a directory that is held, not from the root.
        "raw-open-in" => {
            let directory = match open(word(0), DescriptorFlags::READ) {
                Ok(directory) => directory,
                Err(code) => return Ok(code.name().to_owned()),
            };
            let flags = DescriptorFlags::READ;
            let opened =
                directory.open_at(PathFlags::SYMLINK_FOLLOW, word(1), OpenFlags::empty(), flags);
            told(opened, read)
        }
        "raw-symlink" => told(root.symlink_at(word(0), word(1)), nothing),
        "raw-mkdir" => told(root.create_directory_at(word(0)), nothing),
        "raw-stat" => told(root.stat_at(PathFlags::empty(), word(0)), nothing),
        "raw-read-far" => {
            told(open(word(0), DescriptorFlags::READ), |file| match file.read(u64::MAX, u64::MAX) {
                Ok((bytes, ended)) => format!("{} {ended}", bytes.len()),
                Err(code) => code.name().to_owned(),
            })
        }
        "raw-size" => told(open(word(0), DescriptorFlags::WRITE), |file| {
            told(file.set_size(number(1)), nothing).unwrap_or_default()
        }),
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}
