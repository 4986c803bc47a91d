//! How output is handed on while a chunk is worked on.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::testing::ready;

/// Writes each byte 100,000 times, and refuses 0.
struct Swell;

impl Transform for Swell {
    async fn chunk(&mut self, input: &[u8], output: &mut Writer) -> Result<()> {
        for byte in input {
            ensure!(*byte != 0, "a zero");
            output.write(&[*byte; 100_000]).await?;
        }
        Ok(())
    }

    async fn end(&mut self, output: &mut Writer) -> Result<()> {
        output.write(b"end").await
    }
}

/// Ignores that nobody reads, as long as there is input.
struct Deaf;

impl Transform for Deaf {
    async fn chunk(&mut self, input: &[u8], output: &mut Writer) -> Result<()> {
        for _ in input {
            let _ = output.write(&[0; PIECE_BYTES]).await;
        }
        Ok(())
    }
}

/// The sizes of the pieces that `chunk` comes to for a reader who takes `wanted` of them, and
/// what the step says.
fn pieces(
    mut transform: impl Transform,
    chunk: &[u8],
    last: bool,
    wanted: usize,
) -> (Vec<usize>, String) {
    let taken = Rc::new(RefCell::new(Vec::new()));
    let reader = Rc::clone(&taken);
    let mut output = Writer::for_test(move |piece| {
        reader.borrow_mut().push(piece.len());
        reader.borrow().len() < wanted
    });
    let said = ready(step(&mut transform, chunk, last, &mut output));
    assert!(output.piece.capacity() <= PIECE_BYTES);
    let said = said.err().map(|error| error.to_string()).unwrap_or_default();
    (taken.take(), said)
}

#[test]
fn however_much_a_chunk_becomes_it_is_handed_on_in_pieces() {
    let (taken, said) = pieces(Swell, &[1; 20], false, usize::MAX);
    assert_eq!(taken.iter().sum::<usize>(), 2_000_000);
    let (rest, full) = taken.split_last().unwrap();
    assert!(full.iter().all(|&bytes| bytes == PIECE_BYTES) && *rest <= PIECE_BYTES);
    assert_eq!(said, "");
}

#[test]
fn little_output_is_handed_on_with_its_chunk_and_none_is_no_piece() {
    assert_eq!(pieces(Swell, &[], true, 9), (vec![3], String::new()));
    assert_eq!(pieces(Swell, &[], false, 9), (vec![], String::new()));
}

#[test]
fn what_was_written_before_an_error_is_handed_on() {
    let (taken, said) = pieces(Swell, &[1, 0, 1], true, usize::MAX);
    assert_eq!(taken.iter().sum::<usize>(), 100_000);
    assert_eq!(said, "a zero");
}

#[test]
fn nothing_more_is_made_once_nobody_reads() {
    let (taken, said) = pieces(Swell, &[1; 1000], false, 2);
    assert_eq!(taken, [PIECE_BYTES; 2]);
    assert_eq!(said, "nobody reads the output");
    // Even where the transform does not mind.
    let (taken, said) = pieces(Deaf, &[1; 1000], false, 2);
    assert_eq!(taken, [PIECE_BYTES; 2]);
    assert_eq!(said, "nobody reads the output");
}
