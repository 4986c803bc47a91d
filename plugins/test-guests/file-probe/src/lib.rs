//! Does with files what it is told, and tells what came of it.
//!
//! The input is lines of a command and its arguments; the output has a line for each: `ok ...` or
//! `error KIND`. Most commands are the standard library's, as any program uses it; those that begin with
//! `raw-` call the interface below it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    time::{Duration, SystemTime},
};

use guest_sdk::prelude::*;

#[cfg(target_family = "wasm")]
mod raw;

struct Probe;

impl Plugin for Probe {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

impl Processor for Probe {
    type Options = ();

    fn process(&self, input: Input, _: ()) -> Result<Output> {
        let mut out = String::new();
        for line in input.text()?.lines() {
            match obey(line) {
                Ok(said) => out.push_str(&format!("ok {said}")),
                Err(error) => out.push_str(&format!("error {:?}", error.kind())),
            }
            // `ok ` with nothing said is `ok`.
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        Ok(Output::text(out))
    }
}

guest_sdk::processor_plugin!(Probe);

fn obey(line: &str) -> io::Result<String> {
    let mut words = line.split(' ');
    let command = words.next().unwrap_or_default();
    let arguments: Vec<&str> = words.collect();
    let word = |at: usize| arguments.get(at).copied().unwrap_or_default();
    let number = |at: usize| word(at).parse::<u64>().unwrap_or_default();
    let path = word(0);
    let nothing = |()| String::new();
    match command {
        "read" => fs::read_to_string(path),
        "write" => fs::write(path, word(1)).map(nothing),
        "fill" => fs::write(path, vec![b'x'; number(1) as usize]).map(nothing),
        "append" => {
            OpenOptions::new().append(true).open(path)?.write_all(word(1).as_bytes()).map(nothing)
        }
        "truncate" => OpenOptions::new().write(true).open(path)?.set_len(number(1)).map(nothing),
        "seek" => {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            file.seek(SeekFrom::End(-2))?;
            file.write_all(b"!")?;
            file.rewind()?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        }
        "exists" => fs::exists(path).map(|there| there.to_string()),
        "size" => fs::metadata(path).map(|metadata| metadata.len().to_string()),
        "kind" => fs::symlink_metadata(path).map(|metadata| {
            let kind = metadata.file_type();
            let kind =
                [(kind.is_dir(), "dir"), (kind.is_file(), "file"), (kind.is_symlink(), "link")];
            kind.iter().find(|(is, _)| *is).map_or("other", |(_, name)| name).to_owned()
        }),
        "touch" => {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number(1));
            OpenOptions::new().write(true).open(path)?.set_modified(time).map(nothing)
        }
        "modified" => {
            let time = fs::metadata(path)?.modified()?;
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Ok(since.as_secs().to_string())
        }
        "list" => {
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names.join(" "))
        }
        "mkdir" => fs::create_dir(path).map(nothing),
        "mkdirs" => fs::create_dir_all(path).map(nothing),
        "rmdir" => fs::remove_dir(path).map(nothing),
        "rmtree" => fs::remove_dir_all(path).map(nothing),
        "remove" => fs::remove_file(path).map(nothing),
        "rename" => fs::rename(path, word(1)).map(nothing),
        "copy" => fs::copy(path, word(1)).map(|bytes| bytes.to_string()),
        "link" => fs::hard_link(path, word(1)).map(nothing),
        "readlink" => fs::read_link(path).map(|target| target.display().to_string()),
        "hoard" => hoard(path, number(1)),
        "many" => many(path, number(1)),
        "deep" => deep(path, number(1)),
        #[cfg(target_family = "wasm")]
        raw if raw.starts_with("raw-") => raw::obey(raw, &arguments),
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

/// Opens a file again and again, and holds on to all of it; how often that went well.
fn hoard(path: &str, times: u64) -> io::Result<String> {
    let held: Vec<File> = (0..times).map_while(|_| File::open(path).ok()).collect();
    Ok(held.len().to_string())
}

/// Makes files until it may not; how many there are then.
fn many(directory: &str, times: u64) -> io::Result<String> {
    let made = (0..times).take_while(|n| File::create(format!("{directory}/{n}")).is_ok());
    Ok(made.count().to_string())
}

/// Makes directories within directories until it may not; how many there are then.
fn deep(directory: &str, times: u64) -> io::Result<String> {
    let mut path = directory.to_owned();
    let made = (0..times).take_while(|_| {
        path.push_str("/d");
        fs::create_dir(&path).is_ok()
    });
    Ok(made.count().to_string())
}
