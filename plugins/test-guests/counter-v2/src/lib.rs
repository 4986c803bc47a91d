//! The next version of counter: it remembers what it counted last, too.

use std::cell::RefCell;

use guest_sdk::prelude::*;

#[derive(Default)]
struct Counted {
    count: u64,
    last: Vec<u8>,
}

struct Counter(RefCell<Counted>);

impl Plugin for Counter {
    fn initialize() -> Result<Self> {
        Ok(Self(RefCell::default()))
    }
}

impl Processor for Counter {
    type Options = ();

    fn process(&self, input: Input, (): ()) -> Result<Output> {
        let mut counted = self.0.borrow_mut();
        counted.count += 1;
        let last = std::mem::replace(&mut counted.last, input.bytes);
        Ok(Output::text(format!("{} after {}", counted.count, String::from_utf8_lossy(&last))))
    }
}

impl StatefulProcessor for Counter {
    /// 1: the count, in 8 bytes. 2: the same, and then the last input.
    const FORMAT: u32 = 2;

    fn snapshot(&self) -> Result<Vec<u8>> {
        let counted = self.0.borrow();
        Ok([&counted.count.to_le_bytes(), counted.last.as_slice()].concat())
    }

    fn restore(&self, format: u32, data: Vec<u8>) -> Result<()> {
        let (count, last) = data.split_first_chunk().context("a count has 8 bytes")?;
        let (count, last) = (u64::from_le_bytes(*count), last.to_vec());
        if format == 1 && !last.is_empty() {
            return Err(Error::msg("in form 1 there is a count and nothing else"));
        }
        *self.0.borrow_mut() = Counted { count, last };
        Ok(())
    }
}

guest_sdk::stateful_processor_plugin!(Counter);

#[test]
fn the_count_of_the_first_version_goes_on_and_its_form_is_known_from_the_second() {
    use guest_sdk::testing::Harness;
    let mut old = Harness::<Counter>::new().unwrap();
    old.restore(1, 41_u64.to_le_bytes().to_vec()).unwrap();
    assert_eq!(old.process("x", "").unwrap().bytes, b"42 after ");
    let mut new = Harness::<Counter>::new().unwrap();
    new.restore(2, old.snapshot().unwrap()).unwrap();
    assert_eq!(new.process("", "").unwrap().bytes, b"43 after x");
    assert!(new.restore(1, old.snapshot().unwrap()).is_err());
}
