//! Counts its calls, across upgrades.

use std::cell::Cell;

use guest_sdk::prelude::*;

struct Counter(Cell<u64>);

impl Plugin for Counter {
    fn initialize() -> Result<Self> {
        Ok(Self(Cell::new(0)))
    }
}

impl Processor for Counter {
    type Options = ();

    fn process(&self, _: Input, (): ()) -> Result<Output> {
        self.0.set(self.0.get() + 1);
        Ok(Output::text(self.0.get().to_string()))
    }
}

impl StatefulProcessor for Counter {
    const FORMAT: u32 = 1;

    fn snapshot(&self) -> Result<Vec<u8>> {
        Ok(self.0.get().to_le_bytes().to_vec())
    }

    fn restore(&self, _format: u32, data: Vec<u8>) -> Result<()> {
        let bytes = data.try_into().ok().context("a count has 8 bytes")?;
        self.0.set(u64::from_le_bytes(bytes));
        Ok(())
    }
}

guest_sdk::stateful_processor_plugin!(Counter);

#[test]
fn the_count_goes_on_after_an_upgrade() {
    use guest_sdk::testing::Harness;
    let mut old = Harness::<Counter>::new().unwrap();
    old.process("", "").unwrap();
    let mut new = Harness::<Counter>::new().unwrap();
    new.restore(1, old.snapshot().unwrap()).unwrap();
    assert_eq!(new.process("", "").unwrap().bytes, b"2");
    assert!(new.restore(1, vec![1]).is_err());
}
