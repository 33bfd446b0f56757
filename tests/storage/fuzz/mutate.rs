//! Ways to damage bytes.

/// Numbers that look random (xorshift).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end.max(1)
    }

    /// More often near the ends of `length` than in its middle: most of what has a meaning is there.
    fn place(&mut self, length: usize) -> usize {
        match self.below(4) {
            0 => self.below(length.min(64)),
            1 => length.saturating_sub(1 + self.below(64)),
            _ => self.below(length),
        }
    }
}

/// What a length or a number may be mistaken for.
pub const ODD: [u32; 10] =
    [0, 1, 255, 256, 257, 65_535, 1 << 20, (1 << 20) + 1, i32::MAX as u32, u32::MAX];

/// Changes `bytes` in one to four ways. `other` is another input, to take bytes from.
pub fn mutate(numbers: &mut Numbers, bytes: &mut Vec<u8>, other: &[u8]) {
    let changes = if numbers.below(2) == 0 { 1 } else { 1 + numbers.below(4) };
    for _ in 0..changes {
        let at = numbers.place(bytes.len());
        match numbers.below(9) {
            0 => bytes.truncate(at),
            1 => {
                let more = numbers.below(40);
                bytes.extend((0..more).map(|n| (n * 37) as u8));
            }
            2 => {
                let end = (at + numbers.below(64)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            3 => {
                let (from, count) = (numbers.place(other.len()), numbers.below(64));
                let taken = other[from.min(other.len())..].iter().take(count).copied();
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), taken);
            }
            4 => {
                let odd = ODD[numbers.below(ODD.len())].to_le_bytes();
                overwrite(bytes, at, &odd[..1 << numbers.below(3)]);
            }
            5 => {
                let (from, count) = (numbers.place(other.len()), numbers.below(64));
                let taken: Vec<u8> =
                    other[from.min(other.len())..].iter().take(count).copied().collect();
                overwrite(bytes, at, &taken);
            }
            6 => {
                let zeros = vec![0; numbers.below(600)];
                overwrite(bytes, at, &zeros);
            }
            7 => {
                let byte = numbers.next() as u8;
                overwrite(bytes, at, &[byte]);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << numbers.below(8);
                }
            }
        }
    }
}

/// Puts `new` over what is there; nothing becomes longer.
pub fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (old, new) in bytes.iter_mut().skip(at).zip(new) {
        *old = *new;
    }
}
