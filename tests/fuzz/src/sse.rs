//! What servers send, however the network cuts it: the same bytes are the same events and the same lines.
//!
//! The first byte chooses how the rest is cut. Limits are met in a second pass, where the cut may matter and only bounds hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmcp_backend::fuzzing::{SeenLine, read_events, read_lines};

/// No input is as long.
const NO_LIMIT: usize = 1 << 20;
/// Some inputs are longer.
const LIMIT: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((&seed, stream)) = input.split_first() else { return };
    let whole: Vec<&[u8]> = vec![stream];
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    let cut = cut(stream, seed);

    let events = read_events(&whole, NO_LIMIT);
    assert_eq!(read_events(&bytes, NO_LIMIT), events, "byte by byte");
    assert_eq!(read_events(&cut, NO_LIMIT), events, "cut by {seed}");
    for event in events.seen {
        assert!(event.data.len() <= stream.len());
    }
    let longest = cut.iter().map(|chunk| chunk.len()).max().unwrap_or(0);
    for event in read_events(&cut, LIMIT).seen {
        assert!(event.data.len() <= LIMIT + longest, "an event of {} bytes", event.data.len());
    }

    let lines = read_lines(&whole, NO_LIMIT);
    assert_eq!(read_lines(&bytes, NO_LIMIT), lines, "byte by byte");
    assert_eq!(read_lines(&cut, NO_LIMIT), lines, "cut by {seed}");
    assert_eq!(lines, expected_lines(stream));
    let bounded = read_lines(&whole, LIMIT);
    assert_eq!(read_lines(&bytes, LIMIT), bounded, "bounded, byte by byte");
    assert_eq!(read_lines(&cut, LIMIT), bounded, "bounded, cut by {seed}");
    assert_eq!(bounded.len(), lines.len(), "a line that is too long is still one line");
    for (line, free) in bounded.iter().zip(&lines) {
        assert!(matches!(line, SeenLine::TooLong(_)) || line == free);
    }
});

/// Pieces of 1 to 16 bytes, some of them empty, drawn from `seed`.
fn cut(mut stream: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761) | 1;
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let (piece, rest) = stream.split_at(stream.len().min((state >> 8) as usize % 17));
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

/// Lines as anybody would tell them.
fn expected_lines(stream: &[u8]) -> Vec<SeenLine> {
    let mut lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines.into_iter().map(|line| SeenLine::Whole(line.strip_suffix(b"\r").unwrap_or(line).to_vec())).collect()
}
