//! Structure out of bytes: what a target makes its decisions by.

use arbitrary::Unstructured;

/// Numbers at which something changes.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    7,
    8,
    127,
    255,
    1_000,
    1 << 14,
    1 << 20,
    (1 << 26) + 1,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    (1 << 62) - 1,
    i64::MAX as u64,
    u64::MAX,
];

/// An input, from which decisions are taken until it ends: from then on all are the first one.
#[derive(Debug)]
pub struct Draw<'a>(Unstructured<'a>);

impl<'a> Draw<'a> {
    /// Decides by these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// Whether nothing is left to decide by.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Yes, once in so many times; never, once the input has ended.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) + 1 == times
    }

    /// A number below `count`, or 0.
    pub fn below(&mut self, count: usize) -> usize {
        let most = count.saturating_sub(1);
        self.0.int_in_range(0..=most).unwrap_or_default()
    }

    /// A small number, one at which something changes, or any.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            edge @ 0..=63 => {
                EDGES.get(usize::from(edge) % EDGES.len()).copied().unwrap_or_default()
            }
            small @ 64..=191 => u64::from(small) - 64,
            192..=223 => u64::from(self.0.arbitrary::<u16>().unwrap_or_default()),
            _ => self.0.arbitrary().unwrap_or_default(),
        }
    }

    /// The low half of a number.
    pub fn short(&mut self) -> u32 {
        u32::try_from(self.number() & u64::from(u32::MAX)).unwrap_or_default()
    }

    /// One of these.
    pub fn of<'b, T>(&mut self, all: &'b [T]) -> Option<&'b T> {
        all.get(self.below(all.len()))
    }

    /// Up to so many bytes, as many as the next byte or two say.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most.saturating_add(1)).min(self.0.len());
        self.0.bytes(count).map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// Bytes of which few have to be given: a length and a pattern.
    pub fn filled(&mut self, most: usize) -> Vec<u8> {
        let (length, seed) = (self.below(most.saturating_add(1)), self.byte());
        let mut bytes = vec![0; length];
        match seed {
            0 => {}
            1..=7 => bytes.fill(seed),
            _ => blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes),
        }
        bytes
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        for byte in &mut array {
            *byte = self.byte();
        }
        array
    }

    /// A text that may hold anything a text may.
    pub fn text(&mut self, most: usize) -> String {
        String::from_utf8_lossy(&self.bytes(most)).into_owned()
    }

    /// Everything that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }
}

/// Changes some bytes: one flipped, one set, one there or gone, a stretch doubled, gone, zeros or elsewhere.
pub fn alter(draw: &mut Draw<'_>, bytes: &mut Vec<u8>) {
    let at = draw.below(bytes.len());
    let to = at.saturating_add(draw.below(64)).min(bytes.len());
    match draw.below(9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (draw.byte() & 7);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = draw.byte();
            }
        }
        2 => bytes.insert(at, draw.byte()),
        3 => drop(bytes.drain(at..to)),
        4 => bytes.truncate(at),
        5 => bytes.get_mut(at..to).unwrap_or_default().fill(0),
        6 => {
            let copy = bytes.get(at..to).map(<[u8]>::to_vec).unwrap_or_default();
            let place = draw.below(bytes.len().saturating_add(1));
            drop(bytes.splice(place..place, copy));
        }
        7 => {
            let number = draw.number().to_le_bytes();
            let width = if draw.flag() { 4 } else { 8 };
            let into = bytes.get_mut(at..).unwrap_or_default();
            into.iter_mut().zip(number.iter().take(width)).for_each(|(to, from)| *to = *from);
        }
        _ => bytes.extend(draw.bytes(32)),
    }
}
