//! A disk that is full, and one that cannot be written to.

use std::process::Command;

use super::*;

/// A file system of its own, of a few megabytes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).status();
        assert!(mounted.unwrap().success(), "these tests mount file systems: run them as root");
        Self(at)
    }

    /// The same directory, over itself.
    fn read_only(at: PathBuf) -> Self {
        for options in [&["--bind"][..], &["-o", "remount,ro,bind"]] {
            let mut mount = Command::new("mount");
            assert!(mount.args(options).arg(&at).arg(&at).status().unwrap().success());
        }
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The host that uses it may have ended this very moment.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn on_small_disk() -> (Operator, SmallDisk) {
    let work = TempDir::new().unwrap();
    let data = work.path().join("data");
    let disk = SmallDisk::mount(data.clone(), "16m");
    let operator = Operator::start(data, work);
    operator.says(&["deploy", &operator.folder(&Chameleon::version("1.0.0"), "first")]);
    (operator, disk)
}

#[test]
fn on_a_full_disk_nothing_is_deployed_and_what_serves_goes_on() {
    let (operator, disk) = on_small_disk();
    let filler = disk.0.join("filler");
    // To the last byte.
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write(&mut file, &[0; 4_096]).is_ok_and(|written| written > 0) {}
    drop(file);
    let second = operator.folder(&Chameleon::version("1.1.0"), "second");
    assert_eq!(operator.refused(&["deploy", &second, "--activate"]), "deploy/storage-full");
    assert_eq!(operator.serves(), "1.0.0 hello");
    let told = operator.json(&["rollout", "status", "chameleon"]);
    assert_eq!(told["versions"].as_array().unwrap().len(), 1);

    std::fs::remove_file(filler).unwrap();
    operator.says(&["deploy", &second, "--activate"]);
    assert_eq!(operator.serves(), "1.1.0 hello");
}

#[test]
fn on_a_disk_that_cannot_be_written_to_nothing_is_deployed_and_what_serves_goes_on() {
    let (operator, disk) = on_small_disk();
    let second = operator.folder(&Chameleon::version("1.1.0"), "second");
    operator.says(&["deploy", &second]);
    let third = operator.folder(&Chameleon::version("1.2.0"), "third");
    // Files that are open for writing keep a file system from becoming read-only: so it is one directory.
    let parts = disk.0.join("deployments/parts");
    let over = SmallDisk::read_only(parts);
    assert_eq!(operator.refused(&["deploy", &third, "--activate"]), "deploy/storage-read-only");
    assert_eq!(operator.serves(), "1.0.0 hello");
    drop(over);
    operator.says(&["deploy", &third, "--activate"]);
    assert_eq!(operator.serves(), "1.2.0 hello");
}
