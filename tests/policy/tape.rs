/// A list of numbers that a generator reads its choices from. Past its end all choices are the
/// first, so that a shorter tape, or one of smaller numbers, makes a simpler case.
pub struct Tape<'a> {
    left: &'a [u16],
    calm: usize,
}

impl<'a> Tape<'a> {
    pub fn new(numbers: &'a [u16]) -> Self {
        Self { left: numbers, calm: 1 }
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        match self.left.split_first() {
            Some((first, rest)) => {
                self.left = rest;
                *first as usize % bound
            }
            None => 0,
        }
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// True once in `times` times.
    pub fn once_in(&mut self, times: usize) -> bool {
        let bound = times * self.calm;
        self.below(bound) == bound - 1
    }

    /// True once in `times` times, however calm it is.
    pub fn one_of(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    /// From now on what is rare is rarer.
    pub fn calm_down(&mut self, by: usize) {
        self.calm = by;
    }
}
