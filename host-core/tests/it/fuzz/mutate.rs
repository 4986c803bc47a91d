//! Numbers from a seed, and bytes that are nearly those of a real file.

use std::ops::Range;

/// The same numbers for the same seed, on any machine (splitmix64).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % (bound.max(1) as u64)) as usize
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Bytes at which formats change their minds.
const EDGES: [u8; 12] = [0, 1, 0x0b, 0x0d, b'\n', b'"', b'/', 0x40, 0x7f, 0x80, 0xfe, 0xff];
/// The largest number of 32 bits, as WebAssembly writes lengths and indices.
const LENGTH_MAX: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];

/// `bytes` with a few changes; now and then with a part of `other` among them.
pub(crate) fn mutated(rng: &mut Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(out.len());
        let part = range(rng, out.len());
        match rng.below(12) {
            0..4 if !out.is_empty() => out[at] ^= 1 << rng.below(8),
            4 if !out.is_empty() => out[at] = *rng.pick(&EDGES),
            5 if !out.is_empty() => out[at] = out[at].wrapping_add(1),
            6 => {
                let count = rng.below(9);
                let inserted = rng.bytes(count);
                out.splice(at..at, inserted);
            }
            7 => drop(out.drain(part)),
            8 if rng.once_in(3) => out.truncate(at),
            9 => {
                let copy = out[part].to_vec();
                out.splice(at..at, copy);
            }
            10 => {
                let from = range(rng, other.len());
                out.splice(part, other[from].iter().copied());
            }
            11 => {
                let end = out.len().min(at + LENGTH_MAX.len());
                out.splice(at..end, LENGTH_MAX);
            }
            _ => {}
        }
    }
    out
}

/// The same of a text. What is no text afterwards is made one. Of a text with words in quotes, often one of
/// the words alone is changed: then those who read it get further.
pub(crate) fn mutated_text(rng: &mut Rng, text: &str, other: &str) -> String {
    let mut parts: Vec<_> = text.split('"').map(str::to_owned).collect();
    let words = parts.len() / 2;
    if words > 0 && !rng.once_in(3) {
        let at = 2 * rng.below(words) + 1;
        let word = mutated(rng, parts[at].as_bytes(), other.as_bytes());
        // As TOML and JSON escape: anything may stand in the word.
        let escaped = String::from_utf8_lossy(&word).chars().fold(String::new(), |mut out, c| {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => out.push(c),
            }
            out
        });
        parts[at] = escaped;
        return parts.join("\"");
    }
    let bytes = mutated(rng, text.as_bytes(), other.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A part, mostly short.
fn range(rng: &mut Rng, len: usize) -> Range<usize> {
    let from = rng.below(len + 1);
    let most = if rng.once_in(4) { len } else { len.min(32) };
    from..(from + rng.below(most + 1)).min(len)
}
