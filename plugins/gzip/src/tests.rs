//! Both directions, there and back, and inputs that are no gzip.

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;

use guest_sdk::testing::Harness;

use super::{Gzip, LEVEL_MAX};

/// `printf hello | gzip -9 >` a file named `hi`.
const HELLO: &[u8] =
    b"\x1f\x8b\x08\x08\0\0\0\0\x02\x03hi\0\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0";

const DECOMPRESS: &[(&str, &str)] = &[("mode", "decompress")];

/// Numbers that look random, and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Bytes of which some repeat and some do not.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let run = 1 + self.below(1000);
            match self.below(3) {
                0 => bytes.extend((0..run).map(|_| self.below(256) as u8)),
                1 => bytes.resize(bytes.len() + run, self.below(256) as u8),
                _ => {
                    let from = self.below(bytes.len() + 1);
                    bytes.extend_from_within(from..bytes.len().min(from + run));
                }
            }
        }
        bytes.truncate(length);
        bytes
    }

    /// `bytes` cut at any places.
    fn cut<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let most = 1 + self.below(10_000);
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let (chunk, rest) = bytes.split_at(bytes.len().min(1 + self.below(most)));
            chunks.push(chunk);
            bytes = rest;
        }
        chunks
    }
}

/// What comes out, and what `finished` says if it is an error.
fn run(chunks: &[&[u8]], options: &[(&str, &str)]) -> (Vec<u8>, String) {
    let mut gzip = Harness::<Gzip>::new().unwrap();
    for (name, value) in options {
        gzip.option(name, value);
    }
    let (output, finished) = gzip.stream(chunks, "text/plain").unwrap();
    (output, finished.err().map(|error| error.to_string()).unwrap_or_default())
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let (compressed, said) = run(&[bytes], &[]);
    assert_eq!(said, "");
    compressed
}

#[track_caller]
fn decompressed(input: &[u8], expected: &[u8]) {
    for size in [1, 7, usize::MAX] {
        let chunks: Vec<_> = input.chunks(size).collect();
        assert_eq!(run(&chunks, DECOMPRESS), (expected.to_vec(), String::new()));
    }
}

#[track_caller]
fn refused(input: &[u8], expected: &str) {
    for size in [1, 7, usize::MAX] {
        let chunks: Vec<_> = input.chunks(size).collect();
        assert_eq!(run(&chunks, DECOMPRESS).1, expected, "in chunks of {size}");
    }
}

#[track_caller]
fn option_refused(options: &[(&str, &str)], expected: &str) {
    let mut gzip = Harness::<Gzip>::new().unwrap();
    for (name, value) in options {
        gzip.option(name, value);
    }
    let error = gzip.stream(&[], "").unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_was_compressed_comes_back_at_every_level_and_however_it_is_cut() {
    let mut numbers = Numbers(0x5EED);
    for level in 0..=LEVEL_MAX {
        for length in [0, 1, 100, 65_535, 65_536, 300_000] {
            let bytes = numbers.bytes(length);
            let options = [("level", &*level.to_string())];
            let (compressed, said) = run(&numbers.cut(&bytes), &options);
            assert_eq!(said, "");
            let (back, said) = run(&numbers.cut(&compressed), DECOMPRESS);
            assert_eq!(said, "");
            assert!(back == bytes, "level {level}, {length} bytes");
            // As others read it.
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(&*compressed).read_to_end(&mut read).unwrap();
            assert!(read == bytes, "level {level}, {length} bytes");
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_however_it_is_cut_and_has_no_time() {
    let mut numbers = Numbers(1);
    let bytes = numbers.bytes(400_000);
    for level in ["0", "1", "6", "9"] {
        let (once, _) = run(&[&bytes], &[("level", level)]);
        assert_eq!(once[4..8], [0; 4]);
        for _ in 0..5 {
            assert!(run(&numbers.cut(&bytes), &[("level", level)]).0 == once, "level {level}");
        }
    }
}

#[test]
fn each_direction_says_what_comes_out() {
    let mut gzip = Harness::<Gzip>::new().unwrap();
    let (content_type, _) = gzip.stream_to([b"x"], "text/plain", |_| ()).unwrap();
    assert_eq!(content_type, "application/gzip");
    gzip.option("mode", "decompress");
    let (content_type, _) = gzip.stream_to([b"x"], "application/gzip", |_| ()).unwrap();
    assert_eq!(content_type, "application/octet-stream");
}

#[test]
fn a_higher_level_gives_fewer_bytes() {
    let text = include_bytes!("../../../samples/access.log").repeat(10);
    let sizes = ["0", "1", "9"].map(|level| run(&[&text], &[("level", level)]).0.len());
    assert!(sizes[0] > text.len() && sizes[1] < text.len() && sizes[2] < sizes[1], "{sizes:?}");
    assert_eq!(run(&[&text], &[("level", "6")]).0, compress(&text));
}

#[test]
fn what_the_tool_gzip_writes_is_read() {
    decompressed(HELLO, b"hello");
}

#[test]
fn all_that_a_header_can_have_is_passed_over() {
    let mut header = b"\x1f\x8b\x08\x1f\x01\x02\x03\x04\x00\xff\x03\x00abcname\0comment\0".to_vec();
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    let sum = crc.sum() as u16;
    header.extend(sum.to_le_bytes());
    decompressed(&[&header, &HELLO[13..]].concat(), b"hello");
    // A name is read over, and not kept.
    let long = [&HELLO[..10], &vec![b'n'; 1_000_000], &HELLO[12..]].concat();
    decompressed(&long, b"hello");

    let end = header.len();
    header[end - 2] ^= 1;
    let computed = format!("{sum:04x}, and not {:04x} as stored", sum ^ 1);
    refused(
        &[&header, &HELLO[13..]].concat(),
        &format!("offset {}, member 1: the checksum of the header is {computed}", end - 1),
    );
}

#[test]
fn members_in_a_row_are_one_stream_and_zeros_after_them_are_padding() {
    let mut numbers = Numbers(7);
    let parts: Vec<_> = [0, 10, 200_000, 1].map(|length| numbers.bytes(length)).to_vec();
    let members: Vec<_> = parts.iter().map(|part| compress(part)).collect();
    let (members, all) = (members.concat(), parts.concat());
    decompressed(&members, &all);
    decompressed(&[&*members, &[0; 1000]].concat(), &all);
    for _ in 0..10 {
        assert!(run(&numbers.cut(&members), DECOMPRESS) == (all.clone(), String::new()));
    }
}

#[test]
fn an_input_that_is_cut_says_where_and_within_what() {
    refused(b"", "offset 0, member 1: the input ends within the header");
    refused(&HELLO[..11], "offset 11, member 1: the input ends within the header");
    refused(&HELLO[..16], "offset 16, member 1: the input ends within the data");
    refused(&HELLO[..23], "offset 23, member 1: the input ends within the trailer");
    let second = [HELLO, &HELLO[..5]].concat();
    refused(&second, "offset 33, member 2: the input ends within the header");

    let bytes = Numbers(3).bytes(5000);
    let compressed = compress(&bytes);
    for end in 0..compressed.len() {
        let (output, said) = run(&[&compressed[..end]], DECOMPRESS);
        assert!(bytes.starts_with(&output));
        assert!(said.starts_with(&format!("offset {end}, member 1: the input ends")), "{said}");
    }
}

#[test]
fn an_input_that_is_corrupt_says_how() {
    let with = |at: usize, byte: u8| {
        let mut input = HELLO.to_vec();
        input[at] = byte;
        input
    };
    refused(b"PK\x03\x04", "offset 0, member 1: not gzip, which begins with 1f 8b");
    refused(&[0; 100], "offset 0, member 1: not gzip, which begins with 1f 8b");
    refused(&with(2, 7), "offset 2, member 1: unknown compression method 7");
    refused(&with(3, 0x28), "offset 3, member 1: unknown flags 0x28");
    refused(
        &with(20, 0),
        "offset 27, member 1: the CRC-32 of the data is 3610a686, and not 3610a600 as stored",
    );
    refused(
        &with(24, 6),
        "offset 27, member 1: the data have 5 bytes modulo 2^32, and not 6 as stored",
    );
    let (_, said) = run(&[&with(13, 7)], DECOMPRESS);
    assert!(said.ends_with("member 1: the compressed data are corrupt"), "{said}");
    let (output, said) = run(&[HELLO, &with(13, 7)], DECOMPRESS);
    assert_eq!(output, b"hello");
    assert!(said.ends_with("member 2: the compressed data are corrupt"), "{said}");
}

#[test]
fn no_flipped_bit_changes_the_data_unnoticed() {
    let bytes = Numbers(5).bytes(300);
    let compressed = compress(&bytes);
    for bit in 0..compressed.len() * 8 {
        let mut flipped = compressed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (output, said) = run(&[&flipped], DECOMPRESS);
        assert!(!said.is_empty() || output == bytes, "bit {bit}");
    }
}

#[test]
fn what_follows_the_last_member_is_an_error() {
    refused(&[HELLO, b"x"].concat(), "offset 28, after member 1: trailing garbage");
    refused(&[HELLO, HELLO, b"\n"].concat(), "offset 56, after member 2: trailing garbage");
    refused(&[HELLO, &[0; 9], HELLO].concat(), "offset 37, after member 1: trailing garbage");
    assert_eq!(run(&[HELLO, b"x"], DECOMPRESS).0, b"hello");
}

#[test]
fn nonsense_ends_with_an_error_and_nothing_worse() {
    let mut numbers = Numbers(11);
    for _ in 0..2000 {
        let length = numbers.below(300);
        let nonsense: Vec<_> = (0..length).map(|_| numbers.below(256) as u8).collect();
        let begin = [0x1F, 0x8B, 8, numbers.below(32) as u8];
        let input = [&begin, &*nonsense].concat();
        assert!(!run(&numbers.cut(&input), DECOMPRESS).1.is_empty());
    }
}

#[test]
fn a_bomb_comes_out_in_small_pieces() {
    const BYTES: usize = 64 << 20;
    let mut gzip = Harness::<Gzip>::new().unwrap();
    let bomb = Rc::new(RefCell::new(Vec::new()));
    let reader = Rc::clone(&bomb);
    let zeros = std::iter::repeat_n(vec![0; 1 << 16], BYTES >> 16);
    gzip.stream_to(zeros, "", move |piece| reader.borrow_mut().extend_from_slice(piece))
        .unwrap()
        .1
        .unwrap();
    // What the host hands over at once.
    let bomb = bomb.take();
    assert!(bomb.len() <= 65_536 + 1024, "{}", bomb.len());

    let seen = Rc::new(RefCell::new((0, 0)));
    let reader = Rc::clone(&seen);
    gzip.option("mode", "decompress");
    let read = move |piece: &[u8]| {
        let (all, largest) = *reader.borrow();
        *reader.borrow_mut() = (all + piece.len(), piece.len().max(largest));
    };
    gzip.stream_to([&bomb], "", read).unwrap().1.unwrap();
    let (all, largest) = *seen.borrow();
    assert_eq!(all, BYTES);
    assert!(largest <= 65_536, "{largest}");
}

#[test]
fn options_that_say_nothing_are_refused() {
    option_refused(&[("level", "10")], "option `level`: expected a whole number from 0 to 9");
    option_refused(&[("level", "fast")], "option `level`: expected a whole number");
    option_refused(&[("mode", "inflate")], "option `mode`: expected `compress` or `decompress`");
    option_refused(&[("mode", "decompress"), ("level", "1")], "only `mode=compress` has one");
    option_refused(&[("levels", "1")], "unknown option `levels`, expected `mode` or `level`");
}
